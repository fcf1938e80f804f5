"""What policies mean, shown by packets: over both families, on one host and between hosts, both answers each time."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress

import pytest

from lab import netns, responder
from lab.state import Placed
from tests.lab.asking import Wish, unfulfilled, wish
from tests.lab.rules import (
    EVERYBODY,
    apply,
    cluster_policy,
    delete,
    deny_by_default,
    policy,
    port,
    relabel,
    relabel_tenant,
    tenants,
)
from tests.lab.standing import isolate, join, make_global, peer
from tests.lab.test_first_packet import answered
from tests.lab.test_spoofing import ip
from tests.lab.test_standing import Scene as Standing
from tests.lab.wire import tap
from tests.lab.world import World
from tests.oracle import Document
from tests.ovs import wait_for

ROUNDS = 9
WEB: Document = {"podSelector": {"matchLabels": {"app": "web"}}}
ANYBODY: Document = {"namespaces": {}}


class Pair:
    """One tenant: an endpoint on h1, and one each on h1 and h2 to talk with."""

    def __init__(self, world: World) -> None:
        self.tenant = world.tenant("acme")
        self.network = world.network(self.tenant, "net", "10.71.0.0/24", "fd00:71::/64")
        self.one = world.endpoint(self.network, "h1", labels={"app": "one"})
        self.others = [world.endpoint(self.network, host, labels={"app": "other"}) for host in ("h1", "h2")]

    def out(self, allowed: bool) -> list[Wish]:
        return [each for other in self.others for each in wish(self.one, other, allowed)]

    def back(self, allowed: bool) -> list[Wish]:
        return [each for other in self.others for each in wish(other, self.one, allowed)]


@pytest.fixture
def pair(world: World) -> Pair:
    return Pair(world)


@pytest.fixture
def three(world: World) -> Standing:
    """Three tenants with an endpoint each on h1 and h2."""
    names = [world.tenant(name) for name in ("acme", "beta", "gamma")]
    placed = [world.endpoint(f"{name}/default", host) for name in names for host in ("h1", "h2")]
    return Standing(world, *names, placed)


class Caller:
    """Calls an address without pause, whether somebody has it or not."""

    def __init__(self, source: Placed, address: str) -> None:
        self.answers = 0
        with netns.inside(source.netns):
            self._line = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._line.settimeout(0.002)
        self._to = (address, 80)
        self._over = threading.Event()
        self._calling = threading.Thread(target=self._call, daemon=True)

    def _call(self) -> None:
        while not self._over.is_set():
            with suppress(OSError):
                self._line.sendto(b"?", self._to)
                self.answers += bool(self._line.recv(200))

    def __enter__(self) -> Caller:
        self._calling.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._calling.join()
        self._line.close()


def across(sources: list[Placed], targets: list[Placed], allowed: bool) -> list[Wish]:
    return [each for source in sources for target in targets for each in wish(source, target, allowed)]


def test_ingress_policy_isolates_no_egress_and_replies_come_back(world: World, pair: Pair) -> None:
    apply(world, policy(pair.tenant, pods={"app": "one"}, ingress=[]))
    assert not unfulfilled(*pair.out(True), *pair.back(False))


def test_egress_policy_isolates_no_ingress_and_replies_go_out(world: World, pair: Pair) -> None:
    apply(world, policy(pair.tenant, pods={"app": "one"}, egress=[]))
    assert not unfulfilled(*pair.out(False), *pair.back(True))


def test_both_ends_must_agree(world: World, pair: Pair) -> None:
    out = policy(pair.tenant, "out", {"app": "one"}, egress=[{"to": [{"podSelector": {}}], **port(80)}])
    into = policy(pair.tenant, "in", {"app": "other"}, ingress=[port(81)])
    apply(world, out)
    assert not unfulfilled(*(Wish(pair.one, other, "tcp", n, n == 80) for other in pair.others for n in (80, 81)))
    apply(world, into)
    assert not unfulfilled(*(Wish(pair.one, other, "tcp", n, False) for other in pair.others for n in (80, 81)))
    delete(world, out)
    assert not unfulfilled(*(Wish(pair.one, other, "tcp", n, n == 81) for other in pair.others for n in (80, 81)))


@pytest.mark.parametrize("host", ["h1", "h2"])
def test_the_first_packet_of_a_new_endpoint_is_judged(world: World, host: str) -> None:
    tenant = world.tenant("acme")
    network = world.network(tenant, "net", "10.71.0.0/16", "fd00:71::/64")
    server = world.endpoint(network, host, labels={"app": "server"})
    apply(
        world,
        policy(
            tenant,
            "server",
            {"app": "server"},
            ingress=[{"from": [WEB, {"podSelector": {"matchLabels": {"app": "mute"}}}]}],
        ),
        policy(tenant, "mute", {"app": "mute"}, egress=[]),
    )
    wrong, strangers = [], []
    with tap(server.netns) as ear:
        for number in range(3 * ROUNDS):
            app = ("web", "stranger", "mute")[number % 3]
            new = world.endpoint(network, "h1", labels={"app": app})
            seen = answered(world, new, server, 20.0 if app == "web" else 0.05)
            if seen is not None and seen != (app == "web"):
                wrong.append((number, app))
            if app != "web":
                strangers.append(ip(new))
            world.remove(new)
        heard = [frame for frame in ear.waiting() if frame[12:14] == b"\x08\x00"]
    assert not wrong
    senders = {".".join(map(str, frame[26:30])) for frame in heard}
    assert senders and not senders & set(strangers)


@pytest.mark.parametrize("host", ["h1", "h2"])
def test_the_first_packet_to_a_new_endpoint_is_judged(world: World, host: str) -> None:
    """The caller keeps calling while the endpoint is being attached."""
    tenant = world.tenant("acme")
    network = world.network(tenant, "net", "10.71.0.0/24", "fd00:71::/64")
    caller = world.endpoint(network, host)
    apply(world, policy(tenant, "locked", {"app": "locked"}, ingress=[]))
    for number in range(ROUNDS):
        locked = number % 3 > 0
        address = f"10.71.0.{100 + number}"
        with Caller(caller, address) as calling:
            new = world.endpoint(network, "h1", labels={"app": "locked" if locked else "open"}, addresses=[address])
            assert answered(world, caller, new, 0.1 if locked else 20.0) in (None, not locked)
            if not locked:
                wait_for(lambda: calling.answers, "an answer to the caller")
        assert not (locked and calling.answers)
        world.remove(new)


def test_named_ports_are_what_they_are_at_each_endpoint(world: World) -> None:
    tenant = world.tenant("acme")
    network = world.network(tenant, "net", "10.71.0.0/24", "fd00:71::/64")
    client = world.endpoint(network, "h1", labels={"app": "client"})
    numbers = {("h1", "tcp"): 8080, ("h2", "tcp"): 9090, ("h3", "udp"): 8080}
    servers = {}
    for (host, protocol), number in numbers.items():
        named = {"name": "http", "port": number, "protocol": protocol}
        servers[host, protocol] = world.endpoint(network, host, labels={"app": "server"}, ports=[named])
        one = servers[host, protocol]
        responder.tell(world.lab.folder, "add", one.name, one.netns, (8080, 9090))
    by_name = [
        Wish(client, server, asked, number, (number, asked) == (numbers[place], place[1]) and asked == "tcp")
        for place, server in servers.items()
        for asked in ("tcp", "udp")
        for number in (8080, 9090)
    ]
    into = policy(tenant, "in", {"app": "server"}, ingress=[port("http")])
    out = policy(tenant, "out", {"app": "client"}, egress=[port("http")])
    for one in (into, out):
        apply(world, one)
        assert not unfulfilled(*by_name)
        delete(world, one)
    tidied = world.rest.get(f"/endpoints/{tenant}/{servers['h1', 'tcp'].name}").body
    apply(world, into)
    changed = [{**tidied["ports"][0], "port": 9090}]
    world.rest.patch(f"/endpoints/{tidied['name']}", {"ports": changed})
    world.settle()
    first = servers["h1", "tcp"]
    assert not unfulfilled(Wish(client, first, "tcp", 9090, True), Wish(client, first, "tcp", 8080, False))


def test_tenants_are_selected_by_the_name_that_is_their_label(three: Standing) -> None:
    world, acme, beta, gamma, placed = three
    join(world, beta, acme)
    peer(world, gamma, acme)
    apply(world, policy(acme, ingress=[{"from": [{"namespaceSelector": tenants(beta)}]}]))
    mine, theirs, others = placed[:2], placed[2:4], placed[4:]
    assert not unfulfilled(*across(theirs, mine, True), *across(others, mine, False), *wish(*mine, False))
    assert not unfulfilled(*across(mine, [*theirs, *others], True))


def test_sctp_is_not_tcp(world: World, pair: Pair) -> None:
    apply(world, policy(pair.tenant, pods={"app": "one"}, egress=[port(80, "SCTP"), port(81)]))
    assert not unfulfilled(
        *(
            Wish(pair.one, other, protocol, number, (protocol, number) in (("sctp", 80), ("tcp", 81)))
            for other in pair.others
            for protocol in ("tcp", "sctp", "udp")
            for number in (80, 81)
        )
    )


def test_global_and_joined_tenants_are_subject_to_policy(three: Standing) -> None:
    world, acme, beta, gamma, placed = three
    make_global(world, acme)
    join(world, gamma, beta)
    its, theirs, joined = placed[:2], placed[2:4], placed[4:]
    assert not unfulfilled(*across(its, theirs, True), *across(joined, theirs, True))
    apply(world, policy(beta, ingress=[{"from": [{"podSelector": {}}]}]))
    assert not unfulfilled(*across(its, theirs, False), *across(joined, theirs, False), *wish(*theirs, True))
    assert not unfulfilled(*across(theirs, its, True), *across(theirs, joined, True))
    apply(world, policy(acme, egress=[{"to": [{"namespaceSelector": tenants(gamma)}]}]))
    assert not unfulfilled(*across(its, joined, True), *wish(*its, False), *across(theirs, its, True))
    isolate(world, acme)
    assert not unfulfilled(*across(its, joined, False)), "a policy allows nothing that isolation forbids"


def test_labels_change_at_any_time(world: World, pair: Pair) -> None:
    tenant, one = pair.tenant, pair.one
    apply(world, policy(tenant, pods={"app": "one"}, ingress=[{"from": [WEB]}]))
    for _ in range(3):
        assert not unfulfilled(*pair.back(False))
        relabel(world, pair.others[0], app="web")
        assert not unfulfilled(*wish(pair.others[0], one, True), *wish(pair.others[1], one, False))
        relabel(world, one, app="free")
        assert not unfulfilled(*pair.back(True))
        relabel(world, one, app="one")
        relabel(world, pair.others[0], app=None)


def test_labels_of_tenants_change_at_any_time(three: Standing) -> None:
    world, acme, beta, gamma, placed = three
    join(world, beta, acme)
    join(world, gamma, acme)
    apply(world, policy(acme, ingress=[{"from": [{"namespaceSelector": {"matchLabels": {"team": "red"}}}]}]))
    admin = cluster_policy(
        "red-is-mute", "Admin", 5, [], egress=[{"action": "Deny", "to": [{"namespaces": tenants(gamma)}]}]
    )
    admin["spec"]["subject"] = {"namespaces": {"matchLabels": {"team": "red"}}}
    apply(world, admin)
    mine, theirs, others = placed[:2], placed[2:4], placed[4:]
    for _ in range(2):
        assert not unfulfilled(*across(theirs, mine, False), *across(theirs, others, True))
        relabel_tenant(world, beta, team="red")
        assert not unfulfilled(*across(theirs, mine, True), *across(theirs, others, False))
        relabel_tenant(world, beta, team="blue")


def test_a_large_policy_holds_to_its_last_rule(world: World, pair: Pair) -> None:
    blocks = [f"172.16.{n // 250}.{n % 250}/32" for n in range(1000)] + [f"fd00:16::{n:x}/128" for n in range(1000)]
    peers = [{"ipBlock": {"cidr": cidr}} for cidr in blocks]
    sources = [{"ipBlock": {"cidr": f"{ip(pair.others[1], family)}/{bits}"}} for family, bits in ((4, 32), (6, 128))]
    apply(world, policy(pair.tenant, "wide", {"app": "one"}, ingress=[{"from": [*peers, *sources], **port(80)}]))
    expected = [Wish(other, pair.one, "tcp", 80, other is pair.others[1]) for other in pair.others]
    assert not unfulfilled(*expected, Wish(pair.others[1], pair.one, "tcp", 81, False))
    rules = [{"from": [peer], **port(1000 + n)} for n, peer in enumerate(peers[:1000])]
    apply(world, policy(pair.tenant, "wide", {"app": "one"}, ingress=[*rules, {"from": sources, **port(80)}]))
    assert not unfulfilled(*expected, Wish(pair.others[1], pair.one, "tcp", 81, False))


def test_tiers_are_asked_in_order(three: Standing) -> None:
    world, acme, beta, _, placed = three
    join(world, beta, acme)
    mine, theirs = placed[:2], placed[2:4]

    def admin(tier: str, action: str, priority: int = 10) -> Document:
        rule = {"action": action, "from": [{"namespaces": tenants(beta)}]}
        return cluster_policy(f"{tier}-{priority}".lower(), tier, priority, [acme], ingress=[rule])

    accepts, denies = policy(acme, ingress=[{"from": [EVERYBODY]}]), policy(acme, ingress=[])
    for documents, allowed in (
        ([admin("Baseline", "Deny")], False),
        ([accepts], True),
        ([denies, admin("Baseline", "Accept")], False),
        ([admin("Admin", "Accept")], True),
        ([admin("Admin", "Pass", 5)], False),
        ([accepts], True),
        ([admin("Admin", "Deny", 4)], False),
        ([admin("Admin", "Accept", 3)], True),
    ):
        apply(world, *documents)
        assert not unfulfilled(*across(theirs, mine, allowed)), documents


def test_a_tenant_denies_by_default(world: World, pair: Pair) -> None:
    deny_by_default(world, pair.tenant, "ingress")
    assert not unfulfilled(*pair.out(False), *pair.back(False))
    apply(world, policy(pair.tenant, pods={"app": "one"}, ingress=[{}]))
    assert not unfulfilled(*pair.out(False), *pair.back(True))
    deny_by_default(world, pair.tenant, "egress")
    assert not unfulfilled(*pair.out(False), *pair.back(False))
    deny_by_default(world, pair.tenant)
    assert not unfulfilled(*pair.out(True), *pair.back(True))


def test_icmp_is_allowed_by_its_type(world: World, pair: Pair) -> None:
    def echoes(icmp: int, icmpv6: int) -> list[Document]:
        return [{"ports": [{"protocol": "ICMP", "type": icmp}, {"protocol": "ICMPv6", "type": icmpv6}]}]

    apply(world, policy(pair.tenant, pods={"app": "one"}, ingress=echoes(8, 128)))
    assert not unfulfilled(*(each._replace(allowed=each.protocol == "icmp") for each in pair.back(True)))
    apply(world, policy(pair.tenant, pods={"app": "one"}, ingress=echoes(13, 129)))
    assert not unfulfilled(*pair.back(False))


def test_tenants_with_the_same_addresses_have_policies_of_their_own(world: World) -> None:
    wishes = []
    for allowed in (True, False):
        tenant = world.tenant("twin")
        lan = world.network(tenant, "lan", "10.72.0.0/24", "fd00:72::/64", private=True)
        server, *clients = (world.endpoint(lan, host) for host in ("h1", "h1", "h2"))
        blocks = [{"ipBlock": {"cidr": cidr}} for cidr in ("10.72.0.0/24", "fd00:72::/64")]
        relabel(world, server, app="server")
        apply(world, policy(tenant, pods={"app": "server"}, ingress=[{"from": blocks}] if allowed else []))
        wishes += across(clients, [server], allowed) + across([server], clients, True)
    assert not unfulfilled(*wishes)
