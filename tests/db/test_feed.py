"""Revisions and the feed: no change is missed and none is seen out of order, whoever writes at the same time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Engine, delete, text

from db import changes
from db.changes import Transaction, changes_since, current_revision, transaction
from db.engine import create_engine, reading, writing
from db.errors import Busy
from db.feed import Feed
from db.tables import ChangeRow
from tests.db import steps

WRITERS, EACH = 8, 25


def record(engine: Engine, id: int) -> int:
    with transaction(engine) as tx:
        tx.record("tenant", id, "update", tenant_id=id)
    return tx.revision


def since(engine: Engine, revision: int) -> list[tuple[int, int]] | None:
    with reading(engine) as session:
        rows = changes_since(session, revision)
        return None if rows is None else [(row.revision, row.id) for row in rows]


def test_a_follower_misses_nothing_of_8_writers(engine: Engine) -> None:
    total = WRITERS * EACH
    seen: list[tuple[int, int]] = []

    def follow() -> None:
        with Feed(engine) as feed:
            ready.set()
            deadline = time.monotonic() + 240
            while len(seen) < total and time.monotonic() < deadline:
                seen.extend(since(engine, seen[-1][0] if seen else 0) or [])
                if len(seen) < total:
                    feed.wait(5)

    def write(writer: int) -> None:
        for number in range(EACH):
            record(engine, writer * EACH + number)

    ready = threading.Event()
    follower = threading.Thread(target=follow)
    follower.start()
    assert ready.wait(60)
    with ThreadPoolExecutor(WRITERS) as threads:
        list(threads.map(write, range(WRITERS)))
    follower.join(240)
    assert [revision for revision, _ in seen] == list(range(1, total + 1))
    assert sorted(id for _, id in seen) == list(range(total))


def test_a_reader_that_sees_a_revision_sees_all_of_it_and_of_those_before(engine: Engine) -> None:
    done = threading.Event()

    def write(writer: int) -> None:
        for number in range(EACH):
            steps.tenant(engine, f"t{writer}-{number}")

    def look() -> int:
        looked = 0
        while not done.is_set():
            with reading(engine) as session:
                revision = current_revision(session)
                tenants = session.execute(text("SELECT count(*) FROM tenant")).scalar()
                networks = session.execute(text("SELECT count(*) FROM network")).scalar()
            assert tenants == networks == revision
            looked += 1
        return looked

    with ThreadPoolExecutor(5) as threads:
        looking = threads.submit(look)
        writing_ = [threads.submit(write, writer) for writer in range(4)]
        for future in writing_:
            future.result()
        done.set()
        assert looking.result() > 0


def test_what_is_rolled_back_takes_no_revision(engine: Engine) -> None:
    with pytest.raises(RuntimeError), transaction(engine) as tx:
        tx.record("tenant", 1, "create")
        raise RuntimeError
    assert steps.revision(engine) == 0 and since(engine, 0) == []


def test_what_changes_nothing_has_the_newest_revision_there_is(engine: Engine) -> None:
    assert record(engine, 1) == 1
    with transaction(engine) as tx:
        pass
    assert tx.revision == 1 == steps.revision(engine)


def test_an_object_is_once_in_a_revision_whatever_happened_to_it(engine: Engine) -> None:
    def ops(*recorded: changes.Operation) -> list[str]:
        with transaction(engine) as tx:
            for op in recorded:
                tx.record("tenant", 1, op)
        with reading(engine) as session:
            return [row.op for row in changes_since(session, tx.revision - 1) or []]

    assert ops("create", "update") == ["create"]
    assert ops("update", "update") == ["update"]
    assert ops("update", "delete") == ["delete"]


def test_the_log_says_whom_a_change_concerns(engine: Engine) -> None:
    h1 = steps.host(engine)
    acme = steps.tenant(engine)
    before = steps.revision(engine)
    web1 = steps.attach(engine, h1, "web1", "acme/default")
    with reading(engine) as session:
        (row,) = changes_since(session, before) or []
        assert (row.noun, row.id, row.op, row.tenant_id, row.host_id) == (
            "endpoint",
            web1.id,
            "create",
            acme.id,
            h1.id,
        )


def test_who_is_older_than_the_log_or_newer_than_the_database_needs_a_snapshot(engine: Engine) -> None:
    for id in range(5):
        record(engine, id)
    with writing(engine) as session:
        session.execute(delete(ChangeRow).where(ChangeRow.revision <= 2))
    assert since(engine, 1) is None
    assert since(engine, 2) == [(3, 2), (4, 3), (5, 4)]
    assert since(engine, 5) == []
    assert since(engine, 6) is None


def test_the_log_is_pruned_by_itself(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "KEPT_REVISIONS", 10)
    monkeypatch.setattr(changes, "_PRUNE_EVERY", 8)
    for id in range(24):
        record(engine, id)
    assert since(engine, 13) is None
    assert since(engine, 14) == [(id + 1, id) for id in range(14, 24)]


def woken(feed: Feed, act: Callable[[], object]) -> float | None:
    """How many seconds after `act` the feed woke; None if it did not within a minute."""
    begun: list[float] = []

    def later() -> None:
        begun.append(time.monotonic())
        act()

    timer = threading.Timer(0.05, later)
    timer.start()
    woke = feed.wait(60)
    at = time.monotonic()
    timer.join()
    return at - begun[0] if woke else None


def test_a_commit_wakes_who_waits(engine: Engine) -> None:
    with Feed(engine) as feed:
        assert not feed.wait(0.02)
        took = woken(feed, lambda: record(engine, 1))
        assert took is not None and took < 20
        assert not feed.wait(0.02)
        record(engine, 2)
        record(engine, 3)
        assert feed.wait(60), "what was committed while nobody waited wakes the next who does"


def test_a_report_wakes_who_waits_for_progress(engine: Engine) -> None:
    def notify() -> None:
        with writing(engine) as session:
            session.execute(text("UPDATE host_status SET flows = 1"))
            changes.notify(session, changes.PROGRESS_CHANNEL)

    steps.host(engine)
    with Feed(engine, progress=True) as feed:
        feed.wait(0.05)
        assert woken(feed, notify) is not None


def test_a_feed_that_is_closed_by_another_thread_stops_waiting(engine: Engine) -> None:
    feed = Feed(engine)
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(feed.wait, 1)
        feed.close()
        assert waiting.result(60) is False
    assert feed.wait(1) is False


def test_a_lost_connection_wakes_because_something_may_have_been_missed(postgresql_engine: Engine) -> None:
    with Feed(postgresql_engine) as feed:

        def cut() -> None:
            with writing(postgresql_engine) as session:
                session.execute(
                    text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN %'")
                )

        assert woken(feed, cut) is not None
        assert woken(feed, lambda: record(postgresql_engine, 1)) is not None


def test_writers_of_one_process_take_turns_and_do_not_fail(engine: Engine) -> None:
    with ThreadPoolExecutor(32) as threads:
        revisions = list(threads.map(lambda id: record(engine, id), range(64)))
    assert sorted(revisions) == list(range(1, 65))


def test_a_refusal_inside_a_transaction_undoes_all_of_it(engine: Engine) -> None:
    def fail(tx: Transaction) -> None:
        tx.before_commit(lambda revision: 1 // 0)
        tx.record("tenant", 1, "create")

    with pytest.raises(ZeroDivisionError), transaction(engine) as tx:
        fail(tx)
    assert steps.revision(engine) == 0


def test_a_deadlock_that_the_database_breaks_is_a_refusal_to_try_again(postgresql_engine: Engine) -> None:
    steps.tenant(postgresql_engine, "a"), steps.tenant(postgresql_engine, "b")
    both = threading.Barrier(2)

    def lock(first: str, second: str) -> bool:
        touch = text("UPDATE tenant SET version = version + 1 WHERE name = :name")
        try:
            with transaction(postgresql_engine) as tx:
                tx.session.execute(touch, {"name": first})
                both.wait(60)
                tx.session.execute(touch, {"name": second})
        except Busy as refused:
            assert refused.remedy == "try again"
            return False
        return True

    with ThreadPoolExecutor(2) as threads:
        assert sorted(threads.map(lock, ("a", "b"), ("b", "a"))) == [False, True]


def test_a_writer_in_another_process_that_takes_too_long_is_a_refusal_to_try_again(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("db.engine.LOCK_SECONDS", 0.05)
    one, other = create_engine(sqlite_url), create_engine(sqlite_url)  # two engines share no lock but the file's
    with writing(one) as session:
        session.execute(text("UPDATE host_status SET flows = 1"))
        with pytest.raises(Busy, match="try again"):
            record(other, 1)
    assert record(other, 1) == 1
    one.dispose(), other.dispose()
