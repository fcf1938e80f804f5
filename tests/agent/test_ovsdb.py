"""The one thread that talks to Open vSwitch's database, seen from the threads that ask it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from ovs_agent.ovsdb import Database, OvsdbFault
from ovs_agent.plan import Bridge, Controller, DropPort, Port, PutPort, SetBridge, SetControllers
from tests.agent.site import until
from tests.ovs import Ovs

BRIDGE = Bridge("br", "dummy", "7761000000000001")


@pytest.fixture
def ovs() -> Iterator[Ovs]:
    with Ovs() as ovs:
        yield ovs


@pytest.fixture
def database(ovs: Ovs) -> Iterator[Database]:
    database = Database(f"unix:{ovs.folder}/db.sock")
    database.start()
    database.apply([SetBridge(BRIDGE)])
    yield database
    database.stop()


def dummy(number: int) -> Port:
    return Port(f"p{number}", 100 + number, "dummy", external_ids={"number": str(number)})


def test_what_is_written_is_what_is_seen(database: Database) -> None:
    controllers = (Controller("tcp:127.0.0.1:1"), Controller("tcp:127.0.0.1:2"))
    port = dummy(1)._replace(options={"stream": "unix:/nowhere"})
    database.apply([SetControllers("br", controllers), PutPort("br", port)])
    settled = database.settled("p1")
    seen = database.seen("br")
    assert seen.bridge == BRIDGE and sorted(seen.controllers) == list(controllers)
    assert seen.ports["p1"] == settled and settled._replace(actual=None) == port and settled.actual == 101


def test_many_threads_may_ask_at_once(database: Database) -> None:
    def work(number: int) -> int | None:
        database.apply([PutPort("br", dummy(number))])
        return database.settled(f"p{number}").actual

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(work, range(64))) == list(range(100, 164))
        list(pool.map(lambda number: database.apply([DropPort("br", f"p{number}")]), range(64)))
    assert set(database.ports("br")) == {"br"}


def test_steps_happen_together_or_not_at_all(ovs: Ovs, database: Database) -> None:
    ovs.add_bridge("other", ports={"p2": 5})
    with pytest.raises(OvsdbFault, match="p2 is on another bridge"):
        database.apply([PutPort("br", dummy(1)), PutPort("br", dummy(2))])
    assert set(database.ports("br")) == {"br"}


def test_a_controller_that_stays_keeps_its_row(ovs: Ovs, database: Database) -> None:
    """Else its connection would be closed and opened again."""
    database.apply([SetControllers("br", (Controller("tcp:127.0.0.1:1"),))])
    row = ovs.vsctl("get", "bridge", "br", "controller").strip("[]\n")
    database.apply([SetControllers("br", (Controller("tcp:127.0.0.1:1"), Controller("tcp:127.0.0.1:2")))])
    assert row in ovs.vsctl("get", "bridge", "br", "controller")


def test_a_bridge_that_does_not_exist_is_named(database: Database) -> None:
    with pytest.raises(OvsdbFault, match="bridge nowhere does not exist"):
        database.apply([PutPort("nowhere", dummy(1))])


def test_a_database_that_is_not_there_is_a_sentence_and_comes_back(ovs: Ovs, database: Database) -> None:
    ovs.kill("db")
    with pytest.raises(OvsdbFault, match="start ovsdb-server"):
        until(lambda: database.apply([PutPort("br", dummy(1))]), "it notices")
    ovs.serve_database()

    def works() -> bool:
        try:
            database.apply([PutPort("br", dummy(1))])
        except OvsdbFault:
            return False
        return True

    until(works, "it works again")
    until(lambda: database.settled("p1").actual == 101, "the port has its number")


def test_an_agent_may_start_before_the_database(tmp_path_factory: pytest.TempPathFactory) -> None:
    where = tmp_path_factory.mktemp("none") / "db.sock"
    changed = threading.Event()
    database = Database(f"unix:{where}", changed.set)
    database.start(0)
    try:
        with pytest.raises(OvsdbFault, match=str(where)):
            database.seen("br")
        with Ovs() as ovs:
            where.symlink_to(ovs.folder / "db.sock")
            assert changed.wait(60)
            assert database.seen("br").bridge is None
    finally:
        database.stop()


def test_a_dead_vswitchd_is_noticed(ovs: Ovs, database: Database) -> None:
    """Its rows in the database look as well as before."""
    database.switched_on(60)
    ovs.kill_switch()
    with pytest.raises(OvsdbFault, match="ovs-vswitchd"):
        database.switched_on(0.3)
    with pytest.raises(OvsdbFault, match="p1"):
        database.apply([PutPort("br", dummy(1))])
        database.settled("p1", 0.3)
    ovs.start_switch()
    database.switched_on(60)
    assert database.settled("p1").actual == 101


def test_changes_by_others_are_told_at_once(ovs: Ovs) -> None:
    changed = threading.Event()
    database = Database(f"unix:{ovs.folder}/db.sock", changed.set)
    database.start()
    try:
        database.apply([SetBridge(BRIDGE)])
        database.switched_on(60)
        time.sleep(0.2)  # whatever follows from that
        changed.clear()
        ovs.vsctl("set", "bridge", "br", "fail_mode=standalone")
        assert changed.wait(60)
        until(lambda: database.seen("br").bridge == BRIDGE._replace(fail_mode="standalone"), "the change is seen")
    finally:
        database.stop()
