"""Names as containers ask for them: on every host, when an attach or a detach returns, and of no other tenant."""

from __future__ import annotations

import os
import re
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, cast

import dns.message
import dns.query
import dns.reversename
import pytest
from dns.flags import AA, TC
from dns.message import Message
from dns.rcode import NOERROR, NXDOMAIN, SERVFAIL

from lab import host as hosts
from lab import netns
from lab.lab import Lab
from lab.names import FABRIC_ADDRESS, fabric_netns
from lab.state import Placed
from ovs_agent.confirm import PEERS_AWAY
from tests.lab.dns import Server, Zone, server
from tests.lab.world import SECONDS, World

BOTH = pytest.mark.parametrize("family", [4, 6])
PATIENCE = 15.0
"""Seconds in which everything is answered, be it that there is no answer."""


class Scene:
    """Tenants red and blue use the same addresses and names; red is on h1 and h2, blue on h1 alone."""

    def __init__(self, lab: Lab, world: World) -> None:
        self.lab, self.world = lab, world
        self.red, self.blue = world.tenant("red"), world.tenant("blue")
        self.web = world.network(self.red, "web", "10.61.0.0/24", "fd00:61::/64", private=True)
        self.db = world.network(self.red, "db", "10.62.0.0/24", private=True)
        self.same = world.network(self.blue, "web", "10.61.0.0/24", "fd00:61::/64", private=True)
        self.here = world.endpoint(self.web, "h1")
        self.there = world.endpoint(self.web, "h2", aliases=["front"])
        self.stranger = world.endpoint(self.same, "h1", addresses=[ip(self.there), ip(self.there, 6)])
        self.own = world.endpoint(self.same, "h3")


def ip(placed: Placed, family: int = 4) -> str:
    return next(a.split("/")[0] for a in placed.addresses if (":" in a) == (family == 6))


def gateway(family: int = 4, subnet: str = "61") -> str:
    return f"fd00:{subnet}::1" if family == 6 else f"10.{subnet}.0.1"


def ask(
    asker: Placed, name: str, kind: str = "A", family: int = 4, tcp: bool = False, subnet: str = "61", **more: Any
) -> Message:
    """Once: no second attempt hides an answer that was late or wrong."""
    question = dns.message.make_query(name, kind, **more)
    with netns.inside(asker.netns):
        one = socket.socket(
            socket.AF_INET6 if family == 6 else socket.AF_INET, socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM
        )
    where = gateway(family, subnet)
    with one:
        one.settimeout(PATIENCE)
        if tcp:
            one.connect((where, 53))
        one.setblocking(False)
        send = dns.query.tcp if tcp else dns.query.udp
        return send(question, where, timeout=PATIENCE, sock=one)


def found(message: Message) -> set[str]:
    assert message.rcode() == NOERROR
    return {record.to_text() for rrset in message.answer for record in rrset}


@pytest.fixture(scope="module")
def scene(lab: Lab) -> Iterator[Scene]:
    world = World(lab)
    yield Scene(lab, world)
    world.clear()


@BOTH
@pytest.mark.parametrize("tcp", [False, True])
def test_an_endpoint_of_another_host_has_a_name(scene: Scene, family: int, tcp: bool) -> None:
    name = scene.there.name
    for asked in (name, name.upper(), "front", f"{name}.web", f"{name}.web.{scene.red}.warren.internal"):
        message = ask(scene.here, asked, "AAAA" if family == 6 else "A", family, tcp)
        assert found(message) == {ip(scene.there, family)} and message.flags & AA
        assert message.answer[0].ttl <= 1


def test_in_a_network_of_several_subnets_each_gateway_answers_its_own(scene: Scene) -> None:
    wide = scene.world.network(scene.red, "wide", "10.63.0.0/24", "10.64.0.0/24", private=True)
    for subnet in ("63", "64"):
        one = scene.world.endpoint(wide, "h1", addresses=[f"10.{subnet}.0.9"])
        assert one.result is not None and one.result["dns"]["nameservers"] == [gateway(4, subnet)]
        assert found(ask(one, one.name, subnet=subnet)) == {ip(one)}


