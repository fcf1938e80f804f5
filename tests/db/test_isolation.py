"""Joining, isolating, globalising and peering: what moves, what is refused in which words, and what frees a zone."""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Engine, select

from controller.model import Change, Cluster, Peering
from db import attachments, isolation, networks, settings, tenants, transport
from db.changes import Transaction, changes_since, rehearsal
from db.engine import reading
from db.errors import Busy, Conflict, DomainError, Invalid, NotFound, StaleVersion
from db.snapshot import load, snapshot
from db.tables import Claim, Network, Shared, Tenant
from tests.db import steps
from tests.db.steps import do


def zone(engine: Engine, name: str) -> int:
    with reading(engine) as session:
        return networks.get(session, name).zone if "/" in name else tenants.get(session, name).zone


def standing(engine: Engine, name: str) -> tuple[str, list[str], list[str]]:
    with reading(engine) as session:
        return tuple(isolation.standing(session, tenants.get(session, name)))


def zones_in_use(engine: Engine) -> set[int]:
    with reading(engine) as session:
        used = select(Claim.number).where(Claim.pool_id == Shared.ZONE, Claim.released_at.is_(None))
        return set(session.execute(used).scalars())


def changed(engine: Engine, revision: int) -> list[tuple[str, int, str]]:
    with reading(engine) as session:
        return [(row.noun, row.id, row.op) for row in changes_since(session, revision - 1) or []]


@pytest.fixture
def three(engine: Engine) -> Engine:
    """Tenants acme, beta and gamma."""
    for name in ("acme", "beta", "gamma"):
        steps.tenant(engine, name)
    return engine


# -- join, isolate, global --


def test_joining_moves_a_tenant_and_its_networks_into_the_others_zone(three: Engine) -> None:
    web, alone = steps.network(three, "acme/web"), steps.network(three, "acme/alone", isolated=True)
    left = zone(three, "acme")
    revision = do(three, isolation.join, "acme", "beta")
    assert zone(three, "acme") == zone(three, "acme/web") == zone(three, "acme/default") == zone(three, "beta")
    assert zone(three, "acme/alone") == alone.zone != zone(three, "beta")
    assert left not in zones_in_use(three)
    assert standing(three, "acme") == ("joined", ["beta"], [])
    assert standing(three, "beta") == ("joined", ["acme"], [])
    assert changed(three, revision) == [
        ("network", 1, "update"),
        ("network", web.id, "update"),
        ("tenant", 1, "update"),
    ]


def test_who_joins_another_leaves_those_it_was_joined_with(three: Engine) -> None:
    do(three, isolation.join, "acme", "beta")
    do(three, isolation.join, "acme", "gamma")
    assert standing(three, "acme") == ("joined", ["gamma"], [])
    assert standing(three, "beta") == ("own", [], [])


def test_isolating_gives_a_zone_that_nobody_else_has(three: Engine) -> None:
    do(three, isolation.join, "acme", "beta")
    do(three, isolation.isolate, "acme")
    assert standing(three, "acme")[0] == standing(three, "beta")[0] == "own"
    assert len({zone(three, name) for name in ("acme", "beta", "gamma")}) == 3
    assert zone(three, "acme/default") == zone(three, "acme")


def test_whoever_of_two_is_isolated_the_other_keeps_the_zone(three: Engine) -> None:
    do(three, isolation.join, "acme", "beta")
    shared = zone(three, "beta")
    do(three, isolation.isolate, "beta")
    assert zone(three, "acme") == shared != zone(three, "beta")
    assert shared in zones_in_use(three)


def test_a_global_tenant_is_in_zone_0_and_comes_back_into_a_zone_of_its_own(three: Engine) -> None:
    left = zone(three, "acme")
    do(three, isolation.make_global, "acme")
    assert zone(three, "acme") == zone(three, "acme/default") == 0
    assert standing(three, "acme") == ("global", [], [])
    assert left not in zones_in_use(three) and 0 not in zones_in_use(three)
    do(three, isolation.isolate, "acme")
    assert zone(three, "acme") in zones_in_use(three)
    assert standing(three, "acme") == ("own", [], [])


