"""Questions to agents: kept until they are answered or nobody waits, and never a change of the network."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import product

import pytest
from sqlalchemy import Engine

from controller.calc.explain import decide
from controller.calc.judge import Asked
from controller.world import World
from db import hosts, isolation, policies, traces
from db.changes import transaction
from db.engine import reading, writing
from db.errors import NotFound
from db.feed import Feed
from db.snapshot import between, snapshot
from tests.db import steps

NOW = datetime(2026, 11, 20, tzinfo=UTC)
SAID = {"table": 110, "cookie": "0x7701000000000000", "outputs": [100], "tunnel": None, "trouble": ""}


def test_a_question_waits_for_its_hosts_answer(engine: Engine) -> None:
    h1, h2 = steps.host(engine), steps.host(engine, "h2", "198.18.0.12")
    before = steps.revision(engine)
    with writing(engine) as session:
        ids = traces.ask(session, {h1.id: "in_port=100", h2.id: "in_port=1"}, NOW)
    with reading(engine) as session:
        assert traces.asked(session, h1.id) == [{"id": ids[h1.id], "packet": "in_port=100"}]
        assert traces.waiting(session) == {id: host for host, id in ids.items()}
    with pytest.raises(NotFound, match=f"no question {ids[h1.id]} for this host"), writing(engine) as session:
        traces.answer(session, h2.id, ids[h1.id], SAID, NOW)
    with writing(engine) as session:
        traces.answer(session, h1.id, ids[h1.id], SAID, NOW)
    with reading(engine) as session:
        assert traces.asked(session, h1.id) == []
        assert traces.waiting(session) == {ids[h2.id]: h2.id}
        assert traces.answers(session, ids.values()) == {ids[h1.id]: SAID}
    with writing(engine) as session:
        traces.forget(session, ids.values())
    with reading(engine) as session:
        assert traces.waiting(session) == traces.answers(session, ids.values()) == {}
    assert steps.revision(engine) == before


def test_questions_and_answers_wake_whoever_follows(engine: Engine) -> None:
    h1 = steps.host(engine)
    with Feed(engine, progress=True) as feed:
        with writing(engine) as session:
            ids = traces.ask(session, {h1.id: "in_port=100"}, NOW)
        assert feed.wait(60)
        with writing(engine) as session:
            traces.answer(session, h1.id, ids[h1.id], SAID, NOW)
        assert feed.wait(60)


def test_what_a_killed_process_asked_goes_with_a_later_question_and_with_its_host(engine: Engine) -> None:
    h1, h2 = steps.host(engine), steps.host(engine, "h2", "198.18.0.12")
    for seconds, host in ((0, h1), (30, h1), (70, h2)):
        with writing(engine) as session:
            traces.ask(session, {host.id: f"in_port={seconds}"}, NOW + timedelta(seconds=seconds))
    with reading(engine) as session:
        assert [question["packet"] for question in traces.asked(session, h1.id)] == ["in_port=30"]
    steps.do(engine, hosts.delete, "h1")
    with reading(engine) as session:
        assert list(traces.waiting(session).values()) == [h2.id]


def test_what_lies_between_two_endpoints_decides_as_the_whole_world_does(engine: Engine) -> None:
    h1 = steps.host(engine)
    ids = {}
    for name in ("acme", "beta", "gamma"):
        steps.tenant(engine, name, labels={"team": name})
        for number, labels in enumerate(({"app": "web"}, {"app": "db"})):
            endpoint = steps.attach(engine, h1, f"{name}{number}", f"{name}/default", labels=labels)
            ids[endpoint.name] = endpoint.id
    steps.do(engine, isolation.peer, "acme", "beta")
    steps.do(engine, isolation.join, "gamma", "beta")
    rule = {"from": [{"namespaceSelector": {"matchLabels": {"team": "acme"}}}], "ports": [{"port": 80}]}
    documents = [
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": "db", "namespace": "beta"},
            "spec": {"podSelector": {"matchLabels": {"app": "db"}}, "ingress": [rule]},
        },
        {
            "apiVersion": "policy.networking.k8s.io/v1alpha2",
            "kind": "ClusterNetworkPolicy",
            "metadata": {"name": "wall"},
            "spec": {
                "tier": "Admin",
                "priority": 1,
                "subject": {"namespaces": {"matchLabels": {"team": "gamma"}}},
                "egress": [{"action": "Deny", "to": [{"namespaces": {"matchLabels": {"team": "beta"}}}]}],
            },
        },
    ]
    with transaction(engine) as tx:
        policies.apply(tx, documents)
    with reading(engine) as session:
        whole = World().apply(*snapshot(session))
        stages = set()
        for one, other in product(ids.values(), repeat=2):
            part = World().apply(1, between(session, one, other))
            assert len(part.tenants) <= 2
            for port in (80, 81):
                said, expected = (
                    decide(world, world.endpoints[one], world.endpoints[other], Asked(4, 6, port))
                    for world in (part, whole)
                )
                assert said == expected
                stages.add((said[-1].stage, said[-1].allowed))
    assert stages == {
        *product(("isolation", "egress"), [False]),
        *product(("ingress",), [False, True]),
        ("address", True),
    }
