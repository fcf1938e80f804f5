"""The CNI specification as values: a call understood or refused, a result and an error in the shape asked for.

It decides what a call means and which error code a mistake has. It refuses to know files, sockets and what an
attachment takes; it is given text and answers with values.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

from ovs_agent.document import Endpoint

SUPPORTED = ("0.3.1", "0.4.0", "1.0.0", "1.1.0")

INCOMPATIBLE, UNSUPPORTED, UNKNOWN_CONTAINER, BAD_ENVIRONMENT = 1, 2, 3, 4
UNDECODABLE, BAD_CONFIG, BAD_NETNS, TRY_AGAIN = 6, 7, 8, 11
NOT_AVAILABLE = 50
INTERFACE_EXISTS, REFUSED, PORT_FAILED, FLOWS_FAILED, CHECK_FAILED, INTERNAL = 100, 101, 102, 103, 104, 999

REQUIRED = {
    "ADD": ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"),
    "CHECK": ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"),
    "DEL": ("CNI_CONTAINERID", "CNI_IFNAME"),
    "GC": (),
    "STATUS": (),
    "VERSION": (),
}
SINCE = {"CHECK": "0.4.0", "GC": "1.1.0", "STATUS": "1.1.0"}
FIRST_INTERFACE = "eth0"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")


class CniError(Exception):
    """What a runtime is told; `msg` is a sentence with the value and the remedy."""

    def __init__(self, code: int, msg: str, details: str = "") -> None:
        super().__init__(msg)
        self.code = code
        self.msg = msg
        self.details = details


class Call(NamedTuple):
    """One call, checked."""

    command: str
    version: str
    name: str  # of the CNI network, which is the runtime's word, not Warren's
    container_id: str
    ifname: str
    netns: str
    args: Mapping[str, str]  # CNI_ARGS
    config: Mapping[str, Any]


def parse(environment: Mapping[str, str], stdin: str) -> Call:
    """Raises CniError."""
    command = _command(environment)
    config = _decode(stdin)
    version = _version(config, command)
    if command == "VERSION":
        return Call(command, version, "", "", "", "", {}, config)
    name = config.get("name")
    if not isinstance(name, str) or not NAME.fullmatch(name):
        _wrong("name", name, "a network name of letters, digits, '.', '_' and '-'")
    if command == "CHECK" and not isinstance(config.get("prevResult"), dict):
        _wrong("prevResult", config.get("prevResult"), "the result of the ADD that is to be checked")
    return Call(
        command,
        version,
        name,
        environment.get("CNI_CONTAINERID", ""),
        environment.get("CNI_IFNAME", ""),
        environment.get("CNI_NETNS", ""),
        _arguments(environment.get("CNI_ARGS", "")),
        config,
    )


def attachment(call: Call) -> dict[str, Any]:
    """What the API is asked for by an ADD. Raises CniError."""
    config = call.config
    if config.get("ipam"):
        given = json.dumps(config["ipam"])
        raise CniError(UNSUPPORTED, f"Field 'ipam' is {given}, but Warren gives the addresses itself; remove it.")
    conventions = _mapping(_mapping(config, "args"), "cni", "args.cni")
    runtime = _mapping(config, "runtimeConfig")
    return {
        "network": _network(call),
        "name": _endpoint_name(call, conventions),
        "netns": call.netns,
        "labels": _labels(conventions.get("labels")),
        "ports": _ports(config.get("ports")),
        "addresses": _addresses(call, conventions, runtime),
        "mac": _mac(call, runtime),
        **_reservation(call, conventions),
        "aliases": _aliases(runtime),
    }


def port_mappings(call: Call) -> list[dict[str, Any]]:
    """What the runtime publishes, as the API is asked for it. Raises CniError."""
    field = "runtimeConfig.portMappings"
    listed = _mapping(call.config, "runtimeConfig").get("portMappings")
    if not isinstance(listed, list | None):
        _wrong(field, listed, "a list of ports")
    found = []
    for one in listed or ():
        host_port, port = (one.get(key) for key in ("hostPort", "containerPort")) if isinstance(one, dict) else (0, 0)
        protocol = str(one.get("protocol") or "tcp").lower() if isinstance(one, dict) else ""
        if not all(type(number) is int and 0 <= number <= 65535 for number in (host_port, port)) or not port:
            _wrong(field, one, "an object with hostPort and containerPort, each 1 to 65535")
        if protocol not in ("tcp", "udp", "sctp"):
            _wrong(field, one, "an object whose protocol is tcp, udp or sctp")
        if host_port:  # 0: the container's port is named, and not published
            ip = one.get("hostIP") or None
            found.append({"protocol": protocol, "port": port, "host_port": host_port, "host_ip": ip})
    return found


def network(call: Call) -> str:
    return _network(call)


def result(call: Call, endpoint: Endpoint, host_mac: str, gateways: Sequence[str]) -> dict[str, Any]:
    """The result of an ADD; `gateways` are those that got a default route."""
    host: dict[str, Any] = {"name": endpoint.port_name, "mac": host_mac}
    container: dict[str, Any] = {"name": endpoint.ifname, "mac": endpoint.mac, "sandbox": endpoint.netns}
    if at_least(call.version, "1.1.0"):
        host["mtu"] = container["mtu"] = endpoint.mtu
    by_version = {ipaddress.ip_address(gateway).version: gateway for gateway in endpoint.gateways}
    ips = []
    for address in endpoint.addresses:
        version = ipaddress.ip_interface(address).version
        ip: dict[str, Any] = {"address": address, "interface": 1}
        if version in by_version:
            ip["gateway"] = by_version[version]
        if not at_least(call.version, "1.0.0"):
            ip["version"] = str(version)
        ips.append(ip)
    routes = [{"dst": "::/0" if ":" in gateway else "0.0.0.0/0", "gw": gateway} for gateway in gateways]
    return {
        "cniVersion": call.version,
        "interfaces": [host, container],
        "ips": ips,
        "routes": routes,
        "dns": _dns(call, endpoint),
    }


def routed(call: Call) -> list[str]:
    """The gateways of the default routes that the previous result lists."""
    routes = call.config["prevResult"].get("routes") or []
    return [route["gw"] for route in routes if route.get("dst") in ("0.0.0.0/0", "::/0") and route.get("gw")]


def valid_attachments(call: Call) -> set[tuple[str, str]]:
    """What a GC says is still in use: container and interface name of each."""
    field = "cni.dev/valid-attachments"
    listed = call.config.get(field)
    if not isinstance(listed, list):
        _wrong(field, listed, 'a list of {"containerID": .., "ifname": ..}')
    return {(str(one.get("containerID")), str(one.get("ifname"))) for one in listed if isinstance(one, dict)}


def version_reply(config: Mapping[str, Any]) -> dict[str, Any]:
    return {"cniVersion": config.get("cniVersion", SUPPORTED[-1]), "supportedVersions": list(SUPPORTED)}


def error(fault: CniError, version: str = SUPPORTED[-1]) -> dict[str, Any]:
    reply: dict[str, Any] = {"cniVersion": version, "code": fault.code, "msg": fault.msg}
    return {**reply, "details": fault.details} if fault.details else reply


def version_of(stdin: str) -> str:
    """The version in which to answer even a call that is refused."""
    try:
        asked = json.loads(stdin).get("cniVersion")
    except (ValueError, AttributeError):
        return SUPPORTED[-1]
    return asked if asked in SUPPORTED else SUPPORTED[-1]


def at_least(version: str, other: str) -> bool:
    return SUPPORTED.index(version) >= SUPPORTED.index(other)


def dns_label(text: str) -> str:
    """A text made into a DNS label: `My_Pod.1` to `my-pod-1`. Empty when nothing of it can stay."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:63].strip("-")


