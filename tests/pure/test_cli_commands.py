"""The command line: what people see, what programs read, and how it fails."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import yaml

from client import VERSION
from client.__main__ import run
from client.root import COMMANDS, load
from tests.pure.scripted_api import Answer, Asked, ScriptedApi

ROOT = Path(__file__).resolve().parents[2]
APPLIED = {"revision": 7, "state": "applied", "hosts": [{"host": "h1", "state": "applied", "error": ""}]}
ACME = {
    "name": "acme",
    "id": 1,
    "zone": 1,
    "isolation": "own",
    "labels": {"team": "web"},
    "track_all": False,
    "networks": 1,
    "endpoints": 0,
    "version": 1,
    "revision": 7,
}


def answer(asked: Asked) -> Answer:
    """A little of the API."""
    if "dry_run" in asked.query:
        return 200, {"words": ["Nothing changes in who reaches whom among endpoints."], "more": False, "hosts": []}
    match asked.method, asked.path.removeprefix("/api/v1"):
        case "POST", "/tenants":
            return 201, {**ACME, **asked.body}
        case "GET", "/tenants":
            return 200, {"items": [ACME, {**ACME, "name": "a-longer-name", "labels": {}}], "next": None}
        case "PATCH", "/tenants/acme":
            return 200, ACME
        case "GET", "/revisions/7":
            return 200, APPLIED
    return 404, {"title": "Not found", "detail": f"There is nothing at {asked.path}."}


def every_command(
    command: click.Command, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from every_command(found, (*path, name))


OURS = [
    (path, command)
    for name, lazy in COMMANDS.items()
    if lazy.target.split(".")[0] in ("client", "lab")
    for path, command in every_command(load(name, lazy.target), (name,))
]


@pytest.mark.parametrize(("path", "command"), OURS, ids=[" ".join(path) for path, _ in OURS])
def test_every_command_says_what_it_does_with_an_example(path: tuple[str, ...], command: click.Command) -> None:
    assert command.help
    if not isinstance(command, click.Group):
        assert f"warren {' '.join(path)}" in command.help or "warren agent" in command.help
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{parameter.name} has no help"


def test_what_a_list_prints_is_aligned(api: ScriptedApi, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["tenant", "list"]) == 0
    assert capsys.readouterr().out == (
        "NAME           ID  ZONE  ISOLATION  NETWORKS  ENDPOINTS  LABELS\n"
        "acme           1   1     own        1         0          team=web\n"
        "a-longer-name  1   1     own        1         0          -\n"
    )


@pytest.mark.parametrize("noun", ["tenant", "network", "endpoint", "host"])
def test_lists_come_in_another_order(api: ScriptedApi, noun: str) -> None:
    run([noun, "list", "--sort=-created", "--label", "app=web"])
    assert api.asked[0].query == {"limit": "1000", "label": "app=web", "sort": "-created"}
    assert run([noun, "list", "--sort", "colour"]) == 2


@pytest.mark.parametrize("verb", ["create", "delete"])
@pytest.mark.parametrize(("noun", "name"), [("tenant", "acme"), ("network", "acme/web")])
def test_creates_and_deletes_may_be_tried(
    api: ScriptedApi, capsys: pytest.CaptureFixture[str], noun: str, verb: str, name: str
) -> None:
    assert run([noun, verb, name, "--dry-run"]) == 0
    assert capsys.readouterr().out.endswith("endpoints.\nNothing was changed.\n")
    assert [asked.query for asked in api.asked] == [{"dry_run": "true"}]


@pytest.mark.parametrize("place", [["-o", "{}", "tenant", "list"], ["tenant", "list", "-o", "{}"]])
def test_a_list_is_an_object_with_items_wherever_the_option_stands(
    api: ScriptedApi, capsys: pytest.CaptureFixture[str], place: list[str]
) -> None:
    assert run([word.format("json") for word in place]) == 0
    assert [item["name"] for item in json.loads(capsys.readouterr().out)["items"]] == ["acme", "a-longer-name"]
    assert run([word.format("yaml") for word in place]) == 0
    assert [item["name"] for item in yaml.safe_load(capsys.readouterr().out)["items"]] == ["acme", "a-longer-name"]


def test_a_change_waits_until_it_is_live(api: ScriptedApi, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["tenant", "create", "acme", "--label", "team=web"]) == 0
    assert [(asked.method, asked.path) for asked in api.asked] == [
        ("POST", "/api/v1/tenants"),
        ("GET", "/api/v1/revisions/7"),
    ]
    assert api.asked[0].body["labels"] == {"team": "web"}
    assert capsys.readouterr().out == "Tenant acme created (revision 7, live on 1 host)\n"


def test_without_waiting_a_change_returns_its_revision(api: ScriptedApi, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["tenant", "create", "acme", "--no-wait", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["revision"] == 7
    assert len(api.asked) == 1


def test_creates_carry_a_key_so_that_they_may_be_repeated(api: ScriptedApi) -> None:
    run(["tenant", "create", "acme", "--no-wait"])
    run(["tenant", "create", "acme", "--no-wait"])
    first, second = (asked.headers["idempotency-key"] for asked in api.asked)
    assert first != second


def test_a_label_ending_in_a_hyphen_is_taken_away(api: ScriptedApi) -> None:
    assert run(["tenant", "label", "acme", "team=web", "old-", "--no-wait"]) == 0
    assert api.asked[0].body == {"labels": {"team": "web", "old": None}}


def test_a_change_that_does_not_become_live_names_the_host(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pending = {"revision": 7, "state": "pending", "hosts": [{"host": "h2", "state": "disconnected", "error": ""}]}
    with ScriptedApi(lambda asked: (201, ACME) if asked.method == "POST" else (200, pending)) as api:
        monkeypatch.setenv("WARREN_API", api.url)
        assert run(["tenant", "create", "acme", "--timeout", "0.2"]) == 1
    said = capsys.readouterr()
    assert "not live on h2 (disconnected) after 0.2 s" in said.err
    assert said.out == ""


def test_what_a_switch_refuses_fails_at_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failed = {"revision": 7, "state": "failed", "hosts": [{"host": "h2", "state": "failed", "error": "table full"}]}
    with ScriptedApi(lambda asked: (201, ACME) if asked.method == "POST" else (200, failed)) as api:
        monkeypatch.setenv("WARREN_API", api.url)
        assert run(["tenant", "create", "acme", "--timeout", "60"]) == 1
    assert "refused by h2 (failed) (h2: table full)" in capsys.readouterr().err


def test_a_refusal_is_one_sentence_on_stderr(api: ScriptedApi, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["tenant", "show", "nobody"]) == 1
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "Error: There is nothing at /api/v1/tenants/nobody.\n")


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["tenant", "show", "a/b"], "'a/b' is not a name"),
        (["tenant", "show", "../users"], "'../users' is not a name"),
        (["network", "create", "web"], "'web' is not TENANT/NAME, like acme/web"),
        (["endpoint", "show", "a/b/c"], "'a/b/c' is not TENANT/NAME"),
        (["tenant", "create", "acme", "--label", "web"], "'web' is not KEY=VALUE"),
        (["tenant", "label", "acme", "web"], "'web' is neither KEY=VALUE (sets) nor KEY- (removes)"),
        (["tenant", "list", "-o", "xml"], "'xml' is not one of"),
        (["tenants"], "No such command 'tenants'"),
    ],
)
def test_a_wrong_usage_names_the_value_and_asks_nothing(
    api: ScriptedApi, capsys: pytest.CaptureFixture[str], words: list[str], named: str
) -> None:
    assert run(words) == 2
    said = capsys.readouterr()
    assert named in said.err
    assert said.err.count("\n") == 1
    assert (said.out, api.asked) == ("", [])


def test_a_token_from_the_file_never_goes_to_another_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, api: ScriptedApi
) -> None:
    remembered = tmp_path / "client.json"
    remembered.write_text(json.dumps({"api": "http://127.0.0.1:1", "token": "secret"}))
    monkeypatch.setenv("WARREN_CONFIG", str(remembered))
    monkeypatch.delenv("WARREN_TOKEN")
    assert run(["tenant", "list"]) == 0
    assert "authorization" not in api.asked[0].headers


def test_without_any_address_the_remedy_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WARREN_CONFIG", str(tmp_path / "none.json"))
    monkeypatch.delenv("WARREN_API", raising=False)
    assert run(["tenant", "list"]) == 1
    assert "make up" in capsys.readouterr().err


def test_a_part_that_is_not_installed_is_one_sentence() -> None:
    with pytest.raises(click.ClickException, match="needs the Python package 'no_such_package'"):
        load("web", "no_such_package.main:cli")


def test_help_loads_nothing_that_is_slow() -> None:
    """Whoever asks for help, or completes a word, waits for it."""
    slow = ["urllib3", "yaml", "sqlalchemy", "flask", "os_ken", "ovs", "pyroute2", "asyncio", "db", "web", "lab"]
    program = f"""
import sys
from client.__main__ import run
assert run(["--help"]) == 0
print([name for name in {slow} if name in sys.modules], file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_code_is_for_the_shell_asked_for(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["completion", shell]) == 0
    assert f"_WARREN_COMPLETE={shell}_complete" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("warren tenant show ac", "plain,acme"),
        ("warren ten", "plain,tenant"),
        ("warren network list --ten", "plain,--tenant"),
    ],
)
def test_the_tab_key_knows_commands_options_and_the_apis_names(api: ScriptedApi, typed: str, offered: str) -> None:
    words = {"COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" ")), "_WARREN_COMPLETE": "bash_complete"}
    done = subprocess.run(
        [sys.executable, "-m", "client"], cwd=ROOT, env={**os.environ, **words}, capture_output=True, text=True
    )
    assert done.stdout.split() == [offered]


def test_the_version_is_the_projects() -> None:
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == VERSION
