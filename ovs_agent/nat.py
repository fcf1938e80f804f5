"""The rules for what passes between the bridge and its host: what nftables' table `warren` holds, and who else decides.

It decides what is translated and what is forwarded. Between bridge and host each endpoint is called by an address that
follows from its port, as the flows say it (`controller.pipeline.packet.TRANSIT`), and one on another host that all
hosts publish by one that follows from its number and this host's (`MESH`). Rules of others are read, to say which drop
what Warren forwards, and never changed. How rules get into the kernel is not known here.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from typing import Any, NamedTuple

from ovs_agent.document import Endpoint, Published
from ovs_agent.listening import Listener, Port
from ovs_agent.netlink.connections import Connection

TABLE = "warren"
TRANSIT = {4: ipaddress.IPv4Network("240.119.0.0/16"), 6: ipaddress.IPv6Network("fd77:6172:7265:6f75::/112")}
"""Behind the gateway's port and nowhere else; the low 16 bits are a port's number."""
MESH = {4: ipaddress.IPv4Network("244.0.0.0/6"), 6: ipaddress.IPv6Network("fd77:6172:7265:6f75:0:1::/102")}
"""Likewise; the low 12 bits are an endpoint's number, the 14 before them the host's."""
_MESH_ENDPOINT_BITS, _MESH_HOSTS = 12, 1 << 14
HOST = 1
"""The low 16 bits of the host's own address there."""
_MTU = 1280
"""The MTU of the resolver's port, which the gateway's port has, too."""
_FAMILIES = {4: "ip", 6: "ip6"}
_ANY = {"0.0.0.0": 4, "::": 6}
_TCP = 6
_PROTOCOLS = {_TCP: "tcp", 17: "udp", 132: "sctp"}


def gateway_port(bridge: str) -> str:
    return f"{bridge}-gw"


def host_addresses() -> tuple[str, ...]:
    """The host's own addresses on the gateway's interface, with prefix length."""
    return tuple(f"{network[HOST]}/{network.prefixlen}" for network in TRANSIT.values())


def ruleset(
    gateway: str, published: Sequence[Published] = (), endpoints: Iterable[Endpoint] = (), host: int = 0
) -> str:
    """For `nft -f`: the whole table in one transaction, whatever was in it. `gateway` is the bridge's interface, `host`
    this host's number.

    What leaves gets the host's address. What enters belongs to a connection that went out, was sent on to an endpoint
    by a rule of this table, or comes from the host itself, which then has its own address on that interface. Nobody
    else speaks from or to these addresses. Endpoints of this host that go to one on another host have the address of
    this host that they asked: only here their own at the gateway means them.
    """
    there = [(_FAMILIES[version], network) for version, network in TRANSIT.items()]
    mesh = [(_FAMILIES[version], network) for version, network in MESH.items()]
    chains = {
        "raw": [
            "type filter hook prerouting priority raw; policy accept;",
            f'iifname "{gateway}" ip daddr 127.0.0.0/8 drop',
            *(
                f'iifname != {{ "{gateway}", "lo" }} {family} {end} {network} drop'
                for family, network in (*there, *mesh)
                for end in ("saddr", "daddr")
            ),
        ],
        "forward": [
            "type filter hook forward priority filter; policy accept;",
            *(f'iifname "{gateway}" {family} saddr {network} ct state invalid,new drop' for family, network in mesh),
            f'oifname "{gateway}" ct state established,related accept',
            f'oifname "{gateway}" ct status dnat accept',
            f'oifname "{gateway}" drop',
            f'iifname "{gateway}" tcp flags syn tcp option maxseg size set rt mtu',
            # The interface is as narrow as the bridge's narrowest port: nobody outside is to learn that by errors.
            *(
                f'iifname "{gateway}" meta nfproto {nfproto} tcp flags syn tcp option maxseg size set {_MTU - headers}'
                for nfproto, headers in (("ipv4", 40), ("ipv6", 60))
            ),
        ],
        **{
            name: [f"type nat hook {name} priority {priority}; policy accept;", *_ways_in(published, host), *more]
            for name, priority, more in (("prerouting", "dstnat", []), ("output", "-100", _from_host(endpoints)))
        },
        "postrouting": [
            "type nat hook postrouting priority srcnat; policy accept;",
            *(f'{family} saddr {network} oifname != "{gateway}" masquerade' for family, network in there),
            f'oifname "{gateway}" fib saddr type local masquerade',
            *(
                f'oifname "{gateway}" {ip} saddr {own} {ip} daddr {to} snat {ip} to ct original {ip} daddr'
                for (ip, own), (_, to) in zip(there, mesh, strict=True)
            ),
        ],
    }
    body = [line for name, lines in chains.items() for line in (f"chain {name} {{", *lines, "}")]
    return "\n".join([f"table inet {TABLE}", f"delete table inet {TABLE}", f"table inet {TABLE} {{", *body, "}\n"])


