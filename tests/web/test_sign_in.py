"""People log in with a password; guessing is slow; other sites and other people's sessions get nowhere."""

from __future__ import annotations

from itertools import pairwise

import pytest
from flask.testing import FlaskClient
from sqlalchemy.orm import Session

from db import logins, sessions, users
from db.changes import transaction
from db.engine import writing
from db.tables import User
from tests.web.conftest import PASSWORD, Site
from tests.web.test_bad_input import assert_problem
from web.app import create_app
from web.auth import lockout
from web.auth.lockout import FREE_FAILURES, LONGEST_WAIT_SECONDS, wait_seconds
from web.state import KEY
from web.ui.sign_in import local


def log_in(browser: FlaskClient, user: str = "admin", password: str = PASSWORD, **more: str) -> int:
    return browser.post("/login", data={"user": user, "password": password, **more}).status_code


def test_the_right_password_opens_the_pages_and_the_api(people: Site) -> None:
    browser = people.browser()
    assert browser.get("/").headers["Location"] == "/login"
    answer = browser.post("/login", data={"user": "admin", "password": PASSWORD})
    assert (answer.status_code, answer.headers["Location"]) == (303, "/")
    cookie = answer.headers["Set-Cookie"]
    for attribute in ("HttpOnly", "SameSite=Lax", "Path=/"):
        assert attribute in cookie
    assert browser.get("/").status_code == 200
    assert browser.get("/api/v1/whoami").get_json() == {
        "kind": "user",
        "name": "admin",
        "role": "admin",
        "tenants": {},
        "host": None,
    }


def test_over_https_the_cookie_is_bound_to_this_host(people: Site) -> None:
    browser = people.browser()
    answer = browser.post("/login", base_url="https://localhost", data={"user": "admin", "password": PASSWORD})
    assert answer.headers["Set-Cookie"].startswith("__Host-warren=")
    assert "Secure" in answer.headers["Set-Cookie"]
    assert "max-age" in answer.headers["Strict-Transport-Security"]


def test_a_wrong_password_opens_nothing_and_does_not_say_what_was_wrong(people: Site) -> None:
    browser = people.browser()
    answers = [browser.post("/login", data={"user": user, "password": "wrong"}) for user in ("admin", "nobody")]
    assert [answer.status_code for answer in answers] == [401, 401]
    assert answers[0].text.replace("admin", "nobody") == answers[1].text
    assert "User or password is wrong" in answers[0].text
    assert browser.get("/").status_code == 303


