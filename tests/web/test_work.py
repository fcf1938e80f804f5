"""How much the database is asked for one request: what many requests a second rest on, counted instead of timed."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from sqlalchemy import Engine, event, select

from db import tokens
from db.engine import MOST_WRITERS, writing
from tests.web.conftest import Caller, Site
from tests.web.test_waiting import until
from web.live import Held


class Work:
    """`statements` without those that begin and end a transaction; `transactions` of their own."""

    def __init__(self) -> None:
        self.statements: list[str] = []
        self.transactions = 0


@contextmanager
def watched(engine: Engine) -> Iterator[Work]:
    """What this thread asks; others follow the feed."""
    work, mine = Work(), threading.get_ident()

    def statement(_connection, _cursor, text, *_rest) -> None:  # type: ignore[no-untyped-def]
        if threading.get_ident() == mine and not text.startswith("BEGIN"):
            work.statements.append(text)

    def begun(connection) -> None:  # type: ignore[no-untyped-def]
        options = connection.get_execution_options()
        alone = options.get("warren_alone") or options.get("isolation_level") == "AUTOCOMMIT"
        work.transactions += threading.get_ident() == mine and not alone

    event.listen(engine, "before_cursor_execute", statement)
    event.listen(engine, "begin", begun)
    try:
        yield work
    finally:
        event.remove(engine, "before_cursor_execute", statement)
        event.remove(engine, "begin", begun)


@contextmanager
def functions() -> Iterator[list[int]]:
    """How many functions of Python this thread calls: what a request costs the interpreter, on any machine."""
    count = [0]

    def called(_frame, kind: str, _value) -> None:  # type: ignore[no-untyped-def]
        count[0] += kind == "call"

    sys.setprofile(called)
    try:
        yield count
    finally:
        sys.setprofile(None)


def agent_of_a_network(site: Site) -> Caller:
    site.admin.made("/tenants", {"name": "acme"})
    site.admin.made("/networks", {"name": "acme/web", "subnets": ["10.20.0.0/24", "fd00:20::/64"]})
    return site.enrolled("h1")


def attach(agent: Caller, name: str) -> None:
    body = {"network": "acme/web", "name": name, "netns": "/run/netns/x"}
    assert agent.put(f"/hosts/h1/attachments/{name}/eth0", body).status_code == 201


def ending(site: Site) -> int:
    """Statements that end a change of one object: the revision and its log, the audit log's end, entry, end; on
    PostgreSQL these are one, as each is a way there and back in which nobody else can end his."""
    return 1 if site.engine.dialect.name == "postgresql" else 5


def test_a_change_of_an_endpoint_takes_few_statements_and_one_transaction(any_site: Site) -> None:
    attach(agent_of_a_network(any_site), "web1")
    for labels in ({"app": "web"}, {"app": "db"}):
        with watched(any_site.state().engine) as work:
            assert any_site.admin.patch("/endpoints/acme/web1", {"labels": labels}).status_code == 200
    # Who asks; the endpoint; its change; what it was and is; the end.
    assert len(work.statements) == 5 + ending(any_site), "\n".join(work.statements)
    assert work.transactions == 1


def test_a_change_of_an_endpoint_writes_by_way_of_one_table_and_looks_up_no_more_than_it_needs(any_site: Site) -> None:
    """More than that is a flush that sorts all that hangs on an endpoint, or a driver that describes each column."""
    attach(agent_of_a_network(any_site), "web1")
    for number in range(8):  # until all statements are compiled, and prepared
        assert any_site.admin.patch("/endpoints/acme/web1", {"labels": {"n": str(number)}}).status_code == 200
    with functions() as count:
        assert any_site.admin.patch("/endpoints/acme/web1", {"labels": {"n": "last"}}).status_code == 200
    assert count[0] < 3400, count


def test_no_more_writers_of_a_process_are_at_work_than_help_each_other(any_site: Site) -> None:
    engine, inside, most = any_site.state().engine, threading.Semaphore(0), 0
    enough, lock, busy = threading.Event(), threading.Lock(), 0

    def writes() -> None:
        nonlocal busy, most
        with writing(engine) as session:
            session.execute(select(1))
            with lock:
                busy += 1
                most = max(most, busy)
            inside.release()
            enough.wait(60)
            with lock:
                busy -= 1

    writers = [threading.Thread(target=writes) for _ in range(MOST_WRITERS + 3)]
    for writer in writers:
        writer.start()
    expected = MOST_WRITERS if engine.dialect.name == "postgresql" else 1
    for _ in range(expected):
        assert inside.acquire(timeout=60)
    enough.set()
    for writer in writers:
        writer.join(60)
    assert most == expected


def test_a_page_of_endpoints_takes_as_many_statements_however_long_it_is(any_site: Site) -> None:
    agent = agent_of_a_network(any_site)
    counts = []
    for number in range(1, 4):
        attach(agent, f"web{number}")
        with watched(any_site.state().engine) as work:
            assert len(any_site.admin.get("/endpoints").get_json()["items"]) == number
        counts.append(len(work.statements))
    assert counts == [5, 5, 5]


def test_an_attach_and_a_detach_take_few_statements_and_one_transaction_each(any_site: Site) -> None:
    agent = agent_of_a_network(any_site)
    attach(agent, "web1")
    with watched(any_site.state().engine) as work:
        attach(agent, "web2")
    assert len(work.statements) == 14 + ending(any_site), "\n".join(work.statements)
    assert work.transactions == 1
    with watched(any_site.state().engine) as work:
        assert agent.delete("/hosts/h1/attachments/web2/eth0").status_code == 200
    assert len(work.statements) == 10 + ending(any_site), "\n".join(work.statements)
    assert work.transactions == 1


def test_whether_a_revision_is_live_takes_three_statements_at_each_look(any_site: Site) -> None:
    """And a look is taken at every commit of anybody, for each attach that waits."""
    agent = agent_of_a_network(any_site)
    attach(agent, "web1")
    until(lambda: any_site.state().live.seen().revision == any_site.revision())  # else there is a second look
    with watched(any_site.state().engine) as work:
        assert agent.get(f"/revisions/{any_site.revision()}").get_json()["state"] == "pending"
    # Who asks; the newest revision and up to where it is computed; the hosts.
    assert len(work.statements) == 3, "\n".join(work.statements)


def test_whether_names_are_known_takes_one_statement_at_each_further_look(any_site: Site) -> None:
    agent = agent_of_a_network(any_site)
    agent.get("/hosts/h1/names?after=0")
    attach(agent, "web1")
    counts = []
    for looks in (1, 3):
        seen = 0

        def waits(_pulse: int, _left: float, _held: Held, looks: int = looks) -> bool:
            nonlocal seen
            seen += 1
            return seen < looks

        with watched(any_site.state().engine) as work, patch.object(any_site.state().live, "wait_for_pulse", waits):
            answer = agent.get(f"/revisions/{any_site.revision()}/names?wait=1")
        assert answer.get_json()["waiting"] == ["h1"] and seen == looks
        counts.append(len(work.statements))
    assert counts[1] - counts[0] == 2, counts


def test_names_after_an_attach_take_as_many_statements_however_many_there_are(any_site: Site) -> None:
    agent = agent_of_a_network(any_site)
    attach(agent, "web1")
    counts = []
    for number in range(2, 5):
        known = any_site.revision()
        agent.get(f"/hosts/h1/names?after={known}")
        attach(agent, f"web{number}")
        with watched(any_site.state().engine) as work:
            assert len(agent.get(f"/hosts/h1/names?after={known}").get_json()["names"]) == 1
        counts.append(len(work.statements))
    assert counts == [19] * 3, "\n".join(work.statements)


def test_who_shows_a_token_is_found_by_indexes_however_many_bindings_there_are(site: Site) -> None:
    with site.state().engine.connect() as connection:
        query = str(tokens._BEARER.compile(connection))
        plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}", (1,))]
    assert any("role_binding" in step for step in plan) and not any(step.startswith("SCAN") for step in plan), plan