def _command(environment: Mapping[str, str]) -> str:
    command = environment.get("CNI_COMMAND", "")
    if command not in REQUIRED:
        known = ", ".join(REQUIRED)
        raise CniError(BAD_ENVIRONMENT, f"CNI_COMMAND is '{command}'; a container runtime sets it to one of {known}.")
    missing = [name for name in REQUIRED[command] if not environment.get(name)]
    if missing:
        raise CniError(
            BAD_ENVIRONMENT, f"{', '.join(missing)} not set; {command} needs {'it' * (len(missing) == 1) or 'them'}."
        )
    container_id, ifname = environment.get("CNI_CONTAINERID", ""), environment.get("CNI_IFNAME", "")
    if container_id and not NAME.fullmatch(container_id):
        raise CniError(
            BAD_ENVIRONMENT, f"CNI_CONTAINERID '{container_id}' is not made of letters, digits, '.', '_' and '-'."
        )
    if REQUIRED[command] and (len(ifname.encode()) > 15 or ifname in (".", "..") or re.search(r"[\s/:]", ifname)):
        raise CniError(
            BAD_ENVIRONMENT,
            f"CNI_IFNAME '{ifname}' cannot name an interface: use at most 15 characters without '/', ':' and blanks.",
        )
    return command


def _decode(stdin: str) -> Mapping[str, Any]:
    try:
        config = json.loads(stdin)
    except ValueError as fault:
        raise CniError(UNDECODABLE, f"The network configuration is not JSON: {fault}.") from None
    if not isinstance(config, dict):
        raise CniError(UNDECODABLE, "The network configuration is not a JSON object.")
    return config


