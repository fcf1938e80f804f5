"""What rules did: every packet counted once for each rule that decided it, and who was denied what, by name."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from typing import Any, NamedTuple

import pytest

from lab import netns
from lab.state import Placed
from tests.lab import caches
from tests.lab.world import World

Json = dict[str, Any]
SECONDS = 90.0
READ = 6.0
"""Within which counters are read again."""
PLACES = pytest.mark.parametrize("hosts", [("h1", "h1"), ("h1", "h2")], ids=["one-host", "two-hosts"])
FAMILIES = pytest.mark.parametrize("family", [4, 6])


class Pair(NamedTuple):
    """acme's web and db: only web may call db, at udp/5353 and the unused tcp/5432; web may call whom it likes."""

    world: World
    tenant: str
    web: Placed
    db: Placed


def network_policy(tenant: str, name: str, **spec: Any) -> Json:
    metadata = {"name": name, "namespace": tenant}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata, "spec": spec}


def labelled(app: str) -> Json:
    return {"podSelector": {"matchLabels": {"app": app}}}


@pytest.fixture
def pair(world: World, hosts: tuple[str, str]) -> Iterator[Pair]:
    tenant = world.tenant("acme")
    web, db = (
        world.endpoint(f"{tenant}/default", host, labels={"app": app})
        for host, app in zip(hosts, ("web", "db"), strict=True)
    )
    rules = [
        {"from": [labelled("web")], "ports": [{"protocol": "UDP", "port": 5353}]},
        {"from": [labelled("web")], "ports": [{"port": 5432}]},
    ]
    world.rest.post(
        "/policies",
        {
            "documents": [
                network_policy(tenant, "db", **labelled("db"), ingress=rules),
                network_policy(tenant, "web", **labelled("web"), policyTypes=["Egress"], egress=[{}]),
            ]
        },
    )
    world.settle()
    yield Pair(world, tenant, web, db)


def address(placed: Placed, family: int) -> str:
    return next(a.split("/")[0] for a in placed.addresses if (":" in a) == (family == 6))


def socket_at(placed: Placed, family: int, kind: int, protocol: int = 0) -> socket.socket:
    with netns.inside(placed.netns):
        made = socket.socket(socket.AF_INET6 if family == 6 else socket.AF_INET, kind, protocol)
    made.settimeout(0.3)
    return made


def until(look: Callable[[], object], wanted: object) -> None:
    end = time.monotonic() + SECONDS
    while (found := look()) != wanted:
        assert time.monotonic() < end, f"{found} and not {wanted}"
        time.sleep(0.5)


def packets(pair: Pair, policy: str) -> list[int]:
    found = pair.world.rest.items("/rules", {"policy": f"{pair.tenant}/{policy}"})
    return [rule["packets"] for rule in found]


def ask(pair: Pair, family: int, times: int) -> None:
    """Datagrams that are answered."""
    with socket_at(pair.db, family, socket.SOCK_DGRAM) as there, socket_at(pair.web, family, socket.SOCK_DGRAM) as here:
        there.bind((address(pair.db, family), 5353))
        there.settimeout(30)
        here.settimeout(30)
        for _ in range(times):
            here.sendto(b"who?", (address(pair.db, family), 5353))
            _, back = there.recvfrom(16)
            there.sendto(b"me", back)
            assert here.recv(16) == b"me"


@PLACES
@FAMILIES
def test_every_packet_counts_once_for_each_rule_that_decides_it(pair: Pair, family: int) -> None:
    ask(pair, family, 25)
    until(lambda: packets(pair, "db"), [50, 0])
    until(lambda: packets(pair, "web"), [50])
    ask(pair, family, 10)
    until(lambda: packets(pair, "db"), [70, 0])
    until(lambda: packets(pair, "web"), [70])
    (rule,) = pair.world.rest.items("/rules", {"policy": f"{pair.tenant}/web"})
    size = 14 + (20 if family == 4 else 40) + 8
    assert rule["bytes"] == 35 * (size + 4) + 35 * (size + 2)
    assert rule["last_hit"] is not None
    unused = pair.world.rest.items("/rules", {"tenant": pair.tenant, "unused": "true"})
    assert [(rule["policy"], rule["direction"], rule["number"]) for rule in unused] == [
        (f"{pair.tenant}/db", "ingress", 2)
    ]


def connections(pair: Pair, policy: str) -> list[int | None]:
    found = pair.world.rest.items("/rules", {"policy": f"{pair.tenant}/{policy}"})
    return [rule["connections"] for rule in found]


