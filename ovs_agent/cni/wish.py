"""What an ADD asks for: the network, and what its endpoint is to be like.

It decides which of several places counts where a runtime, the configuration and CNI_ARGS all say something, and what
is refused. It refuses to know who gives the addresses and how an interface is made. Pure: text in, values out.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from ovs_agent.cni.spec import (
    BAD_CONFIG,
    FIRST_INTERFACE,
    LABEL,
    UNSUPPORTED,
    Call,
    CniError,
    dns_label,
    mapping,
    wrong,
)
from ovs_agent.document import Limits

MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
NOT_GIVEN = ("ipRanges", "infinibandGUID", "deviceID")
"""Capabilities that somebody may declare and Warren has not: better no container than one without them."""
MOST_BITS = 1 << 53
"""Beyond it JSON is not exact."""


def attachment(call: Call, given: Sequence[str] | None = None) -> dict[str, Any]:
    """What the API is asked for; `given` are the addresses that another plugin chose. Raises CniError."""
    config = call.config
    conventions = mapping(mapping(config, "args"), "cni", "args.cni")
    runtime = capabilities(call)
    for name in NOT_GIVEN:
        if runtime.get(name):
            said = f"Field 'runtimeConfig.{name}' is {json.dumps(runtime[name])}"
            raise CniError(UNSUPPORTED, f"{said}, which Warren cannot give; remove the capability '{name}'.")
    return {
        "network": network(call),
        "name": _endpoint_name(call, conventions),
        "netns": "" if call.is_ipam else call.netns,
        "labels": _labels(conventions.get("labels")),
        "ports": [] if call.is_ipam else _ports(config.get("ports")),
        "addresses": list(given) if given is not None else _addresses(call, conventions, runtime),
        "mac": None if call.is_ipam else _mac(call, runtime),
        **_reservation(call, conventions),
        "aliases": _aliases(call, runtime),
        **({} if call.is_ipam else {"bandwidth": bandwidth(call)._asdict()}),
    }


def capabilities(call: Call) -> Mapping[str, Any]:
    """What the runtime fills in. containerd writes the keys as Go does, `HostPort`, and Go does not mind."""
    runtime = mapping(call.config, "runtimeConfig")
    return {key: value if key == "aliases" else _lower(value) for key, value in runtime.items()}


def network(call: Call) -> str:
    """The network: as the configuration says, else by the first rule that fits, else by the pod's namespace."""
    block = mapping(call.config, "ipam") if call.is_ipam else call.config
    field = "ipam." if call.is_ipam else ""
    if (rules := block.get("rules")) is not None:
        _check_rules(f"{field}rules", rules)
    if (named := block.get("network")) is not None:
        return _filled_in(call, f"{field}network", named)
    if rules is not None:
        return _by_rule(call, f"{field}rules", rules)
    namespace = call.args.get("K8S_POD_NAMESPACE")
    if not namespace:
        expected = "TENANT/NETWORK, like 'acme/web'; only Kubernetes pods can go without, or what 'rules' are for"
        wrong(f"{field}network", None, expected)
    return _filled_in(call, f"{field}network", f"{namespace}/default")


def bandwidth(call: Call) -> Limits:
    """The bandwidth limits that the runtime gives, else those of the configuration."""
    runtime = capabilities(call)
    field, block = "runtimeConfig.bandwidth", mapping(runtime, "bandwidth", "runtimeConfig.bandwidth")
    if not block:
        field, block = "bandwidth", mapping(call.config, "bandwidth")
    said: dict[str, int] = {}
    for name in Limits._fields:
        way, what = name.split("_")
        key = f"{way}{what.capitalize()}"
        value = block.get(key) or 0
        if type(value) is not int or not 0 <= value <= MOST_BITS:
            wrong(f"{field}.{key}", value, "bits per second" if what == "rate" else "bits")
        said[name] = value
    for way in ("ingress", "egress"):
        if bool(said[f"{way}_rate"]) != bool(said[f"{way}_burst"]):
            wrong(f"{field}.{way}Burst", said[f"{way}_burst"] or None, f"it together with {way}Rate")
    return Limits(**said)


def published(call: Call) -> list[dict[str, Any]]:
    """The host's ports that the runtime wants to lead to the container, as the API is asked for them."""
    field = "runtimeConfig.portMappings"
    listed = capabilities(call).get("portMappings")
    if not isinstance(listed, list | None):
        wrong(field, listed, "a list of ports")
    mesh = _mesh(call)
    found = []
    for one in listed or ():
        host_port, port = (one.get(key) for key in ("hostPort", "containerPort")) if isinstance(one, dict) else (0, 0)
        if not all(type(number) is int and 0 <= number <= 65535 for number in (host_port, port)) or not port:
            wrong(field, one, "an object with hostPort and containerPort, each 1 to 65535")
        protocol = str(one.get("protocol") or "tcp").lower()
        if protocol not in ("tcp", "udp", "sctp"):
            wrong(field, one, "an object whose protocol is tcp, udp or sctp")
        if host_port:  # 0: the container's port is named, and not published
            host_ip = one.get("hostIP") or None
            ports = {"protocol": protocol, "port": port, "host_port": host_port, "host_ip": host_ip}
            found.append(ports | ({"mesh": True} if mesh else {}))
    return found


