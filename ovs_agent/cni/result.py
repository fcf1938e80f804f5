"""What an ADD answers, in the shape of the version asked for; and what another plugin's answer means.

It decides what becomes of the results of plugins before, and of addresses that another plugin gave. Pure.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ovs_agent.cni.spec import Call, at_least, mapping, wrong
from ovs_agent.cni.wish import capabilities
from ovs_agent.document import Endpoint

EVERYTHING = {4: "0.0.0.0/0", 6: "::/0"}
Route = tuple[str, str | None]


class Given(NamedTuple):
    """What an IPAM plugin gave. `routes` are networks and gateways, the network's own if None; `default`: everything
    else goes there, too."""

    addresses: tuple[str, ...] = ()
    routes: tuple[Route, ...] = ()
    default: bool = True
    dns: Mapping[str, Any] = {}


NOTHING = Given()


def attached(
    call: Call, endpoint: Endpoint, host_mac: str, gateways: Sequence[str], given: Given = NOTHING
) -> dict[str, Any]:
    """`gateways` are those that got a default route. Follows what the plugins before it answered."""
    before = {key: list(call.previous.get(key) or []) for key in ("interfaces", "ips", "routes")}
    host: dict[str, Any] = {"name": endpoint.port_name, "mac": host_mac}
    container: dict[str, Any] = {"name": endpoint.ifname, "mac": endpoint.mac, "sandbox": endpoint.netns}
    if at_least(call.version, "1.1.0"):
        host["mtu"] = container["mtu"] = endpoint.mtu
    interfaces = [*before["interfaces"], host, container]
    routes: list[dict[str, Any]] = [{"dst": EVERYTHING[_version(gateway)], "gw": gateway} for gateway in gateways]
    routes += _listed(given.routes)
    dns = _dns(call, given) or call.previous.get("dns") or _own_dns(endpoint)
    return {
        "cniVersion": call.version,
        "interfaces": interfaces,
        "ips": [*before["ips"], *_ips(call, endpoint, len(interfaces) - 1)],
        "routes": [*before["routes"], *routes],
        "dns": dict(dns),
    }


def addresses(call: Call, endpoint: Endpoint) -> dict[str, Any]:
    """The result of an IPAM plugin: no interface and no resolver. Routes are given by the configuration."""
    routes = _listed(_routes(mapping(call.config, "ipam").get("routes"), "ipam.routes"))
    return {"cniVersion": call.version, "ips": _ips(call, endpoint, None), "routes": routes, "dns": {}}


def given(result: Mapping[str, Any], who: str) -> Given:
    """What IPAM plugin `who` answered. Without a route it wants none, not even the default one. Raises CniError."""
    addresses = []
    for one in _objects(result.get("ips"), f"{who}: ips"):
        try:
            addresses.append(str(ipaddress.ip_interface(str(one.get("address")))))
        except ValueError:
            wrong(f"{who}: ips", one, "addresses like 10.20.0.9/24")
    routes = _routes(result.get("routes"), f"{who}: routes")
    wide = [route for route in routes if route[0] in EVERYTHING.values() and route[1] is None]  # Warren's gateways
    others = tuple(route for route in routes if route not in wide)
    return Given(tuple(addresses), others, bool(wide), mapping(result, "dns"))


def routed(call: Call) -> list[str]:
    """The gateways of the default routes that the previous result lists."""
    routes = call.previous.get("routes") or []
    return [str(route["gw"]) for route in routes if route.get("dst") in EVERYTHING.values() and route.get("gw")]


def _ips(call: Call, endpoint: Endpoint, interface: int | None) -> list[dict[str, Any]]:
    by_version = {_version(gateway): gateway for gateway in endpoint.gateways}
    ips = []
    for address in endpoint.addresses:
        version = ipaddress.ip_interface(address).version
        ip: dict[str, Any] = {"address": address}
        if interface is not None:
            ip["interface"] = interface
        if version in by_version:
            ip["gateway"] = by_version[version]
        if not at_least(call.version, "1.0.0"):
            ip["version"] = str(version)
        ips.append(ip)
    return ips


def _dns(call: Call, given: Given) -> Mapping[str, Any]:
    """What the runtime, the configuration or the IPAM plugin would rather have than Warren's own."""
    if asked := mapping(capabilities(call), "dns", "runtimeConfig.dns"):
        named = {"nameservers": "servers", "search": "searches", "options": "options"}
        return {ours: asked[theirs] for ours, theirs in named.items() if asked.get(theirs)}
    return mapping(call.config, "dns") or given.dns


def _own_dns(endpoint: Endpoint) -> Mapping[str, Any]:
    return {
        "nameservers": list(endpoint.nameservers),
        **({"domain": endpoint.search[0], "search": list(endpoint.search)} if endpoint.search else {}),
    }


def _routes(listed: Any, field: str) -> list[Route]:
    found: list[Route] = []
    for one in _objects(listed, field):
        try:
            network = ipaddress.ip_network(str(one.get("dst")), strict=False)
            through = ipaddress.ip_address(str(one["gw"])) if one.get("gw") else None
        except ValueError:
            wrong(field, one, 'networks and gateways like {"dst": "10.30.0.0/16", "gw": "10.20.0.1"}')
        if through is not None and through.version != network.version:
            wrong(field, one, "a network and a gateway of one family")
        found.append((str(network), str(through) if through else None))
    return found


def _listed(routes: Sequence[Route]) -> list[dict[str, Any]]:
    return [{"dst": dst, "gw": through} if through else {"dst": dst} for dst, through in routes]


def _objects(listed: Any, field: str) -> list[Mapping[str, Any]]:
    if listed is None:
        return []
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        wrong(field, listed, "a list of JSON objects")
    return listed


def _version(address: str) -> int:
    return ipaddress.ip_address(address).version
