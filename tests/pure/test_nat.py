"""The table of rules that the agent keeps, and which tables of others are in its way."""

from __future__ import annotations

from typing import Any

import pytest

from controller.pipeline import packet
from ovs_agent import nat

GATEWAY = "warren0-gw"


def test_the_agent_and_the_flows_mean_the_same_addresses() -> None:
    for version, network in nat.TRANSIT.items():
        assert int(network.network_address) == packet.TRANSIT[version]
        assert int(network.netmask) == packet.TRANSIT_MASK[version]


def test_the_table_is_replaced_whole_and_no_other_is_named() -> None:
    rules = nat.ruleset(GATEWAY)
    assert rules.startswith("table inet warren\ndelete table inet warren\ntable inet warren {\n")
    assert "flush" not in rules and rules.count("delete") == 1


def chain(table: str, name: str, family: str = "ip", **more: str) -> dict[str, Any]:
    return {"chain": {"family": family, "table": table, "name": name, **more}}


def forward(table: str, policy: str = "drop", family: str = "ip") -> dict[str, Any]:
    return chain(table, "FORWARD", family, hook="forward", policy=policy)


def rule(table: str, way: str, name: str = GATEWAY, verdict: str = "accept", family: str = "ip") -> dict[str, Any]:
    match = {"match": {"op": "==", "left": {"meta": {"key": way}}, "right": name}}
    return {"rule": {"family": family, "table": table, "chain": "X", "expr": [match, {verdict: None}]}}


IN, OUT = rule("filter", "iifname"), rule("filter", "oifname")


@pytest.mark.parametrize(
    ("listed", "said"),
    [
        ([], ""),
        ([forward("filter", "accept")], ""),
        ([forward("warren", family="inet")], ""),
        ([forward("filter"), IN, OUT], ""),
        ([forward("filter"), IN], "iptables -I FORWARD -i warren0-gw -j ACCEPT"),
        ([forward("filter"), rule("filter", "iifname", "eth0"), OUT], "iptables -I FORWARD -o warren0-gw -j ACCEPT"),
        ([forward("filter"), rule("filter", "iifname", verdict="drop"), OUT], "`ip filter` drops"),
        ([forward("filter"), chain("filter", "DOCKER-USER")], "iptables -I DOCKER-USER -i warren0-gw -j ACCEPT"),
        ([forward("filter", family="ip6"), IN, OUT], "ip6tables -I FORWARD"),
        ([forward("filter"), chain("filter", "ufw-user-forward")], "ufw route allow in on warren0-gw"),
        ([forward("fw", family="inet")], "let its chain FORWARD accept what comes in by warren0-gw"),
    ],
)
def test_who_drops_what_is_forwarded_is_said_with_the_remedy(listed: list[dict[str, Any]], said: str) -> None:
    found = nat.obstacles(listed, GATEWAY)
    assert (said in " ".join(found)) if said else not found
