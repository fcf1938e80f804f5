"""Networks on physical segments: who has which tag, which hosts have the segment, and what agents are told."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Engine, select

from db import hosts, networks, snapshot, subnetting, wanted
from db.changes import Transaction, current_revision, transaction
from db.engine import reading
from db.errors import Conflict, Invalid
from db.layout import Layout
from db.tables import Host, Physical
from tests.db import steps

_ROUTED: dict[str, Any] = {
    name: {"subnets": [f"10.{third}.0.0/24"], "layout": Layout(gateways=[f"10.{third}.0.1"])}
    for third, name in enumerate("abc", 61)
}


def has(engine: Engine, host: Host, *segments: str) -> None:
    """What the host's agent reports."""
    with transaction(engine) as tx:
        hosts.report(tx.session, host.id, {"physical": list(segments)}, datetime.now(UTC))


@pytest.fixture
def h1(engine: Engine) -> Host:
    """A host with the segment `lan`."""
    host = steps.host(engine, "h1", "198.18.0.11")
    has(engine, host, "lan")
    steps.tenant(engine)
    return host


def create(engine: Engine, name: str, **more: Any) -> None:
    with transaction(engine) as tx:
        networks.create(tx, f"acme/{name}", **({"carried_by": "vlan", "physical": "lan"} | more))


def told(engine: Engine, host: Host) -> list[dict[str, Any]]:
    with reading(engine) as session:
        return wanted.wanted(session, host.id).segments


def test_a_tag_has_one_network_on_a_segment(engine: Engine, h1: Host) -> None:
    has(engine, h1, "lan", "dmz")
    create(engine, "a", vlan=50)
    create(engine, "b", vlan=51)
    create(engine, "c")
    create(engine, "d", vlan=50, physical="dmz")
    with pytest.raises(Conflict, match="VLAN tag 50 on physical segment lan is network acme/a's; choose another tag"):
        create(engine, "e", vlan=50)
    with pytest.raises(Conflict, match="what has no tag on physical segment lan is network acme/c's"):
        create(engine, "e", vlan=0)
    with pytest.raises(Conflict, match="acme/a's"), transaction(engine) as tx:
        networks.update(tx, "acme/b", vlan=50)
    with transaction(engine) as tx:
        networks.update(tx, "acme/b", vlan=52)
    create(engine, "e", vlan=51)


@pytest.mark.parametrize("tag", [-1, 4095, 5000])
def test_a_tag_out_of_range_is_refused(engine: Engine, h1: Host, tag: int) -> None:
    with pytest.raises(Invalid, match=f"VLAN tag {tag} is not possible; use 1 to 4094, or 0 for frames without one"):
        create(engine, "a", vlan=tag)


def test_what_belongs_to_segments_is_refused_elsewhere_and_missed_there(engine: Engine, h1: Host) -> None:
    with pytest.raises(Invalid, match="segment lan is given, and a network of transport vxlan sits on no physical"):
        create(engine, "a", carried_by="vxlan")
    with pytest.raises(Invalid, match="sits on no physical segment"):
        create(engine, "a", carried_by="vxlan", physical=None, vlan=5)
    with pytest.raises(Invalid, match="sits on a physical segment; name one with --physical; hosts have lan"):
        create(engine, "a", physical=None)
    with pytest.raises(Invalid, match="no host has a physical segment dmz; start agents with --physical dmz=INTERFACE"):
        create(engine, "a", physical="dmz")


def test_a_host_without_the_segment_gets_no_endpoint_of_its_networks(engine: Engine, h1: Host) -> None:
    h2 = steps.host(engine, "h2", "198.18.0.12")
    create(engine, "a", vlan=50)
    steps.attach(engine, h1, "one", to="acme/a")
    with pytest.raises(Conflict, match="host h2 has no physical segment lan, and network acme/a is on it"):
        steps.attach(engine, h2, "two", to="acme/a")
    has(engine, h2, "lan")
    steps.attach(engine, h2, "two", to="acme/a")
    with transaction(engine) as tx:
        networks.create(tx, "acme/b")
    h3 = steps.host(engine, "h3", "198.18.0.13")
    steps.attach(engine, h3, "three", to="acme/b")
    with (
        pytest.raises(Conflict, match="endpoints on hosts without physical segment lan: h3"),
        transaction(engine) as tx,
    ):
        networks.update(tx, "acme/b", carried_by="vlan", physical="lan", vlan=60)


def test_its_gateway_is_an_outside_router_or_there_is_none(engine: Engine, h1: Host) -> None:
    create(engine, "a", vlan=50, subnets=["10.20.0.0/29", "fd00:20::/64"], layout=Layout(gateways=["10.20.0.6"]))
    first = steps.attach(engine, h1, "one", to="acme/a")
    assert (first.addresses[0], first.gateways, first.mtu) == ("10.20.0.1/29", ["10.20.0.6"], 1500)
    assert first.dns["nameservers"] == [], "the router is somebody else's, and answers no names"
    with reading(engine) as session:
        assert subnetting.size(networks.get(session, "acme/a").subnets[0]) == 5
        told = wanted.endpoint(session, first.id)
        assert (told.gateways, told.dns) == (first.gateways, first.dns)
        loaded = next(c.value for c in snapshot.snapshot(session)[1] if getattr(c.value, "name", "") == "acme/a")
    assert [subnet.gateway for subnet in loaded.subnets] == [0x0A140006, 0]  # type: ignore[union-attr]
    assert (loaded.transport, loaded.physical, loaded.vlan) == ("vlan", 1, 50)  # type: ignore[union-attr]
    with pytest.raises(Conflict, match="has no gateway, and vxlan networks need one"), transaction(engine) as tx:
        networks.update(tx, "acme/a", carried_by="vxlan")


def test_bridges_have_ports_to_segments_that_networks_use_and_are_told_when_that_changes(
    engine: Engine, h1: Host
) -> None:
    def is_told(change: Any) -> bool:
        with transaction(engine) as tx:
            before = current_revision(tx.session)
            change(tx)
        with reading(engine) as session:
            return wanted.changed_for_host(session, h1.id, before)

    def make(tx: Transaction, name: str, vlan: int, physical: str = "lan") -> object:
        return networks.create(tx, f"acme/{name}", carried_by="vlan", physical=physical, vlan=vlan, **_ROUTED[name])

    has(engine, h1, "lan", "dmz")
    assert told(engine, h1) == []
    assert is_told(lambda tx: make(tx, "a", 1)) and told(engine, h1) == [{"name": "lan", "ofport": 10}]
    assert not is_told(lambda tx: make(tx, "b", 2)), "nothing new for bridges"
    assert is_told(lambda tx: make(tx, "c", 2, "dmz")) and [one["ofport"] for one in told(engine, h1)] == [10, 11]
    assert not is_told(lambda tx: networks.delete(tx, "acme/a"))
    assert is_told(lambda tx: networks.update(tx, "acme/b", physical="dmz", vlan=3))
    assert told(engine, h1) == [{"name": "dmz", "ofport": 11}], "the number stays while the segment is used"
    with transaction(engine) as tx:
        changed = networks.update(tx, "acme/b", carried_by="vxlan")
        assert (changed.physical, changed.vlan) == (None, 0)
    with reading(engine) as session:
        assert session.execute(select(Physical.name)).scalars().all() == ["dmz"]
