"""Out of Warren and back: with the host's address, by what the network and its policies allow, and to nobody else."""

from __future__ import annotations

import shlex
import subprocess
from contextlib import closing

from lab import netns
from lab.lab import Lab
from lab.state import Placed
from tests.lab.internet import FAR, FAR2, FAR6, PORT, Internet, Line, asked, asked_udp, rules, serving
from tests.lab.outside import pings
from tests.lab.rules import apply, policy
from tests.lab.test_explain import explained
from tests.lab.world import World
from tests.ovs import wait_for


def nft(space: str, *arguments: str) -> None:
    netns.run("ip", "netns", "exec", space, "nft", *arguments)


def overlapping(world: World, *hosts: str) -> list[Placed]:
    """One endpoint for each host, each in a tenant of its own, all with the same addresses."""
    placed = []
    for host in hosts:
        network = world.network(world.tenant("t"), "web", "10.77.0.0/24", "fd00:aa77::/64", private=True)
        placed.append(world.endpoint(network, host, addresses=("10.77.0.9", "fd00:aa77::9")))
    world.settle()
    return placed


def set_network(world: World, placed: Placed, **changes: bool) -> None:
    world.rest.patch(f"/networks/{placed.network}", changes)
    world.settle()


def test_endpoints_with_one_address_get_out_at_once_and_each_hears_its_own_answers(
    lab: Lab, world: World, there: Internet
) -> None:
    one, other, far = overlapping(world, "h1", "h1", "h2")
    for address, mine, elsewhere in ((FAR, "address", "address"), (FAR6, "address6", "address6")):
        h1, h2 = getattr(lab.host("h1"), mine), getattr(lab.host("h2"), elsewhere)
        # From the same port, too: only the host's translation tells them apart.
        lines = [Line(placed.netns, address, source_port=40_000) for placed in (one, other, far)]
        for _ in range(3):
            assert [line.ask() for line in lines] == [h1, h1, h2]
        for line in lines:
            line.close()
        assert [asked_udp(placed.netns, address) for placed in (one, other, far)] == [h1, h1, h2]
        assert all(pings(placed.netns, address) for placed in (one, other, far))


def test_the_switch_stops_an_open_connection_and_opens_it_again(lab: Lab, world: World, there: Internet) -> None:
    one, other = overlapping(world, "h1", "h1")
    with closing(Line(one.netns, FAR)) as line, closing(Line(other.netns, FAR)) as others:
        assert line.ask() == others.ask() == lab.host("h1").address
        set_network(world, one, outbound=False)
        assert not pings(one.netns, FAR, 1) and asked(one.netns, FAR6, seconds=1) is None
        assert line.falls_silent()
        assert others.ask() == lab.host("h1").address
    set_network(world, one, outbound=True)
    assert asked(one.netns, FAR) == lab.host("h1").address
    closed = world.network(one.tenant, "closed", "10.78.0.0/24", outbound=False)
    assert not pings(world.endpoint(closed, "h1").netns, FAR, 1)


def test_flushed_rules_come_back_and_those_of_others_stay(lab: Lab, world: World, there: Internet) -> None:
    (one,) = overlapping(world, "h1")
    space = lab.host("h1").netns
    nft(space, "add", "table", "inet", "theirs")
    nft(space, "add", "chain", "inet", "theirs", "mine", "{ type filter hook input priority 0; }")
    try:
        assert asked(one.netns, FAR)
        for command in (("flush", "table", "inet", "warren"), ("delete", "table", "inet", "warren")):
            nft(space, *command)
            wait_for(lambda: "masquerade" in rules(space), "the rules to come back")
            assert asked(one.netns, FAR) == lab.host("h1").address
        lab.restart("agent:h1", kill=True)
        assert asked(one.netns, FAR)
        assert "chain mine" in rules(space)
    finally:
        nft(space, "delete", "table", "inet", "theirs")


def test_policies_hold_for_what_goes_out(world: World, there: Internet) -> None:
    one, other = overlapping(world, "h1", "h1")
    with closing(Line(one.netns, FAR)) as line:
        assert line.ask()
        apply(world, policy(one.tenant, egress=[{"to": [{"ipBlock": {"cidr": f"{FAR2}/32"}}]}]))
        assert line.falls_silent()
    assert asked(one.netns, FAR, seconds=1) is None and asked(one.netns, FAR6, seconds=1) is None
    assert not pings(one.netns, FAR, 1)
    assert asked(one.netns, FAR2) and pings(one.netns, FAR2)
    assert asked(other.netns, FAR), "another tenant's"
    firewall = {
        "apiVersion": "k8s.ovn.org/v1",
        "kind": "EgressFirewall",
        "metadata": {"name": "default", "namespace": other.tenant},
        "spec": {"egress": [{"type": "Deny", "to": {"cidrSelector": f"{FAR}/32"}}]},
    }
    apply(world, firewall)
    assert asked(other.netns, FAR, seconds=1) is None and asked(other.netns, FAR2)


