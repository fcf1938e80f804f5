"""Where a revision is live: pending until computed and confirmed, failed with a sentence, disconnected by name."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any, NamedTuple

import pytest
from sqlalchemy import Engine, select, update

from db import attachments, controllers, convergence, hosts, networks, publications, tenants
from db.changes import transaction
from db.convergence import HostState, RevisionProgress
from db.engine import reading, writing
from db.errors import Invalid, NotFound
from db.publications import Wish
from db.tables import ChangeRow, Controller, Host, HostStatus, utcnow
from tests.db import steps

TARGET = "tcp:198.18.0.1:6653"


class Progress(NamedTuple):
    wanted: int
    confirmed: int
    error: str = ""
    connected: bool = True
    flows: int = 0
    drops: dict[str, int] = {}  # noqa: RUF012
    repaired: int = 0


class Lab:
    """Two hosts and a controller that has recorded what the tests say."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.h1, self.h2 = steps.host(engine), steps.host(engine, "h2", "198.18.0.12")
        with transaction(engine) as tx:
            hosts.create(tx, "never-enrolled")
        self.record(0, {})  # a controller that nobody knew yet takes a revision of its own
        steps.tenant(engine)
        self.revision = steps.revision(engine)

    def record(self, revision: int, of: dict[Host, Progress], name: str = "ctl1", target: str = TARGET) -> None:
        with writing(self.engine) as session:
            progress = {host.id: state for host, state in of.items()}
            convergence.record(session, name, target, revision, progress)

    def progress(self, host: str | None = None) -> RevisionProgress:
        with reading(self.engine) as session:
            return convergence.progress(session, self.revision, host)


@pytest.fixture
def lab(engine: Engine) -> Lab:
    return Lab(engine)


def states(progress: RevisionProgress) -> tuple[str, dict[str, str]]:
    return progress.state, {host.host: host.state for host in progress.hosts}


def test_before_a_controller_has_computed_it_a_revision_may_concern_every_enrolled_host(lab: Lab) -> None:
    n = lab.revision
    lab.record(n - 1, {lab.h1: Progress(n - 1, n - 1)})
    assert states(lab.progress()) == ("pending", {"h1": "pending", "h2": "disconnected"})


def test_a_revision_that_concerns_no_host_is_live_once_it_is_computed(lab: Lab) -> None:
    n = lab.revision
    lab.record(n, {lab.h1: Progress(n - 1, n - 1), lab.h2: Progress(0, 0)})
    assert states(lab.progress()) == ("applied", {})


def test_a_revision_is_live_when_every_host_concerned_has_confirmed_it(lab: Lab) -> None:
    n = lab.revision
    lab.record(n, {lab.h1: Progress(n, n - 1), lab.h2: Progress(n, n)})
    assert states(lab.progress()) == ("pending", {"h1": "pending", "h2": "applied"})
    lab.record(n, {lab.h1: Progress(n, n)})
    assert states(lab.progress()) == ("applied", {"h1": "applied", "h2": "applied"})


def test_a_newer_change_that_waits_does_not_take_back_what_is_live(lab: Lab) -> None:
    n = lab.revision
    lab.record(n + 5, {lab.h1: Progress(n + 5, n + 2)})
    assert states(lab.progress()) == ("applied", {"h1": "applied"})
    lab.record(n + 5, {lab.h1: Progress(n + 5, n - 1)})
    assert states(lab.progress()) == ("pending", {"h1": "pending"})


def test_a_bridge_that_refuses_makes_the_revision_failed_and_says_why(lab: Lab) -> None:
    n = lab.revision
    lab.record(n, {lab.h1: Progress(n, n - 1, error="bundle failed: no room"), lab.h2: Progress(n, n)})
    progress = lab.progress()
    assert progress.state == "failed"
    assert progress.hosts[0] == HostState("h1", "failed", "bundle failed: no room")
    lab.record(n, {lab.h1: Progress(n, n)})
    assert lab.progress().state == "applied"


def test_a_host_that_is_cut_off_is_named_and_does_not_count_as_confirmed(lab: Lab) -> None:
    n = lab.revision
    lab.record(n, {lab.h1: Progress(n, n - 1, connected=False), lab.h2: Progress(n, n)})
    assert states(lab.progress()) == ("pending", {"h1": "disconnected", "h2": "applied"})


