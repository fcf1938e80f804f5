"""Numbers: each has one holder, whoever asks at the same time, and a freed one rests."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest
from sqlalchemy import Engine

from db import allocate
from db.engine import writing
from db.errors import Exhausted

NOON = datetime.fromisoformat("2026-01-01T12:00:00+00:00")


def pool(engine: Engine, first: int, last: int, rest_seconds: int = 60) -> int:
    with writing(engine) as session:
        return allocate.create_pool(session, "test", first, last, rest_seconds)


def claim(engine: Engine, pool_id: int, now: datetime = NOON) -> int:
    with writing(engine) as session:
        return allocate.claim(session, pool_id, now, what="the test pool", remedy="free one")


def claim_exact(engine: Engine, pool_id: int, number: int, go_on: bool = False) -> bool:
    with writing(engine) as session:
        return allocate.claim_exact(session, pool_id, number, go_on=go_on)


def release(engine: Engine, pool_id: int, number: int, now: datetime = NOON) -> None:
    with writing(engine) as session:
        allocate.release(session, pool_id, number, now)


def test_numbers_are_handed_out_in_order_from_the_first(engine: Engine) -> None:
    id = pool(engine, 100, 199)
    assert [claim(engine, id) for _ in range(3)] == [100, 101, 102]


def test_the_counter_goes_on_from_a_number_asked_for_and_comes_back_for_what_it_jumped_over(engine: Engine) -> None:
    id = pool(engine, 1, 6)
    assert claim(engine, id) == 1
    assert claim_exact(engine, id, 4, go_on=True)
    assert [claim(engine, id) for _ in range(4)] == [5, 6, 2, 3]
    with pytest.raises(Exhausted):
        claim(engine, id)


def test_a_number_asked_for_at_the_very_end_does_not_use_up_the_rest(engine: Engine) -> None:
    id = pool(engine, 1, 1 << 62)
    assert claim_exact(engine, id, 1 << 62, go_on=True)
    assert [claim(engine, id) for _ in range(3)] == [1, 2, 3]


def test_32_who_ask_at_once_get_32_times_5_different_numbers(engine: Engine) -> None:
    id = pool(engine, 1, 160)
    with ThreadPoolExecutor(32) as threads:
        claims = [threads.submit(claim, engine, id) for _ in range(160)]
    assert sorted(future.result() for future in claims) == list(range(1, 161))


def test_of_32_who_ask_for_the_same_number_one_gets_it(engine: Engine) -> None:
    id = pool(engine, 1, 100)
    with ThreadPoolExecutor(32) as threads:
        won = list(threads.map(lambda _: claim_exact(engine, id, 7), range(32)))
    assert won.count(True) == 1


def test_churn_of_many_never_gives_a_number_to_two(engine: Engine) -> None:
    id = pool(engine, 1, 40, rest_seconds=0)
    holders: dict[int, int] = {}

    def hold(who: int) -> None:
        for _ in range(10):
            number = claim(engine, id)
            assert holders.setdefault(number, who) == who, f"{number} is held twice"
            del holders[number]
            release(engine, id, number)

    with ThreadPoolExecutor(32) as threads:
        for done in [threads.submit(hold, who) for who in range(32)]:
            done.result()
    assert holders == {}


def test_a_freed_number_is_not_handed_out_while_there_are_unused_ones(engine: Engine) -> None:
    id = pool(engine, 1, 5)
    first = claim(engine, id)
    release(engine, id, first)
    later = NOON + timedelta(days=1)
    assert [claim(engine, id, later) for _ in range(4)] == [2, 3, 4, 5]
    assert claim(engine, id, later) == first


def test_the_number_that_rested_longest_comes_first(engine: Engine) -> None:
    id = pool(engine, 1, 3)
    for _ in range(3):
        claim(engine, id)
    for seconds, number in enumerate((2, 3, 1)):
        release(engine, id, number, NOON + timedelta(seconds=seconds))
    later = NOON + timedelta(hours=1)
    assert [claim(engine, id, later) for _ in range(3)] == [2, 3, 1]


def test_a_number_rests_before_it_is_used_again(engine: Engine) -> None:
    id = pool(engine, 1, 1, rest_seconds=60)
    release(engine, id, claim(engine, id))
    with pytest.raises(Exhausted) as refused:
        claim(engine, id, NOON + timedelta(seconds=59))
    assert refused.value.retry_after == pytest.approx(1)
    assert claim(engine, id, NOON + timedelta(seconds=60)) == 1


def test_a_full_pool_says_so_and_what_to_do(engine: Engine) -> None:
    id = pool(engine, 1, 2)
    claim(engine, id)
    claim(engine, id)
    with pytest.raises(Exhausted, match="the test pool is full: all 2 are in use; free one"):
        claim(engine, id)


def test_a_number_asked_for_by_name_is_skipped_when_its_turn_comes(engine: Engine) -> None:
    id = pool(engine, 1, 4)
    assert claim_exact(engine, id, 2)
    assert [claim(engine, id) for _ in range(3)] == [1, 3, 4]


def test_a_person_may_ask_for_a_resting_number(engine: Engine) -> None:
    id = pool(engine, 1, 9)
    release(engine, id, claim(engine, id))
    assert claim_exact(engine, id, 1)
    assert not claim_exact(engine, id, 1)


def test_a_claim_that_is_rolled_back_was_never_made(engine: Engine) -> None:
    id = pool(engine, 1, 9)
    with pytest.raises(RuntimeError), writing(engine) as session:
        allocate.claim(session, id, NOON, what="it", remedy="none")
        raise RuntimeError
    assert claim(engine, id) == 1
