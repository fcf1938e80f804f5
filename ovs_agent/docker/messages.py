"""What dockerd says to a remote driver, as values: a call understood or refused.

It decides which calls there are, which of their fields count and what is wrong with one. Fields that nobody here knows
are left alone: each release of Docker brings new ones. It refuses to know networks, addresses in use and sockets.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ovs_agent.docker import fields
from ovs_agent.docker.fields import IPNetwork, Refused

ACTIVATE = "Plugin.Activate"
GENERIC = "com.docker.network.generic"
PREFIX = "com.docker.network."
PORTMAP = f"{PREFIX}portmap"
MTU = f"{PREFIX}driver.mtu"
MAC_ADDRESS = f"{PREFIX}endpoint.macaddress"
ADDRESS_TYPE, GATEWAY = "RequestAddressType", f"{PREFIX}gateway"
PROTOCOLS = {6: "tcp", 17: "udp", 132: "sctp"}
TRANSPORTS = ("vxlan", "geneve", "gre", "vlan", "host-gw", "local")
NETWORK_OPTIONS = ("tenant", "network", "transport", "physical", "vlan", "mesh", MTU)
POOL_OPTIONS = ("tenant", "network")
ENDPOINT_OPTIONS = ("name", "mesh", "label.KEY")
_LABEL = "label."


class Port(NamedTuple):
    """A published port. `host_port` 0 asks for any; `host_ip` "" for all addresses of the host."""

    protocol: str
    port: int
    host_ip: str
    host_port: int
    host_port_end: int


class Subnet(NamedTuple):
    """What CreateNetwork says of one subnet."""

    space: str
    subnet: IPNetwork
    gateway: str  # without prefix length; "" when there is none
    aux: Mapping[str, str]  # auxiliary addresses by name


class RequestPool(NamedTuple):
    subnet: IPNetwork | None  # None: any
    range: IPNetwork | None
    v6: bool
    tenant: str
    network: str


class ReleasePool(NamedTuple):
    pool: str


class RequestAddress(NamedTuple):
    pool: str
    address: str  # "": any
    mac: str
    gateway: bool


class ReleaseAddress(NamedTuple):
    pool: str
    address: str


class CreateNetwork(NamedTuple):
    id: str
    subnets: tuple[Subnet, ...]
    internal: bool
    tenant: str
    network: str
    mtu: int | None
    transport: str | None
    physical: str | None
    vlan: int | None
    mesh: bool

    def wanted(self, ranges: list[str]) -> dict[str, Any]:
        """As the API is asked for it; `ranges` are those of its pools. Raises Refused."""
        return {
            "subnets": [str(one.subnet) for one in self.subnets] or None,
            "gateways": [one.gateway for one in self.subnets if one.gateway],
            "ip_ranges": ranges,
            "aux_addresses": _auxiliary(self.subnets),
            "isolated": self.internal,
            "mtu": self.mtu,
            "transport": self.transport,
            "physical": self.physical,
            "vlan": self.vlan,
        }


class DeleteNetwork(NamedTuple):
    id: str


class CreateEndpoint(NamedTuple):
    network: str
    id: str
    addresses: tuple[str, ...]  # with prefix length
    mac: str
    ports: tuple[Port, ...]
    name: str
    labels: Mapping[str, str]
    mesh: bool | None  # None: as the network says


class Join(NamedTuple):
    network: str
    id: str
    sandbox: str
    ports: tuple[Port, ...]


class Publish(NamedTuple):
    """ProgramExternalConnectivity: this endpoint is the container's way out, and so its published ports' way in."""

    network: str
    id: str
    ports: tuple[Port, ...]


class OfEndpoint(NamedTuple):
    """A call that names an endpoint and no more."""

    method: str
    network: str
    id: str


class Constant(NamedTuple):
    """A call whose answer never changes."""

    reply: Mapping[str, Any]


Call = (
    RequestPool
    | ReleasePool
    | RequestAddress
    | ReleaseAddress
    | CreateNetwork
    | DeleteNetwork
    | CreateEndpoint
    | Join
    | Publish
    | OfEndpoint
    | Constant
)

CONSTANT: Mapping[str, Mapping[str, Any]] = {
    ACTIVATE: {"Implements": ["NetworkDriver", "IpamDriver"]},
    # "global" would be for swarm alone, and swarm takes no plugin that is a socket.
    "NetworkDriver.GetCapabilities": {"Scope": "local", "ConnectivityScope": "global"},
    # Docker then names an endpoint's MAC address already when it asks for the addresses: one name for both families.
    # Nothing is to be replayed when dockerd starts: what was given is remembered here.
    "IpamDriver.GetCapabilities": {"RequiresMACAddress": True, "RequiresRequestReplay": False},
    "IpamDriver.GetDefaultAddressSpaces": {
        "LocalDefaultAddressSpace": "warren",
        "GlobalDefaultAddressSpace": "warren-global",
    },
    "NetworkDriver.DiscoverNew": {},
    "NetworkDriver.DiscoverDelete": {},
}
SWARM = ("NetworkDriver.AllocateNetwork", "NetworkDriver.FreeNetwork")


def parse(method: str, body: bytes) -> Call:
    """`method` is like `IpamDriver.RequestPool`. Raises Refused."""
    if method in CONSTANT:
        return Constant(CONSTANT[method])
    if method in SWARM:
        raise Refused("Warren's Docker networks are local in scope: create them on each host, without --scope swarm.")
    understand = _CALLS.get(method)
    if understand is None:
        raise Refused(f"Warren does not know the call '{method[: fields.TEXT_LIMIT]}'.", 404)
    if not body.strip():
        raise Refused(f"{method} came without a body; it needs a JSON object.", 400)
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        raise Refused(f"{method} came with a body that is not JSON.", 400) from None
    if not isinstance(said, dict):
        raise Refused(f"{method} came with a body that is not a JSON object.", 400)
    return understand(said)


def _request_pool(said: Mapping[str, Any]) -> Call:
    options = fields.options(said, "Options")
    _refuse_unknown(options, POOL_OPTIONS, "--ipam-opt")
    subnet, part = fields.subnet(said, "Pool"), fields.subnet(said, "SubPool")
    v6 = said.get("V6") is True
    if subnet is not None and (subnet.version == 6) != v6:
        raise Refused(f"Pool {subnet} is not IPv{6 if v6 else 4}.", 400)
    if part is not None and (subnet is None or not _within(part, subnet)):
        raise Refused(f"Range {part} is not inside of the subnet; give --subnet with it, and choose a part of that.")
    return RequestPool(subnet, part, v6, fields.name(options, "tenant"), fields.name(options, "network"))


def _request_address(said: Mapping[str, Any]) -> Call:
    options = fields.options(said, "Options")
    gateway = options.get(ADDRESS_TYPE) == GATEWAY
    return RequestAddress(
        fields.text(said, "PoolID", True), fields.address(said, "Address"), fields.mac(options, MAC_ADDRESS), gateway
    )


def _create_network(said: Mapping[str, Any]) -> Call:
    options = fields.mapping(said, "Options")
    generic = fields.options(options, GENERIC)
    _refuse_unknown(generic, NETWORK_OPTIONS, "-o")
    transport = generic.get("transport") or None
    if transport is not None and transport not in TRANSPORTS:
        raise Refused(f"Option transport is '{transport}'; Warren has {', '.join(TRANSPORTS)}.")
    subnets = [_subnet(one) for key in ("IPv4Data", "IPv6Data") for one in fields.items(said, key)]
    return CreateNetwork(
        fields.identifier(said, "NetworkID"),
        tuple(subnets),
        options.get(f"{PREFIX}internal") is True,
        fields.name(generic, "tenant"),
        fields.name(generic, "network"),
        fields.number(generic, MTU, "a number of bytes, like 1400"),
        transport,
        fields.name(generic, "physical") or None,
        fields.number(generic, "vlan", "a VLAN tag, like 42"),
        fields.flag(generic, "mesh") is True,
    )


def _create_endpoint(said: Mapping[str, Any]) -> Call:
    interface, options = fields.mapping(said, "Interface"), fields.mapping(said, "Options")
    own = {key: value for key, value in options.items() if not key.startswith(PREFIX)}
    labels = {key.removeprefix(_LABEL): value for key, value in own.items() if key.startswith(_LABEL)}
    _refuse_unknown({key: "" for key in own if not key.startswith(_LABEL)}, ENDPOINT_OPTIONS, "driver-opt")
    for key, value in labels.items():
        if not isinstance(value, str) or len(value) > fields.TEXT_LIMIT:
            raise Refused(f"Option {_LABEL}{key} is not a text.", 400)
    addresses = [fields.interface(interface, key) for key in ("Address", "AddressIPv6")]
    return CreateEndpoint(
        fields.identifier(said, "NetworkID"),
        fields.identifier(said, "EndpointID"),
        tuple(str(one) for one in addresses if one is not None),
        fields.mac(interface, "MacAddress"),
        _ports(options),
        fields.name(own, "name"),
        labels,
        fields.flag(own, "mesh"),
    )


def _join(said: Mapping[str, Any]) -> Call:
    ports = _ports(fields.mapping(said, "Options"))
    return Join(
        fields.identifier(said, "NetworkID"),
        fields.identifier(said, "EndpointID"),
        fields.text(said, "SandboxKey"),
        ports,
    )


def _publish(said: Mapping[str, Any]) -> Call:
    return Publish(
        fields.identifier(said, "NetworkID"),
        fields.identifier(said, "EndpointID"),
        _ports(fields.mapping(said, "Options")),
    )


def _of_endpoint(method: str) -> Callable[[Mapping[str, Any]], Call]:
    return lambda said: OfEndpoint(method, fields.identifier(said, "NetworkID"), fields.identifier(said, "EndpointID"))


LEAVE, DELETE_ENDPOINT = "NetworkDriver.Leave", "NetworkDriver.DeleteEndpoint"
REVOKE, OPER_INFO = "NetworkDriver.RevokeExternalConnectivity", "NetworkDriver.EndpointOperInfo"
_CALLS: Mapping[str, Callable[[Mapping[str, Any]], Call]] = {
    "IpamDriver.RequestPool": _request_pool,
    "IpamDriver.ReleasePool": lambda said: ReleasePool(fields.text(said, "PoolID", True)),
    "IpamDriver.RequestAddress": _request_address,
    "IpamDriver.ReleaseAddress": lambda said: ReleaseAddress(
        fields.text(said, "PoolID", True), fields.address(said, "Address")
    ),
    "NetworkDriver.CreateNetwork": _create_network,
    "NetworkDriver.DeleteNetwork": lambda said: DeleteNetwork(fields.identifier(said, "NetworkID")),
    "NetworkDriver.CreateEndpoint": _create_endpoint,
    "NetworkDriver.Join": _join,
    "NetworkDriver.ProgramExternalConnectivity": _publish,
    **{method: _of_endpoint(method) for method in (LEAVE, DELETE_ENDPOINT, REVOKE, OPER_INFO)},
}


def _subnet(said: Any) -> Subnet:
    if not isinstance(said, dict):
        raise Refused("IPv4Data and IPv6Data are lists of JSON objects.", 400)
    subnet, gateway = fields.subnet(said, "Pool"), fields.interface(said, "Gateway")
    if subnet is None:
        raise Refused("A network's Pool is empty.", 400)
    aux = fields.mapping(said, "AuxAddresses")
    found = {fields.auxiliary(key): fields.interface(aux, key) for key in aux}
    return Subnet(
        fields.text(said, "AddressSpace"),
        subnet,
        "" if gateway is None else str(gateway.ip),
        {name: str(one.ip) for name, one in found.items() if one is not None},
    )


def _auxiliary(subnets: tuple[Subnet, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    for subnet in subnets:
        for name, address in subnet.aux.items():
            if name in found:
                raise Refused(f"Auxiliary addresses {found[name]} and {address} are both named {name}; rename one.")
            found[name] = address
    return found


def _ports(options: Mapping[str, Any]) -> tuple[Port, ...]:
    found = []
    for one in fields.items(options, PORTMAP):
        if not isinstance(one, dict) or one.get("Proto") not in tuple(PROTOCOLS):
            raise Refused(
                f"{PORTMAP} holds {str(one)[: fields.TEXT_LIMIT]!r}, which is not a port of TCP, UDP or SCTP.", 400
            )
        numbers = [one.get(key, 0) for key in ("Port", "HostPort", "HostPortEnd")]
        if any(type(number) is not int or not 0 <= number <= 65535 for number in numbers):
            raise Refused(f"{PORTMAP} holds a port that is not 0 to 65535.", 400)
        found.append(Port(PROTOCOLS[one["Proto"]], numbers[0], fields.address(one, "HostIP"), numbers[1], numbers[2]))
    return tuple(found)


def _within(part: IPNetwork, whole: IPNetwork) -> bool:
    return part.version == whole.version and part.network_address in whole and part.broadcast_address in whole


def _refuse_unknown(options: Mapping[str, Any], known: tuple[str, ...], flag: str) -> None:
    """An option of the user's that is misspelled must not pass as one left out. Docker's own may be new."""
    for key in options:
        if key not in known and not key.startswith("com.docker."):
            raise Refused(f"Warren has no option {flag} {key[: fields.TEXT_LIMIT]}; it has {', '.join(known)}.")
