"""What dockerd says to a remote driver, as values: a call understood or refused.

It decides which calls there are, which of their fields count and what is wrong with one. Fields that nobody here knows
are left alone: each release of Docker brings new ones. It refuses to know networks, addresses in use and sockets.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

ACTIVATE = "Plugin.Activate"
GENERIC = "com.docker.network.generic"
PREFIX = "com.docker.network."
PORTMAP = f"{PREFIX}portmap"
MTU = f"{PREFIX}driver.mtu"
MAC_ADDRESS = f"{PREFIX}endpoint.macaddress"
ADDRESS_TYPE, GATEWAY = "RequestAddressType", f"{PREFIX}gateway"
PROTOCOLS = {6: "tcp", 17: "udp", 132: "sctp"}
TRANSPORTS = ("vxlan",)
NETWORK_OPTIONS = ("tenant", "network", "transport", MTU)
POOL_OPTIONS = ("tenant", "network")
ENDPOINT_OPTIONS = ("name", "label.KEY")
_LABEL = "label."
_ID = re.compile(r"[0-9a-z]{1,64}")
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
TEXT_LIMIT = 255

IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network
IPInterface = ipaddress.IPv4Interface | ipaddress.IPv6Interface


class Refused(Exception):  # noqa: N818
    """A sentence for whoever typed the command; `status` is HTTP's."""

    def __init__(self, sentence: str, status: int = 200) -> None:
        super().__init__(sentence)
        self.status = status


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
    aux: tuple[str, ...]


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
        raise Refused(f"Warren does not know the call '{method[:TEXT_LIMIT]}'.", 404)
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
    options = _options(said, "Options")
    _refuse_unknown(options, POOL_OPTIONS, "--ipam-opt")
    subnet, part = _network(said, "Pool"), _network(said, "SubPool")
    v6 = said.get("V6") is True
    if subnet is not None and (subnet.version == 6) != v6:
        raise Refused(f"Pool {subnet} is not IPv{6 if v6 else 4}.", 400)
    if part is not None and (subnet is None or not _within(part, subnet)):
        raise Refused(f"Range {part} is not inside of the subnet; give --subnet with it, and choose a part of that.")
    return RequestPool(subnet, part, v6, _name(options, "tenant"), _name(options, "network"))


def _request_address(said: Mapping[str, Any]) -> Call:
    options = _options(said, "Options")
    gateway = options.get(ADDRESS_TYPE) == GATEWAY
    return RequestAddress(_text(said, "PoolID", True), _address(said, "Address"), _mac(options, MAC_ADDRESS), gateway)


def _create_network(said: Mapping[str, Any]) -> Call:
    options = _mapping(said, "Options")
    generic = _options(options, GENERIC)
    _refuse_unknown(generic, NETWORK_OPTIONS, "-o")
    transport = generic.get("transport", TRANSPORTS[0])
    if transport not in TRANSPORTS:
        raise Refused(f"Option transport is '{transport}'; Warren has {', '.join(TRANSPORTS)}.")
    mtu = generic.get(MTU, "")
    if mtu and not re.fullmatch(r"\d{3,5}", mtu):
        raise Refused(f"Option {MTU} is '{mtu}'; give a number of bytes, like 1400.")
    subnets = [_subnet(one) for key in ("IPv4Data", "IPv6Data") for one in _list(said, key)]
    return CreateNetwork(
        _id(said, "NetworkID"),
        tuple(subnets),
        options.get(f"{PREFIX}internal") is True,
        _name(generic, "tenant"),
        _name(generic, "network"),
        int(mtu) if mtu else None,
    )


def _create_endpoint(said: Mapping[str, Any]) -> Call:
    interface, options = _mapping(said, "Interface"), _mapping(said, "Options")
    own = {key: value for key, value in options.items() if not key.startswith(PREFIX)}
    labels = {key.removeprefix(_LABEL): value for key, value in own.items() if key.startswith(_LABEL)}
    _refuse_unknown({key: "" for key in own if not key.startswith(_LABEL)}, ENDPOINT_OPTIONS, "driver-opt")
    for key, value in labels.items():
        if not isinstance(value, str) or len(value) > TEXT_LIMIT:
            raise Refused(f"Option {_LABEL}{key} is not a text.", 400)
    addresses = [_interface(interface, key) for key in ("Address", "AddressIPv6")]
    return CreateEndpoint(
        _id(said, "NetworkID"),
        _id(said, "EndpointID"),
        tuple(str(one) for one in addresses if one is not None),
        _mac(interface, "MacAddress"),
        _ports(options),
        _name(own, "name"),
        labels,
    )


def _join(said: Mapping[str, Any]) -> Call:
    ports = _ports(_mapping(said, "Options"))
    return Join(_id(said, "NetworkID"), _id(said, "EndpointID"), _text(said, "SandboxKey"), ports)


def _publish(said: Mapping[str, Any]) -> Call:
    return Publish(_id(said, "NetworkID"), _id(said, "EndpointID"), _ports(_mapping(said, "Options")))


def _of_endpoint(method: str) -> Callable[[Mapping[str, Any]], Call]:
    return lambda said: OfEndpoint(method, _id(said, "NetworkID"), _id(said, "EndpointID"))


