"""`warren dns` against a scripted API: what is asked, what is waited for, and what is printed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from client.__main__ import run
from tests.pure.scripted_api import Asked, ScriptedApi

RECORD: dict[str, Any] = {
    "scope": "acme/web",
    "name": "db",
    "full_name": "db.web.acme.warren.internal",
    "addresses": ["192.0.2.1", "2001:db8::1"],
    "version": 1,
    "created_at": "2026-11-20T12:36:55Z",
    "revision": 7,
}


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedApi]:
    waiting = [["h2"], []]

    def answer(asked: Asked) -> tuple[int, Any]:
        match asked.method, asked.path.removeprefix("/api/v1"):
            case "PUT", "/dns/records/acme/web/db":
                return 201, RECORD
            case "DELETE", "/dns/records/acme/db":
                return 200, {"revision": 7}
            case "GET", "/dns/records":
                return 200, {"items": [RECORD] if asked.query.get("tenant") != "none" else [], "next": None}
            case "GET", "/revisions/7/names":
                return 200, {"revision": 7, "waiting": waiting.pop(0) if len(waiting) > 1 else waiting[0]}
            case "GET", "/dns":
                return 200, {"domain": "warren.internal", "version": 1, "revision": 7}
            case "PATCH", "/dns":
                return 200, {"domain": asked.body["domain"], "version": 2, "revision": 7}
        raise AssertionError(asked)

    with ScriptedApi(answer) as serving:
        monkeypatch.setenv("WARREN_API", serving.url)
        monkeypatch.setenv("WARREN_TOKEN", "wrn_1_x")
        yield serving


def test_a_name_is_added_and_known_everywhere_before_the_command_returns(
    api: ScriptedApi, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["dns", "add", "acme/web", "db", "192.0.2.1", "2001:db8::1"]) == 0
    assert api.asked[0].body == {"addresses": ["192.0.2.1", "2001:db8::1"]}
    assert [asked.path for asked in api.asked[1:]] == ["/api/v1/revisions/7/names"] * 2
    assert capsys.readouterr().out == (
        "db.web.acme.warren.internal is 192.0.2.1, 2001:db8::1 (revision 7, known on every host concerned)\n"
    )


def test_names_are_removed_without_waiting_and_listed(api: ScriptedApi, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["dns", "remove", "acme", "db", "--no-wait"]) == 0
    assert capsys.readouterr().out == "DNS record db in acme removed (revision 7)\n"
    assert run(["dns", "list"]) == 0
    assert capsys.readouterr().out == (
        "NAME  SCOPE     ADDRESSES              FULL NAME\n"
        "db    acme/web  192.0.2.1,2001:db8::1  db.web.acme.warren.internal\n"
    )
    assert run(["dns", "list", "--tenant", "none"]) == 0
    assert "No DNS record" in capsys.readouterr().err


def test_the_domain_is_shown_and_changed(api: ScriptedApi, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["dns", "domain", "-o", "json"]) == 0
    assert "warren.internal" in capsys.readouterr().out
    assert run(["dns", "domain", "cluster.example.net"]) == 0
    assert "Full names end in cluster.example.net" in capsys.readouterr().out


def test_a_host_that_does_not_hear_of_it_is_named(api: ScriptedApi, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["dns", "remove", "acme", "db", "--timeout", "0.1"]) == 0, "the second answer is that all know"
    assert run(["dns", "add", "a/b/c", "db", "192.0.2.1"]) == 2
    assert "a/b/c" in capsys.readouterr().err
