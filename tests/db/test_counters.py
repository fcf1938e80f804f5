"""What rules counted and denied, in the database: written over, added up, shown by version, gone with the policy."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, func, select

from controller.calc.decision import Decision
from controller.calc.documents import read
from controller.calc.tally import Count, Place
from controller.mark import mark
from controller.model import Action, Direction
from controller.watch import first_world
from db import counters, denials, hosts, policies, tenants
from db.counters import RuleCount
from db.denials import Seen
from db.engine import reading, writing
from db.tables import Denial, Policy, RuleCounter, utcnow
from tests.db import steps
from tests.db.steps import do

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
IN, OUT = Direction.INGRESS, Direction.EGRESS
DENIED = Decision(
    *("h1", "deny", "ingress", ("acme/db",), None, "", "acme/web1", "10.20.0.9", "acme/db1", "10.20.0.10"),
    *("tcp", 81, None, None),
)


def document(name: str = "db", tenant: str = "acme", port: int = 80) -> dict[str, Any]:
    """Two rules for what comes in, one for what goes out."""
    rules = [{"ports": [{"port": port}]}, {}]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": tenant},
        "spec": {"ingress": rules, "egress": [{}], "policyTypes": ["Ingress", "Egress"]},
    }


class Lab:
    """Tenants acme with policy acme/db and beta with beta/db, and hosts h1 and h2."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        for tenant in ("acme", "beta"):
            steps.tenant(engine, tenant)
        do(engine, policies.apply, [document(), document(tenant="beta")])
        self.h1, self.h2 = steps.host(engine).id, steps.host(engine, "h2", "198.18.0.12").id

    @property
    def policy(self) -> int:
        with reading(self.engine) as session:
            return policies.get(session, "acme/db").id

    def record(self, counts: dict[Place, Count]) -> None:
        with writing(self.engine) as session:
            counters.record(session, counts)

    def load(self) -> dict[Place, Count]:
        with writing(self.engine) as session:
            return counters.load(session)

    def rules(self, **asked: Any) -> list[RuleCount]:
        with reading(self.engine) as session:
            return counters.find(session, **asked).items

    def report(self, host: int, *connections: dict[str, Any], counted: bool = True, at: datetime | None = None) -> None:
        with writing(self.engine) as session:
            hosts.report(session, host, {"connections": list(connections) if counted else None}, at or utcnow())

    def open(self, policy: str) -> list[int | None]:
        return [rule.connections for rule in self.rules(policy=policy)]

    def deny(self, **seen: Seen) -> None:
        """By the name of the source."""
        with writing(self.engine) as session:
            made = {DENIED._replace(source=f"acme/{name}"): its for name, its in seen.items()}
            denials.record(session, made)

    def denied(self, **asked: Any) -> list[tuple[str, int]]:
        with reading(self.engine) as session:
            return [(row.source, row.count) for row in denials.find(session, **asked)]


@pytest.fixture
def lab(engine: Engine) -> Lab:
    return Lab(engine)


def test_a_rules_count_is_the_sum_over_hosts_and_the_last_of_its_hits(lab: Lab) -> None:
    late = NOW + timedelta(minutes=3)
    before = steps.revision(lab.engine)
    lab.record(
        {
            Place(lab.policy, IN, 1, lab.h1): Count(1, 10, 1000, 10, 1000, NOW),
            Place(lab.policy, IN, 1, lab.h2): Count(1, 2**40, 2**45, 3, 300, late),
            Place(lab.policy, OUT, 0, lab.h1): Count(1, 1, 60, 1, 60, NOW),
        }
    )
    assert steps.revision(lab.engine) == before
    assert lab.rules(policy="acme/db") == [
        RuleCount("acme/db", IN, 1, "", Action.ACCEPT, connections=0),
        RuleCount("acme/db", IN, 2, "", Action.ACCEPT, 2**40 + 10, 2**45 + 1000, late, 0),
        RuleCount("acme/db", OUT, 1, "", Action.ACCEPT, 1, 60, NOW, 0),
    ]
    unused = [(rule.policy, rule.number) for rule in lab.rules(unused=True)]
    assert unused == [("acme/db", 1), ("beta/db", 1), ("beta/db", 2), ("beta/db", 1)]
    assert {rule.policy for rule in lab.rules(tenant="beta")} == {"beta/db"}
    assert lab.rules(policy="acme/nothing") == []


def admitted(tenant: int, direction: str, mark: int, open: int) -> dict[str, Any]:
    return {"tenant": tenant, "direction": direction, "mark": mark, "open": open}


def test_open_connections_count_for_the_rule_that_admitted_them_on_all_hosts_together(lab: Lab) -> None:
    first, second = read(document()).ingress or ()
    with reading(lab.engine) as session:
        acme, beta = (tenants.get(session, name).id for name in ("acme", "beta"))
    mine = mark(lab.policy, IN, second)
    lab.report(
        lab.h1,
        admitted(acme, "ingress", mine, 3),
        admitted(acme, "egress", mine, 9),  # another rule's mark
        admitted(beta, "ingress", mine, 9),  # and of another tenant's policy
        admitted(acme, "ingress", 12345, 9),
    )
    lab.report(lab.h2, admitted(acme, "ingress", mine, 2), admitted(acme, "ingress", mark(lab.policy, IN, first), 1))
    assert lab.open("acme/db") == [1, 5, 0]
    assert lab.open("beta/db") == [0, 0, 0]
    lab.report(lab.h2, at=utcnow() - timedelta(minutes=2))  # of a host that is silent nothing is known
    assert lab.open("acme/db") == [0, 3, 0]
    lab.report(lab.h2, counted=False)
    assert lab.open("acme/db") == [None, None, None]


