"""`warren endpoint set`: what it sends to the API, and what of `warren attach` is refused before anybody is asked."""

from __future__ import annotations

from typing import Any

import pytest

from client.__main__ import run
from tests.pure.scripted_api import Answer, Asked, ScriptedApi

PATH = "/endpoints/acme/lb1"
PAIR = {"address": "10.20.0.100", "mac": "02:00:0a:14:00:09", "active": False}


def answer(asked: Asked) -> Answer:
    match asked.method:
        case "GET":
            return 200, {"name": "acme/lb1", "allowed": [PAIR]}
        case "PATCH":
            return 200, {
                "name": "acme/lb1",
                "allowed": [{**PAIR, **pair} for pair in asked.body.get("allowed", [])],
                "revision": 7,
            }
    return 404, {"title": "Not found", "detail": "There is nothing."}


def sent(api: ScriptedApi, *arguments: str) -> Any:
    assert run(["endpoint", "set", "acme/lb1", *arguments, "--no-wait"]) == 0
    return api.asked[-1].body["allowed"]


def test_a_host_may_take_an_endpoint_or_none(api: ScriptedApi, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["endpoint", "move", "acme/lb1", "--to", "h2", "--no-wait"]) == 0
    assert run(["endpoint", "move", "acme/lb1", "--nowhere", "--no-wait"]) == 0
    assert [asked.body for asked in api.asked] == [{"move_to": "h2"}, {"move_to": ""}]
    assert capsys.readouterr().out.splitlines()[0].startswith("Host h2 may take endpoint acme/lb1")
    assert run(["endpoint", "move", "acme/lb1", "--no-wait"]) == 2
    assert "Give --to or --nowhere" in capsys.readouterr().err


def test_what_is_allowed_replaces_what_was(api: ScriptedApi) -> None:
    one, other = sent(api, "--allow", "10.20.0.100", "--allow", "10.20.0.96/28,06:00:00:00:00:01")
    assert one == {"address": "10.20.0.100", "mac": None, "active": False}
    assert other == {"address": "10.20.0.96/28", "mac": "06:00:00:00:00:01", "active": False}
    assert sent(api, "--allow-none") == []


def test_taking_an_address_over_keeps_the_rest(api: ScriptedApi, capsys: pytest.CaptureFixture[str]) -> None:
    assert sent(api, "--active", "10.20.0.100") == [{**PAIR, "active": True}]
    assert capsys.readouterr().out == "Endpoint acme/lb1 may also use 10.20.0.100 (revision 7)\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "Nothing to change"),
        (["--allow", "10.20.0.9", "--allow-none"], "contradict each other"),
        (["--active", "10.20.0.7"], "may not use 10.20.0.7; declare it with --allow"),
    ],
)
def test_what_makes_no_sense_is_refused(
    api: ScriptedApi, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    assert run(["endpoint", "set", "acme/lb1", *arguments]) == 2
    assert words in capsys.readouterr().err
    assert not [asked for asked in api.asked if asked.method == "PATCH"]


def test_an_agent_that_is_away_is_said_to_be(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--netns", "x", "--network", "acme/web", "--socket", "/run/none.sock"]
    assert run(["attach", *arguments]) == 1
    assert "Warren's agent does not answer at /run/none.sock" in capsys.readouterr().err
