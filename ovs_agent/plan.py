"""What to do to a host: from what is wanted and what is seen, the steps that make them agree.

It decides when a bridge, a controller target, a port or a link is made, corrected or removed. It refuses to know how
a step is carried out, what time it is and where its input came from; the same input always gives the same steps, and
input that already agrees gives none. Missing data is never taken for deleted data: an endpoint's port goes only when
a document that the API really sent, during this run, no longer names the endpoint.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from ovs_agent.document import RESOLVER, Endpoint, Tunnel, Wanted
from ovs_agent.nat import gateway_port

ENDPOINT = "warren-endpoint"
"""The key in a port's external_ids that makes the port ours. Ports without it are never touched."""

SEGMENT = "warren-segment"
"""The key in a port's external_ids that makes it the end of a cable to a segment; its value is the segment's name."""

WAS_DOWN = "warren-was-down"
"""The key in a port's external_ids that says: its interface is the host's own, and was down before it became a port."""

MTUS = "warren-mtu"
"""The key in a port's external_ids for what a container's interface, and its routes out of the network, were given."""

LIMITS = "warren-limits"
"""The key in a port's external_ids for the limits that its endpoint is held to."""

BRIDGE_NAME_LIMIT = 11
"""Ports are named after the bridge (`warren0-tun`), and Linux takes 15 characters."""

TUNNEL = "warren-tunnel"
"""The key in a port's external_ids that makes it a tunnel of ours; its value is the kind."""

EMPTY: Mapping[str, str] = MappingProxyType({})


class Port(NamedTuple):
    """A port with its one interface: as wanted, or as Open vSwitch has it (then with `actual` and `error`)."""

    name: str
    ofport: int | None  # the number asked for
    type: str = ""
    mac: str | None = None
    options: Mapping[str, str] = EMPTY
    external_ids: Mapping[str, str] = EMPTY
    actual: int | None = None  # the number given; None until Open vSwitch has looked at the port
    error: str | None = None

    def without(self, key: str) -> Port:
        """The port without one of its external_ids."""
        return self._replace(external_ids={name: said for name, said in self.external_ids.items() if name != key})


class Bridge(NamedTuple):
    """A bridge's settings, as wanted or as seen."""

    name: str
    datapath_type: str
    datapath_id: str
    fail_mode: str = "secure"
    protocols: tuple[str, ...] = ("OpenFlow14",)
    in_band: bool = False


class Controller(NamedTuple):
    """A connection from the bridge to a controller."""

    target: str
    inactivity_probe_ms: int = 15_000
    max_backoff_ms: int = 1_000
    connection_mode: str = "out-of-band"


TLS_TARGET = "ssl:"
"""How the address of a controller begins that is reached by TLS."""


class Ssl(NamedTuple):
    """Files that the switch shows and believes. It has one such set for all of its bridges."""

    key: str
    certificate: str
    authority: str


class Link(NamedTuple):
    """An interface in the host's namespace; `made`: the host's end of a pair of our making."""

    up: bool
    mtu: int
    made: bool


class Seen(NamedTuple):
    """What is on the host. `ports` are the bridge's, `links` the interfaces, `others` the ports of other bridges, by
    bridge and name. `underlay` is the interface that has the host's address. `unlimited` are ports of endpoints whose
    limits somebody has taken away."""

    bridge: Bridge | None = None
    controllers: tuple[Controller, ...] = ()
    connected: frozenset[str] = frozenset()  # targets
    ports: Mapping[str, Port] = MappingProxyType({})
    links: Mapping[str, Link] = MappingProxyType({})
    others: Mapping[str, Mapping[str, Port]] = MappingProxyType({})
    underlay: str | None = None
    ssl: Ssl | None = None
    unlimited: frozenset[str] = frozenset()


class Local(NamedTuple):
    """What this run of the agent knows by itself.

    `fresh`: the wanted document was received in this run, not read from disk. `attached`: endpoints made in this run,
    each with the revision that introduced it, so that an older document does not count against them. `busy`: port
    names which an attach or a detach is working on at this moment. `physical`: by the names of the segments that the
    host has, the bridge or the interface by which it has them. `ssl` is what the API signed for this host.
    `everywhere`: every host has the flows that need no more tunnels and segments than the document has.
    """

    bridge: str
    datapath_type: str
    fresh: bool
    attached: tuple[tuple[int, Endpoint], ...] = ()
    busy: frozenset[str] = frozenset()
    physical: Mapping[str, str] = EMPTY
    ssl: Ssl | None = None
    everywhere: bool = False


