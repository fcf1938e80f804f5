"""What a session tells its owner, as values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from controller.openflow.decode import PacketIn
from controller.pipeline.flow import RuleRef


class Confirmed(NamedTuple):
    """The switch has everything wanted up to `revision`."""

    revision: int


class Failed(NamedTuple):
    """The switch refused what is wanted at `revision`. `cookie` is that of the refused flow, if it was one."""

    revision: int
    sentence: str
    cookie: int | None = None


class Synced(NamedTuple):
    """The switch was looked at after connecting: it had `flows`. The differences, of groups too, are being
    repaired."""

    flows: int
    added: int
    deleted: int


class Drifted(NamedTuple):
    """An audit found `flows` that were missing, foreign or changed by someone else, and groups, which count as well;
    they are being repaired."""

    flows: int


class Reading(NamedTuple):
    """What a flow that carries out a rule has counted, as the switch says. A flow that is replaced may begin anew."""

    cookie: int
    rule: RuleRef
    packets: int
    bytes: int


class Measured(NamedTuple):
    """Packets dropped so far, by reason, as the switch counts them, and a reading of every flow that is a rule's. After
    a look at all flows also packets and bytes of those about other hosts, by cookie."""

    drops: dict[int, int]
    rules: list[Reading]
    hosts: dict[int, tuple[int, int]] = {}  # noqa: RUF012 - replaced, never changed


class Copied(NamedTuple):
    """A packet that a rule decided and that is to be logged."""

    rule: RuleRef
    packet: PacketIn


class Heard(NamedTuple):
    """A DNS answer that was delivered to an endpoint."""

    packet: PacketIn


class Announced(NamedTuple):
    """An endpoint that shares an address says that it takes it over."""

    packet: PacketIn


class Superseded(NamedTuple):
    """Another controller is the switch's master; nothing is sent until `claim` succeeds with a newer generation."""

    sentence: str


class Broken(NamedTuple):
    """The switch does not answer, or not as it should: close the connection."""

    sentence: str


Event = Confirmed | Failed | Synced | Drifted | Measured | Copied | Heard | Announced | Superseded | Broken


class Step(NamedTuple):
    """What follows from one call: bytes to send to the switch, in order, and what happened."""

    send: bytes
    events: list[Event]


@dataclass
class Counters:
    """Work done over the session's life."""

    flow_mods_sent: int = 0
    group_mods_sent: int = 0
    bundles_sent: int = 0
    bytes_sent: int = 0
    dumps: int = 0