def test_the_c_library_of_a_container_finds_names_by_its_resolv_conf(scene: Scene) -> None:
    text = scene.here.result["dns"] if scene.here.result else {}
    assert text["nameservers"] == ["10.61.0.1", "fd00:61::1"]
    assert text["search"] == [f"web.{scene.red}.warren.internal", f"{scene.red}.warren.internal"]
    run = ("./warren", "lab", "exec", scene.here.name, "--", "getent", "ahostsv4", scene.there.name)
    assert ip(scene.there) in netns.run(*run, env=environment(scene.lab))


def environment(lab: Lab) -> dict[str, str]:
    return os.environ | {"WARREN_LAB": lab.name}


def test_reverse_names_nodata_and_names_that_do_not_exist(scene: Scene) -> None:
    full = f"{scene.there.name}.web.{scene.red}.warren.internal."
    for family in (4, 6):
        pointer = dns.reversename.from_address(ip(scene.there, family)).to_text()
        assert found(ask(scene.here, pointer, "PTR")) == {full}
    assert found(ask(scene.here, scene.there.name, "MX")) == set()
    assert ask(scene.here, "nobody").rcode() == NXDOMAIN
    assert ask(scene.here, "200.0.61.10.in-addr.arpa", "PTR").rcode() == NXDOMAIN


def test_a_tenant_with_the_same_addresses_hears_of_its_own_names_alone(scene: Scene) -> None:
    assert ip(scene.stranger) == ip(scene.there)
    secret = f"{scene.there.name}.web.{scene.red}.warren.internal"
    for asked in (scene.there.name, f"{scene.there.name}.web.{scene.blue}.warren.internal", secret, "front"):
        assert ask(scene.stranger, asked).rcode() == NXDOMAIN
    pointer = dns.reversename.from_address(ip(scene.there)).to_text()
    assert found(ask(scene.stranger, pointer, "PTR")) == {f"{scene.stranger.name}.web.{scene.blue}.warren.internal."}
    assert found(ask(scene.stranger, scene.own.name)) == {ip(scene.own)}
    assert ask(scene.here, scene.own.name).rcode() == NXDOMAIN


def test_peers_see_each_others_full_names_and_no_short_ones(scene: Scene) -> None:
    world, lab = scene.world, scene.lab
    one, other = world.tenant("one"), world.tenant("other")
    first, second = world.network(one, "n", "10.63.0.0/24"), world.network(other, "n", "10.64.0.0/24")
    asker, asked = world.endpoint(first, "h1"), world.endpoint(second, "h3")
    full = f"{asked.name}.n.{other}.warren.internal"
    assert ask(asker, full, subnet="63").rcode() == NXDOMAIN
    known(lab, world.rest.post(f"/tenants/{one}/peer", {"with": other}).body["revision"])
    assert found(ask(asker, full, subnet="63")) == {ip(asked)}
    assert ask(asker, asked.name, subnet="63").rcode() == NXDOMAIN
    known(lab, world.rest.delete(f"/tenants/{one}/peers/{other}").body["revision"])
    assert ask(asker, full, subnet="63").rcode() == NXDOMAIN


def known(lab: Lab, revision: int) -> None:
    said = lab.rest.get(f"/revisions/{revision}/names", params={"wait": SECONDS}, timeout=2 * SECONDS).body
    assert said["waiting"] == []


def test_a_name_is_right_in_the_moment_an_attach_returns_and_gone_in_the_moment_a_detach_does(scene: Scene) -> None:
    """Each round the name is on another host and another address, and is asked for everywhere at once."""
    askers = [scene.here, scene.there, scene.world.endpoint(scene.web, "h3")]
    name = f"turn-{secrets.token_hex(3)}"
    if late(scene.lab):
        time.sleep(PEERS_AWAY)  # for so long nobody waits for others
    turn = tries = 0
    while turn < 12:
        tries += 1
        assert tries < 24, "resolvers are late too often"
        before = late(scene.lab)
        placed = scene.world.endpoint(scene.web, f"h{turn % 3 + 1}", name)
        if late(scene.lab) == before:
            for asker in askers:
                assert found(ask(asker, name)) == {ip(placed)}, f"turn {turn}, asked from {asker.host}"
            assert found(ask(placed, scene.there.name)) == {ip(scene.there)}, "the new one is answered as soon"
        scene.world.remove(placed)
        if late(scene.lab) == before:
            for asker in askers:
                assert ask(asker, name).rcode() == NXDOMAIN, f"turn {turn}, asked from {asker.host}"
            turn += 1
        else:
            time.sleep(PEERS_AWAY)


