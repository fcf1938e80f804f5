"""What DNS names stand for: which packets tell it, who is believed, how long it counts, and whom it reaches."""

from __future__ import annotations

import ipaddress
from random import Random

import pytest
from dns.flags import QR, TC
from dns.rcode import NXDOMAIN

from controller import dns
from controller.calc.answers import is_believed, messages
from controller.calc.membership import members
from controller.calc.names import Chain, IpAddress, Lifetime, Told
from controller.model import Action, Block, Change, DomainName, Policy, Requirement, ResolvedName, Rule, Tier
from controller.pipeline.flow import Kind
from controller.pipeline.program import program
from controller.selection import meaning
from controller.world import World
from tests.frames import answer, by_tcp, by_udp, ip, prefixed
from tests.pure import worlds

WWW = "www.example.org"
PORTAL = "portal.example.net"


def at(text: str) -> IpAddress:
    address = ipaddress.ip_address(text)
    return address.version, int(address)


ONE, TWO, SIX = at("203.0.113.7"), at("203.0.113.8"), at("2001:db8::7")


# From packets to answers.


def test_a_datagram_carries_one_message_and_padding_is_none_of_it() -> None:
    assert messages(by_udp(b"question and answer")) == [b"question and answer"]
    assert messages(by_udp(b"short") + bytes(20)) == [b"short"]
    assert messages(by_udp(b"over six", "fd00::53", "fd00::9")) == [b"over six"]


def test_a_segment_carries_each_message_that_it_holds_whole() -> None:
    assert messages(by_tcp(prefixed([b"first", b"second"]))) == [b"first", b"second"]
    assert messages(by_tcp(prefixed([b"first", b"second"])[:-1])) == [b"first"]
    assert messages(by_tcp(prefixed([b"over six"]), "fd00::53", "fd00::9")) == [b"over six"]
    assert messages(by_tcp(b"")) == []


def test_what_goes_to_a_servers_port_or_does_not_come_from_53_is_no_answer() -> None:
    assert messages(by_udp(b"message", port=53)) == []
    assert messages(by_udp(b"message", port=1023)) == []
    question = bytearray(by_udp(b"message"))
    question[34:38] = question[36:38] + question[34:36]
    assert messages(bytes(question)) == []


def test_a_fragment_is_not_an_answer() -> None:
    fragment = bytearray(by_udp(b"message"))
    fragment[20] |= 0x20  # more of them follow
    assert messages(bytes(fragment)) == []


@pytest.mark.parametrize("frame", [by_udp(b"message"), by_tcp(prefixed([b"message"])), by_udp(b"m", "fd::1", "fd::2")])
def test_a_packet_that_is_cut_anywhere_tells_nothing(frame: bytes) -> None:
    assert all(messages(frame[:length]) == [] for length in range(len(frame)))


def test_random_bytes_are_read_without_harm() -> None:
    random = Random(1)
    real = answer(WWW, (WWW, 60, "A", "203.0.113.7")).to_wire()
    for _ in range(3000):
        junk = bytearray(real)
        for _ in range(random.randint(1, 6)):
            junk[random.randrange(len(junk))] = random.randrange(256)
        dns.read(bytes(junk[: random.randint(0, len(junk))]))
        messages(ip(random.choice((6, 17)), random.randbytes(random.randint(0, 40)), "10.0.0.1", "10.0.0.2"))


# From answers to names.


def test_an_answer_tells_the_addresses_of_the_name_that_was_asked_for() -> None:
    told = answer("WWW.Example.ORG", (WWW, 60, "A", "203.0.113.7"), (WWW, 60, "A", "203.0.113.8"))
    assert dns.read(told.to_wire()) == Chain(WWW, (), ((60, ONE), (60, TWO)))
    six = answer(WWW, (WWW, 60, "AAAA", "2001:db8::7"), kind="AAAA")
    assert dns.read(six.to_wire()) == Chain(WWW, (), ((60, SIX),))


def test_an_address_counts_for_every_name_on_the_way_to_it_for_as_long_as_the_way_holds() -> None:
    reply = answer(
        WWW,
        (WWW, 300, "CNAME", PORTAL),
        (PORTAL, 20, "CNAME", "edge.example.com"),
        ("edge.example.com", 100, "A", "203.0.113.7"),
    )
    chain = dns.read(reply.to_wire())
    assert chain is not None
    assert chain.told() == [Told(WWW, ONE, 20), Told(PORTAL, ONE, 20), Told("edge.example.com", ONE, 100)]


@pytest.mark.parametrize("name", ["a/b.example.org", "a\\046b.example.org", "*.example.org", "b\\195\\188.example.org"])
def test_what_no_host_is_called_is_no_name(name: str) -> None:
    chain = dns.read(answer(name, (name, 60, "A", "203.0.113.7")).to_wire())
    assert chain is not None
    assert chain.told() == []


def test_addresses_that_nothing_leads_to_do_not_count() -> None:
    reply = answer(WWW, (WWW, 60, "A", "203.0.113.7"), ("bank.example.com", 60, "A", "203.0.113.8"))
    assert dns.read(reply.to_wire()) == Chain(WWW, (), ((60, ONE),))


def test_what_is_cut_short_refused_asked_or_about_something_else_tells_nothing() -> None:
    good = (WWW, 60, "A", "203.0.113.7")
    short, refused, question = answer(WWW, good), answer(WWW, good), answer(WWW, good)
    short.flags |= TC
    refused.set_rcode(NXDOMAIN)
    question.flags &= ~QR
    text = answer(WWW, (WWW, 60, "TXT", "hello"), kind="TXT")
    loop = answer(WWW, (WWW, 60, "CNAME", PORTAL), (PORTAL, 60, "CNAME", WWW))
    nothing = answer(WWW)
    for message in (short, refused, question, text, loop, nothing):
        assert dns.read(message.to_wire()) is None
    assert dns.read(b"") is None