def _mesh(call: Call) -> bool:
    """Whether all hosts are to publish them; what is said of the container counts before what is of the network."""
    conventions = mapping(mapping(call.config, "args"), "cni", "args.cni")
    for field, said in (("args.cni.mesh", conventions.get("mesh")), ("mesh", call.config.get("mesh"))):
        if said is not None:
            if not isinstance(said, bool):
                wrong(field, said, "true or false")
            return said
    return False


def _check_rules(field: str, rules: Any) -> None:
    expected = 'a list of {"when": {"K8S_POD_NAMESPACE": "shop-*"}, "network": "acme/web"}'
    if not isinstance(rules, list):
        wrong(field, rules, expected)
    for rule in rules:
        when = rule.get("when", {}) if isinstance(rule, dict) else None
        if not isinstance(when, dict) or not all(isinstance(one, str) for one in when.values()):
            wrong(field, rule, expected)
        if not isinstance(rule.get("network"), str):
            wrong(f"{field}.network", rule.get("network"), "TENANT/NETWORK, like 'acme/web'")


def _by_rule(call: Call, field: str, rules: Sequence[Mapping[str, Any]]) -> str:
    for rule in rules:
        when = rule.get("when", {})
        if all(key in call.args and fnmatchcase(call.args[key], pattern) for key, pattern in when.items()):
            return _filled_in(call, f"{field}.network", rule.get("network"))
    said = ", ".join(f"{key} '{value}'" for key, value in sorted(call.args.items())) or "nothing"
    raise CniError(BAD_CONFIG, f"Field '{field}': no rule is for this container (CNI_ARGS say {said}); add one.")


def _filled_in(call: Call, field: str, text: Any) -> str:
    """TENANT/NETWORK; `{K8S_POD_NAMESPACE}` in it stands for that pair of CNI_ARGS."""
    filled = (
        re.sub(r"\{(\w+)\}", lambda found: call.args.get(found[1], found[0]), text) if isinstance(text, str) else ""
    )
    parts = filled.split("/")
    if len(parts) != 2 or not all(LABEL.fullmatch(part) for part in parts):
        wrong(field, filled or text, "TENANT/NETWORK, like 'acme/web'")
    return filled


def _lower(value: Any) -> Any:
    if isinstance(value, dict):
        return {key[:1].lower() + key[1:]: _lower(one) for key, one in value.items()}
    return [_lower(one) for one in value] if isinstance(value, list) else value


def _endpoint_name(call: Call, conventions: Mapping[str, Any]) -> str:
    """After the pod, else as the configuration says, else after the container. Further interfaces add their name."""
    explicit = conventions.get("name")
    if explicit is not None and not (isinstance(explicit, str) and LABEL.fullmatch(explicit)):
        wrong("args.cni.name", explicit, "a DNS label of at most 63 characters")
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
        wrong("args.cni.labels", listed, expected)
    labels = {}
    for one in listed:
        if not isinstance(one, dict) or not isinstance(one.get("key"), str) or not isinstance(one.get("value"), str):
            wrong("args.cni.labels", one, expected)
        labels[one["key"]] = one["value"]
    return labels


def _ports(listed: Any) -> list[dict[str, Any]]:
    if listed is None:
        return []
    expected = 'a list of {"name": "http", "port": 80, "protocol": "tcp"}'
    if not isinstance(listed, list):
        wrong("ports", listed, expected)
    ports = []
    for one in listed:
        port = one.get("port") if isinstance(one, dict) else None
        if type(port) is not int or not 1 <= port <= 65535 or not isinstance(one.get("name"), str):
            wrong("ports", one, expected)
        protocol = str(one.get("protocol", "tcp")).lower()
        if protocol not in ("tcp", "udp", "sctp"):
            wrong("ports", one, "a protocol of tcp, udp or sctp")
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
            wrong(field, listed, "a list of addresses")
        try:
            found = [str(ipaddress.ip_interface(str(one)).ip) for one in listed]
        except ValueError:
            wrong(field, listed, "a list of IP addresses, like ['10.20.0.9']")
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
                wrong(field, name, "a name, like db1")
            return {"reservation": name}
    return {}


def _mac(call: Call, runtime: Mapping[str, Any]) -> str | None:
    for field, mac in (("runtimeConfig.mac", runtime.get("mac")), ("CNI_ARGS MAC", call.args.get("MAC"))):
        if mac:
            if not isinstance(mac, str) or not MAC.fullmatch(mac.lower()):
                wrong(field, mac, "a MAC address, like 02:00:0a:14:00:09")
            return mac.lower()
    return None


def _aliases(call: Call, runtime: Mapping[str, Any]) -> list[str]:
    """Names as runtimes have them, made into DNS labels. One that is none at all is an error. Podman says them of all
    its networks."""
    listed = runtime.get("aliases")
    if isinstance(listed, dict):
        listed = listed.get(call.name)
    if listed is None:
        return []
    if not isinstance(listed, list):
        wrong("runtimeConfig.aliases", listed, "a list of names")
    for one in listed:
        if not isinstance(one, str) or not dns_label(one):
            wrong("runtimeConfig.aliases", one, "a name of letters, digits and '-'")
    return list(dict.fromkeys(dns_label(one) for one in listed))
