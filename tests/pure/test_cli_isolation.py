"""The commands for isolation: what they ask for, what they say of the answer, and that a dry run waits for nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from client.__main__ import run
from tests.pure.scripted_api import Answer, Asked, ScriptedApi

LIVE = {"host": "h1", "state": "applied", "error": ""}
PENDING = {"host": "h1", "state": "pending", "error": ""}
ACME = {
    "name": "acme",
    "isolation": "joined",
    "joined": ["beta"],
    "peers": ["gamma"],
    "revision": 7,
    "state": "pending",
    "hosts": [PENDING],
}
PREVIEW = {
    "dry_run": True,
    "revision": 6,
    "words": ["acme/* -> beta/*: denied -> allowed, acme and beta are joined"],
    "changes": [],
    "more": False,
    "hosts": [{"host": "h1", "gained": 3, "lost": 14}],
}


def answer(asked: Asked) -> Answer:
    path = asked.path.removeprefix("/api/v1")
    if path == "/revisions/7":
        return 200, {"revision": 7, "state": "applied", "hosts": [LIVE]}
    if asked.query.get("dry_run") == "true":
        return 200, PREVIEW
    if path == "/cluster":
        return 200, {**(asked.body or {"isolation": "multitenant"}), "version": 1, "revision": 7}
    return 200, ACME


COMMANDS: list[tuple[str, tuple[str, str, Any]]] = [
    ("tenant join acme beta", ("POST", "/tenants/acme/join", {"to": "beta"})),
    ("tenant isolate acme", ("POST", "/tenants/acme/isolate", None)),
    ("tenant global acme", ("POST", "/tenants/acme/global", None)),
    ("tenant peer acme beta", ("POST", "/tenants/acme/peer", {"with": "beta"})),
    ("tenant unpeer acme beta", ("DELETE", "/tenants/acme/peers/beta", None)),
    ("cluster set isolation flat", ("PATCH", "/cluster", {"isolation": "flat"})),
    ("network update acme/web --isolated", ("PATCH", "/networks/acme/web", {"isolated": True})),
    ("network update acme/web --routed", ("PATCH", "/networks/acme/web", {"isolated": False})),
    ("network update acme/web --broadcast", ("PATCH", "/networks/acme/web", {"broadcast": True})),
    ("network update acme/web --no-broadcast", ("PATCH", "/networks/acme/web", {"broadcast": False})),
]


@pytest.mark.parametrize(("typed", "asked"), COMMANDS, ids=[typed for typed, _ in COMMANDS])
def test_a_command_asks_for_the_change_and_waits_until_it_is_live(
    api: ScriptedApi, capsys: pytest.CaptureFixture[str], typed: str, asked: tuple[str, str, Any]
) -> None:
    assert run(typed.split()) == 0
    first, second = api.asked
    assert (first.method, first.path.removeprefix("/api/v1"), first.body, first.query) == (*asked, {})
    assert second.path == "/api/v1/revisions/7"
    assert capsys.readouterr().out.endswith(" (revision 7, live on 1 host)\n")


@pytest.mark.parametrize(("typed", "asked"), COMMANDS, ids=[typed for typed, _ in COMMANDS])
def test_a_dry_run_asks_once_and_prints_what_would_change(
    api: ScriptedApi, capsys: pytest.CaptureFixture[str], typed: str, asked: tuple[str, str, Any]
) -> None:
    assert run([*typed.split(), "--dry-run"]) == 0
    (only,) = api.asked
    assert (only.method, only.path.removeprefix("/api/v1"), only.body, only.query) == (*asked, {"dry_run": "true"})
    assert capsys.readouterr().out == (
        "acme/* -> beta/*: denied -> allowed, acme and beta are joined\n\n"
        "HOST  GAINS  LOSES\n"
        "h1    3      14\n\n"
        "Nothing was changed.\n"
    )


def test_a_tenants_standing_is_a_sentence(api: ScriptedApi, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["tenant", "join", "acme", "beta", "--no-wait"]) == 0
    assert capsys.readouterr().out == "Tenant acme is joined with beta, peers with gamma (revision 7)\n"


def test_programs_get_the_answer_with_what_the_hosts_said_last(
    api: ScriptedApi, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["tenant", "join", "acme", "beta", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == {**ACME, "state": "applied", "hosts": [LIVE]}
    assert run(["tenant", "join", "acme", "beta", "-o", "json", "--no-wait"]) == 0
    assert json.loads(capsys.readouterr().out) == ACME
    assert run(["tenant", "join", "acme", "beta", "-o", "yaml", "--dry-run"]) == 0
    assert yaml.safe_load(capsys.readouterr().out) == PREVIEW


def test_an_answer_that_tells_where_it_is_live_tells_that_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {**ACME, "labels": {}, "live": {"state": "pending", "hosts": [PENDING]}}
    after = {"state": "applied", "hosts": [LIVE]}

    def answered(asked: Asked) -> Answer:
        path = asked.path.removeprefix("/api/v1")
        return (200, {"revision": 7, **after}) if path == "/revisions/7" else (200, before)

    with ScriptedApi(answered) as serving:
        monkeypatch.setenv("WARREN_API", serving.url)
        monkeypatch.setenv("WARREN_TOKEN", "wrn_1_x")
        for command in ("tenant isolate acme", "tenant label acme a=b", "network update acme/web --transport geneve"):
            assert run([*command.split(), "-o", "json"]) == 0
            assert json.loads(capsys.readouterr().out) == {**before, **after, "live": after}
            assert run([*command.split(), "-o", "json", "--no-wait"]) == 0
            assert json.loads(capsys.readouterr().out) == before


def test_the_cluster_is_shown(api: ScriptedApi, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["cluster", "show"]) == 0
    assert capsys.readouterr().out.splitlines()[0].split() == ["isolation", "multitenant"]


@pytest.mark.parametrize(
    ("typed", "named"),
    [
        ("cluster set isolation open", "'open' is not an isolation mode; use flat or multitenant"),
        ("cluster set colour flat", "'colour' is not one of 'isolation', 'vxlan-port'"),
        ("network update acme/web", "Nothing to change: give at least one option; see `warren network update --help`"),
        ("tenant join acme", "Missing argument 'OTHER'"),
        ("tenant peer acme a/b", "'a/b' is not a name"),
    ],
)
def test_a_wrong_usage_asks_nothing(
    api: ScriptedApi, capsys: pytest.CaptureFixture[str], typed: str, named: str
) -> None:
    assert run(typed.split()) == 2
    assert named in capsys.readouterr().err
    assert api.asked == []
