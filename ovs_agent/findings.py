"""What there is to say of a host: which endpoints are up, what is missing, what is too much, what is wrong.

It decides from what is wanted and what is seen, as `plan` does, and says nothing of how to mend it.
"""

from __future__ import annotations

from typing import NamedTuple

from ovs_agent.document import ADDRESSES_ONLY, Endpoint, Wanted
from ovs_agent.plan import (
    ENDPOINT,
    SEGMENT,
    TLS_TARGET,
    TUNNEL,
    Local,
    Port,
    Seen,
    endpoint_port,
    endpoints,
    own_ports,
    resolver_port,
)


class Stray(NamedTuple):
    """A port that nothing wants, and what its external_ids say of it."""

    name: str
    endpoint: int | None
    container_id: str


def states(wanted: Wanted, seen: Seen, local: Local) -> dict[int, str]:
    """The state of each endpoint, by id: "up" if packets can pass its port, else "down"."""
    return {
        endpoint.id: "up" if _is_up(endpoint, seen) else "down"
        for endpoint in endpoints(wanted, local)
        if endpoint.port_name not in local.busy
    }


def missing(wanted: Wanted, seen: Seen, local: Local) -> tuple[int, ...]:
    """The endpoints without a port on the bridge, by id, but those that never have one."""
    return tuple(
        endpoint.id
        for endpoint in endpoints(wanted, local)
        if endpoint.port_name not in local.busy
        and endpoint.port_name not in seen.ports
        and not endpoint.container_id.startswith(ADDRESSES_ONLY)
    )


def strays(wanted: Wanted, seen: Seen, local: Local) -> tuple[Stray, ...]:
    """The bridge's ports that nothing wants: somebody else's, or ours while no fresh document says that they may go."""
    known = {
        local.bridge,
        resolver_port(local.bridge).name,
        *local.busy,
        *(port.name for port in own_ports(wanted, local)),
    }
    known |= {endpoint.port_name for endpoint in endpoints(wanted, local)}
    return tuple(
        Stray(name, int(id) if id.isdecimal() else None, port.external_ids.get("container", ""))
        for name, port in sorted(seen.ports.items())
        if name not in known and not port.external_ids.keys() & {TUNNEL, SEGMENT}
        for id in (port.external_ids.get(ENDPOINT, ""),)
    )


def problems(wanted: Wanted, seen: Seen, local: Local) -> tuple[str, ...]:
    """What is wrong and cannot be mended by a step: one sentence each."""
    if seen.bridge is None:
        return (f"The bridge {local.bridge} does not exist.",)
    ports = list(own_ports(wanted, local))
    ports += [endpoint_port(endpoint) for endpoint in endpoints(wanted, local) if endpoint.port_name not in local.busy]
    untrusted = seen.ssl is None and any(target.startswith(TLS_TARGET) for target in wanted.controllers)
    without = ("The controller wants TLS, and this switch has no certificate yet; the agent's log says why.",)
    found = (port_problem(port, seen.ports[port.name]) for port in ports if port.name in seen.ports)
    return (*(without if untrusted else ()), *(sentence for sentence in found if sentence))


def port_problem(wanted: Port, seen: Port) -> str | None:
    """Why Open vSwitch could not make a port as asked, or None."""
    if seen.error:
        return f"Open vSwitch cannot use port {wanted.name}: {seen.error}."
    if seen.actual == -1:
        return f"Open vSwitch could not add port {wanted.name}; its log on this host (ovs-vswitchd.log) says why."
    if seen.actual is not None and seen.actual != wanted.ofport:
        return (
            f"Open vSwitch gave port {wanted.name} the OpenFlow number {seen.actual} instead of {wanted.ofport}, "
            f"which another port asked for; remove that port from the bridge."
        )
    return None


def _is_up(endpoint: Endpoint, seen: Seen) -> bool:
    port, link = seen.ports.get(endpoint.port_name), seen.links.get(endpoint.port_name)
    return port is not None and port.actual == endpoint.ofport and link is not None and link.up