def test_nobody_reaches_another_tenant_by_going_out_and_back_in(lab: Lab, world: World, there: Internet) -> None:
    one, other, far = overlapping(world, "h1", "h1", "h2")
    routed = world.endpoint(world.network(world.tenant("r"), "web", "10.79.0.0/24", "fd00:aa79::/64"), "h1")
    world.settle()
    targets = [address.partition("/")[0] for address in routed.addresses]
    for placed in (other, far):
        ofport = ports(lab, placed)
        targets += [f"240.119.{ofport >> 8}.{ofport & 255}", f"fd77:6172:7265:6f75::{ofport:x}"]
    with serving(other.netns, PORT), serving(routed.netns, PORT), serving(far.netns, PORT):
        for target in (*targets, "240.119.0.1", "127.0.0.1"):
            assert asked(one.netns, target, seconds=0.5) is None, target
        # Nor does anybody outside who sends to these addresses by way of a host, or from one of them.
        netns.batch(there.netns, [f"route add 240.119.0.0/16 via {lab.host('h1').address}"])
        assert all(asked(there.netns, target, seconds=0.5) is None for target in targets if target.startswith("240"))


def ports(lab: Lab, placed: Placed) -> int:
    return int(lab.rest.get(f"/endpoints/{placed.tenant}/{placed.name}").body["ofport"])


def test_large_packets_and_errors_find_their_way_back(lab: Lab, world: World, there: Internet) -> None:
    """What is told about a packet that left is about the packet as the endpoint sent it."""
    (one,) = overlapping(world, "h1")
    with netns.inside(one.netns):
        refused = subprocess.run(["ping", "-c1", "-W2", "198.19.9.9"], capture_output=True, text=True)
    assert "Unreachable" in refused.stdout, "the host has no route there, and says so"
    netns.batch(there.netns, ["link set eth0 mtu 1300"])
    netns.batch(lab.host("h1").netns, ["route replace 198.19.7.0/24 via 198.18.0.250 dev br-phy mtu 1300"])
    try:
        with netns.inside(one.netns):
            big = subprocess.run(["ping", "-c3", "-i0.2", "-W1", "-Mdo", "-s1380", FAR], capture_output=True, text=True)
        assert "mtu" in (big.stdout + big.stderr).lower() and "1300" in big.stdout + big.stderr
    finally:
        netns.batch(there.netns, ["link set eth0 mtu 1500"])
        netns.batch(lab.host("h1").netns, ["route replace 198.19.7.0/24 via 198.18.0.250 dev br-phy"])


def test_a_firewall_in_the_way_is_said_with_its_remedy(lab: Lab, world: World, there: Internet) -> None:
    (one,) = overlapping(world, "h2")
    space = lab.host("h2").netns

    def problems() -> str:
        return " ".join(lab.rest.get("/hosts/h2").body["agent"]["problems"])

    nft(space, "add", "table", "ip", "filter")
    nft(space, "add", "chain", "ip", "filter", "DOCKER-USER")
    nft(space, "add", "chain", "ip", "filter", "FORWARD", "{ type filter hook forward priority 0; policy drop; }")
    nft(space, "add", "rule", "ip", "filter", "FORWARD", "jump", "DOCKER-USER")
    try:
        wait_for(lambda: "iptables -I DOCKER-USER -i warren0-gw -j ACCEPT" in problems(), "the remedy")
        assert asked(one.netns, FAR, seconds=1) is None
        for way in ("iifname", "oifname"):
            nft(space, "add", "rule", "ip", "filter", "DOCKER-USER", way, "warren0-gw", "accept")
        wait_for(lambda: "DOCKER-USER" not in problems(), "the warning to go")
        assert asked(one.netns, FAR) == lab.host("h2").address
    finally:
        nft(space, "delete", "table", "ip", "filter")


def test_the_remedy_for_a_chain_that_iptables_does_not_know_helps_as_it_is_written(
    lab: Lab, world: World, there: Internet
) -> None:
    (one,) = overlapping(world, "h2")
    space = lab.host("h2").netns

    def remedies() -> list[str]:
        problems = " ".join(lab.rest.get("/hosts/h2").body["agent"]["problems"])
        return [text for text in problems.split("`") if text.startswith("nft ")]

    nft(space, "add", "table", "ip", "ff")
    nft(space, "add", "chain", "ip", "ff", "f", "{ type filter hook forward priority 0; policy drop; }")
    try:
        wait_for(lambda: len(remedies()) == 2, "the remedy")
        assert asked(one.netns, FAR, seconds=1) is None
        for command in remedies():
            nft(space, *shlex.split(command)[1:])
        wait_for(lambda: not remedies(), "the warning to go")
        assert asked(one.netns, FAR) == lab.host("h2").address
    finally:
        nft(space, "delete", "table", "ip", "ff")


def test_explanations_of_the_way_out_agree_with_the_switches(world: World, there: Internet) -> None:
    (one,) = overlapping(world, "h1")

    def explain(address: str) -> tuple[str, str]:
        body = {"source": f"{one.tenant}/{one.name}", "destination": address, "protocol": "tcp", "port": PORT}
        said = explained(world, body)
        assert said["destination"] == {"name": address, "host": None, "address": address}
        return said["verdict"], said["agreement"]

    assert explain(FAR) == explain(FAR6) == ("allowed", "confirmed")
    apply(world, policy(one.tenant, egress=[{"to": [{"ipBlock": {"cidr": f"{FAR2}/32"}}]}]))
    assert explain(FAR2) == ("allowed", "confirmed") and explain(FAR) == ("denied", "confirmed")
    set_network(world, one, outbound=False)
    assert explain(FAR2) == ("denied", "confirmed")