def test_one_may_ask_for_one_host_only(lab: Lab) -> None:
    n = lab.revision
    lab.record(n, {lab.h1: Progress(n, n - 1), lab.h2: Progress(n - 1, n - 1)})
    assert states(lab.progress("h1")) == ("pending", {"h1": "pending"})
    assert states(lab.progress("h2")) == ("applied", {"h2": "applied"})
    with pytest.raises(NotFound, match="there is no host h9"):
        lab.progress("h9")


def test_every_living_controller_must_have_computed_it(lab: Lab) -> None:
    n = lab.revision
    lab.record(n, {lab.h1: Progress(n, n)})
    lab.record(n - 1, {}, name="ctl2", target="tcp:198.18.0.2:6653")
    assert lab.progress().state == "pending"
    with writing(lab.engine) as session:
        late = utcnow() - convergence.ALIVE - timedelta(seconds=1)
        session.get_one(Controller, "ctl2").seen_at = late
    assert lab.progress().state == "applied"


def test_what_a_dead_controller_had_done_stays_done(lab: Lab) -> None:
    n = lab.revision
    lab.record(n, {lab.h1: Progress(n, n)})
    with reading(lab.engine) as session:
        later = utcnow() + timedelta(hours=1)
        assert convergence.progress(session, n, now=later).state == "applied"


def test_a_revision_that_is_not_there_yet_is_not_found(lab: Lab) -> None:
    with reading(lab.engine) as session, pytest.raises(NotFound, match=f"the newest is {lab.revision}"):
        convergence.progress(session, lab.revision + 1)


def test_recording_takes_no_revision_but_a_controller_at_a_new_address_does(lab: Lab) -> None:
    n = lab.revision
    lab.record(n, {lab.h1: Progress(n, n, flows=7, drops={"spoofed": 3}, repaired=1)})
    assert steps.revision(lab.engine) == n
    with reading(lab.engine) as session:
        status = session.get_one(HostStatus, lab.h1.id)
        assert (status.flows, status.drops, status.repaired, status.controller) == (7, {"spoofed": 3}, 1, "ctl1")
    lab.record(n, {}, target="tcp:198.18.0.9:6653")
    assert steps.revision(lab.engine) == n + 1
    with pytest.raises(Invalid, match="'rubbish' is not a controller's address"):
        lab.record(n, {}, target="rubbish")


def test_a_controller_that_starts_has_no_bridge_connected(lab: Lab) -> None:
    lab.record(1, {lab.h1: Progress(1, 1)})
    with writing(lab.engine) as session:
        controllers.started(session, "ctl1")
    with reading(lab.engine) as session:
        assert session.execute(select(HostStatus.connected)).scalars().all() == [False, False, False]


def test_a_controller_may_be_forgotten(lab: Lab) -> None:
    before = steps.revision(lab.engine)
    with transaction(lab.engine) as tx:
        controllers.forget(tx, "ctl1")
        controllers.forget(tx, "nobody")
    assert tx.revision == before + 1
    with reading(lab.engine) as session:
        assert session.execute(select(Controller)).all() == []


def test_a_revision_waits_for_the_ports_that_its_flows_lead_to(lab: Lab) -> None:
    """Those of the newest change of tunnels and segments up to it, on hosts whose agent has ever spoken."""

    def says(host: Host, revision: int | None, ago: timedelta = timedelta()) -> None:
        with writing(lab.engine) as session:
            hosts.report(session, host.id, {"tunnels_revision": revision}, utcnow() - ago)

    before = lab.revision
    steps.network(lab.engine, "acme/first", "10.20.0.0/24", carried_by="gre")
    made = lab.revision = steps.revision(lab.engine)
    lab.record(made, {lab.h1: Progress(before, before), lab.h2: Progress(before, before)})
    assert states(lab.progress()) == ("applied", {"h1": "applied", "h2": "applied"}), "no agent, no bridge"
    says(lab.h1, before)
    says(lab.h2, made)
    assert states(lab.progress()) == ("pending", {"h1": "pending", "h2": "applied"}), "no flow has changed"
    assert lab.progress().hosts[0].error == "its agent has not made all ports to other hosts and to segments"

    steps.tenant(lab.engine, "other")
    later = lab.revision = steps.revision(lab.engine)
    assert later > made
    lab.record(later, {lab.h1: Progress(later, later)})
    assert states(lab.progress()) == ("pending", {"h1": "pending"}), "nor what comes after it"
    lab.record(later, {lab.h1: Progress(made, made), lab.h2: Progress(later, later)})
    assert states(lab.progress()) == ("applied", {"h2": "applied"}), "what is not h1's does not wait for it"
    lab.record(later, {lab.h1: Progress(later, later)})
    says(lab.h1, before, ago=timedelta(minutes=1))
    assert states(lab.progress("h1")) == ("pending", {"h1": "disconnected"}), "an agent that is silent"
    says(lab.h1, made)
    assert states(lab.progress()) == ("applied", {"h1": "applied", "h2": "applied"})