@PLACES
@FAMILIES
def test_connections_count_for_the_rule_that_admitted_them_until_they_are_closed(pair: Pair, family: int) -> None:
    with ExitStack() as held:
        there = held.enter_context(socket_at(pair.db, family, socket.SOCK_STREAM))
        there.bind((address(pair.db, family), 5432))
        there.listen()
        lines = []
        for _ in range(5):
            line = held.enter_context(socket_at(pair.web, family, socket.SOCK_STREAM))
            line.settimeout(30)
            line.connect((address(pair.db, family), 5432))
            answer = held.enter_context(there.accept()[0])
            answer.settimeout(30)
            lines.append((line, answer))
        until(lambda: (connections(pair, "db"), connections(pair, "web")), ([0, 5], [5]))

        # The other way round, and without the rule for what nobody calls: the connections' rule is the first now.
        rule = {"from": [labelled("web")], "ports": [{"port": 5432}]}
        pair.world.rest.post(
            "/policies", {"documents": [network_policy(pair.tenant, "db", **labelled("db"), ingress=[rule])]}
        )
        pair.world.settle()
        until(lambda: connections(pair, "db"), [5])
        for line, answer in lines:
            line.sendall(b"who?")
            assert answer.recv(16) == b"who?"
        assert connections(pair, "db") == [5]

        # Tightened: what is open is cut at once, and no rule that is there has admitted it.
        pair.world.rest.post(
            "/policies", {"documents": [network_policy(pair.tenant, "db", **labelled("db"), ingress=[])]}
        )
        pair.world.settle()
        for line, answer in lines:
            answer.settimeout(1)
            line.sendall(b"heard?")
            with pytest.raises(TimeoutError):
                answer.recv(16)
        assert connections(pair, "db") == []
        pair.world.rest.post(
            "/policies", {"documents": [network_policy(pair.tenant, "db", **labelled("db"), ingress=[rule])]}
        )
        pair.world.settle()
        assert connections(pair, "db") == [5]
    until(lambda: (connections(pair, "db"), connections(pair, "web")), ([0], [0]))


def echo(family: int) -> tuple[int, bytes]:
    if family == 6:
        return socket.IPPROTO_ICMPV6, struct.pack("!BBHHH", 128, 0, 0, 1, 1)
    return socket.IPPROTO_ICMP, struct.pack("!BBHHH", 8, 0, 0xF7FD, 1, 1)


@PLACES
@FAMILIES
def test_what_is_denied_is_told_with_all_names(pair: Pair, family: int, hosts: tuple[str, str]) -> None:
    to = address(pair.db, family)
    with suppress(TimeoutError), socket_at(pair.web, family, socket.SOCK_STREAM) as line:
        line.connect((to, 81))
    with socket_at(pair.web, family, socket.SOCK_DGRAM) as line:
        for _ in range(3):
            line.sendto(b"who?", (to, 82))
    protocol, request = echo(family)
    with socket_at(pair.web, family, socket.SOCK_RAW, protocol) as line:
        line.sendto(request, (to, 0))
    tenant, rest = pair.tenant, pair.world.rest
    web, db = f"{tenant}/{pair.web.name}", f"{tenant}/{pair.db.name}"

    def denied() -> list[Json]:
        return sorted(rest.items("/denials", {"tenant": tenant}), key=lambda denial: str(denial["protocol"]))

    until(lambda: [(one["protocol"], one["count"]) for one in denied() if one["protocol"] == "udp"], [("udp", 3)])
    until(lambda: len(denied()), 3)
    icmp, tcp, udp = denied()
    for denial in (icmp, tcp, udp):
        assert (denial["source"], denial["destination"]) == (web, db)
        assert (denial["source_address"], denial["destination_address"]) == (address(pair.web, family), to)
        assert (denial["host"], denial["direction"], denial["action"]) == (hosts[1], "ingress", "deny")
        assert (denial["policies"], denial["rule"]) == ([f"{tenant}/db"], None)
    assert (tcp["protocol"], tcp["port"]) == ("tcp", 81) and tcp["count"] >= 1
    assert (udp["protocol"], udp["port"], udp["count"]) == ("udp", 82, 3)
    assert icmp["protocol"] == ("icmpv6" if family == 6 else "icmp") and icmp["port"] is None
    assert (icmp["icmp_type"], icmp["icmp_code"], icmp["count"]) == (128 if family == 6 else 8, 0, 1)
    for query in ({"endpoint": db}, {"endpoint": web}, {"policy": f"{tenant}/db"}):
        assert len(list(rest.items("/denials", query))) == 3
    assert list(rest.items("/denials", {"policy": f"{tenant}/web"})) == []


