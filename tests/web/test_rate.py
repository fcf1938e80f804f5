"""Nobody sends more requests than one asker may, and nobody's requests are counted as another's."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.web.conftest import PASSWORD, Caller, Site
from tests.web.test_bad_input import assert_problem
from web.app import create_app
from web.auth.rate import BURST_SECONDS, MOST_KEPT, Buckets, Rates
from web.state import KEY

gaps = st.lists(st.floats(0, 3), max_size=200)


@given(st.floats(0.5, 50), gaps)
def test_never_more_than_the_rate_and_one_burst(rate: float, waits: list[float]) -> None:
    buckets, now, taken = Buckets(rate), 0.0, 0
    for wait in waits:
        now += wait
        told = buckets.take("a", now)
        taken += not told
        assert 0 <= told <= 1 / rate
    assert taken <= max(rate * BURST_SECONDS, 1) + now * rate + 1e-6
    if waits:
        assert buckets.take("b", now) == 0.0


def test_who_waits_as_told_is_served() -> None:
    buckets = Buckets(2.0)
    assert [buckets.take("a", 0.0) for _ in range(10)] == [0.0] * 10
    assert buckets.take("a", 0.0) == 0.5
    assert buckets.take("a", 0.5) == 0.0
    assert Buckets(0).take("a", 0.0) == 0.0


def test_it_does_not_grow_without_end() -> None:
    buckets = Buckets(1.0)
    for number in range(MOST_KEPT + 100):
        buckets.take(str(number), 0.0)
    assert len(buckets._left) == MOST_KEPT


@pytest.fixture
def slow(people: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    """Each may send one request in a hundred seconds, and the clock stands."""
    monkeypatch.setattr("web.auth.access.time", SimpleNamespace(monotonic=lambda: 1000.0))
    app = create_app(str(people.engine.url), rates=Rates(asker=0.01, stranger=0.01))
    return people._replace(
        app=app,
        admin=Caller(app.test_client(), people.admin.token),
        viewer=Caller(app.test_client(), people.viewer.token),
        nobody=Caller(app.test_client()),
    )


def test_a_request_too_many_is_refused_and_says_when_to_come_again(slow: Site) -> None:
    assert slow.admin.get("/tenants").status_code == 200
    answer = slow.admin.get("/tenants")
    assert_problem(answer, 429, "Token 'boss' sends more than 0.01 requests a second", "wait for 100 s")
    assert answer.get_json()["type"] == "/problems/too-many-requests"
    assert answer.headers["Retry-After"] == "100"
    assert slow.viewer.get("/tenants").status_code == 200  # is somebody else
    slow.app.extensions[KEY].engine.dispose()


def test_strangers_are_counted_by_their_address(slow: Site) -> None:
    forged = slow.caller("wrn_1_" + "0" * 64)
    assert_problem(forged.get("/tenants"), 401)
    assert_problem(forged.get("/tenants"), 429, "127.0.0.1 sends more than")
    assert_problem(slow.nobody.get("/tenants"), 429)
    far = {"environ_base": {"REMOTE_ADDR": "192.0.2.7"}}
    assert_problem(forged.get("/tenants", **far), 401)
    browser = slow.browser()
    data = {"user": "admin", "password": PASSWORD}
    page = browser.post("/login", data=data, **far)
    assert page.status_code == 429 and page.headers["Retry-After"] == "100" and "text/html" in page.content_type
    assert browser.post("/login", data=data, environ_base={"REMOTE_ADDR": "192.0.2.8"}).status_code == 303
    assert browser.get("/login", **far).status_code != 429 and browser.get("/healthz", **far).status_code == 200
    assert slow.admin.get("/tenants").status_code == 200  # who is known is not counted as a stranger
    slow.app.extensions[KEY].engine.dispose()
