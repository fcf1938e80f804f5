"""Names as hosts get them: who may see whose, what a change adds to what is known, and who knows what."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from db import directory, endpoints, isolation, networks, records
from db.engine import reading, writing
from db.errors import Conflict, DomainError, Invalid, NotFound
from db.tables import Host, utcnow
from ovs_agent.dns.names import Incomplete, Names
from tests.db import steps


def document(engine: Engine, host: Host, after: int | None = None) -> dict[str, Any]:
    with reading(engine) as session:
        return directory.document(session, host.id, after)


def labels(engine: Engine, host: Host) -> set[str]:
    return {entry["labels"][0] for entry in document(engine, host)["names"].values()}


def concerned(engine: Engine, host: Host, after: int) -> bool:
    with reading(engine) as session:
        return directory.changed_for_host(session, host.id, after)


def waiting(engine: Engine, revision: int, later: timedelta = timedelta()) -> list[str]:
    with reading(engine) as session:
        return directory.waiting(session, revision, utcnow() + later)


def note(engine: Engine, host: Host, known: int | None) -> None:
    with writing(engine) as session:
        directory.note(session, host.id, known, utcnow())


@pytest.fixture
def pair(engine: Engine) -> tuple[Host, Host]:
    """acme/a1 on h1, acme/a2 and beta/b1 on h2."""
    h1, h2 = steps.host(engine), steps.host(engine, "h2", "198.18.0.12")
    steps.tenant(engine), steps.tenant(engine, "beta")
    steps.attach(engine, h1, "a1", "acme/default")
    steps.attach(engine, h2, "a2", "acme/default", aliases=["front", "front", "a2"])
    steps.attach(engine, h2, "b1", "beta/default")
    return h1, h2


def test_a_host_knows_the_names_of_its_tenants_and_no_others(engine: Engine, pair: tuple[Host, Host]) -> None:
    h1, h2 = pair
    assert labels(engine, h1) == {"a1", "a2"} and labels(engine, h2) == {"a1", "a2", "b1"}
    found = document(engine, h1)
    assert [entry["labels"] for entry in found["names"].values()] == [["a1"], ["a2", "front"]]
    assert found["whole"] and found["domain"] == "warren.internal"
    assert list(found["askers"]) == ["100"] and list(found["networks"]) == [str(found["askers"]["100"])]
    assert len(next(iter(found["networks"].values()))["subnets"]) == 2


def test_who_may_talk_may_see(engine: Engine, pair: tuple[Host, Host]) -> None:
    h1, _ = pair
    for act, undo in (
        ((isolation.peer, "acme", "beta"), (isolation.unpeer, "acme", "beta")),
        ((isolation.join, "acme", "beta"), (isolation.isolate, "acme")),
        ((isolation.make_global, "beta"), (isolation.isolate, "beta")),
        ((isolation.set_mode, "flat"), (isolation.set_mode, "multitenant")),
    ):
        before = steps.revision(engine)
        steps.do(engine, *act)
        assert labels(engine, h1) == {"a1", "a2", "b1"} and concerned(engine, h1, before)
        steps.do(engine, *undo)
        assert labels(engine, h1) == {"a1", "a2"}


def test_an_isolated_network_sees_itself_alone(engine: Engine, pair: tuple[Host, Host]) -> None:
    h1, h2 = pair
    steps.network(engine, "acme/apart", isolated=True)
    steps.attach(engine, h2, "hidden", "acme/apart")
    assert labels(engine, h1) == {"a1", "a2"}
    found = document(engine, h2)
    apart = next(id for id, one in found["networks"].items() if one["name"] == "apart")
    assert found["seen"][apart] == []


def test_only_hosts_that_may_see_a_change_are_concerned(engine: Engine, pair: tuple[Host, Host]) -> None:
    h1, h2 = pair
    before = steps.revision(engine)
    steps.attach(engine, h2, "b2", "beta/default")
    assert not concerned(engine, h1, before) and concerned(engine, h2, before)
    steps.attach(engine, h2, "a3", "acme/default")
    assert concerned(engine, h1, before)
    now = steps.revision(engine)
    steps.do(engine, records.put, "beta", "printer", ["192.0.2.1"])
    assert not concerned(engine, h1, now) and concerned(engine, h2, now)
    assert concerned(engine, h1, now + 100), "a database that was restored: nothing is known"


def test_a_revision_is_waited_for_where_it_may_be_asked_about_and_somebody_listens(
    engine: Engine, pair: tuple[Host, Host]
) -> None:
    h1, h2 = pair
    assert waiting(engine, steps.revision(engine)) == [], "no agent has ever asked for names"
    known = steps.revision(engine)
    note(engine, h1, known), note(engine, h2, known)
    steps.attach(engine, h2, "a3", "acme/default")
    made = steps.revision(engine)
    assert waiting(engine, made) == ["h1", "h2"]
    note(engine, h1, made)
    assert waiting(engine, made) == ["h2"]
    assert waiting(engine, made, later=directory.ALIVE) == [], "a silent agent holds nobody up"
    note(engine, h2, made)
    steps.attach(engine, h2, "b2", "beta/default")
    assert waiting(engine, steps.revision(engine)) == ["h2"]
    note(engine, h2, None)
    assert waiting(engine, made) == ["h2"], "an agent that starts knows nothing that counts"
    with pytest.raises(NotFound, match="no revision"):
        waiting(engine, made + 50)


def test_what_an_agent_knows_is_written_once(engine: Engine, pair: tuple[Host, Host]) -> None:
    h1, _ = pair
    note(engine, h1, 4)
    with reading(engine) as session:
        assert directory.is_noted(session, h1.id, 4, utcnow())
        assert not directory.is_noted(session, h1.id, 5, utcnow())
        assert not directory.is_noted(session, h1.id, 4, utcnow() + directory.HEARTBEAT)


def test_changes_laid_over_what_is_known_are_the_whole(engine: Engine) -> None:
    """Whatever happens, in whatever steps it is told: a host that is not concerned has nothing to learn."""
    rand = random.Random(7)
    hosts = [steps.host(engine, f"h{n}", f"198.18.0.{10 + n}") for n in range(3)]
    tenants = ["acme", "beta", "gamma"]
    for name in tenants:
        steps.tenant(engine, name)
    known: dict[int, Names] = {}
    deltas = wholes = 0
    alive: list[tuple[Host, str]] = []

    def attach() -> None:
        host, name = rand.choice(hosts), f"e{rand.randrange(10**6)}"
        steps.attach(engine, host, name, f"{rand.choice(tenants)}/default", aliases=rand.choice([[], ["front"]]))
        alive.append((host, name))

    def detach() -> None:
        if alive:
            steps.detach(engine, *alive.pop(rand.randrange(len(alive))))

    def record() -> None:
        scope = rand.choice(tenants) + rand.choice(["", "/default"])
        steps.do(engine, records.put, scope, f"r{rand.randrange(3)}", [f"192.0.2.{rand.randrange(9) + 1}"])

    def forget() -> None:
        scope = rand.choice(tenants) + rand.choice(["", "/default"])
        steps.do(engine, records.delete, scope, f"r{rand.randrange(3)}")

    def relate() -> None:
        act = rand.choice([isolation.peer, isolation.unpeer, isolation.join])
        steps.do(engine, act, *rand.sample(tenants, 2))

    def part() -> None:
        steps.do(
            engine, rand.choice([isolation.isolate, isolation.isolate, isolation.make_global]), rand.choice(tenants)
        )

    def network() -> None:
        name = f"{rand.choice(tenants)}/n{rand.randrange(3)}"
        try:
            steps.network(engine, name, isolated=rand.random() < 0.3)
        except Conflict:
            steps.do(engine, networks.delete, name)

    for _ in range(120):
        try:
            rand.choice([attach, attach, attach, detach, detach, record, forget, relate, part, network])()
        except DomainError:
            continue
        for host in hosts:
            if rand.random() < 0.4:
                continue
            last = known.get(host.id)
            whole = Names.parse(document(engine, host))
            if last is None:
                known[host.id] = whole
            elif not concerned(engine, host, last.revision):
                assert last.document() | {"revision": 0} == whole.document() | {"revision": 0}
            else:
                change = document(engine, host, last.revision)
                assert not change["whole"]
                try:
                    known[host.id] = last.changed(change)
                    deltas += 1
                except Incomplete:
                    known[host.id] = whole
                    wholes += 1
                got, want = known[host.id].document(), whole.document()
                assert got["names"] == want["names"] and got == want
    assert deltas > 40 and wholes > 3, (deltas, wholes)


def test_the_first_endpoint_of_a_network_is_told_with_all_that_its_network_sees(
    engine: Engine, pair: tuple[Host, Host]
) -> None:
    h1, _ = pair
    steps.do(engine, records.put, "beta", "printer", ["192.0.2.1"])
    before = steps.revision(engine)
    known = Names.parse(document(engine, h1))
    steps.attach(engine, h1, "b2", "beta/default")
    change = document(engine, h1, before)
    assert not change["whole"] and len(change["new"]) == 1
    assert sorted(entry["labels"][0] for entry in change["names"].values()) == ["b1", "b2", "printer"]
    assert known.changed(change).document() == Names.parse(document(engine, h1)).document()
    with pytest.raises(Incomplete):
        known.changed(change | {"new": []})
    before = steps.revision(engine)
    steps.attach(engine, h1, "b3", "beta/default")
    change = document(engine, h1, before)
    assert change["new"] == [] and [entry["labels"] for entry in change["names"].values()] == [["b3"]]


@pytest.mark.parametrize(
    ("scope", "name", "addresses", "fault", "said"),
    [
        ("acme", "Db", ["192.0.2.1"], Invalid, "DNS record name 'Db' is not a DNS label"),
        ("acme", "db", ["192.0.2.300"], Invalid, "'192.0.2.300' is not an address"),
        ("acme", "db", ["fd00::9%x"], Invalid, "'fd00::9%x' is not an address"),
        ("acme", "db", [], Invalid, "0 addresses"),
        ("acme", "db", [f"192.0.2.{n}" for n in range(33)], Invalid, "33 addresses"),
        ("nobody", "db", ["192.0.2.1"], NotFound, "there is no tenant nobody"),
        ("acme/none", "db", ["192.0.2.1"], NotFound, "there is no network acme/none"),
    ],
)
def test_a_record_that_cannot_be(
    engine: Engine, scope: str, name: str, addresses: list[str], fault: type[Exception], said: str
) -> None:
    steps.tenant(engine)
    before = steps.revision(engine)
    with pytest.raises(fault, match=said):
        steps.do(engine, records.put, scope, name, addresses)
    assert steps.revision(engine) == before


def test_records_come_change_and_go_with_what_they_belong_to(engine: Engine) -> None:
    steps.tenant(engine), steps.network(engine)
    made = steps.do(engine, records.put, "acme/web", "db", ["192.0.2.1", "2001:DB8::1", "192.0.2.1"])
    with reading(engine) as session:
        assert records.get(session, "acme/web", "db").addresses == ["192.0.2.1", "2001:db8::1"]
    assert steps.do(engine, records.put, "acme/web", "db", ["192.0.2.1", "2001:db8::1"]) == made, "nothing is new"
    assert steps.do(engine, records.put, "acme", "db", ["192.0.2.2"]) == made + 1
    with reading(engine) as session:
        first = records.find(session, limit=1)
        assert [row.scope for row in first.items] == ["acme/web"]
        assert [row.scope for row in records.find(session, cursor=first.next).items] == ["acme"]
        assert records.find(session, tenant="nobody").items == []
    steps.do(engine, networks.delete, "acme/web")
    with reading(engine) as session:
        assert [row.scope for row in records.find(session).items] == ["acme"]
    with pytest.raises(NotFound, match="no DNS record db in acme/web"):
        steps.do(engine, records.delete, "acme/web", "db")


@pytest.mark.parametrize(
    "domain", ["", "internal", "a..b", "-a.b", "x_y.internal", "a." * 60 + "b", "0.10.in-addr.arpa"]
)
def test_a_domain_that_cannot_be(engine: Engine, domain: str) -> None:
    with pytest.raises(Invalid, match="domain"):
        steps.do(engine, records.set_domain, domain)


def test_the_domain_is_everywhere(engine: Engine, pair: tuple[Host, Host]) -> None:
    h1, _ = pair
    before = steps.revision(engine)
    assert steps.do(engine, records.set_domain, "Cluster.Example.Net.") == before + 1
    assert steps.do(engine, records.set_domain, "cluster.example.net") == before + 1
    assert concerned(engine, h1, before) and document(engine, h1)["domain"] == "cluster.example.net"
    made = steps.attach(engine, h1, "a9", "acme/default")
    assert made.dns["search"] == ["default.acme.cluster.example.net", "acme.cluster.example.net"]
    assert made.dns["nameservers"] == made.gateways
    with reading(engine) as session:
        again = endpoints.get(session, "acme/a9")
        assert again.aliases == []


def test_aliases_belong_to_what_was_asked_for(engine: Engine, pair: tuple[Host, Host]) -> None:
    h1, _ = pair
    steps.attach(engine, h1, "x", "acme/default", aliases=["front"])
    steps.attach(engine, h1, "x", "acme/default", aliases=["front"])
    with pytest.raises(Conflict, match="with other parameters"):
        steps.attach(engine, h1, "x", "acme/default", aliases=["back"])
    with pytest.raises(Invalid, match="alias name 'Front'"):
        steps.attach(engine, h1, "y", "acme/default", aliases=["Front"])
    with pytest.raises(Invalid, match="17 aliases"):
        steps.attach(engine, h1, "y", "acme/default", aliases=[f"a{n}" for n in range(17)])


def test_a_new_record_does_not_get_the_name_of_an_endpoint_beside_it(engine: Engine) -> None:
    host = steps.host(engine)
    steps.tenant(engine)
    steps.network(engine, "acme/web", "10.20.0.0/24")
    steps.network(engine, "acme/db", "10.21.0.0/24")
    steps.attach(engine, host, "web2")
    before = steps.revision(engine)
    with pytest.raises(Conflict, match="an endpoint of network acme/web is called web2") as refused:
        steps.do(engine, records.put, "acme/web", "web2", ["10.20.0.250"])
    assert refused.value.field == "name" and steps.revision(engine) == before
    steps.do(engine, records.put, "acme", "web2", ["192.0.2.1"])
    steps.do(engine, records.put, "acme/db", "web2", ["192.0.2.2"])
    steps.do(engine, records.put, "acme/web", "web3", ["192.0.2.3"])
    steps.attach(engine, host, "web3")
    steps.do(engine, records.put, "acme/web", "web3", ["192.0.2.4"])  # it was first, and may change
