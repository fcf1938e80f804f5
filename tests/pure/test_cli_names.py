"""`warren policy names` against a scripted API: what is asked and what is printed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from client.__main__ import run
from tests.pure.scripted_api import Asked, ScriptedApi

WWW: dict[str, Any] = {
    "name": "www.example.org",
    "addresses": [
        {"address": "203.0.113.7", "until": "2026-11-20T12:37:01Z"},
        {"address": "2001:db8::7", "until": "2026-11-20T12:36:55Z"},
    ],
    "policies": ["acme/default", "wall"],
    "revision": 7,
}


@pytest.fixture
def known(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def answer(asked: Asked) -> tuple[int, Any]:
        assert (asked.method, asked.path) == ("GET", "/api/v1/names")
        return 200, {"items": request.param, "next": None}

    with ScriptedApi(answer) as serving:
        monkeypatch.setenv("WARREN_API", serving.url)
        monkeypatch.setenv("WARREN_TOKEN", "wrn_1_x")
        yield


@pytest.mark.parametrize("known", [[WWW]], indirect=True)
def test_names_are_listed_with_what_they_stand_for(known: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["policy", "names"]) == 0
    assert capsys.readouterr().out == (
        "NAME             ADDRESSES                UNTIL                POLICIES\n"
        "www.example.org  203.0.113.7,2001:db8::7  2026-11-20 12:37:01  acme/default,wall\n"
    )


@pytest.mark.parametrize("known", [[]], indirect=True)
def test_nothing_is_known_before_somebody_was_told(known: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["policy", "names"]) == 0
    assert capsys.readouterr().err == "No endpoint was told an address yet.\n"