class SetBridge(NamedTuple):
    """Make the bridge or correct its settings."""

    bridge: Bridge


class SetSsl(NamedTuple):
    ssl: Ssl


class SetControllers(NamedTuple):
    bridge: str
    controllers: tuple[Controller, ...]


class PutPort(NamedTuple):
    """Make the port or correct its settings."""

    bridge: str
    port: Port


class DropPort(NamedTuple):
    bridge: str
    name: str


class RaiseLink(NamedTuple):
    name: str


class LowerLink(NamedTuple):
    """Give an interface of the host's own back as it was."""

    name: str


class DropLink(NamedTuple):
    name: str


class SetMtu(NamedTuple):
    """Of both ends of the endpoint's pair, and of routes in its container's namespace. What the port says of them is
    true when that is done, and not before."""

    endpoint: Endpoint


class SetLimits(NamedTuple):
    """Of what goes into the endpoint's interface and what comes out. What the port says of them is true when that is
    done, and not before."""

    endpoint: Endpoint


Step = SetBridge | SetSsl | SetControllers | PutPort | DropPort | RaiseLink | LowerLink | DropLink | SetMtu | SetLimits


def plan(wanted: Wanted, seen: Seen, local: Local) -> tuple[Step, ...]:
    """The steps that make the host agree, in the order in which they must happen."""
    return (
        *_bridge_steps(wanted, seen, local),
        *_own_port_steps(wanted, seen, local),
        *_endpoint_steps(wanted, seen, local),
        *_removals(wanted, seen, local),
    )


def endpoints(wanted: Wanted, local: Local) -> tuple[Endpoint, ...]:
    """The document's endpoints, and those attached since it was written: some may have left another container."""
    newer = {e.id: e for revision, e in local.attached if revision > wanted.revision}
    return (*(newer.pop(one.id, one) for one in wanted.endpoints), *newer.values())


def endpoint_port(endpoint: Endpoint) -> Port:
    return Port(
        name=endpoint.port_name,
        ofport=endpoint.ofport,
        external_ids={
            ENDPOINT: str(endpoint.id),
            "container": endpoint.container_id,
            "ifname": endpoint.ifname,
            "netns": endpoint.netns,
            **({"interface": endpoint.interface} if endpoint.interface else {MTUS: mtus(endpoint)}),
            **({LIMITS: limits(endpoint)} if any(endpoint.limits) else {}),
        },
    )


def limits(endpoint: Endpoint) -> str:
    return "/".join(map(str, endpoint.limits)) if any(endpoint.limits) else ""


def mtus(endpoint: Endpoint) -> str:
    """The MTU of its interface and, where it is smaller, of its routes."""
    return f"{endpoint.mtu}/{endpoint.route_mtu}" if endpoint.route_mtu < endpoint.mtu else str(endpoint.mtu)


def own_ports(wanted: Wanted, local: Local) -> tuple[Port, ...]:
    """Ports of the bridge that no endpoint and no segment has: of tunnels, and the gateway's."""
    tunnels = (
        Port(
            f"{local.bridge}-{tunnel.suffix}",
            tunnel.ofport,
            tunnel.type,
            options=_options(tunnel, wanted.address),
            external_ids={TUNNEL: tunnel.type},
        )
        for tunnel in wanted.tunnels
    )
    return (*tunnels, Port(gateway_port(local.bridge), wanted.gateway.ofport, "internal", mac=wanted.gateway.mac))


def leaving(wanted: Wanted, seen: Seen, local: Local) -> tuple[str, ...]:
    """Tunnels that no network uses any more. They stay until every host has the flows that do not use them either:
    until then others send by them."""
    keep = {port.name for port in own_ports(wanted, local)}
    return tuple(sorted(name for name, port in seen.ports.items() if TUNNEL in port.external_ids and name not in keep))