def test_the_system_tenant_is_global_from_the_start(three: Engine) -> None:
    steps.tenant(three, "system")
    assert zone(three, "system") == zone(three, "system/default") == 0
    assert standing(three, "system") == ("global", [], [])


def test_a_new_network_is_where_its_tenant_is(three: Engine) -> None:
    do(three, isolation.join, "acme", "beta")
    assert steps.network(three, "acme/late").zone == zone(three, "beta")


@pytest.mark.parametrize(
    "act",
    [
        lambda tx: isolation.join(tx, "acme", "beta"),
        lambda tx: isolation.join(tx, "beta", "acme"),
        lambda tx: isolation.isolate(tx, "gamma"),
        lambda tx: isolation.make_global(tx, "admin"),
        lambda tx: isolation.peer(tx, "gamma", "acme"),
        lambda tx: isolation.peer(tx, "acme", "gamma"),
        lambda tx: isolation.set_mode(tx, "multitenant"),
        lambda tx: networks.update(tx, "acme/default", isolated=False),
    ],
)
def test_what_is_so_already_is_done_without_a_revision(three: Engine, act: Callable[[Transaction], object]) -> None:
    steps.tenant(three, "admin")
    do(three, isolation.join, "acme", "beta")
    do(three, isolation.make_global, "admin")
    do(three, isolation.peer, "acme", "gamma")
    before = steps.revision(three)
    assert do(three, act) == before == steps.revision(three)


@pytest.mark.parametrize(
    ("act", "refusal", "sentence"),
    [
        (("join", "acme", "acme"), Invalid, "tenant acme cannot join itself; name another tenant"),
        (("peer", "acme", "acme"), Invalid, "tenant acme cannot peer with itself; name another tenant"),
        (("join", "acme", "none"), NotFound, "there is no tenant none; create it with `warren tenant create none`"),
        (("join", "none", "acme"), NotFound, "there is no tenant none; create it with `warren tenant create none`"),
        (("isolate", "none"), NotFound, "there is no tenant none; create it with `warren tenant create none`"),
        (("make_global", "none"), NotFound, "there is no tenant none; create it with `warren tenant create none`"),
        (("peer", "acme", "none"), NotFound, "there is no tenant none; create it with `warren tenant create none`"),
        (
            ("unpeer", "acme", "acme"),
            NotFound,
            "tenants acme and acme do not peer; `warren tenant show acme` tells who does",
        ),
        (
            ("unpeer", "acme", "beta"),
            NotFound,
            "tenants acme and beta do not peer; `warren tenant show acme` tells who does",
        ),
        (
            ("join", "acme", "admin"),
            Conflict,
            "tenant admin is global: acme reaches it already, and it has no zone to share; "
            "make acme global too (`warren tenant global acme`), or `warren tenant isolate admin` first",
        ),
        (
            ("join", "admin", "acme"),
            Conflict,
            "tenant admin is global, and would not be any more once it joined acme; "
            "`warren tenant isolate admin` first",
        ),
        *(
            (
                act,
                Conflict,
                "tenant system cannot be isolated: what all tenants need runs in it; isolate one of its networks "
                "(`warren network update --isolated`), or write a policy about its endpoints",
            )
            for act in (("isolate", "system"), ("join", "system", "acme"))
        ),
        (
            ("join", "acme", "system"),
            Conflict,
            "tenant system is global: acme reaches it already, and it has no zone to share; "
            "make acme global too (`warren tenant global acme`)",
        ),
        (("set_mode", "open"), Invalid, "'open' is not an isolation mode; use flat or multitenant"),
    ],
)
def test_what_cannot_be_is_refused_in_words_and_changes_nothing(
    three: Engine, act: tuple[str, ...], refusal: type[DomainError], sentence: str
) -> None:
    for name in ("admin", "system"):
        steps.tenant(three, name)
    do(three, isolation.make_global, "admin")
    before = steps.revision(three)
    with pytest.raises(refusal) as refused:
        do(three, getattr(isolation, act[0]), *act[1:])
    assert str(refused.value) == sentence
    assert steps.revision(three) == before


