"""What DNS names stand for, in the database: from answers that endpoints got to a world that all controllers see."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Engine

from controller import resolver
from controller.calc.names import Lifetime, Told
from controller.model import Change, ResolvedName
from controller.openflow.decode import PacketIn
from controller.resolver import Resolver
from controller.watch import difference, first_world
from db import isolation, policies, resolved
from db.changes import changes_since
from db.engine import reading
from db.snapshot import load, snapshot
from tests.db import steps
from tests.db.steps import do
from tests.frames import answer, by_tcp, by_udp, prefixed

WWW = "www.example.org"
LIFETIME = Lifetime(floor=30, ceiling=3600, grace=60)
ONE, TWO, SIX = "203.0.113.7", "203.0.113.8", "2001:db8::7"


def told(name: str, *ips: str, ttl: float = 100) -> list[Told]:
    addresses = map(ipaddress.ip_address, ips)
    return [Told(name, (address.version, int(address)), ttl) for address in addresses]


def known(engine: Engine) -> dict[str, list[str]]:
    with reading(engine) as session:
        rows = resolved.find(session).items
        return {row.name: sorted(address.ip for address in row.addresses) for row in rows}


def test_a_name_is_in_the_world_with_its_addresses(engine: Engine) -> None:
    before = first_world(engine)
    revision = do(engine, resolved.learn, told(WWW, TWO, SIX, ONE), LIFETIME)
    world = first_world(engine)
    (name,) = world.names.values()
    assert name == ResolvedName(
        name.id, WWW, tuple(sorted((a.version, int(a)) for a in map(ipaddress.ip_address, (ONE, TWO, SIX))))
    )
    with reading(engine) as session:
        (row,) = changes_since(session, before.revision) or ()
        assert (row.revision, row.noun, row.id, row.op) == (revision, "name", name.id, "create")
        assert load(session, [("name", name.id)]) == [Change("name", name.id, name)]
        assert difference(world, snapshot(session)[1]) == []
        assert difference(before, snapshot(session)[1]) == [Change("name", name.id, name)]
    do(engine, resolved.forget, [WWW, "never.heard.of"])
    with reading(engine) as session:
        assert difference(world, snapshot(session)[1]) == [Change("name", name.id, None)]


def test_a_revision_is_taken_when_addresses_come_or_go_and_not_when_their_time_moves(engine: Engine) -> None:
    first = do(engine, resolved.learn, told(WWW, ONE), LIFETIME)
    assert do(engine, resolved.learn, told(WWW, ONE, ttl=3000), LIFETIME) == first
    with reading(engine) as session:
        (address,) = resolved.find(session).items[0].addresses
        assert address.until.timestamp() == pytest.approx(time.time() + 3000, abs=120)
    assert do(engine, resolved.learn, told(WWW, ONE, TWO), LIFETIME) == first + 1
    assert known(engine) == {WWW: [ONE, TWO]}


class Site:
    """Tenant acme has a firewall with names; dns is global. The clock stands until it is turned."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.acme, self.dns = steps.tenant(engine, "acme").id, steps.tenant(engine, "dns").id
        do(engine, isolation.make_global, "dns")
        self.firewall(WWW, "*.shop.example.org")
        self.now = time.time()
        self.resolver = self.restarted()

    def firewall(self, *names: str) -> None:
        rules = [{"type": "Allow", "to": {"dnsName": name}} for name in names]
        rules.append({"type": "Deny", "to": {"cidrSelector": "0.0.0.0/0"}})
        document = {
            "apiVersion": "network.openshift.io/v1",
            "kind": "EgressNetworkPolicy",
            "metadata": {"name": "default", "namespace": "acme"},
            "spec": {"egress": rules},
        }
        do(self.engine, policies.apply, [document])

    def restarted(self) -> Resolver:
        return Resolver(self.engine, first_world(self.engine), LIFETIME, lambda: self.now)

    def hear(self, name: str, *records: tuple[str, int, str, str], **more: Any) -> None:
        self.resolver.learn([self.packet(name, *records, **more)])
        self.resolver.follow(first_world(self.engine))

    def packet(
        self,
        name: str,
        *records: tuple[str, int, str, str],
        kind: str = "A",
        source: int | None = None,
        tcp: bool = False,
    ) -> PacketIn:
        message = answer(name, *records, kind=kind).to_wire()
        frame = by_tcp(prefixed([message])) if tcp else by_udp(message)
        return PacketIn(0, {"reg0": source or self.dns, "reg7": self.acme}, frame)

    def later(self, seconds: float) -> None:
        self.now += seconds
        self.resolver.sweep()
        self.resolver.follow(first_world(self.engine))

    @property
    def known(self) -> dict[str, list[str]]:
        return known(self.engine)


@pytest.fixture
def site(engine: Engine) -> Site:
    return Site(engine)


def test_what_an_endpoint_is_told_counts_by_udp_and_tcp_for_both_families(site: Site) -> None:
    site.hear(WWW, (WWW, 60, "A", ONE))
    site.hear(WWW, (WWW, 60, "AAAA", SIX), kind="AAAA", tcp=True)
    assert site.known == {WWW: [SIX, ONE]}


