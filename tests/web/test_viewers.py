"""Open pages: told in turns, and shown what was made once; never anything older than what they were told of."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from unittest.mock import patch

import pytest
from flask import Flask, Response
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from db import bindings, users
from db.changes import transaction
from db.engine import writing
from tests.web.conftest import PASSWORD, Site
from tests.web.test_live import Row, ScriptedSource, live, source  # noqa: F401 - fixtures
from tests.web.test_waiting import until
from tests.web.test_work import watched
from web import viewers as viewers_module
from web.api.events import events
from web.live import Live, Seen
from web.packed import _once
from web.ui import pages
from web.ui.frame import TOLD
from web.viewers import GATHER_SECONDS, MOST_KEPT, MOST_SECONDS, SHARE, Viewers


class Clock:
    """Time that passes when it is told to; `spent` is what making a page takes of the processor."""

    def __init__(self) -> None:
        self.now, self.used = 1000.0, 0.0

    def monotonic(self) -> float:
        return self.now

    def thread_time(self) -> float:
        return self.used


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(viewers_module, "time", made)
    return made


def page(clock: Clock, viewers: Viewers, seconds: float, what: str = "/", told: int | None = None) -> str:
    def make() -> Response:
        clock.used += seconds
        return Response("made")

    return seen(viewers.shown(what, 2**60 if told is None else told, make))


def seen(answer: Response) -> str:
    return answer.get_data(as_text=True)


# -- turns --


def test_a_turn_lasts_as_long_as_what_was_asked_for_in_the_one_before_is_worth(live: Live, clock: Clock) -> None:  # noqa: F811
    viewers = Viewers(live)
    first = viewers.turn()
    assert (first.until - clock.now, first.spread) == (GATHER_SECONDS, 0)
    with Flask("x").app_context():
        for _ in range(20):
            page(clock, viewers, 0.03)
    assert viewers.turn() is first, "it is not over"
    clock.now = first.until
    second = viewers.turn()
    length = second.until - clock.now
    assert 20 * 0.03 / SHARE <= length < 21 * 0.04 / SHARE
    assert second.spread == pytest.approx(length - GATHER_SECONDS)
    clock.now = second.until
    assert viewers.turn().until - clock.now == GATHER_SECONDS, "nobody asked for anything"
    page(clock, viewers, 1000.0)
    clock.now += 1
    assert viewers.turn().until - clock.now == MOST_SECONDS


def test_all_are_told_of_the_same_state_in_a_turn_and_of_the_rest_in_the_next(
    live: Live,  # noqa: F811
    source: ScriptedSource,  # noqa: F811
    clock: Clock,
) -> None:
    """The clock stands: a turn that was over would tell of both."""
    assert live.seen().revision == 10
    viewers = Viewers(live)
    pulse = live.seen().pulse
    rests: list[float] = []
    with patch.object(live, "rest", rests.append):
        source.commits.put([Row(11)])
        assert live.wait_for_pulse(pulse, 60)
        turn = viewers.turn()
        source.commits.put([Row(12)])
        assert live.wait_for_pulse(pulse + 1, 60)
        for _ in range(2):
            stream = events(live, 10, pulse=pulse, viewers=viewers)
            assert next(stream).startswith("retry")
            said = next(stream)
            assert "id: 11\n" in said and "id: 12\n" not in said and f'"pulse": {turn.seen.pulse}' in said
        viewers._turn = turn._replace(until=0.0)
        assert "id: 12\n" in next(stream)


def test_a_page_that_knows_the_newest_is_told_of_nothing(live: Live, source: ScriptedSource) -> None:  # noqa: F811
    known, viewers = live.seen(), Viewers(live)
    with patch("web.api.events.TICK_SECONDS", 0.05):
        stream = events(live, known.revision, pulse=known.pulse, viewers=viewers)
        assert next(stream).startswith("retry")
        assert "event: tick" in next(stream)
        again = events(live, known.revision, pulse=known.pulse - 1, viewers=viewers)
        assert [next(again), next(again)][1].startswith("event: status")


# -- what is shown --


def test_what_is_made_is_shown_to_who_was_told_of_nothing_newer(
    live: Live,  # noqa: F811
    source: ScriptedSource,  # noqa: F811
) -> None:
    viewers, made = Viewers(live), 0

    def make() -> Response:
        nonlocal made
        made += 1
        return Response(f"made {made}")

    old = live.seen().pulse
    assert [seen(viewers.shown("/", old, make)) for _ in range(3)] == ["made 1"] * 3
    assert seen(viewers.shown("/other", old, make)) == "made 2"
    source.commits.put([Row(11)])
    assert live.wait_for_pulse(old, 60)
    new = live.seen().pulse
    assert seen(viewers.shown("/", old, make)) == "made 1", "it knows of no more"
    assert [seen(viewers.shown("/", pulse, make)) for pulse in (new, new, old)] == ["made 3"] * 3


def test_what_follows_from_the_time_is_made_again_after_a_while(live: Live, clock: Clock) -> None:  # noqa: F811
    viewers, pulse = Viewers(live), live.seen().pulse
    page(clock, viewers, 0.0, told=pulse)
    used = clock.used
    page(clock, viewers, 1.0, told=pulse)
    assert clock.used == used
    clock.now += viewers_module.KEPT_SECONDS + 0.1
    page(clock, viewers, 1.0, told=pulse)
    assert clock.used == used + 1


def test_one_makes_it_while_the_others_wait_for_it(live: Live) -> None:  # noqa: F811
    viewers, pulse, made = Viewers(live), live.seen().pulse, 0
    begun, go_on = threading.Event(), threading.Event()

    def make() -> Response:
        nonlocal made
        made += 1
        begun.set()
        go_on.wait(60)
        return Response("made")

    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(viewers.shown, "/", pulse, make) for _ in range(8)]
        assert begun.wait(60)
        go_on.set()
        assert [seen(one.result(60)) for one in answers] == ["made"] * 8
    assert made == 1


def test_a_commit_while_it_is_made_is_not_taken_for_shown(live: Live, source: ScriptedSource) -> None:  # noqa: F811
    viewers, pulse = Viewers(live), live.seen().pulse

    def make() -> Response:
        source.commits.put([Row(11)])
        assert live.wait_for_pulse(pulse, 60)
        return Response("read before the commit")

    assert seen(viewers.shown("/", pulse, make)) == "read before the commit"
    assert seen(viewers.shown("/", pulse + 1, lambda: Response("read after it"))) == "read after it"


def test_what_fails_or_leads_elsewhere_is_shown_to_nobody_else(live: Live) -> None:  # noqa: F811
    viewers, pulse = Viewers(live), live.seen().pulse
    with pytest.raises(ZeroDivisionError):
        viewers.shown("/", pulse, lambda: Response(str(1 // 0)))
    assert viewers.shown("/", pulse, lambda: Response(status=303)).status_code == 303
    assert seen(viewers.shown("/", pulse, lambda: Response("made"))) == "made"


def test_no_more_is_kept_than_is_looked_at(live: Live) -> None:  # noqa: F811
    viewers, pulse = Viewers(live), live.seen().pulse
    for number in range(MOST_KEPT + 9):
        viewers.shown(number, pulse, lambda: Response("made"))
    assert len(viewers._pages) == MOST_KEPT


# -- real pages --


@pytest.fixture
def eyes(people: Site, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[FlaskClient, FlaskClient, FlaskClient]]:
    """Two who see everything, and one who sees the tenant acme."""
    monkeypatch.setattr(viewers_module, "KEPT_SECONDS", 600.0)  # on a slow machine a page is no older than another
    people.admin.made("/tenants", {"name": "acme"})
    people.admin.made("/tenants", {"name": "globex"})
    found = []
    for name in ("admin", "admin", "viewer"):
        browser = people.browser()
        browser.post("/login", data={"user": name, "password": PASSWORD})
        found.append(browser)
    yield found[0], found[1], found[2]


def look(site: Site, browser: FlaskClient, path: str, told: int, **headers: str) -> TestResponse:
    answer = browser.get(path, headers={"HX-Request": "true", TOLD: str(told), **headers})
    assert answer.status_code == 200, answer.text
    return answer


def told_of(site: Site) -> int:
    until(lambda: site.state().live.seen().revision == site.revision())
    return site.state().live.seen().pulse


PATHS = ("/", "/tenants", "/endpoints", "/hosts", "/topology", "/topology/boxes", "/addresses", "/settings")


def test_the_second_who_looks_costs_a_look_at_who_it_is(people: Site, eyes: Any) -> None:
    for path in PATHS:
        until(lambda: told_of(people) == told_of(people))
        told = told_of(people)
        first = look(people, eyes[0], path, told)
        with watched(people.state().engine) as work:
            second = look(people, eyes[1], path, told)
        assert second.data == first.data and second.mimetype == first.mimetype
        assert len(work.statements) == 2, f"{path}: " + "\n".join(work.statements)


def test_it_is_packed_once(people: Site, eyes: Any) -> None:
    told = told_of(people)
    before = _once.cache_info()
    packed = [look(people, browser, "/tenants", told, **{"Accept-Encoding": "gzip"}).data for browser in eyes[:2]]
    after = _once.cache_info()
    assert packed[0] == packed[1] and (after.misses - before.misses, after.hits - before.hits) == (1, 1)


def test_nobody_is_shown_what_others_may_see_or_another_address_columns_or_part(people: Site, eyes: Any) -> None:
    told = told_of(people)
    all = look(people, eyes[0], "/tenants", told).text
    assert "globex" in all and "New tenant" in all
    own = look(people, eyes[2], "/tenants", told).text
    assert "New tenant" not in own
    assert "globex" not in look(people, eyes[0], "/tenants?q=acme", told).text
    eyes[0].set_cookie("columns", "tenants.Labels")
    assert look(people, eyes[0], "/tenants", told).text != all
    whole = eyes[0].get("/tenants", headers={TOLD: str(told)}).text
    assert "<html" in whole and "<html" not in all


def test_members_of_different_tenants_share_nothing(people: Site, eyes: Any) -> None:
    for name in ("acme", "globex"):
        with transaction(people.engine) as tx:
            users.create(tx, f"of-{name}", PASSWORD)
            bindings.grant(tx, "viewer", user=f"of-{name}", tenant=name)
    told, said = told_of(people), {}
    for name in ("acme", "globex"):
        browser = people.browser()
        browser.post("/login", data={"user": f"of-{name}", "password": PASSWORD})
        said[name] = look(people, browser, "/tenants", told).text
    assert "globex" not in said["acme"] and "acme" not in said["globex"]


def test_who_is_told_of_a_change_sees_it(people: Site, eyes: Any) -> None:
    """Whoever looked before: also somebody who was told of less, at the same moment."""
    for number in range(5):
        before = told_of(people)
        look(people, eyes[0], "/tenants", before)
        people.admin.made("/tenants", {"name": f"new{number}"})
        told = told_of(people)
        assert told > before
        assert f"new{number}" in look(people, eyes[1], "/tenants", told).text
        assert f"new{number}" in look(people, eyes[0], "/tenants", before).text


def test_a_page_says_up_to_where_it_shows_what_happened(people: Site, eyes: Any) -> None:
    """What is committed while it is made comes as an event, even if it was heard of before the page was whole."""
    there: list[Seen] = []

    def slow(*_args: Any) -> str:
        there.append(people.state().live.seen())
        with writing(people.state().engine):
            pass
        people.admin.made("/tenants", {"name": "meanwhile"})
        until(lambda: people.state().live.seen().revision == people.revision())
        return "some"

    until(lambda: people.state().live.seen().revision == people.revision())
    before = people.state().live.seen()
    with patch.object(pages.words, "hosts", slow):
        page = eyes[0].get("/hosts").text
    said = re.search(r"events\?after=(\d+)&amp;pulse=(\d+)", page)
    assert said and int(said[1]) == before.revision
    # Log-ins have no revision, and some may have been heard of only when the page was begun.
    assert before.pulse <= int(said[2]) <= there[0].pulse < people.state().live.seen().pulse
    assert people.state().live.seen().revision > before.revision