def test_whoever_saw_another_version_is_refused(three: Engine) -> None:
    do(three, isolation.join, "acme", "beta")  # version 2
    for act in (
        lambda tx: isolation.join(tx, "acme", "gamma", version=1),
        lambda tx: isolation.isolate(tx, "acme", version=1),
        lambda tx: isolation.make_global(tx, "acme", version=1),
        lambda tx: isolation.peer(tx, "acme", "gamma", version=1),
        lambda tx: isolation.set_mode(tx, "flat", version=7),
    ):
        with pytest.raises(StaleVersion):
            do(three, act)
    do(three, isolation.isolate, "acme", version=2)


# -- peering --


def test_peering_is_one_object_whoever_asks_and_its_number_is_never_used_again(three: Engine) -> None:
    revision = do(three, isolation.peer, "beta", "acme")
    assert changed(three, revision) == [("peering", 1, "create")]
    assert standing(three, "acme") == ("own", [], ["beta"])
    assert standing(three, "beta") == ("own", [], ["acme"])
    with reading(three) as session:
        assert load(session, [("peering", 1)]) == [Change("peering", 1, Peering(1, (1, 2)))]
    revision = do(three, isolation.unpeer, "acme", "beta")
    assert changed(three, revision) == [("peering", 1, "delete")]
    assert standing(three, "acme")[2] == []
    assert changed(three, do(three, isolation.peer, "acme", "beta")) == [("peering", 2, "create")]


def test_peerings_stay_when_a_tenant_joins_and_is_isolated(three: Engine) -> None:
    do(three, isolation.peer, "acme", "gamma")
    do(three, isolation.join, "acme", "beta")
    do(three, isolation.isolate, "acme")
    assert standing(three, "acme") == ("own", [], ["gamma"])


def test_a_tenant_that_goes_takes_its_peerings_along_and_its_zone_when_nobody_is_left_in_it(three: Engine) -> None:
    for other in ("beta", "gamma"):
        do(three, isolation.peer, "acme", other)
    do(three, isolation.join, "acme", "beta")
    shared = zone(three, "beta")
    revision = do(three, tenants.delete, "acme")
    assert [row for row in changed(three, revision) if row[0] == "peering"] == [
        ("peering", 1, "delete"),
        ("peering", 2, "delete"),
    ]
    assert shared in zones_in_use(three)
    assert standing(three, "beta") == ("own", [], [])
    do(three, tenants.delete, "beta")
    assert shared not in zones_in_use(three)


# -- networks and the mode --


def test_a_network_gets_a_zone_of_its_own_and_its_tenants_again(three: Engine) -> None:
    web = steps.network(three, "acme/web")
    revision = do(three, networks.update, "acme/web", isolated=True)
    own = zone(three, "acme/web")
    assert changed(three, revision) == [("network", web.id, "update")]
    assert own in zones_in_use(three) and own != zone(three, "acme")
    do(three, isolation.join, "acme", "beta")
    assert zone(three, "acme/web") == own
    do(three, networks.update, "acme/web", isolated=False)
    assert zone(three, "acme/web") == zone(three, "beta")
    assert own not in zones_in_use(three)


def test_the_mode_is_one_object_with_a_version(three: Engine) -> None:
    revision = do(three, isolation.set_mode, "flat")
    assert changed(three, revision) == [("cluster", 1, "update")]
    with reading(three) as session:
        assert settings.isolation(session) == ("flat", 2)
        assert load(session, [("cluster", 1)]) == [Change("cluster", 1, Cluster(1, flat=True))]


def test_other_ports_of_tunnels_are_another_version_of_what_holds_for_all(three: Engine) -> None:
    do(three, transport.set_udp_ports, {"vxlan": 8472})
    with reading(three) as session:
        assert settings.isolation(session) == ("multitenant", 2)
    with pytest.raises(StaleVersion):
        do(three, isolation.set_mode, "multitenant", version=1)
    do(three, transport.set_udp_ports, {"vxlan": 8472})
    with reading(three) as session:
        assert settings.isolation(session).version == 2, "nothing changed"


# -- labels --