# How long it counts.

LIFETIME = Lifetime(floor=30, ceiling=3600, grace=60)


def test_an_address_counts_as_long_as_the_answer_says_and_a_grace_more() -> None:
    known = LIFETIME.merge({}, [Told(WWW, ONE, 100)], now=1000)
    assert known == {WWW: {ONE: 1100}}
    assert LIFETIME.lapse(known, now=1159) == {}
    assert LIFETIME.lapse(known, now=1160) == {WWW: {}}


@pytest.mark.parametrize(("ttl", "counted"), [(0, 30), (5, 30), (31, 31), (3600, 3600), (86400, 3600)])
def test_times_have_a_floor_and_a_ceiling(ttl: int, counted: int) -> None:
    assert LIFETIME.merge({}, [Told(WWW, ONE, ttl)], now=0) == {WWW: {ONE: counted}}


def test_answers_add_up_and_each_address_ends_by_itself() -> None:
    known = LIFETIME.merge({}, [Told(WWW, ONE, 100), Told(WWW, SIX, 200), Told(PORTAL, TWO, 100)], now=0)
    known |= LIFETIME.merge(known, [Told(WWW, TWO, 300)], now=50)
    assert known == {WWW: {ONE: 100, SIX: 200, TWO: 350}, PORTAL: {TWO: 100}}
    assert LIFETIME.lapse(known, now=160) == {WWW: {SIX: 200, TWO: 350}, PORTAL: {}}


def test_an_older_end_is_never_written_over_a_newer() -> None:
    known = LIFETIME.merge({}, [Told(WWW, ONE, 3600), Told(WWW, ONE, 30)], now=0)
    assert known == {WWW: {ONE: 3600}}
    assert LIFETIME.merge(known, [Told(WWW, ONE, 30)], now=100) == {}


@pytest.mark.parametrize("ttl", [1, 45, 300, 3600])
def test_an_address_that_is_asked_for_all_the_time_is_written_seldom_and_never_ends_before_its_newest_answer(
    ttl: int,
) -> None:
    known: dict[str, dict[IpAddress, float]] = {}
    writes = 0
    for now in range(1000):
        changed = LIFETIME.merge(known, [Told(WWW, ONE, ttl)], now)
        writes += bool(changed)
        known |= changed
        assert known[WWW][ONE] + LIFETIME.grace > now + max(ttl, LIFETIME.floor), "a client may remember it as long"
    assert writes <= 1 + 1000 / 30


# Who is believed.


def between(source: int, destination: int) -> dict[str, int]:
    return {"reg0": source | 1 << 16, "reg7": destination}


def test_only_global_tenants_are_believed_and_none_about_itself() -> None:
    world = worlds.world(worlds.tenant(1), worlds.tenant(2), worlds.tenant(3, zone=0), worlds.tenant(4, zone=1))
    assert is_believed(world, between(3, 1))
    assert not is_believed(world, between(2, 1)), "a tenant could change what another's firewall allows"
    assert not is_believed(world, between(4, 1)), "not for being joined either"
    assert not is_believed(world, between(1, 1))
    assert not is_believed(world, between(3, 3)), "an endpoint could allow its own tenant whatever it likes"
    assert not is_believed(world, between(99, 1))
    assert not is_believed(world, {})


# Which names policies mean, and who is listened to.


@pytest.mark.parametrize("name", [WWW, "example.org", "a.b.example.org", "org", "notexample.org"])
@pytest.mark.parametrize("domain", [WWW, "*.example.org", "*.b.example.org", "*.org", "example.org"])
def test_a_name_is_found_by_whatever_means_it(name: str, domain: str) -> None:
    assert (domain in meaning(name)) == DomainName(domain).means(name)
    world = World().apply(1, [Change("name", 1, ResolvedName(1, name, (ONE,)))])
    assert world.addresses_of(DomainName(domain)) == ([ONE] if DomainName(domain).means(name) else [])


def listening(world: World, host: int) -> set[int]:
    """The tenants whose answers the host copies."""
    flows = program(world, members(world, host))
    ears = [flow for flow in flows if flow.owner == Kind.ANSWERS]
    return {match.value for flow in ears for match in flow.match if match.field == "reg7"}


def firewall(*rules: Rule) -> Change:
    return worlds.policy(Policy(1, "a/default", worlds.TENANT_A, Tier.FIREWALL, 1, 0, None, (), None, rules))


def test_hosts_listen_for_the_tenants_whose_firewalls_say_names() -> None:
    rule = Rule("", Action.ACCEPT, (DomainName(WWW),), None)
    world = worlds.world(*worlds.two_tenants(), firewall(rule))
    assert listening(world, 1) == {worlds.TENANT_A}
    assert listening(world.apply(2, [firewall(rule._replace(peers=(Block(4, 0, 0),)))]), 1) == set()


def test_hosts_listen_for_every_tenant_that_a_policy_of_the_clusters_with_names_is_about() -> None:
    rule = Rule("", Action.ACCEPT, (DomainName(WWW),), None)
    for tenants, heard in (((), {1, 2}), ((Requirement("team", "In", ("red",)),), {2})):
        policy = Policy(2, "c", 0, Tier.ADMIN, 1, 0, tenants, (), None, (rule,))
        world = worlds.world(*worlds.two_tenants(), worlds.policy(policy))
        tenant = world.tenants[2]
        world = world.apply(2, [Change("tenant", 2, tenant._replace(labels=(("team", "red"),)))])
        assert listening(world, 1) | listening(world, 2) | listening(world, 3) == heard