def test_a_rule_of_the_clusters_has_those_of_all_tenants_and_one_that_does_not_accept_has_none(lab: Lab) -> None:
    wall = {
        "apiVersion": "policy.networking.k8s.io/v1alpha2",
        "kind": "ClusterNetworkPolicy",
        "metadata": {"name": "wall"},
        "spec": {
            "tier": "Admin",
            "priority": 1,
            "subject": {"namespaces": {}},
            "egress": [{"action": action, "to": [{"namespaces": {}}]} for action in ("Accept", "Deny", "Accept")],
        },
    }
    do(lab.engine, policies.apply, [wall])
    with reading(lab.engine) as session:
        id = policies.get(session, "wall").id
    rule = (read(wall).egress or ())[0]
    lab.report(lab.h1, *(admitted(tenant, "egress", mark(id, OUT, rule), 2) for tenant in (1, 2, 3)))
    assert lab.open("wall") == [6, None, 0], "the third says what the first one says"


def test_a_count_is_written_over_and_read_back_as_it_was(lab: Lab) -> None:
    place = Place(lab.policy, IN, 0, lab.h1)
    for count in (Count(1, 10, 1000, 10, 1000, NOW), Count(1, 15, 1500, 5, 500, None), Count(2, 0, 0, 5, 500, None)):
        lab.record({place: count})
        assert lab.load() == {place: count}
    lab.record({})
    assert lab.load() == {place: count}


def test_a_policy_that_was_changed_begins_at_zero_whoever_writes_late(lab: Lab) -> None:
    place = Place(lab.policy, IN, 0, lab.h1)
    lab.record({place: Count(1, 10, 1000, 10, 1000, NOW)})
    do(lab.engine, policies.apply, [document(port=81)])
    assert lab.rules(policy="acme/db")[0].packets == 0
    lab.record({place: Count(1, 11, 1100, 11, 1100, NOW)})
    assert lab.rules(policy="acme/db")[0].packets == 0
    lab.record({place: Count(2, 1, 100, 12, 1200, NOW)})
    assert lab.rules(policy="acme/db")[0].packets == 1


def test_counts_go_with_their_policy_and_leave_nothing(lab: Lab) -> None:
    mine = lab.policy
    with reading(lab.engine) as session:
        other = policies.get(session, "beta/db").id
    counts = {Place(policy, IN, 0, lab.h1): Count(1, 1, 60, 1, 60, NOW) for policy in (mine, other)}
    lab.record(counts)
    do(lab.engine, policies.delete, "acme/db")
    assert {place.policy for place in lab.load()} == {other}
    do(lab.engine, tenants.delete, "beta")
    with reading(lab.engine) as session:
        assert session.execute(select(func.count()).select_from(RuleCounter)).scalar_one() == 0
    lab.record(counts)  # by a controller that has not heard of it
    assert lab.load() == {}


def test_what_is_alike_is_one_row_with_a_number(lab: Lab) -> None:
    lab.deny(web1=Seen(3, NOW, NOW + timedelta(seconds=1)), web2=Seen(1, NOW, NOW))
    lab.deny(web1=Seen(2, NOW + timedelta(seconds=5), NOW + timedelta(seconds=9)))
    assert lab.denied() == [("acme/web1", 5), ("acme/web2", 1)]
    with reading(lab.engine) as session:
        row = session.execute(select(Denial).where(Denial.source == "acme/web1")).scalar_one()
    assert (row.first_at, row.last_at) == (NOW, NOW + timedelta(seconds=9))
    assert (row.policies, row.rule, row.port, row.icmp_type) == (["acme/db"], None, 81, None)


def test_denials_are_found_by_either_end_and_by_policy(lab: Lab) -> None:
    lab.deny(web1=Seen(1, NOW, NOW))
    found = [("acme/web1", 1)]
    for asked in ({"tenant": "acme"}, {"endpoint": "acme/web1"}, {"endpoint": "acme/db1"}, {"policy": "acme/db"}):
        assert lab.denied(**asked) == found, asked
    for asked in ({"tenant": "acm"}, {"endpoint": "acme/web"}, {"policy": "acme/d"}, {"policy": "db"}, {"tenant": "%"}):
        assert lab.denied(**asked) == [], asked
    assert lab.denied(action="accept") == []


def test_only_the_newest_are_kept(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(denials, "KEPT", 5)
    for second in range(12):
        at = NOW + timedelta(seconds=second)
        lab.deny(**{f"web{second}": Seen(1, at, at)})
    assert [source for source, _ in lab.denied()] == [f"acme/web{second}" for second in (11, 10, 9, 8, 7)]
    assert len(lab.denied(limit=2)) == 2


def test_the_worlds_policies_know_their_version(lab: Lab) -> None:
    do(lab.engine, policies.apply, [document(port=81)])
    versions = {policy.name: policy.version for policy in first_world(lab.engine).policies.values()}
    assert versions == {"acme/db": 2, "beta/db": 1}
    with reading(lab.engine) as session:
        assert session.execute(select(Policy.version).where(Policy.id == lab.policy)).scalar_one() == 2
