"""Addresses that endpoints may use besides their own: who may declare what, and who has what several share."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from sqlalchemy import Engine

from controller.model import Allowed, parse_mac
from db import allowed, endpoints
from db.changes import changes_since, transaction
from db.engine import reading
from db.errors import Conflict, Invalid
from db.snapshot import snapshot
from db.tables import Host
from tests.db import steps

VIP, RANGE = "10.20.0.100", "10.20.0.96/28"
MAC = "06:00:00:00:00:01"


@pytest.fixture
def h1(engine: Engine) -> Host:
    steps.tenant(engine)
    steps.network(engine, "acme/web", "10.20.0.0/24", "fd00:20::/64")
    h1 = steps.host(engine)
    for name in ("lb1", "lb2", "lb3"):
        steps.attach(engine, h1, name)
    return h1


def declare(engine: Engine, name: str, *addresses: str, mac: str | None = None, active: bool = False) -> int:
    """The revision that it took."""
    asked = [{"address": address, "mac": mac, "active": active} for address in addresses]
    with transaction(engine) as tx:
        endpoints.update(tx, f"acme/{name}", allowed=asked)
    return tx.revision


def held(engine: Engine, address: str = VIP) -> list[str]:
    """Who has the address, by the world as the controller gets it."""
    with reading(engine) as session:
        values: list[Any] = [change.value for change in snapshot(session)[1] if change.noun == "endpoint"]
    want = ipaddress.ip_network(address)
    return [
        value.name.removeprefix("acme/")
        for value in values
        for pair in value.allowed
        if pair.active and (pair.network, pair.prefix) == (int(want.network_address), want.prefixlen)
    ]


def test_a_pair_is_an_address_and_a_mac_that_is_the_endpoints_own_unless_said(engine: Engine, h1: Host) -> None:
    declare(engine, "lb1", VIP, "fd00:20::64")
    declare(engine, "lb2", RANGE, mac=MAC)
    with reading(engine) as session:
        found = {change.value.name: change.value for change in snapshot(session)[1] if change.noun == "endpoint"}  # type: ignore[union-attr]
    lb1: Any = found["acme/lb1"]
    assert [(pair.version, pair.prefix, pair.mac, pair.active) for pair in lb1.allowed] == [
        (4, 32, lb1.mac, True),
        (6, 128, lb1.mac, True),
    ]
    lb2: Any = found["acme/lb2"]
    assert lb2.allowed == (Allowed(4, (10 << 24) + (20 << 16) + 96, 28, parse_mac(MAC), True),)


def test_what_is_declared_is_given_to_nobody_and_is_free_again_when_nobody_declares_it(
    engine: Engine, h1: Host
) -> None:
    declare(engine, "lb1", VIP)
    declare(engine, "lb2", VIP)
    for taker in ("web1", "web2"):
        with pytest.raises(Conflict, match=r"address 10.20.0.100 of network acme/web is endpoint acme/lb[12]'s"):
            steps.attach(engine, h1, taker, addresses=[VIP])
        steps.detach(engine, h1, "lb1") if taker == "web1" else declare(engine, "lb2")
    assert steps.attach(engine, h1, "web3", addresses=[VIP]).addresses[0] == "10.20.0.100/24"
    with pytest.raises(Conflict, match="is an endpoint's own or the gateway's"):
        declare(engine, "lb2", VIP)


def test_the_first_has_what_is_shared_until_another_takes_it_over(engine: Engine, h1: Host) -> None:
    for name in ("lb1", "lb2", "lb3"):
        declare(engine, name, VIP)
    assert held(engine) == ["lb1"]
    declare(engine, "lb3", VIP, active=True)
    assert held(engine) == ["lb3"]
    before = steps.revision(engine)
    with reading(engine) as session:
        id = endpoints.get(session, "acme/lb2").id
    with transaction(engine) as tx:
        assert allowed.take_over(tx, id, f"{VIP}/32")
    assert held(engine) == ["lb2"]
    with reading(engine) as session:
        rows = changes_since(session, before) or []
        lb3 = endpoints.get(session, "acme/lb3").id
    assert {(row.noun, row.id) for row in rows} == {("endpoint", id), ("endpoint", lb3)}, "both are compiled anew"
    with transaction(engine) as tx:
        assert not allowed.take_over(tx, id, f"{VIP}/32"), "it has it"
        assert not allowed.take_over(tx, id, "10.20.0.101/32"), "it declares no such address"
    assert tx.revision == before + 1


def test_what_is_shared_goes_to_the_next_when_its_endpoint_goes(engine: Engine, h1: Host) -> None:
    for name in ("lb1", "lb2", "lb3"):
        declare(engine, name, RANGE)
    steps.detach(engine, h1, "lb1")
    assert held(engine, RANGE) == ["lb2"]
    declare(engine, "lb2")
    assert held(engine, RANGE) == ["lb3"]


def test_declaring_the_same_again_takes_no_revision(engine: Engine, h1: Host) -> None:
    first = declare(engine, "lb1", VIP, RANGE)
    assert declare(engine, "lb1", RANGE, VIP) == first
    with reading(engine) as session:
        version = endpoints.get(session, "acme/lb1").version
    assert declare(engine, "lb1", VIP) == first + 1
    with reading(engine) as session:
        assert endpoints.get(session, "acme/lb1").version > version


@pytest.mark.parametrize(
    ("address", "mac", "words"),
    [
        ("10.20.0", None, "is neither an address nor a range"),
        ("fd00:20::64%eth0", None, "is neither an address nor a range"),
        ("10.20.0.100/28", None, "is neither an address nor a range"),
        ("10.21.0.9", None, r"10.21.0.9 is outside of network acme/web; choose addresses in 10.20.0.0/24"),
        ("10.0.0.0/8", None, "is outside of network acme/web"),
        ("10.20.0.255", None, "is the network or broadcast address"),
        (VIP, "02:00:00:00:00:07", "looks like one that Warren derives"),
        (VIP, "01:00:5e:00:00:01", "is a multicast address"),
    ],
)
def test_what_cannot_be_declared_is_refused_in_words(
    engine: Engine, h1: Host, address: str, mac: str | None, words: str
) -> None:
    with pytest.raises(Invalid, match=words):
        declare(engine, "lb1", address, mac=mac)
    assert held(engine) == []


@pytest.mark.parametrize("address", ["10.20.0.1", "10.20.0.3"])
def test_somebodys_own_address_cannot_be_declared(engine: Engine, h1: Host, address: str) -> None:
    with pytest.raises(Conflict, match=f"address {address} of network acme/web is an endpoint's own or the gateway's"):
        declare(engine, "lb1", address)


def test_a_range_that_is_partly_anothers_is_refused(engine: Engine, h1: Host) -> None:
    declare(engine, "lb1", RANGE)
    with pytest.raises(Conflict, match=r"overlaps 10.20.0.96/28, which is declared already"):
        declare(engine, "lb2", "10.20.0.64/26")
    declare(engine, "lb2", VIP)
    assert held(engine) == ["lb2"], "an address inside of a range may be another's"
