"""What went through endpoints' ports, and between hosts."""

from __future__ import annotations

from pydantic import Field

from web.api.schemas.common import Contract, Moment, Name


class Count(Contract):
    """Since the port is there."""

    packets: int
    bytes: int
    dropped: int = Field(description="Packets that the port had to drop, as for want of buffers; policies' are not.")


class LastHour(Contract):
    """What this server saw: null where it knows nothing. It begins when the server began."""

    times: list[Moment]
    received: list[float | None] = Field(description="Bytes per second.")
    sent: list[float | None] = Field(description="Bytes per second.")
    dropped: list[float | None] = Field(description="Packets per second.")


class Traffic(Contract):
    """Of one endpoint, or of all of a network or a host together, as they see it."""

    counted_at: Moment | None = Field(description="When hosts' agents read the counters; null: never yet.")
    received: Count
    sent: Count
    last_hour: LastHour


class Tunnel(Contract):
    """What went to another host and came from there, since both know each other; bytes inside tunnels."""

    host: Name = Field(description="The other host.")
    sent_packets: int
    sent_bytes: int
    received_packets: int
    received_bytes: int


class HostTraffic(Traffic):
    tunnels: list[Tunnel]