def _options(tunnel: Tunnel, address: str | None) -> dict[str, str]:
    options = {"remote_ip": "flow", "key": "flow"}
    if tunnel.port:
        options["dst_port"] = str(tunnel.port)
        if address and ":" in address:
            options["csum"] = "true"  # IPv6 has no header checksum: a UDP checksum of zero is refused by many receivers
    return options


def resolver_port(bridge: str) -> Port:
    """One end of a pair whose other end the agent listens at. Made when that exists, and not before."""
    return Port(f"{bridge}-dns", RESOLVER.ofport)


def _bridge_steps(wanted: Wanted, seen: Seen, local: Local) -> list[Step]:
    steps: list[Step] = []
    bridge = Bridge(local.bridge, local.datapath_type, wanted.datapath_id)
    if seen.bridge != bridge:
        steps.append(SetBridge(bridge))
    controllers = tuple(Controller(target) for target in sorted(set(wanted.controllers)))
    # What somebody else gave the switch is theirs, and may do.
    needed = any(controller.target.startswith(TLS_TARGET) for controller in controllers)
    ours = seen.ssl is None or (local.ssl is not None and seen.ssl.key == local.ssl.key)
    if needed and local.ssl is not None and ours and seen.ssl != local.ssl:
        steps.append(SetSsl(local.ssl))
    # A document without controllers says that none has introduced itself yet; a bridge that has some keeps them.
    if controllers and sorted(seen.controllers) != list(controllers):
        steps.append(SetControllers(local.bridge, controllers))
    return steps


def _own_port_steps(wanted: Wanted, seen: Seen, local: Local) -> list[Step]:
    ports = list(own_ports(wanted, local))
    resolver = resolver_port(local.bridge)
    if resolver.name in seen.links:
        ports.append(resolver)
    return [PutPort(local.bridge, port) for port in ports if not agrees(port, seen.ports.get(port.name))]


def _endpoint_steps(wanted: Wanted, seen: Seen, local: Local) -> list[Step]:
    """Only an endpoint whose interface exists gets a port: the others are being made, or their container is gone."""
    steps: list[Step] = []
    for endpoint in endpoints(wanted, local):
        name = endpoint.port_name
        link = seen.links.get(name)
        # Whatever has got the name of one of our own pairs is not to be touched, nor a pair that is not the host's own.
        if name in local.busy or link is None or link.made == bool(endpoint.interface):
            continue
        if not link.up:
            steps.append(RaiseLink(name))
        port, there = endpoint_port(endpoint), seen.ports.get(name)
        told = {} if there is None else there.external_ids
        if link.made and (link.mtu != endpoint.mtu or (there is not None and told.get(MTUS) != mtus(endpoint))):
            steps.append(SetMtu(endpoint))
        if there is not None and (told.get(LIMITS, "") != limits(endpoint) or name in seen.unlimited):
            steps.append(SetLimits(endpoint))
            port = port._replace(external_ids={**port.external_ids, LIMITS: limits(endpoint)})
        if not agrees(port, there):
            steps.append(PutPort(local.bridge, port))
    return steps


def _removals(wanted: Wanted, seen: Seen, local: Local) -> list[Step]:
    if not local.fresh:
        return []
    keep = (
        local.busy | {endpoint.port_name for endpoint in endpoints(wanted, local)} | {resolver_port(local.bridge).name}
    )
    ours = {name: port for name, port in sorted(seen.ports.items()) if ENDPOINT in port.external_ids}
    steps: list[Step] = [DropPort(local.bridge, name) for name in ours if name not in keep]
    steps += [DropPort(local.bridge, name) for name in (leaving(wanted, seen, local) if local.everywhere else ())]
    steps += [LowerLink(name) for name, port in ours.items() if name not in keep and WAS_DOWN in port.external_ids]
    steps += [DropLink(name) for name, link in sorted(seen.links.items()) if link.made and name not in keep]
    return steps


def agrees(wanted: Port, seen: Port | None) -> bool:
    """Whether the settings are those asked for; what people added beside them does not matter."""
    return (
        seen is not None
        and seen.type == wanted.type
        and seen.ofport == wanted.ofport
        and (wanted.mac is None or seen.mac == wanted.mac)
        and wanted.options.items() <= seen.options.items()
        and wanted.external_ids.items() <= seen.external_ids.items()
    )
