"""An endpoint that moves to another host keeps what others know it by; one whose port is the host's own interface."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any
from unittest.mock import patch

import pytest
from sqlalchemy import Engine

from db import attachments, endpoints, hosts, moves, wanted
from db.changes import transaction
from db.engine import reading
from db.errors import Conflict, DomainError, Forbidden, Invalid, NotFound
from db.tables import Host
from db.wanted import WantedEndpoint
from tests.db import steps


@pytest.fixture
def two(engine: Engine) -> tuple[Host, Host]:
    steps.tenant(engine)
    steps.network(engine, "acme/web", "10.20.0.0/24", "fd00:20::/64")
    steps.network(engine, "acme/old", "10.21.0.0/24")
    return steps.host(engine), steps.host(engine, "h2", "198.18.0.12")


def move(engine: Engine, to: Host, name: str, container: str = "there", **more: object) -> WantedEndpoint:
    asked = {"network": "acme/web", "name": name, "move": True, **more}
    with transaction(engine) as tx:
        return attachments.attach(tx, to.id, container, "eth1", entitled=True, **asked).endpoint  # type: ignore[arg-type]


def on(engine: Engine, host: Host) -> list[str]:
    with reading(engine) as session:
        return [endpoint.name for endpoint in wanted.wanted(session, host.id).endpoints]


def test_all_that_others_know_it_by_stays(engine: Engine, two: tuple[Host, Host]) -> None:
    h1, h2 = two
    steps.attach(engine, h2, "other")
    was = steps.attach(engine, h1, "web1", labels={"app": "web"}, mac="06:00:00:00:00:07")
    with transaction(engine) as tx:
        endpoints.update(tx, "acme/web1", allowed=[{"address": "10.20.0.100"}])
    held, before = steps.held(engine), steps.revision(engine)
    now = move(engine, h2, "web1", netns="/run/netns/there")
    assert now == was._replace(ofport=now.ofport, container_id="there", ifname="eth1", netns="/run/netns/there")
    assert now.ofport == 101, "of the new host's numbers"
    assert steps.held(engine) == held and steps.revision(engine) == before + 1
    assert (on(engine, h1), on(engine, h2)) == ([], ["acme/other", "acme/web1"])
    with reading(engine) as session:
        row = endpoints.get(session, "acme/web1")
        assert (row.host.name, row.labels, row.state, row.version) == ("h2", {"app": "web"}, "pending", 3)
        assert [pair.cidr for pair in row.allowed] == ["10.20.0.100/32"]
        for host in two:
            assert wanted.changed_for_host(session, host.id, before), "both agents hear of it"
    assert steps.detach(engine, h1, "web1") is None, "what the old host's runtime says later concerns nobody"
    assert steps.attach(engine, h1, "web2").ofport == 101, "its number there rests"


def test_asking_again_moves_nothing_and_back_is_a_move_too(engine: Engine, two: tuple[Host, Host]) -> None:
    h1, h2 = two
    was = steps.attach(engine, h1, "web1")
    assert move(engine, h2, "web1") == move(engine, h2, "web1")
    revision = steps.revision(engine)
    move(engine, h2, "web1")
    assert steps.revision(engine) == revision
    assert move(engine, h1, "web1", "back").addresses == was.addresses
    assert on(engine, h1) == ["acme/web1"]


def test_an_agent_takes_from_another_host_what_it_was_let_and_once(engine: Engine, two: tuple[Host, Host]) -> None:
    h1, h2 = two
    was = steps.attach(engine, h1, "web1")

    def take(to: Host, container: str = "there") -> WantedEndpoint:
        return steps.attach(engine, to, "web1", move=True, netns=f"/run/netns/{container}")

    def let(host: str) -> None:
        with transaction(engine) as tx:
            endpoints.update(tx, "acme/web1", move_to=host)

    refused = "endpoint acme/web1 is on host h1, and host h2 may not take it"
    with pytest.raises(Forbidden, match=refused):
        take(h2)
    let("h1")
    with pytest.raises(Forbidden, match=refused):
        take(h2)
    let("h2")
    let("")
    with pytest.raises(Forbidden, match=refused):
        take(h2)
    assert on(engine, h1) == ["acme/web1"]
    let("h2")
    assert take(h2).addresses == was.addresses and on(engine, h2) == ["acme/web1"]
    assert take(h2, "again").addresses == was.addresses, "of its own host"
    with pytest.raises(Forbidden, match="on host h2, and host h1 may not take it"):
        take(h1)
    let("h1")
    take(h1)
    with pytest.raises(Forbidden, match=refused):
        take(h2)
    with pytest.raises(NotFound, match="there is no host h9"):
        let("h9")
    let("h2")
    with transaction(engine) as tx:
        hosts.delete(tx, "h2")
    steps.host(engine, "h2", "198.18.0.12")
    with reading(engine) as session:
        assert endpoints.get(session, "acme/web1").move_to is None, "not another host of that name"


def test_a_move_that_cannot_be_is_refused_and_changes_nothing(engine: Engine, two: tuple[Host, Host]) -> None:
    h1, h2 = two
    steps.attach(engine, h1, "web1")
    revision = steps.revision(engine)
    cases: list[tuple[type[DomainError], str, Host, dict[str, object]]] = [
        (NotFound, "there is no endpoint acme/web9 to move", h2, {"name": "web9"}),
        (Conflict, "endpoint acme/web1 is on network acme/web", h2, {"network": "acme/old"}),
        (Conflict, "keeps its addresses when it moves, and 10.20.0.77 is none", h2, {"addresses": ["10.20.0.77"]}),
        (Conflict, "keeps its MAC", h2, {"mac": "06:00:00:00:00:09"}),
    ]
    for fault, words, to, more in cases:
        with pytest.raises(fault, match=words):
            move(engine, to, **{"name": "web1", **more})  # type: ignore[arg-type]
    assert steps.revision(engine) == revision and on(engine, h1) == ["acme/web1"]


def test_what_is_removed_at_the_same_moment_does_not_move(engine: Engine, two: tuple[Host, Host]) -> None:
    h1, h2 = two
    steps.attach(engine, h1, "web1")
    reached, really = Event(), moves.move

    def slowly(*args: Any, **more: Any) -> None:
        reached.set()
        really(*args, **more)

    with patch("db.moves.move", slowly), ThreadPoolExecutor(1) as threads:
        with transaction(engine) as tx:
            assert attachments.detach(tx, h1.id, "web1", "eth0")
            moving = threads.submit(move, engine, h2, "web1")
            if engine.dialect.name == "postgresql":  # on SQLite it waits for its turn before it looks
                assert reached.wait(60)
        with pytest.raises(NotFound, match="there is no endpoint"):
            moving.result()
    assert on(engine, h2) == []


def test_a_container_that_was_started_anew_gets_its_endpoint_back(engine: Engine, two: tuple[Host, Host]) -> None:
    h1, _ = two
    was = steps.attach(engine, h1, "web1", netns="/proc/7/ns/net")
    held = steps.held(engine)
    with transaction(engine) as tx:
        asked = {"network": "acme/web", "name": "web1", "netns": "/proc/9/ns/net", "move": True}
        now = attachments.attach(tx, h1.id, "web1", "eth0", **asked).endpoint  # type: ignore[arg-type]
    assert now == was._replace(netns="/proc/9/ns/net"), "port and number, too"
    assert move(engine, h1, "web1", "other") == now._replace(container_id="other", ifname="eth1", netns="")
    assert steps.held(engine) == held
    steps.attach(engine, h1, "web2")
    with pytest.raises(Conflict, match="container web2 on host h1 is attached already, as endpoint web2"):
        with transaction(engine) as tx:
            attachments.attach(tx, h1.id, "web2", "eth0", network="acme/web", name="web1", move=True)


def test_the_port_of_a_hosts_own_interface_has_its_name(engine: Engine, two: tuple[Host, Host]) -> None:
    h1, h2 = two
    tap = steps.attach(engine, h1, "vm1", interface="tap0", mac="52:54:00:00:00:01")
    assert (tap.port_name, tap.interface, tap.mac) == ("tap0", "tap0", "52:54:00:00:00:01")
    with reading(engine) as session:
        assert wanted.endpoint(session, tap.id) == tap
        assert endpoints.get(session, "acme/vm1").port_name == "tap0"
    with pytest.raises(Conflict, match="interface tap0 is endpoint acme/vm1's"):
        steps.attach(engine, h1, "vm2", interface="tap0")
    assert steps.attach(engine, h2, "vm2", interface="tap0").port_name == "tap0"
    again = steps.attach(engine, h1, "vm1", interface="tap0", mac=tap.mac, move=True)
    assert again == tap, "it is there already"
    with pytest.raises(Invalid, match="a name that Warren gives"):
        steps.attach(engine, h1, "vm3", interface="wrn7")


def test_a_hosts_mtu_is_news_for_every_host(engine: Engine, two: tuple[Host, Host]) -> None:
    h1, h2 = two
    steps.attach(engine, h2, "web1")
    before = steps.revision(engine)
    with transaction(engine) as tx:
        hosts.update(tx, "h1", mtu=1400)
    with reading(engine) as session:
        assert wanted.changed_for_host(session, h2.id, before)
        assert wanted.wanted(session, h2.id).endpoints[0].mtu == 1350
    assert h1.id != h2.id
