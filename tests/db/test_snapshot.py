"""The world as the controller gets it: following the changes ends where a snapshot begins."""

from __future__ import annotations

import random
from collections.abc import Callable

from sqlalchemy import Engine

from controller.model import Address, Change, Cluster, Endpoint, Host, Network, Subnet, Tenant, parse_mac
from db import endpoints, hosts, isolation, networks, tenants
from db.changes import changes_since, transaction
from db.engine import reading
from db.errors import DomainError
from db.snapshot import load, snapshot
from tests.db import steps

NAME = ("kubernetes.io/metadata.name", "acme")
World = dict[tuple[str, int], object]


def world(engine: Engine) -> tuple[int, World]:
    with reading(engine) as session:
        revision, objects = snapshot(session)
    return revision, {(change.noun, change.id): change.value for change in objects}


def test_a_snapshot_says_everything_in_the_units_of_the_wire(engine: Engine) -> None:
    h1 = steps.host(engine)
    with transaction(engine) as tx:
        hosts.create(tx, "h2")
    acme = steps.tenant(engine, labels={"b": "2", "a": "1"}, track_all=True)
    web = steps.network(engine, "acme/web", "10.20.0.0/24", "fd00:20::/64", isolated=True, private=True)
    web1 = steps.attach(engine, h1, "web1", labels={"app": "web"})
    with reading(engine) as session:
        revision, objects = snapshot(session)
    assert revision == steps.revision(engine)
    assert objects[0] == Change(
        "tenant", acme.id, Tenant(acme.id, "acme", acme.zone, (("a", "1"), ("b", "2"), NAME), track_all=True)
    )
    assert objects[2] == Change(
        "network",
        web.id,
        Network(
            web.id,
            "acme/web",
            acme.id,
            web.vni,
            web.zone,
            (Subnet.parse("10.20.0.0/24", "10.20.0.1"), Subnet.parse("fd00:20::/64", "fd00:20::1")),
            private=True,
            outbound=True,
        ),
    )
    assert web.zone != acme.zone
    assert [change.value for change in objects[3:5]] == [
        Host(h1.id, "h1", (4, 0xC612000B), "system"),
        Host(h1.id + 1, "h2", None),
    ]
    assert objects[5:] == [
        Change(
            "endpoint",
            web1.id,
            Endpoint(
                web1.id,
                "acme/web1",
                web.id,
                h1.id,
                web1.ofport,
                parse_mac(web1.mac),
                (Address.parse("10.20.0.2/24"), Address.parse("fd00:20::2/64")),
                (("app", "web"),),
            ),
        ),
        Change("cluster", 1, Cluster(1, flat=False)),
    ]


def test_what_is_gone_is_loaded_as_nothing_and_strangers_are_left_out(engine: Engine) -> None:
    acme = steps.tenant(engine)
    with reading(engine) as session:
        found = load(session, [("endpoint", 7), ("tenant", 99), ("tenant", acme.id), ("controller", 0)])
    assert [(change.noun, change.id, change.value is None) for change in found] == [
        ("tenant", acme.id, False),
        ("tenant", 99, True),
        ("endpoint", 7, True),
    ]


def test_more_objects_than_fit_in_one_query_are_loaded(engine: Engine) -> None:
    with reading(engine) as session:
        assert len(load(session, [("endpoint", id) for id in range(1, 1202)])) == 1201


def test_following_the_log_ends_in_the_same_world_as_a_snapshot(engine: Engine) -> None:
    dice = random.Random(20260101)
    followed: World = {}
    revision = 0

    def follow() -> None:
        nonlocal revision
        with reading(engine) as session:
            rows = changes_since(session, revision)
            assert rows
            for change in load(session, {(row.noun, row.id) for row in rows}):
                if change.value is None:
                    followed.pop((change.noun, change.id), None)
                else:
                    followed[change.noun, change.id] = change.value
            revision = rows[-1].revision

    names = [f"n{number}" for number in range(6)]
    steps.tenant(engine, "acme")
    h1, h2 = steps.host(engine), steps.host(engine, "h2", "198.18.0.12")
    follow()
    acts: list[Callable[[str], object]] = [
        lambda name: steps.tenant(engine, name),
        lambda name: steps.network(engine, f"acme/{name}", isolated=dice.random() < 0.3),
        lambda name: steps.attach(engine, dice.choice((h1, h2)), name, "acme/default"),
        lambda name: steps.attach(engine, h1, f"x{name}", f"acme/{name}"),
        lambda name: steps.detach(engine, dice.choice((h1, h2)), name),
        lambda name: edit(engine, lambda tx: endpoints.update(tx, f"acme/{name}", labels={"v": str(dice.random())})),
        lambda name: edit(engine, lambda tx: tenants.update(tx, name, track_all=dice.random() < 0.5)),
        lambda name: edit(engine, lambda tx: hosts.update(tx, "h2", address=f"198.18.0.{dice.randint(20, 90)}")),
        lambda name: edit(engine, lambda tx: networks.delete(tx, f"acme/{name}")),
        lambda name: edit(engine, lambda tx: tenants.delete(tx, name)),
        lambda name: edit(engine, lambda tx: networks.update(tx, f"acme/{name}", isolated=dice.random() < 0.5)),
        lambda name: edit(engine, lambda tx: isolation.join(tx, name, "acme")),
        lambda name: edit(engine, lambda tx: isolation.isolate(tx, name)),
        lambda name: edit(engine, lambda tx: isolation.make_global(tx, name)),
        lambda name: edit(engine, lambda tx: isolation.peer(tx, name, dice.choice(names))),
        lambda name: edit(engine, lambda tx: isolation.unpeer(tx, name, dice.choice(names))),
        lambda name: edit(engine, lambda tx: isolation.set_mode(tx, dice.choice(("flat", "multitenant")))),
    ]
    succeeded = 0
    for _ in range(250):
        before = steps.revision(engine)
        try:
            dice.choice(acts)(dice.choice(names))
        except DomainError:
            assert steps.revision(engine) == before
        if steps.revision(engine) != before:
            succeeded += 1
            if dice.random() < 0.5:  # sometimes two revisions at once
                follow()
    if revision != steps.revision(engine):
        follow()
    assert succeeded > 50
    assert (revision, followed) == world(engine)


def edit(engine: Engine, act: Callable[..., object]) -> None:
    with transaction(engine) as tx:
        act(tx)