def called(one: Published, version: int, host: int) -> str | None:
    """The address at the gateway that a published port leads to; None on a host whose number is too large."""
    if not one.mesh:
        return str(TRANSIT[version][one.ofport])
    return str(MESH[version][host << _MESH_ENDPOINT_BITS | one.mesh]) if host < _MESH_HOSTS else None


def closed(published: Iterable[Published], host: int, own: Set[str]) -> dict[Published, str]:
    """The published ports that lead nowhere on a host of this number with these addresses, with the reason."""
    found = {}
    for one in published:
        if one.mesh and host >= _MESH_HOSTS:
            found[one] = f"this is host number {host}, and only those below {_MESH_HOSTS} publish others' endpoints"
        elif one.host_ip and one.host_ip not in _ANY and not _has(own, one.host_ip):
            found[one] = f"the host has no address {one.host_ip}; give it that, or publish by another"
    return found


def occupied(published: Iterable[Published], listeners: Sequence[Listener]) -> dict[Published, str]:
    """The published ports at which a program of the host listens already, with which program as the reason."""
    found = {}
    for one in published:
        for listener in listeners:
            if _clash(one, listener):
                at = f"{listener.protocol}/{listener.port}"
                found[one] = f"a program of the host listens at {at}; end it, or publish by another port"
                break
    return found


def not_open(closed: Mapping[Published, str]) -> tuple[str, ...]:
    """One sentence each."""
    return tuple(
        f"Port {one.ports}, which is published for {one.endpoint}, is not open: {why}." for one, why in closed.items()
    )


def own(addresses: Iterable[str]) -> tuple[str, ...]:
    """The addresses by which others may reach the host, of all that it has; sorted."""
    found = map(ipaddress.ip_address, addresses)
    known = (one for one in found if not (one.is_loopback or one.is_link_local or one in TRANSIT[one.version]))
    return tuple(str(one) for one in sorted(known, key=lambda one: (one.version, int(one))))


def _has(own: Set[str], address: str) -> bool:
    """All of 127.0.0.0/8 is every host's, and link-local addresses say nothing without an interface."""
    ip = ipaddress.ip_address(address)
    return address in own or ip.is_loopback or ip.is_link_local


def networks(published: Iterable[Published], endpoints: Iterable[Endpoint]) -> list[str]:
    """What the host has a route to by the gateway, besides the gateway's own."""
    mesh = MESH.values() if any(one.mesh for one in published) else ()
    return [*reached(endpoints), *map(str, mesh)]


class Way(NamedTuple):
    """How a packet asks for a port of the host. `host_ip` empty: by any address of that IP version."""

    version: int
    host_ip: str
    protocol: str
    port: int


Ways = Mapping[Way, tuple[str, int]]
"""The address at the gateway, and the port, to which each way leads."""