def test_every_tenant_has_its_name_for_a_label_and_nobody_changes_it(engine: Engine) -> None:
    name = "kubernetes.io/metadata.name"
    steps.tenant(engine, "acme", labels={"a": "1", name: "acme"})
    steps.tenant(engine, "beta", labels={"a": "1"})
    with reading(engine) as session:
        stored = session.execute(select(Tenant.labels)).scalars().all()
        assert list(stored) == [{"a": "1"}, {"a": "1"}]
        assert load(session, [("tenant", 2)])[0].value.labels == (("a", "1"), (name, "beta"))
        found = tenants.find(session, labels={"a": "1", name: "beta"}).items
        assert [tenant.name for tenant in found] == ["beta"]
    for wrong in ("beta", "", None):
        with pytest.raises(Invalid) as refused:
            do(engine, tenants.update, "acme", labels={name: wrong})
        assert str(refused.value) == f"label {name} of tenant acme is acme and cannot be changed; leave it out"
    with pytest.raises(Invalid, match="of tenant gamma is gamma"):
        steps.tenant(engine, "gamma", labels={name: "other"})
    before = steps.revision(engine)
    assert do(engine, tenants.update, "acme", labels={name: "acme"}) == before


def test_the_implicit_label_counts_among_the_64(engine: Engine) -> None:
    steps.tenant(engine, "acme", labels={f"l{number}": "" for number in range(63)})
    with pytest.raises(Invalid, match="65 labels are too many"):
        do(engine, tenants.update, "acme", labels={"one-more": ""})


# -- rehearsals --


def test_a_rehearsal_shows_the_change_inside_and_leaves_nothing_behind(three: Engine) -> None:
    with reading(three) as session:
        before = snapshot(session)
    held = steps.held(three)
    with rehearsal(three) as tx:
        isolation.join(tx, "acme", "beta")
        isolation.isolate(tx, "beta")
        isolation.peer(tx, "acme", "gamma")
        assert tx.recorded == {("tenant", 1), ("tenant", 2), ("network", 1), ("network", 2), ("peering", 1)}
        assert isolation.standing(tx.session, tenants.get(tx.session, "acme")).peers == ["gamma"]
    with reading(three) as session:
        assert snapshot(session) == before
    assert steps.held(three) == held
    with pytest.raises(Invalid), rehearsal(three) as tx:
        isolation.join(tx, "acme", "acme")


# -- all at once --


def test_many_who_join_and_part_at_once_leave_no_zone_taken_or_shared_by_mistake(engine: Engine) -> None:
    names = [f"t{number}" for number in range(6)]
    for name in names:
        steps.tenant(engine, name)
    h1 = steps.host(engine)

    def acts(dice: random.Random, one: str, other: str) -> list[Callable[[Transaction], object]]:
        pod = secrets.token_hex(4)
        return [
            lambda tx: attachments.attach(tx, h1.id, pod, "eth0", network=f"{one}/default", name=pod),
            lambda tx: attachments.attach(tx, h1.id, pod, "eth0", network=f"{one}/default", name=pod),
            lambda tx: isolation.join(tx, one, other),
            lambda tx: isolation.isolate(tx, one),
            lambda tx: isolation.make_global(tx, one),
            lambda tx: isolation.peer(tx, one, other),
            lambda tx: networks.update(tx, f"{one}/default", isolated=dice.random() < 0.5),
            lambda tx: tenants.update(tx, one, labels={"v": str(dice.random())}),
            lambda tx: networks.update(tx, f"{one}/default", labels={"v": str(dice.random())}),
            lambda tx: tenants.delete(tx, one),
            lambda tx: tenants.create(tx, one),
        ]

    def act(seed: int) -> None:
        dice = random.Random(seed)
        for _ in range(30):
            try:
                do(engine, dice.choice(acts(dice, dice.choice(names), dice.choice(names))))
            except DomainError as refusal:
                assert not isinstance(refusal, Busy), "they take their locks in one order"

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(act, range(4)))
    with reading(engine) as session:
        of_tenants = dict(session.execute(select(Tenant.id, Tenant.zone)).all())
        rows = session.execute(select(Network.tenant_id, Network.isolated, Network.zone)).all()
    own = [zone for _, isolated, zone in rows if isolated]
    assert all(zone == of_tenants[tenant] for tenant, isolated, zone in rows if not isolated)
    assert len(set(own)) == len(own) and not set(own) & set(of_tenants.values())
    assert zones_in_use(engine) == (set(own) | set(of_tenants.values())) - {0}