class Site(NamedTuple):
    """A lab with endpoints on h1, one of which may be published."""

    lab: Lab
    name: str

    def publish(self, port: int, **more: Any) -> int:
        with transaction(self.lab.engine) as tx:
            made = publications.publish(
                tx, self.name, Wish(**{"protocol": "tcp", "port": 80, "host_port": port, **more})
            )
        return made.id

    def asked(self) -> tuple[str, dict[str, str]]:
        """Of the newest revision, of which no flow has changed."""
        n = self.lab.revision = steps.revision(self.lab.engine)
        before = {host: Progress(n - 1, n - 1) for host in (self.lab.h1, self.lab.h2)}
        self.lab.record(n, before)
        return states(self.lab.progress())

    def says(self, host: Host, ago: timedelta = timedelta(), **report: Any) -> tuple[str, dict[str, str]]:
        with writing(self.lab.engine) as session:
            hosts.report(session, host.id, report, utcnow() - ago)
        return states(self.lab.progress())


@pytest.fixture
def site(lab: Lab) -> Site:
    steps.network(lab.engine, "acme/web", "10.20.0.0/24")
    with transaction(lab.engine) as tx:
        attachments.attach(tx, lab.h1.id, "c1", "eth0", network="acme/web", name="web1")
    return Site(lab, "acme/web1")


def test_a_published_port_is_live_when_its_hosts_agent_has_opened_it(site: Site) -> None:
    lab = site.lab
    site.says(lab.h1, ports_revision=lab.revision)
    id = site.publish(8080)
    assert site.asked() == ("pending", {"h1": "pending"}), "though no flow has changed"
    assert lab.progress().hosts[0].error == "its agent has not opened and closed all published ports"
    assert site.says(lab.h1, ports_revision=lab.revision - 1)[0] == "pending"
    assert site.says(lab.h1, ago=timedelta(minutes=1), ports_revision=lab.revision - 1)[1] == {"h1": "disconnected"}
    assert site.says(lab.h1, ports_revision=lab.revision) == ("applied", {"h1": "applied"})
    site.says(lab.h1, ports_revision=lab.revision, closed={str(id): "a program of the host listens at tcp/8080"})
    assert lab.progress() == RevisionProgress(
        lab.revision, "failed", [HostState("h1", "failed", "a program of the host listens at tcp/8080")]
    )
    other = site.publish(8081)
    site.asked()
    more = {str(id): "it is taken"}
    assert site.says(lab.h1, ports_revision=lab.revision, closed=more)[0] == "applied", "another's does not matter"
    with transaction(lab.engine) as tx:
        publications.withdraw(tx, site.name, other)
    assert site.asked() == ("pending", {"h1": "pending"})
    assert site.says(lab.h1, ports_revision=lab.revision)[0] == "applied"


def test_a_port_of_all_hosts_is_live_when_all_that_are_there_have_opened_it(site: Site) -> None:
    lab = site.lab
    id = site.publish(8080, mesh=True)
    assert site.asked() == ("applied", {"h1": "applied", "h2": "applied"}), "no agent, no ports"
    site.says(lab.h1, ports_revision=lab.revision)
    assert site.says(lab.h2, ports_revision=0) == ("pending", {"h1": "applied", "h2": "pending"})
    assert site.says(lab.h2, ports_revision=lab.revision, closed={str(id): "no"})[1] == {
        "h1": "applied",
        "h2": "failed",
    }
    assert site.says(lab.h2, ports_revision=lab.revision)[0] == "applied"
    site.publish(8081, mesh=True)
    n = lab.revision = steps.revision(lab.engine)
    lab.record(n, {lab.h1: Progress(n - 1, n - 1), lab.h2: Progress(n - 1, n - 1, connected=False)})
    assert site.says(lab.h1, ports_revision=n) == ("applied", {"h1": "applied"}), "who is down opens nothing"