def ways(published: Iterable[Published], host: int) -> Ways:
    """The client's address stays, and so does the host's port where the endpoint's is the same."""
    found: dict[Way, tuple[str, int]] = {}
    for one in published:
        for version in one.families:
            if one.host_ip and one.host_ip not in _ANY and (":" in one.host_ip) != (version == 6):
                continue
            if one.host_ip in _ANY and _ANY[one.host_ip] != version:
                continue
            if (target := called(one, version, host)) is None:
                continue
            host_ip = "" if one.host_ip in _ANY else one.host_ip
            for offset in range(one.count):
                way = Way(version, host_ip, one.protocol, one.host_port + offset)
                found.setdefault(way, (target, one.port + offset))
    return found


def _ways_in(published: Iterable[Published], host: int) -> list[str]:
    places: dict[tuple[int, bool], list[str]] = {}
    for way, (target, port) in ways(published, host).items():
        key = f"{way.host_ip} . " if way.host_ip else ""
        element = f"{key}{way.protocol} . {way.port} : {target} . {port}"
        places.setdefault((way.version, not way.host_ip), []).append(element)
    rules = []
    for (version, by_any), elements in sorted(places.items()):
        family = _FAMILIES[version]
        key = "meta l4proto . th dport" if by_any else f"{family} daddr . meta l4proto . th dport"
        listed = ", ".join(sorted(elements))
        rules.append(f"meta nfproto ipv{version} fib daddr type local dnat {family} to {key} map {{ {listed} }}")
    return rules


def astray(
    connections: Iterable[Connection], ways: Ways, reached: Mapping[str, str], own: Set[str]
) -> list[Connection]:
    """Those that the rules would send elsewhere by now: to another endpoint or none, or, what has no beginning, to one
    instead of the host itself. `own` are the host's addresses."""
    found = []
    for one in connections:
        if one.asked in own:
            version, protocol = 6 if ":" in one.asked else 4, _PROTOCOLS.get(one.protocol, "")
            asked = (Way(version, by, protocol, one.port) for by in (one.asked, ""))
            leads = next((ways[way] for way in asked if way in ways), None)
        else:
            leads = (reached[one.asked], one.port) if one.asked in reached else None
        goes = one.answers, one.answers_port
        if leads != goes and (_is_endpoints(one.answers) or (leads is not None and one.protocol != _TCP)):
            found.append(one)
    return found


def _is_endpoints(address: str) -> bool:
    ip = ipaddress.ip_address(address)
    return any(ip in network for network in (TRANSIT[ip.version], MESH[ip.version]))


def reached(endpoints: Iterable[Endpoint]) -> dict[str, str]:
    """Addresses of endpoints that the host reaches by them, each with that at the gateway."""
    return {
        str(one.ip): str(TRANSIT[one.version][endpoint.ofport])
        for endpoint in endpoints
        if endpoint.from_host
        for one in map(ipaddress.ip_interface, endpoint.addresses)
    }


def _from_host(endpoints: Iterable[Endpoint]) -> list[str]:
    rules = []
    known = reached(endpoints)
    for family, mark in (("ip", "."), ("ip6", ":")):
        listed = ", ".join(f"{own} : {there}" for own, there in sorted(known.items()) if mark in own)
        if listed:
            rules.append(f"dnat {family} to {family} daddr map {{ {listed} }}")
    return rules


def host_ports(published: Iterable[Published]) -> set[Port]:
    return {(one.protocol, one.host_port + offset) for one in published for offset in range(one.count)}


def unheard(published: Iterable[Published], listeners: Iterable[Listener]) -> tuple[str, ...]:
    """Which programs of the host nobody reaches, as their port is published: one sentence each."""
    there = list(listeners)
    return tuple(
        f"A program of this host listens at {one.protocol}/{one.port}, which is published for {way.endpoint}: "
        f"nobody reaches it from outside. End it, or `warren unpublish` the port."
        for way in published
        for one in there
        if _clash(way, one)
    )


def _clash(way: Published, one: Listener) -> bool:
    """Whether a packet may mean both. A program that listens at :: hears IPv4, too."""
    if one.protocol != way.protocol or one.port not in range(way.host_port, way.host_port + way.count):
        return False
    here, there = "" if one.address == "::" else one.address, way.host_ip
    if not here or not there or here == there:
        return True
    return any(_ANY.get(a) == (6 if ":" in b else 4) for a, b in ((here, there), (there, here)))