LEAVE, DELETE_ENDPOINT = "NetworkDriver.Leave", "NetworkDriver.DeleteEndpoint"
REVOKE, OPER_INFO = "NetworkDriver.RevokeExternalConnectivity", "NetworkDriver.EndpointOperInfo"
_CALLS: Mapping[str, Callable[[Mapping[str, Any]], Call]] = {
    "IpamDriver.RequestPool": _request_pool,
    "IpamDriver.ReleasePool": lambda said: ReleasePool(_text(said, "PoolID", True)),
    "IpamDriver.RequestAddress": _request_address,
    "IpamDriver.ReleaseAddress": lambda said: ReleaseAddress(_text(said, "PoolID", True), _address(said, "Address")),
    "NetworkDriver.CreateNetwork": _create_network,
    "NetworkDriver.DeleteNetwork": lambda said: DeleteNetwork(_id(said, "NetworkID")),
    "NetworkDriver.CreateEndpoint": _create_endpoint,
    "NetworkDriver.Join": _join,
    "NetworkDriver.ProgramExternalConnectivity": _publish,
    **{method: _of_endpoint(method) for method in (LEAVE, DELETE_ENDPOINT, REVOKE, OPER_INFO)},
}


def _subnet(said: Any) -> Subnet:
    if not isinstance(said, dict):
        raise Refused("IPv4Data and IPv6Data are lists of JSON objects.", 400)
    subnet, gateway = _network(said, "Pool"), _interface(said, "Gateway")
    if subnet is None:
        raise Refused("A network's Pool is empty.", 400)
    aux = _mapping(said, "AuxAddresses")
    found = [_interface(aux, key) for key in aux]
    return Subnet(
        _text(said, "AddressSpace"),
        subnet,
        "" if gateway is None else str(gateway.ip),
        tuple(str(one.ip) for one in found if one is not None),
    )


def _ports(options: Mapping[str, Any]) -> tuple[Port, ...]:
    found = []
    for one in _list(options, PORTMAP):
        if not isinstance(one, dict) or one.get("Proto") not in tuple(PROTOCOLS):
            raise Refused(f"{PORTMAP} holds {str(one)[:TEXT_LIMIT]!r}, which is no port of TCP, UDP or SCTP.", 400)
        numbers = [one.get(key, 0) for key in ("Port", "HostPort", "HostPortEnd")]
        if any(type(number) is not int or not 0 <= number <= 65535 for number in numbers):
            raise Refused(f"{PORTMAP} holds a port that is not 0 to 65535.", 400)
        found.append(Port(PROTOCOLS[one["Proto"]], numbers[0], _address(one, "HostIP"), numbers[1], numbers[2]))
    return tuple(found)


def _within(part: IPNetwork, whole: IPNetwork) -> bool:
    return part.version == whole.version and part.network_address in whole and part.broadcast_address in whole


def _refuse_unknown(options: Mapping[str, Any], known: tuple[str, ...], flag: str) -> None:
    """An option of the user's that is misspelled must not pass as one left out. Docker's own may be new."""
    for key in options:
        if key not in known and not key.startswith("com.docker."):
            raise Refused(f"Warren has no option {flag} {key[:TEXT_LIMIT]}; it has {', '.join(known)}.")


def _mapping(said: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = said.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Refused(f"{key} is not a JSON object.", 400)
    return value


def _list(said: Mapping[str, Any], key: str) -> list[Any]:
    value = said.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise Refused(f"{key} is not a list.", 400)
    return value


def _options(said: Mapping[str, Any], key: str) -> Mapping[str, str]:
    """What users gave as key=value."""
    options = _mapping(said, key)
    for name, value in options.items():
        if not isinstance(value, str) or len(value) > TEXT_LIMIT:
            raise Refused(f"Option {name[:TEXT_LIMIT]} is not a text of at most {TEXT_LIMIT} characters.", 400)
    return options


def _text(said: Mapping[str, Any], key: str, needed: bool = False) -> str:
    value = said.get(key)
    if value is None and not needed:
        return ""
    if not isinstance(value, str) or len(value) > TEXT_LIMIT or not value.isprintable() or (needed and not value):
        raise Refused(f"{key} is not a text of 1 to {TEXT_LIMIT} printable characters.", 400)
    return value


def _id(said: Mapping[str, Any], key: str) -> str:
    value = _text(said, key, True)
    if not _ID.fullmatch(value):
        raise Refused(f"{key} '{value}' is not an id as Docker makes them: 1 to 64 letters and digits.", 400)
    return value


def _name(options: Mapping[str, Any], key: str) -> str:
    """A name of Warren's, or ""."""
    value = options.get(key) or ""
    if value and not (isinstance(value, str) and _NAME.fullmatch(value)):
        raise Refused(f"Option {key} is '{str(value)[:TEXT_LIMIT]}'; names are lower-case letters, digits and hyphens.")
    return str(value)


def _mac(said: Mapping[str, Any], key: str) -> str:
    value = _text(said, key).lower()
    if value and not _MAC.fullmatch(value):
        raise Refused(f"{key} '{value}' is not a MAC address.", 400)
    return value


def _address(said: Mapping[str, Any], key: str) -> str:
    value = _text(said, key)
    try:
        return str(ipaddress.ip_address(value)) if value else ""
    except ValueError:
        raise Refused(f"{key} '{value}' is not an address.", 400) from None


def _interface(said: Mapping[str, Any], key: str) -> IPInterface | None:
    value = _text(said, key)
    try:
        return ipaddress.ip_interface(value) if value else None
    except ValueError:
        raise Refused(f"{key} '{value}' is not an address.", 400) from None


def _network(said: Mapping[str, Any], key: str) -> IPNetwork | None:
    value = _text(said, key)
    try:
        return ipaddress.ip_network(value, strict=False) if value else None
    except ValueError:
        raise Refused(f"{key} '{value}' is not a subnet.", 400) from None