def _version(config: Mapping[str, Any], command: str) -> str:
    version = config.get("cniVersion", "0.1.0")  # as the specification says of configurations without one
    known = ", ".join(SUPPORTED)
    if command == "VERSION":
        return SUPPORTED[-1]
    if version not in SUPPORTED:
        raise CniError(INCOMPATIBLE, f"cniVersion '{version}' is not supported; set it to one of {known}.")
    since = SINCE.get(command, SUPPORTED[0])
    if not at_least(version, since):
        raise CniError(
            INCOMPATIBLE, f"{command} needs cniVersion {since} or newer; the configuration says '{version}'."
        )
    return str(version)


def _arguments(text: str) -> Mapping[str, str]:
    pairs = [pair.partition("=") for pair in text.split(";") if pair]
    for key, equals, _ in pairs:
        if not key or not equals:
            raise CniError(BAD_ENVIRONMENT, f"CNI_ARGS has '{key}' where KEY=VALUE is expected; join pairs with ';'.")
    return {key: value for key, _, value in pairs}


def _network(call: Call) -> str:
    named = call.config.get("network")
    if named is None:
        namespace = call.args.get("K8S_POD_NAMESPACE")
        if not namespace:
            _wrong("network", named, "TENANT/NETWORK, like 'acme/web'; only Kubernetes pods can go without")
        return f"{namespace}/default"
    parts = named.split("/") if isinstance(named, str) else []
    if len(parts) != 2 or not all(LABEL.fullmatch(part) for part in parts):
        _wrong("network", named, "TENANT/NETWORK, like 'acme/web'")
    return str(named)


def _endpoint_name(call: Call, conventions: Mapping[str, Any]) -> str:
    """After the pod, else as the configuration says, else after the container. Further interfaces add their name."""
    explicit = conventions.get("name")
    if explicit is not None and not (isinstance(explicit, str) and LABEL.fullmatch(explicit)):
        _wrong("args.cni.name", explicit, "a DNS label of at most 63 characters")
    pod = dns_label(call.args.get("K8S_POD_NAME", ""))
    if explicit and not pod:
        return str(explicit)
    name = pod or dns_label(call.container_id[:12])
    further = dns_label(call.ifname) if call.ifname != FIRST_INTERFACE else ""
    return f"{name[: 62 - len(further)]}-{further}" if further else name


def _labels(listed: Any) -> dict[str, str]:
    if listed is None:
        return {}
    expected = 'a list of {"key": .., "value": ..}'
    if not isinstance(listed, list):
        _wrong("args.cni.labels", listed, expected)
    labels = {}
    for one in listed:
        if not isinstance(one, dict) or not isinstance(one.get("key"), str) or not isinstance(one.get("value"), str):
            _wrong("args.cni.labels", one, expected)
        labels[one["key"]] = one["value"]
    return labels