def late(lab: Lab) -> int:
    """How often hosts have said that another's resolver had not heard in time: a slow one holds nobody up."""
    said = ((host.folder / "agent.log").read_text(errors="replace") for host in lab.hosts)
    return sum(
        len(re.findall(r"names of revision \d+ are (?:not known yet|known cannot be seen)", one)) for one in said
    )


def test_many_of_one_alias_are_shuffled_and_a_long_answer_comes_by_tcp(scene: Scene) -> None:
    rest, path = scene.world.rest, f"/dns/records/{scene.red}"
    addresses = [f"203.0.113.{number}" for number in range(1, 33)]
    last = 0
    for network in ("web",):
        last = rest.put(f"{path}/{network}/many", {"addresses": addresses}).body["revision"]
    known(scene.lab, last)
    cut = ask(scene.here, "many")
    assert cut.flags & TC and not cut.answer, "512 bytes do not hold 32 addresses"
    assert found(ask(scene.here, "many", use_edns=0, payload=1232)) == set(addresses)
    assert found(ask(scene.here, "many", tcp=True)) == set(addresses)
    assert len({ask(scene.here, "many", tcp=True).answer[0][0].to_text() for _ in range(12)}) > 1


def test_static_records_come_change_and_go(scene: Scene) -> None:
    rest, path = scene.world.rest, f"/dns/records/{scene.red}/printer"
    known(scene.lab, rest.put(path, {"addresses": ["192.0.2.7", "2001:db8::7"]}).body["revision"])
    assert found(ask(scene.here, "printer")) == {"192.0.2.7"}
    assert found(ask(scene.there, f"printer.{scene.red}.warren.internal", "AAAA")) == {"2001:db8::7"}
    assert ask(scene.stranger, "printer").rcode() == NXDOMAIN
    known(scene.lab, rest.put(path, {"addresses": ["192.0.2.8"]}).body["revision"])
    assert found(ask(scene.here, "printer")) == {"192.0.2.8"}
    known(scene.lab, rest.delete(path).body["revision"])
    assert ask(scene.here, "printer").rcode() == NXDOMAIN


def test_names_are_answered_while_controller_and_web_are_away_and_after_the_agent_was_killed(scene: Scene) -> None:
    kept = scene.lab.host("h1").folder / "agent" / "names.json"
    awaits(lambda: scene.there.name in kept.read_text())
    web, controller = scene.lab.part("web"), scene.lab.part("controller")
    controller.daemon.stop(kill=True)
    web.daemon.stop(kill=True)
    try:
        assert found(ask(scene.here, scene.there.name)) == {ip(scene.there)}
        scene.lab.restart("agent:h1", kill=True)
        awaits(lambda: found(ask(scene.here, scene.there.name)) == {ip(scene.there)})
    finally:
        web.start()
        controller.start()
    scene.world.settle()
    assert found(ask(scene.here, scene.there.name, tcp=True)) == {ip(scene.there)}