def test_only_names_that_a_policy_means_are_kept(site: Site) -> None:
    site.hear("other.example.org", ("other.example.org", 60, "A", ONE))
    site.hear("shop.example.org", ("shop.example.org", 60, "A", ONE))
    below = "a.b.shop.example.org"
    site.hear(below, (below, 60, "CNAME", "x.example.com"), ("x.example.com", 9, "A", TWO))
    assert site.known == {below: [TWO]}


def test_an_answer_of_the_same_or_of_an_ordinary_tenant_changes_nothing(site: Site) -> None:
    other = steps.tenant(site.engine, "other").id
    site.resolver.follow(first_world(site.engine))
    for source in (site.acme, other):
        site.hear(WWW, (WWW, 60, "A", ONE), source=source)
    assert site.known == {}


def test_an_answer_that_says_nothing_new_takes_no_revision_and_no_transaction(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.hear(WWW, (WWW, 100, "A", ONE))
    revision = steps.revision(site.engine)

    @contextmanager
    def never(*_: Any) -> Iterator[None]:
        raise AssertionError("nothing is to be written")
        yield

    monkeypatch.setattr(resolver, "transaction", never)
    site.now += 20
    site.hear(WWW, (WWW, 100, "A", ONE))
    assert steps.revision(site.engine) == revision


def test_addresses_lapse_and_the_name_with_the_last(site: Site) -> None:
    site.hear(WWW, (WWW, 100, "A", ONE))
    site.hear(WWW, (WWW, 500, "A", TWO))
    site.later(159)
    assert site.known == {WWW: [ONE, TWO]}
    site.later(2)
    assert site.known == {WWW: [TWO]}
    site.later(400)
    assert site.known == {}


def test_a_controller_that_is_restarted_knows_what_was_known_and_when_it_ends(site: Site) -> None:
    site.hear(WWW, (WWW, 100, "A", ONE))
    site.resolver = site.restarted()
    revision = steps.revision(site.engine)
    site.hear(WWW, (WWW, 100, "A", ONE))
    assert (site.known, steps.revision(site.engine)) == ({WWW: [ONE]}, revision)
    site.later(161)
    assert site.known == {}


def test_what_was_taken_away_is_learnt_again(site: Site) -> None:
    site.hear(WWW, (WWW, 3600, "A", ONE))
    do(site.engine, resolved.forget, [WWW])
    site.resolver.follow(first_world(site.engine))
    site.hear(WWW, (WWW, 3600, "A", ONE))
    assert site.known == {WWW: [ONE]}


def test_a_name_that_no_policy_means_is_forgotten_unless_one_soon_means_it_again(site: Site) -> None:
    site.hear(WWW, (WWW, 3600, "A", ONE))
    site.firewall()
    site.resolver.follow(first_world(site.engine))
    site.later(0)
    site.later(30)
    site.firewall(WWW)
    site.resolver.follow(first_world(site.engine))
    site.later(1000)
    assert site.known == {WWW: [ONE]}
    site.firewall()
    site.resolver.follow(first_world(site.engine))
    site.later(0)
    site.later(61)
    assert site.known == {}


def test_two_controllers_that_hear_the_same_say_it_once(site: Site) -> None:
    other = site.restarted()
    heard = [site.packet(WWW, (WWW, 100, "A", ONE))]
    site.resolver.learn(heard)
    revision = steps.revision(site.engine)
    other.learn(heard)
    assert (site.known, steps.revision(site.engine)) == ({WWW: [ONE]}, revision)


def test_whoever_owns_a_domain_cannot_fill_the_switches_with_it(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolver, "MOST_ADDRESSES", 3)
    for number in range(9):
        name = f"n{number}.shop.example.org"
        site.hear(name, (name, 100, "A", f"203.0.113.{number}"))
    assert len(site.known) == 3
    site.hear(WWW, (WWW, 100, "A", ONE))
    assert site.known[WWW] == [ONE], "other names have room"


def test_whoever_owns_a_domain_cannot_fill_the_database_with_names_of_one_address(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolver, "MOST_ADDRESSES", 3)
    for number in range(9):
        name = f"n{number}.shop.example.org"
        site.hear(name, (name, 100, "A", ONE))
    assert len(site.known) == 3
    site.hear("n0.shop.example.org", ("n0.shop.example.org", 100, "A", TWO))
    assert site.known["n0.shop.example.org"] == [ONE, TWO], "of a name that is known there may be more"


def test_answers_that_come_together_are_one_revision(site: Site) -> None:
    before = steps.revision(site.engine)
    site.resolver.start()
    try:
        site.resolver.heard(site.packet(WWW, (WWW, 60, "A", ONE)))
        site.resolver.heard(site.packet(WWW, (WWW, 60, "AAAA", SIX), kind="AAAA"))
        end = time.monotonic() + 60
        while len(site.known.get(WWW, ())) < 2:
            assert time.monotonic() < end
            time.sleep(0.01)
    finally:
        site.resolver.close()
    assert steps.revision(site.engine) == before + 1