@pytest.fixture
def slower(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first wait is not over before a slow machine has come to the next attempt."""
    monkeypatch.setattr(lockout, "FIRST_WAIT_SECONDS", LONGEST_WAIT_SECONDS)


def test_guessing_becomes_slow_and_the_right_password_waits_too(people: Site, slower: None) -> None:
    browser = people.browser()
    for _ in range(FREE_FAILURES):
        assert log_in(browser, password="wrong") == 401
    answer = browser.post("/login", data={"user": "admin", "password": PASSWORD})
    assert answer.status_code == 429
    assert int(answer.headers["Retry-After"]) >= 1
    assert "try again in" in answer.text
    assert log_in(people.browser(), user="viewer") == 303


def test_waits_double_and_end(site: Site) -> None:
    now, waits = 1000.0, []
    with writing(site.engine) as session:
        for _ in range(20):
            logins.failed(session, "admin", "192.0.2.1", now)
            waits.append(wait_seconds(session, "admin", "192.0.2.1", now))
        assert waits[: FREE_FAILURES - 1] == [0.0] * (FREE_FAILURES - 1)
        growing = waits[FREE_FAILURES - 1 :]
        assert all(later == min(2 * earlier, LONGEST_WAIT_SECONDS) for earlier, later in pairwise(growing))
        assert wait_seconds(session, "admin", "192.0.2.2", now) == 0
        assert wait_seconds(session, "admin", "192.0.2.1", now + LONGEST_WAIT_SECONDS) == 0
        logins.succeeded(session, "admin", "192.0.2.1")
        assert wait_seconds(session, "admin", "192.0.2.1", now) == 0


def test_another_process_knows_of_the_guesses(people: Site, slower: None) -> None:
    for _ in range(FREE_FAILURES):
        log_in(people.browser(), password="wrong")
    other = create_app(str(people.engine.url))
    assert other.test_client().post("/login", data={"user": "admin", "password": PASSWORD}).status_code == 429
    other.extensions[KEY].engine.dispose()


def test_logging_out_ends_the_session_for_good(people: Site) -> None:
    browser = people.browser()
    log_in(browser)
    cookie = browser.get_cookie("warren")
    assert cookie is not None
    assert browser.post("/logout").headers["Location"] == "/login"
    thief = people.browser()
    thief.set_cookie("warren", cookie.value)
    assert thief.get("/").status_code == 303


def test_a_new_log_in_ends_the_session_before(people: Site) -> None:
    browser = people.browser()
    log_in(browser)
    before = browser.get_cookie("warren")
    log_in(browser)
    after = browser.get_cookie("warren")
    assert before is not None and after is not None and before.value != after.value
    thief = people.browser()
    thief.set_cookie("warren", before.value)
    assert thief.get("/").status_code == 303


def test_a_session_that_an_attacker_planted_is_not_taken_over(people: Site) -> None:
    browser = people.browser()
    browser.set_cookie("warren", "planted")
    log_in(browser)
    cookie = browser.get_cookie("warren")
    assert cookie is not None and cookie.value != "planted"


def test_a_session_that_is_over_opens_nothing(people: Site) -> None:
    with transaction(people.engine) as tx:
        secret = sessions.create(tx, users.get(tx.session, "admin"), lifetime=-sessions.LIFETIME)
    browser = people.browser()
    browser.set_cookie("warren", secret)
    assert browser.get("/").status_code == 303
    assert_problem(browser.get("/api/v1/tenants"), 401)


def test_a_password_that_became_another_while_it_was_checked_opens_nothing(
    people: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = users.authenticate

    def overtaken(session: Session, name: str, password: str) -> User | None:
        found = check(session, name, password)
        with transaction(people.engine) as tx:
            users.set_password(tx, users.get(tx.session, name), "another password")
        return found

    monkeypatch.setattr(users, "authenticate", overtaken)
    browser = people.browser()
    assert log_in(browser) == 401
    assert browser.get("/").status_code == 303


def test_a_viewer_sees_pages_and_changes_nothing(people: Site, unchanged: None) -> None:
    browser = people.browser()
    log_in(browser, user="viewer")
    assert browser.get("/tenants").status_code == 200
    assert_problem(browser.post("/api/v1/tenants", json={"name": "x"}), 403, "User 'viewer'", "admin")


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://["},
        {"Origin": "http://localhost.evil.example"},
    ],
)
def test_another_site_cannot_change_anything(people: Site, unchanged: None, headers: dict[str, str]) -> None:
    browser = people.browser()
    log_in(browser)
    assert_problem(browser.post("/api/v1/tenants", json={"name": "x"}, headers=headers), 403, "sent from")
    assert browser.post("/logout", headers=headers).status_code == 403
    assert browser.get("/").status_code == 200


@pytest.mark.parametrize("headers", [{"Sec-Fetch-Site": "same-origin"}, {"Origin": "http://localhost"}, {}])
def test_our_own_pages_can(people: Site, headers: dict[str, str]) -> None:
    browser = people.browser()
    log_in(browser)
    assert browser.post("/api/v1/tenants", json={"name": "x"}, headers=headers).status_code == 201


def test_after_logging_in_one_is_where_one_wanted_to_be(people: Site) -> None:
    browser = people.browser()
    sent = browser.get("/hosts?q=h1").headers["Location"]
    assert sent == "/login?next=/hosts?q%3Dh1"
    answer = browser.post("/login", data={"user": "admin", "password": PASSWORD, "next": "/hosts?q=h1"})
    assert answer.headers["Location"] == "/hosts?q=h1"


@pytest.mark.parametrize(
    "target",
    [
        *("https://evil.example/", "//evil.example/", "/\\evil.example/", "javascript:alert(1)", "", None),
        *("/\n/evil.example", "/\t/evil.example", "/hosts\r\nX: y", "/\t\\evil.example"),
    ],
)
def test_nobody_is_sent_elsewhere(site: Site, target: str | None) -> None:
    with site.app.test_request_context():
        assert local(target) == "/"


def test_a_line_break_in_where_one_wanted_to_be_is_no_fault(people: Site) -> None:
    browser = people.browser()
    answer = browser.post("/login", data={"user": "admin", "password": PASSWORD, "next": "/hosts\nX: y"})
    assert (answer.status_code, answer.headers["Location"]) == (303, "/")
    assert browser.get("/login?next=/%0Ahosts").headers["Location"] == "/"


def test_every_answer_tells_browsers_what_to_refuse(site: Site) -> None:
    for path in ("/login", "/", "/api/v1/tenants", "/static/warren.css", "/healthz", "/nothing"):
        headers = site.browser().get(path).headers
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "frame-ancestors 'none'" in policy


def test_static_files_stay_in_their_folder(site: Site) -> None:
    for path in ("/static/../pages.py", "/static/%2e%2e/pages.py", "/static/vendor"):
        assert site.browser().get(path).status_code == 404


def told(people: Site) -> list[tuple[str, str, str, dict[str, object]]]:
    """Who came, left and was turned away, in order."""
    items = people.admin.get("/audit?oldest_first=true").get_json()["items"]
    assert people.admin.get("/audit/verification").get_json()["intact"]
    return [
        (f"{one['actor']['kind']} {one['actor']['name']}", one["op"], one["name"], one["after"])
        for one in items
        if one["op"] in ("login", "logout", "refuse")
    ]


def test_who_logs_in_and_out_and_who_fails_to_is_in_the_audit_log(people: Site) -> None:
    browser = people.browser()
    log_in(browser, password="wrong")
    log_in(browser, user="a-password-typed-here")
    log_in(browser)
    browser.post("/logout")
    browser.post("/logout")  # nobody is logged in any more
    why = {"method": "password", "reason": "user or password is wrong"}
    assert told(people) == [
        ("anonymous unknown", "refuse", "admin", why),
        ("anonymous unknown", "refuse", "unknown", why),
        ("user admin", "login", "admin", {"method": "password"}),
        ("user admin", "logout", "admin", {}),
    ]
    newest = people.admin.get("/audit?noun=session").get_json()["items"][0]
    assert (newest["address"], newest["request"], newest["tenant"]) == ("127.0.0.1", "POST /logout", None)
    assert "a-password-typed-here" not in people.admin.get("/audit").text


def test_tokens_that_are_refused_are_in_the_audit_log_and_do_not_flood_it(people: Site) -> None:
    made = people.admin.made("/tokens", {"name": "ci", "role": "viewer"})
    forged = people.caller(made["token"][:-4] + "0000")
    for _ in range(9):
        assert_problem(forged.get("/tenants"), 401)
    assert_problem(people.caller("nonsense").get("/tenants"), 401)
    assert people.admin.delete(f"/tokens/{made['id']}").status_code == 200
    assert_problem(people.caller(made["token"]).get("/tenants"), 401)
    refused = [(name, after["times"]) for _, _, name, after in told(people)]
    assert refused == [("ci", 1), ("ci", 2), ("ci", 4), ("ci", 8), ("unknown", 1), ("unknown", 2)]
    assert all(after["reason"] == "the token is not valid" for _, _, _, after in told(people))
    assert made["token"] not in people.admin.get("/audit").text


def test_an_enrolment_token_that_is_used_twice_is_in_the_audit_log(people: Site) -> None:
    once = people.caller(people.admin.made("/hosts", {"name": "h1", "address": "198.18.0.11"})["enrol_token"])
    once.made("/enrol", {"datapath_type": "netdev"})
    assert_problem(once.post("/enrol", {"datapath_type": "netdev"}), 401)
    (refused,) = told(people)
    assert refused[3] == {"reason": "this token has enrolled host h1 already", "times": 1}