def awaits(condition: Any, seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while True:
        try:
            if condition():
                return
        except (OSError, dns.exception.Timeout, AssertionError):
            pass
        assert time.monotonic() < end
        time.sleep(0.2)


# -- names of others ------------------------------------------------------------------------------------------------

WWW = "www.example.net"
ZONE: Zone = {
    (WWW, "A"): [(WWW, 60, "A", "203.0.113.27")],
    ("long.example.org", "A"): [("long.example.org", 60, "A", f"203.0.113.{n}") for n in range(100, 160)],
    ("short.example.org", "A"): [("short.example.org", 1, "A", "203.0.113.8")],
}


class Counting(dict[tuple[str, str], Any]):
    """A zone that remembers what it was asked."""

    def __init__(self, zone: Zone) -> None:
        super().__init__(zone)
        self.asked: list[str] = []

    def get(self, key: Any, default: Any = None) -> Any:
        self.asked.append(key[0])
        return super().get(key, default)


@contextmanager
def upstream(lab: Lab, zone: Zone) -> Iterator[Server]:
    """A resolver that every host knows, beside the control plane."""
    with server(cast(Placed, SimpleNamespace(netns=fabric_netns(lab.name))), zone) as serving:
        for host in lab.hosts:
            hosts.resolv_conf(host).write_text(f"# of the host\nnameserver {FABRIC_ADDRESS}\n")
        time.sleep(1.1)  # a file is looked at once a second
        try:
            yield serving
        finally:
            for host in lab.hosts:
                hosts.resolv_conf(host).write_text("")
            time.sleep(1.1)


def test_others_names_are_asked_for_once_and_own_ones_never(scene: Scene) -> None:
    zone = Counting(ZONE)
    with upstream(scene.lab, zone):
        for family in (4, 6):
            message = ask(scene.here, "WWW.example.net", family=family)
            assert found(message) == {"203.0.113.27"} and not message.flags & AA
        assert zone.asked == [WWW]
        long = ask(scene.here, "long.example.org")
        assert long.flags & TC and len(found(ask(scene.here, "long.example.org", tcp=True))) == 60
        asked = len(zone.asked)
        for own in ("nobody", "x.warren.internal", f"x.web.{scene.blue}.warren.internal", "9.0.61.10.in-addr.arpa"):
            ask(scene.here, own, "PTR" if own.endswith("arpa") else "A")
        assert len(zone.asked) == asked, "what is Warren's is nobody else's to know"
        assert found(ask(scene.here, "short.example.org")) == {"203.0.113.8"}
        time.sleep(1.1)
        assert found(ask(scene.here, "short.example.org")) == {"203.0.113.8"}
        assert zone.asked.count("short.example.org") == 2, "no longer than it says"


def test_who_has_nobody_to_ask_is_told_so_in_time(scene: Scene) -> None:
    assert ask(scene.here, "fresh.example.org").rcode() == SERVFAIL
    host = scene.lab.host("h1")
    hosts.resolv_conf(host).write_text("nameserver 198.18.0.99\nnameserver 127.0.0.1\n")
    time.sleep(1.1)
    try:
        began = time.monotonic()
        assert ask(scene.here, "fresh.example.org").rcode() == SERVFAIL
        assert time.monotonic() - began < PATIENCE
        assert found(ask(scene.here, scene.there.name)) == {ip(scene.there)}
    finally:
        hosts.resolv_conf(host).write_text("")


def test_a_resolver_that_leads_back_here_ends_in_time(scene: Scene) -> None:
    """The host's resolver asks the very resolver that asked it, by way of an endpoint: a circle of one question."""
    asked: list[bytes] = []

    class Circle(dict[tuple[str, str], Any]):
        def get(self, key: Any, default: Any = None) -> Any:
            asked.append(key)
            ask(scene.here, key[0])
            return []

    with upstream(scene.lab, cast(Zone, Circle())):
        began = time.monotonic()
        assert ask(scene.here, "circle.example.org").rcode() in (SERVFAIL, NOERROR)
        assert time.monotonic() - began < PATIENCE
    assert len(asked) <= 2, "one question is on its way at a time"


def test_what_the_resolver_passes_on_counts_for_policies_and_own_names_do_not(scene: Scene) -> None:
    world = scene.world
    egress = [{"type": "Allow", "to": {"dnsName": name}} for name in (WWW, "evil.web")]
    egress += [{"type": "Deny", "to": {"cidrSelector": cidr}} for cidr in ("0.0.0.0/0", "::/0")]
    document = {
        "apiVersion": "network.openshift.io/v1",
        "kind": "EgressNetworkPolicy",
        "metadata": {"name": "default", "namespace": scene.red},
        "spec": {"egress": egress},
    }
    world.rest.post("/policies", {"documents": [document]})
    made = world.rest.put(f"/dns/records/{scene.red}/web/evil", {"addresses": ["203.0.113.66"]})
    world.settle()
    known(scene.lab, made.body["revision"])
    with upstream(scene.lab, dict(ZONE)):
        assert found(ask(scene.here, "evil.web")) == {"203.0.113.66"}
        assert found(ask(scene.here, WWW)) == {"203.0.113.27"}
        awaits(lambda: "203.0.113.27" in told(world))
        assert "203.0.113.66" not in told(world), "a tenant could allow itself whatever it likes"


def told(world: World) -> set[str]:
    return {one["address"] for name in world.rest.items("/names") for one in name["addresses"]}