def _ports(listed: Any) -> list[dict[str, Any]]:
    if listed is None:
        return []
    expected = 'a list of {"name": "http", "port": 80, "protocol": "tcp"}'
    if not isinstance(listed, list):
        _wrong("ports", listed, expected)
    ports = []
    for one in listed:
        port = one.get("port") if isinstance(one, dict) else None
        if type(port) is not int or not 1 <= port <= 65535 or not isinstance(one.get("name"), str):
            _wrong("ports", one, expected)
        protocol = str(one.get("protocol", "tcp")).lower()
        if protocol not in ("tcp", "udp", "sctp"):
            _wrong("ports", one, "a protocol of tcp, udp or sctp")
        ports.append({"name": one["name"], "port": port, "protocol": protocol})
    return ports


def _addresses(call: Call, conventions: Mapping[str, Any], runtime: Mapping[str, Any]) -> list[str] | None:
    """The addresses asked for, without prefix length: the subnet has it. None when any will do."""
    asked_in_args = [one for one in call.args.get("IP", "").split(",") if one]
    for field, listed in (
        ("runtimeConfig.ips", runtime.get("ips")),
        ("args.cni.ips", conventions.get("ips")),
        ("CNI_ARGS IP", asked_in_args),
    ):
        if not listed:
            continue
        if not isinstance(listed, list):
            _wrong(field, listed, "a list of addresses")
        try:
            found = [str(ipaddress.ip_interface(one).ip) for one in listed]
        except ValueError:
            _wrong(field, listed, "a list of IP addresses, like ['10.20.0.9']")
        return list(dict.fromkeys(found))
    return None


def _reservation(call: Call, conventions: Mapping[str, Any]) -> dict[str, str]:
    """The name whose reserved addresses are asked for, if it is said."""
    for field, name in (
        ("args.cni.reservation", conventions.get("reservation")),
        ("CNI_ARGS RESERVATION", call.args.get("RESERVATION")),
    ):
        if name:
            if not isinstance(name, str):
                _wrong(field, name, "a name, like db1")
            return {"reservation": name}
    return {}


def _mac(call: Call, runtime: Mapping[str, Any]) -> str | None:
    for field, mac in (("runtimeConfig.mac", runtime.get("mac")), ("CNI_ARGS MAC", call.args.get("MAC"))):
        if mac:
            if not isinstance(mac, str) or not MAC.fullmatch(mac.lower()):
                _wrong(field, mac, "a MAC address, like 02:00:0a:14:00:09")
            return mac.lower()
    return None


def _aliases(runtime: Mapping[str, Any]) -> list[str]:
    """Names as runtimes have them, made into DNS labels. One that is none at all is an error."""
    listed = runtime.get("aliases")
    if listed is None:
        return []
    if not isinstance(listed, list):
        _wrong("runtimeConfig.aliases", listed, "a list of names")
    for one in listed:
        if not isinstance(one, str) or not dns_label(one):
            _wrong("runtimeConfig.aliases", one, "a name of letters, digits and '-'")
    return list(dict.fromkeys(dns_label(one) for one in listed))


def _dns(call: Call, endpoint: Endpoint) -> dict[str, Any]:
    """Where names are answered, or what the runtime or the configuration would rather have."""
    if asked := _mapping(_mapping(call.config, "runtimeConfig"), "dns", "runtimeConfig.dns"):
        named = {"nameservers": "servers", "search": "searches", "options": "options"}
        return {ours: asked[theirs] for ours, theirs in named.items() if asked.get(theirs)}
    if configured := _mapping(call.config, "dns"):
        return dict(configured)
    return {
        "nameservers": list(endpoint.nameservers),
        **({"domain": endpoint.search[0], "search": list(endpoint.search)} if endpoint.search else {}),
    }


def _mapping(parent: Mapping[str, Any], key: str, field: str | None = None) -> Mapping[str, Any]:
    value = parent.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        _wrong(field or key, value, "a JSON object")
    return value


def _wrong(field: str, value: Any, expected: str) -> NoReturn:
    said = "is missing" if value is None else f"is {json.dumps(value)}"
    raise CniError(BAD_CONFIG, f"Field '{field}' {said}; give {expected}.")