@pytest.mark.parametrize("hosts", [("h1", "h2")])
def test_an_admins_rule_is_named_and_counts_what_it_denied(pair: Pair) -> None:
    world, name = pair.world, f"wall-{pair.tenant}"
    wall = {
        "apiVersion": "policy.networking.k8s.io/v1alpha2",
        "kind": "ClusterNetworkPolicy",
        "metadata": {"name": name},
        "spec": {
            "tier": "Admin",
            "priority": 7,
            "subject": {"namespaces": {"matchLabels": {"kubernetes.io/metadata.name": pair.tenant}}},
            "egress": [
                {"name": "web", "action": "Pass", "to": [{"networks": ["192.0.2.0/24"]}]},
                {
                    "name": "no-dns",
                    "action": "Deny",
                    "to": [{"networks": [f"{address(pair.db, 4)}/32"]}],
                    "protocols": [{"udp": {"destinationPort": {"number": 5353}}}],
                },
            ],
        },
    }
    ask(pair, 4, 2)
    caches.told(world.lab)
    world.rest.post("/policies", {"documents": [wall]})
    try:
        world.settle()
        with socket_at(pair.web, 4, socket.SOCK_DGRAM) as line:
            for _ in range(4):
                line.sendto(b"who?", (address(pair.db, 4), 5353))
        count = [{"policy": name, "direction": "egress", "number": 1, "packets": 0}]
        count += [{**count[0], "number": 2, "packets": 4}]
        until(
            lambda: [{key: rule[key] for key in count[0]} for rule in world.rest.items("/rules", {"policy": name})],
            count,
        )
        until(
            lambda: [
                (d["host"], d["policies"], d["rule"], d["rule_name"], d["port"], d["count"])
                for d in world.rest.items("/denials", {"tenant": pair.tenant})
            ],
            [("h1", [name], 2, "no-dns", 5353, 4)],
        )
        wall["spec"]["egress"].pop(0)  # type: ignore[attr-defined]
        world.rest.post("/policies", {"documents": [wall]})
        world.settle()
        time.sleep(READ)
        (rule,) = world.rest.items("/rules", {"policy": name})
        assert (rule["number"], rule["packets"]) == (1, 0), "a changed policy begins at zero"
    finally:
        world.rest.delete(f"/policies/{name}")
        world.settle()


@pytest.mark.parametrize("hosts", [("h1", "h2")])
@pytest.mark.parametrize("kill", [True, False])
def test_counts_go_on_over_a_restart_of_the_controller(pair: Pair, kill: bool) -> None:
    ask(pair, 4, 10)
    until(lambda: packets(pair, "db"), [20, 0])
    pair.world.lab.restart("controller", kill=kill)
    ask(pair, 4, 5)
    until(lambda: packets(pair, "db"), [30, 0])
    until(lambda: packets(pair, "web"), [30])
    time.sleep(READ)
    assert packets(pair, "db") == [30, 0], "and stay"


@pytest.mark.parametrize("hosts", [("h1", "h2")])
def test_what_the_egress_firewall_denied_is_counted_and_told(pair: Pair) -> None:
    world, tenant = pair.world, pair.tenant
    firewall = {
        "apiVersion": "k8s.ovn.org/v1",
        "kind": "EgressFirewall",
        "metadata": {"name": "default", "namespace": tenant},
        "spec": {
            "egress": [
                {"type": "Allow", "to": {"cidrSelector": "198.18.201.0/24"}},
                {"type": "Deny", "to": {"cidrSelector": "198.18.200.0/24"}},
            ]
        },
    }
    world.rest.post("/policies", {"documents": [firewall]})
    world.settle()
    with socket_at(pair.web, 4, socket.SOCK_DGRAM) as line:
        for _ in range(3):
            line.sendto(b"who?", ("198.18.200.7", 99))
    until(lambda: packets(pair, "default"), [0, 3])
    until(lambda: [one["count"] for one in world.rest.items("/denials", {"tenant": tenant})], [3])
    (denial,) = world.rest.items("/denials", {"tenant": tenant})
    assert (denial["source"], denial["destination"]) == (f"{tenant}/{pair.web.name}", None)
    assert (denial["destination_address"], denial["protocol"], denial["port"]) == ("198.18.200.7", "udp", 99)
    assert (denial["policies"], denial["rule"], denial["count"]) == ([f"{tenant}/default"], 2, 3)