def obstacles(listed: Sequence[Mapping[str, Any]], gateway: str) -> tuple[str, ...]:
    """Which tables of others drop what passes by `gateway`, one sentence each with the remedy. `listed` are the objects
    of `nft -j list ruleset`.

    A table does if a chain of it drops by policy what is forwarded, or by a rule without a condition, and no rule of it
    accepts by the interface's name what goes either way. Who has that rule, as firewalld has, may also send it on by
    that name: what becomes of it there is thought of.
    """
    accepted: set[tuple[str, str, str]] = set()
    sent_on: set[tuple[str, str, str]] = set()
    chains: dict[tuple[str, str], set[str]] = {}
    forwarding: set[tuple[str, str, str]] = set()
    by_policy: dict[tuple[str, str], str] = {}
    by_rule: dict[tuple[str, str], str] = {}
    for one in listed:
        if chain := one.get("chain"):
            table = chain["family"], chain["table"]
            chains.setdefault(table, set()).add(chain["name"])
            if chain.get("hook") == "forward" and chain["table"] != TABLE:
                forwarding.add((*table, chain["name"]))
                if chain.get("policy") == "drop":
                    by_policy[table] = chain["name"]
        elif rule := one.get("rule"):
            table = rule["family"], rule["table"]
            if (*table, rule["chain"]) in forwarding and _drops_all(rule["expr"]):
                by_rule[table] = rule["chain"]
            accepted.update((*table, way) for way in _named(rule["expr"], gateway, "accept"))
            sent_on.update((*table, way) for way in _named(rule["expr"], gateway, "jump", "goto"))
    return tuple(
        f"Firewall table `{family} {name}` drops what is forwarded, so endpoints do not get out: "
        f"{_remedy(family, name, chain, chains[family, name], gateway)}"
        for (family, name), chain in sorted((by_rule | by_policy).items())
        if family in ("ip", "ip6", "inet")
        and not {(family, name, way) for way in _WAYS}
        <= (accepted if (family, name) in by_policy else accepted | sent_on)
    )


_WAYS = "iifname", "oifname"


def _drops_all(expressions: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a rule has no condition and ends so. iptables' REJECT is not put into nftables' words."""
    said = {"reject" if one == _REJECT else next(iter(one), "") for one in expressions}
    return bool(said & {"drop", "reject"}) and said <= {"counter", "log", "drop", "reject"}


_REJECT = {"xt": {"type": "target", "name": "REJECT"}}


def _named(expressions: Sequence[Mapping[str, Any]], gateway: str, *verdicts: str) -> Iterator[str]:
    if not any(verdict in one for one in expressions for verdict in verdicts):
        return
    for one in expressions:
        match one:
            case {"match": {"op": "==", "left": {"meta": {"key": ("iifname" | "oifname") as way}}, "right": name}}:
                if name == gateway:
                    yield way


def _remedy(family: str, table: str, chain: str, chains: set[str], gateway: str) -> str:
    """iptables changes nothing but its own: each of its commands one table, if no other is said `filter`."""
    tool = "ip6tables" if family == "ip6" else "iptables"
    if family == "inet" or (table, chain) != ("filter", "FORWARD"):
        rules = (f'`nft insert rule {family} {table} {chain} {way} "{gateway}" accept`' for way in _WAYS)
    elif "DOCKER-USER" in chains:
        rules = (f"`{tool} -I DOCKER-USER -{way} {gateway} -j ACCEPT`" for way in "io")
    elif "ufw-user-forward" in chains or "ufw6-user-forward" in chains:
        rules = (f"`ufw route allow {way} on {gateway}`" for way in ("in", "out"))
    else:
        rules = (f"`{tool} -I {chain} -{way} {gateway} -j ACCEPT`" for way in "io")
    return f"let it pass with {' and '.join(rules)}."
