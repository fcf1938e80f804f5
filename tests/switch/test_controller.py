"""The whole controller process: a database on one side, real switches on the other, killed and restarted at will."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, select

from controller.calc.membership import members
from controller.model import DATAPATH_PREFIX
from controller.openflow.encode import encode
from controller.pipeline.program import program
from controller.watch import first_world
from db import attachments, convergence, hosts, migrate, networks, tenants, tokens
from db.changes import transaction
from db.engine import create_engine, reading
from db.tables import HostStatus
from tests.ovs import Ovs
from tests.ports import own_port

ROOT = Path(__file__).parents[2]


def until(condition: Callable[[], object], what: str, seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.01)


class Site:
    """A database with tenant acme and hosts h1, h2, whose bridges are `h1` and `h2` of one private Open vSwitch."""

    def __init__(self, folder: Path, ovs: Ovs) -> None:
        self.url = f"sqlite:///{folder / 'warren.db'}"
        self.engine: Engine = create_engine(self.url)
        migrate.upgrade(self.engine)
        self.ovs = ovs
        self.log = folder / "controller.log"
        self.port = own_port()
        self.ids: dict[str, int] = {}
        with transaction(self.engine) as tx:
            tenants.create(tx, "acme")
            networks.create(tx, "acme/web", subnets=["10.20.0.0/24", "fd00:20::/64"])
        for number, name in enumerate(("h1", "h2"), 11):
            with transaction(self.engine) as tx:
                host, enrol_token = hosts.create(tx, name, address=f"198.18.0.{number}")
                token = tokens.verify(tx.session, enrol_token, tx.now)
                hosts.enrol(tx, token, address=None, datapath_type="netdev")
                self.ids[name] = host.id
            ovs.add_bridge(name, datapath_id=DATAPATH_PREFIX | self.ids[name])
            ovs.set_controller(name, f"tcp:127.0.0.1:{self.port}")
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *("setpriv", "--pdeathsig", "KILL", sys.executable, "-m", "client", "controller", "--insecure-tcp"),
                    *("--db", self.url, "--name", "c1"),
                    *("--listen", f"127.0.0.1:{self.port}", "--audit-seconds", "1"),
                ],
                cwd=ROOT,
                stderr=log,
                env=os.environ | {"PYTHONUNBUFFERED": "1"},
            )

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(60)
            self.process = None

    def attach(self, host: str, name: str) -> int:
        with transaction(self.engine) as tx:
            attachments.attach(tx, self.ids[host], f"container-{name}", "eth0", network="acme/web", name=name)
        return tx.revision

    def detach(self, host: str, name: str) -> int:
        with transaction(self.engine) as tx:
            attachments.detach(tx, self.ids[host], f"container-{name}", "eth0")
        return tx.revision

    def live(self, revision: int) -> bool:
        with reading(self.engine) as session:
            progress = convergence.progress(session, revision)
        return progress.state == "applied"

    def connected(self, host: str) -> bool:
        with reading(self.engine) as session:
            query = select(HostStatus.connected).where(HostStatus.host_id == self.ids[host])
            return session.execute(query).scalar_one()

    def installed(self, host: str) -> set[int]:
        """The cookies of the flows that the bridge has."""
        lines = self.ovs.ofctl("dump-flows", host).splitlines()
        return {int(line.split("cookie=")[1].split(",")[0], 16) for line in lines if "cookie=" in line}

    def expected(self, host: str) -> set[int]:
        world = first_world(self.engine)
        return {encode(flow).cookie for flow in program(world, members(world, self.ids[host]))}

    def flow_mods(self) -> list[str]:
        return [line for line in self.log.read_text().splitlines() if "flow-mods:" in line]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with Ovs() as ovs:
        site = Site(tmp_path, ovs)
        try:
            yield site
        finally:
            site.stop(signal.SIGKILL)
            site.engine.dispose()


def test_bridges_get_exactly_the_program_of_their_host_and_the_change_is_known_to_be_live(site: Site) -> None:
    site.start()
    revision = site.attach("h1", "web1")
    until(lambda: site.live(revision), "web1 is live")
    revision = site.attach("h2", "web2")
    until(lambda: site.live(revision), "web2 is live")
    for host in ("h1", "h2"):
        assert site.installed(host) == site.expected(host)


def test_a_removed_endpoint_leaves_no_flow_behind(site: Site) -> None:
    site.start()
    site.attach("h1", "web1")
    revision = site.attach("h2", "web2")
    until(lambda: site.live(revision), "both are live")
    before = site.installed("h1")
    site.attach("h1", "web3")
    revision = site.detach("h1", "web3")
    until(lambda: site.live(revision), "web3 is gone")
    assert site.installed("h1") == before


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_restarted_controller_sends_nothing_to_an_unchanged_bridge(site: Site, how: int) -> None:
    site.start()
    site.attach("h1", "web1")
    revision = site.attach("h2", "web2")
    until(lambda: site.live(revision), "both are live")
    counted = site.ovs.ofctl("dump-flows", "h1")
    site.stop(how)
    site.log.unlink()
    site.start()
    until(lambda: len(site.flow_mods()) == 2, "both bridges are back")
    assert all(line.endswith("flow-mods: 0") for line in site.flow_mods()), site.flow_mods()
    until(lambda: site.live(revision), "live again")
    durations = [line.split("duration=")[1].split("s,")[0] for line in counted.splitlines() if "duration=" in line]
    still = [line for line in site.ovs.ofctl("dump-flows", "h1").splitlines() if "duration=" in line]
    assert len(still) == len(durations)
    assert all(float(line.split("duration=")[1].split("s,")[0]) > float(min(durations)) for line in still)


def test_changes_made_while_the_controller_was_down_arrive_when_it_returns(site: Site) -> None:
    site.start()
    revision = site.attach("h1", "web1")
    until(lambda: site.live(revision), "web1 is live")
    site.stop(signal.SIGKILL)
    site.detach("h1", "web1")
    revision = site.attach("h2", "web2")
    assert not site.live(revision)
    site.start()
    until(lambda: site.live(revision), "web2 is live")
    for host in ("h1", "h2"):
        assert site.installed(host) == site.expected(host)


def test_a_bridge_that_lost_everything_is_filled_again(site: Site) -> None:
    site.start()
    revision = site.attach("h1", "web1")
    until(lambda: site.live(revision), "web1 is live")
    site.ovs.kill_switch()
    until(lambda: not site.connected("h1"), "the bridge is noticed to be away")
    site.ovs.start_switch()
    until(lambda: site.connected("h1"), "the bridge is back")
    until(lambda: site.installed("h1") == site.expected("h1"), "the flows are back")


def test_a_flow_that_someone_deleted_or_added_by_hand_is_put_right_and_counted(site: Site) -> None:
    site.start()
    revision = site.attach("h1", "web1")
    until(lambda: site.live(revision), "web1 is live")
    site.ovs.ofctl("del-flows", "h1", "table=20")
    site.ovs.ofctl("add-flow", "h1", "cookie=0xbad,table=0,priority=9999,actions=normal")
    until(lambda: site.installed("h1") == site.expected("h1"), "repaired")

    def repaired() -> int:
        with reading(site.engine) as session:
            return session.execute(select(HostStatus.repaired).where(HostStatus.host_id == site.ids["h1"])).scalar_one()

    until(lambda: repaired() > 1, "the repair is counted")


def test_a_change_is_pending_on_a_bridge_that_is_away_and_says_so(site: Site) -> None:
    site.start()
    site.attach("h1", "web1")
    revision = site.attach("h2", "web2")
    until(lambda: site.live(revision), "both are live")
    site.ovs.vsctl("del-controller", "h2")

    def states(revision: int) -> dict[str, str]:
        with reading(site.engine) as session:
            return {state.host: state.state for state in convergence.progress(session, revision).hosts}

    until(lambda: not site.connected("h2"), "h2 is noticed to be away")
    revision = site.attach("h1", "web3")
    until(lambda: states(revision) == {"h1": "applied", "h2": "disconnected"}, "h1 has it, h2 is away")
    site.ovs.set_controller("h2", f"tcp:127.0.0.1:{site.port}")
    until(lambda: states(revision) == {"h1": "applied", "h2": "applied"}, "h2 has caught up")


def test_a_host_that_is_removed_is_let_go_and_the_others_go_on(site: Site) -> None:
    site.start()
    site.attach("h1", "web1")
    revision = site.attach("h2", "web2")
    until(lambda: site.live(revision), "both are live")
    with transaction(site.engine) as tx:
        hosts.delete(tx, "h2", force=True)
    until(lambda: site.live(tx.revision), "h1 knows that h2 is gone")
    assert site.installed("h1") == site.expected("h1")
    revision = site.attach("h1", "web3")
    until(lambda: site.live(revision), "the controller goes on")
