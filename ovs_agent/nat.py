"""The rules for what passes between the bridge and its host: what nftables' table `warren` holds, and who else decides.

It decides what is translated and what is forwarded. Between bridge and host each endpoint is called by an address that
follows from its port, as the flows say it (`controller.pipeline.packet.TRANSIT`). Rules of others are read, to say
which drop what Warren forwards, and never changed. How rules get into the kernel is not known here.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

TABLE = "warren"
TRANSIT = {4: ipaddress.IPv4Network("240.119.0.0/16"), 6: ipaddress.IPv6Network("fd77:6172:7265:6f75::/112")}
"""Behind the gateway's port and nowhere else; the low 16 bits are a port's number."""
HOST = 1
"""The low 16 bits of the host's own address there."""
_FAMILIES = {4: "ip", 6: "ip6"}


def gateway_port(bridge: str) -> str:
    return f"{bridge}-gw"


def host_addresses() -> tuple[str, ...]:
    """With prefix length."""
    return tuple(f"{network[HOST]}/{network.prefixlen}" for network in TRANSIT.values())


def ruleset(gateway: str) -> str:
    """For `nft -f`: the whole table in one transaction, whatever was in it. `gateway` is the bridge's interface.

    What leaves gets the host's address. What enters belongs to a connection that went out, was sent on to an endpoint
    by a rule of this table, or comes from the host itself, which then has its own address on that interface. Nobody
    else speaks from or to these addresses.
    """
    there = [(_FAMILIES[version], network) for version, network in TRANSIT.items()]
    chains = {
        "raw": [
            "type filter hook prerouting priority raw; policy accept;",
            f'iifname "{gateway}" ip daddr 127.0.0.0/8 drop',
            *(
                f'iifname != {{ "{gateway}", "lo" }} {family} {end} {network} drop'
                for family, network in there
                for end in ("saddr", "daddr")
            ),
        ],
        "forward": [
            "type filter hook forward priority filter; policy accept;",
            f'oifname "{gateway}" ct state established,related accept',
            f'oifname "{gateway}" ct status dnat accept',
            f'oifname "{gateway}" drop',
            f'iifname "{gateway}" tcp flags syn tcp option maxseg size set rt mtu',
        ],
        "postrouting": [
            "type nat hook postrouting priority srcnat; policy accept;",
            *(f'{family} saddr {network} oifname != "{gateway}" masquerade' for family, network in there),
            f'oifname "{gateway}" fib saddr type local masquerade',
        ],
    }
    body = [line for name, lines in chains.items() for line in (f"chain {name} {{", *lines, "}")]
    return "\n".join([f"table inet {TABLE}", f"delete table inet {TABLE}", f"table inet {TABLE} {{", *body, "}\n"])


def obstacles(listed: Sequence[Mapping[str, Any]], gateway: str) -> tuple[str, ...]:
    """Which tables of others drop what passes by `gateway`, one sentence each with the remedy. `listed` are the objects
    of `nft -j list ruleset`.

    A table does if a chain of it drops by policy what is forwarded, and no rule of it accepts by the interface's name
    what goes either way.
    """
    accepted: set[tuple[str, str, str]] = set()
    chains: dict[tuple[str, str], set[str]] = {}
    dropping: dict[tuple[str, str], str] = {}
    for one in listed:
        if chain := one.get("chain"):
            table = chain["family"], chain["table"]
            chains.setdefault(table, set()).add(chain["name"])
            if chain.get("hook") == "forward" and chain.get("policy") == "drop" and chain["table"] != TABLE:
                dropping[table] = chain["name"]
        elif rule := one.get("rule"):
            accepted.update((rule["family"], rule["table"], way) for way in _accepts(rule["expr"], gateway))
    return tuple(
        f"Firewall table `{family} {name}` drops what is forwarded, so endpoints do not get out: "
        f"{_remedy(family, chain, chains[family, name], gateway)}"
        for (family, name), chain in sorted(dropping.items())
        if family in ("ip", "ip6", "inet") and not {(family, name, way) for way in _WAYS} <= accepted
    )


_WAYS = "iifname", "oifname"


def _accepts(expressions: Sequence[Mapping[str, Any]], gateway: str) -> Iterator[str]:
    if not any("accept" in one for one in expressions):
        return
    for one in expressions:
        match one:
            case {"match": {"op": "==", "left": {"meta": {"key": ("iifname" | "oifname") as way}}, "right": name}}:
                if name == gateway:
                    yield way


def _remedy(family: str, chain: str, chains: set[str], gateway: str) -> str:
    tool = "ip6tables" if family == "ip6" else "iptables"
    if "DOCKER-USER" in chains:
        rules = (f"`{tool} -I DOCKER-USER -{way} {gateway} -j ACCEPT`" for way in "io")
    elif "ufw-user-forward" in chains or "ufw6-user-forward" in chains:
        rules = (f"`ufw route allow {way} on {gateway}`" for way in ("in", "out"))
    elif family == "inet":
        return f"let its chain {chain} accept what comes in by {gateway} and what goes out by it."
    else:
        rules = (f"`{tool} -I {chain} -{way} {gateway} -j ACCEPT`" for way in "io")
    return f"let it pass with {' and '.join(rules)}."
