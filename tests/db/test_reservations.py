"""Reservations: who gets a reserved address, and when nobody keeps it any more."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from db import attachments, reservations
from db.changes import transaction
from db.engine import reading
from db.errors import Conflict, Invalid, NotFound
from db.layout import Layout
from db.tables import Host
from tests.db import steps

LATER = datetime.now(UTC) + timedelta(days=1)


@pytest.fixture
def h1(engine: Engine) -> Host:
    steps.tenant(engine)
    steps.network(engine, "acme/web", "10.20.0.0/29", "fd00:20::/64")
    return steps.host(engine)


def reserve(engine: Engine, name: str, *addresses: str, **options: Any) -> list[str]:
    with transaction(engine) as tx:
        return [one.ip for one in reservations.create(tx, "acme/web", name, addresses=addresses, **options)]


def release(engine: Engine, name: str) -> None:
    with transaction(engine) as tx:
        reservations.remove(tx, "acme/web", name)


def test_the_endpoint_of_that_name_gets_it_and_nobody_else(engine: Engine, h1: Host) -> None:
    before = steps.revision(engine)
    assert reserve(engine, "db1", "10.20.0.4") == ["10.20.0.4"]
    assert steps.revision(engine) == before
    with pytest.raises(Conflict, match=r"address 10\.20\.0\.4 of network acme/web is reserved for db1"):
        steps.attach(engine, h1, "other", addresses=["10.20.0.4"])
    given = [steps.attach(engine, h1, f"web{number}").addresses[0] for number in range(4)]
    assert given == ["10.20.0.2/29", "10.20.0.3/29", "10.20.0.5/29", "10.20.0.6/29"]
    for _ in range(2):  # it stays reserved when the endpoint goes
        assert steps.attach(engine, h1, "db1").addresses[0] == "10.20.0.4/29"
        steps.detach(engine, h1, "db1")


def test_another_asks_for_it_by_its_name(engine: Engine, h1: Host) -> None:
    reserve(engine, "vip", "10.20.0.4")
    assert steps.attach(engine, h1, "pod-x7", reservation="vip").addresses[0] == "10.20.0.4/29"
    with pytest.raises(Conflict, match=r"10\.20\.0\.4 .* is endpoint acme/pod-x7's"):
        steps.attach(engine, h1, "pod-x8", reservation="vip")
    with pytest.raises(NotFound, match="has no reservation for nothing"):
        steps.attach(engine, h1, "pod-x8", reservation="nothing")


def test_without_an_address_it_is_the_next_of_each_family(engine: Engine, h1: Host) -> None:
    assert reserve(engine, "db1") == ["10.20.0.2", "fd00:20::2"]
    assert steps.attach(engine, h1, "web1").addresses == ["10.20.0.3/29", "fd00:20::3/64"]
    assert steps.attach(engine, h1, "db1").addresses == ["10.20.0.2/29", "fd00:20::2/64"]


def test_it_expires_by_time_with_nobody_watching(engine: Engine, h1: Host) -> None:
    reserve(engine, "db1", "10.20.0.4", expires_at=LATER)
    after = LATER + timedelta(seconds=1)
    with transaction(engine, after) as tx:
        given = attachments.attach(
            tx, h1.id, "c", "eth0", network="acme/web", name="web1", addresses=["10.20.0.4"]
        ).endpoint
    assert given.addresses[0] == "10.20.0.4/29"
    with reading(engine) as session:
        assert reservations.find(session, "acme/web").items == []


def test_what_an_endpoint_has_may_be_reserved_for_it_and_outlives_the_reservation(engine: Engine, h1: Host) -> None:
    steps.attach(engine, h1, "db1")
    held = steps.held(engine)
    reserve(engine, "db1", "10.20.0.2")
    release(engine, "db1")
    assert steps.held(engine) == held
    with pytest.raises(Conflict, match="is endpoint acme/db1's"):
        reserve(engine, "other", "10.20.0.2")
    steps.detach(engine, h1, "db1")
    assert reserve(engine, "other", "10.20.0.2") == ["10.20.0.2"]


def test_giving_it_up_frees_the_address(engine: Engine, h1: Host) -> None:
    before = steps.held(engine)
    reserve(engine, "db1", "10.20.0.4", "fd00:20::9")
    release(engine, "db1")
    assert steps.held(engine) == before
    with pytest.raises(NotFound, match="network acme/web has no reservation for db1"):
        release(engine, "db1")


@pytest.mark.parametrize(
    ("addresses", "sentence"),
    [
        (["10.21.0.4"], "address 10.21.0.4 is outside of subnet 10.20.0.0/29"),
        (["10.20.0.7"], "is the network or broadcast address"),
        (["10.20.0.4", "10.20.0.5"], "are both IPv4"),
        (["rubbish"], "'rubbish' is not an address"),
        (["fd00:20::4%x"], "'fd00:20::4%x' is not an address"),
        (["10.20.0.1"], "is the gateway's"),
    ],
)
def test_a_reservation_that_cannot_be_is_refused(engine: Engine, h1: Host, addresses: list[str], sentence: str) -> None:
    before = steps.held(engine)
    with pytest.raises((Invalid, Conflict)) as refused:
        reserve(engine, "db1", *addresses)
    assert sentence in str(refused.value)
    with pytest.raises(Invalid, match="is in the past"):
        reserve(engine, "db1", expires_at=datetime.now(UTC) - timedelta(seconds=1))
    assert steps.held(engine) == before


def test_a_strict_networks_reservation_is_not_bound_to_a_host(engine: Engine, h1: Host) -> None:
    steps.network(engine, "acme/strict", "10.30.0.0/28", layout=Layout(plan="per-host", block_sizes=[29], strict=True))
    steps.attach(engine, h1, "a", "acme/strict")
    with transaction(engine) as tx:
        reservations.create(tx, "acme/strict", "b", addresses=["10.30.0.5"])
    h2 = steps.host(engine, "h2", "198.18.0.12")
    assert steps.attach(engine, h2, "b", "acme/strict").addresses == ["10.30.0.5/28"]


def test_reserving_giving_up_and_churn_at_once_leak_nothing(engine: Engine, h1: Host) -> None:
    before = steps.held(engine)

    def churn(who: int) -> None:
        for _ in range(4):
            try:
                if who % 2:
                    reserve(engine, "db1", "10.20.0.4")
                    release(engine, "db1")
                else:
                    steps.attach(engine, h1, "db1")
                    steps.detach(engine, h1, "db1")
            except (Conflict, NotFound):
                continue

    with ThreadPoolExecutor(8) as threads:
        for done in [threads.submit(churn, who) for who in range(8)]:
            done.result()
    steps.detach(engine, h1, "db1")
    with reading(engine) as session:
        left = reservations.find(session, "acme/web").items
    if left:
        release(engine, "db1")
    assert steps.held(engine) == before