def test_ports_that_go_with_their_endpoint_or_network_are_waited_for(site: Site) -> None:
    lab = site.lab
    site.says(lab.h1, ports_revision=1)
    site.publish(8080)
    site.publish(8080, mesh=True, protocol="udp")
    for outbound in (False, True):
        with transaction(lab.engine) as tx:
            networks.update(tx, "acme/web", outbound=outbound)
        assert site.asked()[1] == {"h1": "pending", "h2": "applied"}
    with transaction(lab.engine) as tx:
        networks.update(tx, "acme/web", broadcast=True)
    assert site.asked() == ("applied", {})
    with transaction(lab.engine) as tx:
        attachments.detach(tx, lab.h1.id, "c1", "eth0")
    assert site.asked()[1]["h1"] == "pending"
    with transaction(lab.engine) as tx:
        attachments.attach(tx, lab.h1.id, "c1", "eth0", network="acme/web", name="web1")
        attachments.detach(tx, lab.h1.id, "c1", "eth0")
    assert site.asked() == ("applied", {}), "who publishes nothing asks for nothing"


def test_a_quota_of_bandwidth_is_live_when_endpoints_are_held_to_it(site: Site) -> None:
    lab = site.lab
    site.says(lab.h1, limits_revision=lab.revision)
    site.says(lab.h2, limits_revision=lab.revision)
    with transaction(lab.engine) as tx:
        tenants.update(tx, "acme", quota={"bandwidth": 1_000_000})
    assert site.asked() == ("pending", {"h1": "pending"})
    assert lab.progress().hosts[0].error == "its agent does not hold all endpoints to their limits"
    assert site.says(lab.h1, limits_revision=lab.revision) == ("applied", {"h1": "applied"})


def test_what_is_held_is_pending_for_sure(lab: Lab) -> None:
    """One look at who lags, for all who wait, never keeps one of them from what it waits for."""
    chance, n, held, live = random.Random(5), lab.revision, 0, 0
    with writing(lab.engine) as session:  # the newest publishes a port
        session.add(ChangeRow(revision=n, noun="publication", id=1, op="create", host_id=lab.h1.id))
        session.add(ChangeRow(revision=n, noun="mesh", id=1, op="update"))
    for _ in range(150):
        said = {
            host: Progress(
                *(chance.randint(n - 3, n), chance.randint(n - 3, n), chance.choice(["", "", "", "no room"])),
                connected=chance.random() < 0.8,
            )
            for host in (lab.h1, lab.h2)
        }
        lab.record(chance.randint(n - 2, n), said)
        with writing(lab.engine) as session:
            tunnels = chance.choice([None, 0, n])
            session.execute(update(HostStatus).values(tunnels_revision=tunnels, agent_seen_at=utcnow()))
            for host in (lab.h1, lab.h2):
                ports = {
                    "ports_revision": chance.choice([None, 0, n]),
                    "closed": chance.choice([{}, {}, {"1": "taken"}]),
                }
                session.execute(update(HostStatus).where(HostStatus.host_id == host.id).values(ports))
        with reading(lab.engine) as session:
            lag = convergence.lag(session, ())
            for revision in (n - 1, n):
                state = convergence.progress(session, revision).state
                held += lag.holds_flows(revision)
                live += state == "applied"
                assert state == "pending" or not lag.holds_flows(revision), (revision, said, tunnels)
    assert held > 30 and live > 10


def test_names_are_held_by_hosts_that_are_concerned_and_listen(lab: Lab) -> None:
    n = lab.revision
    long_ago = utcnow() - timedelta(minutes=5)
    with writing(lab.engine) as session:
        for host, known, at in ((lab.h1, n - 1, utcnow()), (lab.h2, n - 1, long_ago)):
            values = {"names_revision": known, "names_seen_at": at}
            session.execute(update(HostStatus).where(HostStatus.host_id == host.id).values(values))
    with reading(lab.engine) as session:
        lag = convergence.lag(session, [lab.h1.id, lab.h2.id])
        assert lag.holds_names(n, [lab.h1.id]) and not lag.holds_names(n, [lab.h2.id])
        assert not lag.holds_names(n - 1, [lab.h1.id]) and not lag.holds_names(n, [])
        assert not convergence.lag(session, []).holds_names(n, [lab.h2.id])
