"""Every command that has the API change something may be tried: then nothing that it sends changes anything."""

from __future__ import annotations

import click
import pytest

from client.__main__ import run
from client.root import COMMANDS, load
from tests.pure.scripted_api import Answer, Asked, ScriptedApi
from tests.pure.test_cli_commands import every_command

TRIES = [
    "tenant create acme",
    "tenant label acme a=b",
    "tenant quota acme endpoints=5",
    "tenant deny acme --ingress",
    "tenant join acme beta",
    "tenant isolate acme",
    "tenant global acme",
    "tenant peer acme beta",
    "tenant unpeer acme beta",
    "tenant delete acme",
    "network create acme/web",
    "network label acme/web a=b",
    "network update acme/web --isolated",
    "network subnet add acme/web 10.21.0.0/24",
    "network subnet remove acme/web 10.21.0.0/24",
    "network delete acme/web",
    "ipam gc",
    "pool create second 10.132.0.0/14",
    "pool enable second",
    "pool disable second",
    "pool drain second",
    "pool delete second",
    "reservation create acme/web db1",
    "reservation delete acme/web db1",
    "cluster set isolation flat",
    "endpoint label acme/web1 a=b",
    "endpoint move acme/web1 --to h2",
    "endpoint set acme/web1 --allow 10.20.0.100",
    "endpoint delete acme/web1",
    "publish acme/web1 8080:80",
    "unpublish acme/web1 8080",
    "dns add acme db 10.20.0.200",
    "dns remove acme db",
    "dns domain example.net",
    "policy apply -f FILE",
    "policy delete acme/p",
    "apply -f FILE",
    "host create h1",
    "host token h1",
    "host label h1 a=b",
    "host delete h1 --force",
    "user create ada --password secret",
    "user passwd ada --password secret",
    "user delete ada",
    "group create team",
    "group add team ada",
    "group remove team ada",
    "group delete team",
    "role grant viewer --user ada",
    "role revoke --user ada",
    "token create ci",
    "token revoke 7",
]
POLICY = """apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: p, namespace: acme}
spec: {podSelector: {}}
"""
PUBLISHED = {"id": 3, "endpoint": "acme/web1", "host": "h1", "protocol": "tcp", "host_ip": None, "host_port": 8080}
PUBLISHED |= {"port": 80, "count": 1, "mesh": False}
BINDING = {"id": 5, "role": "viewer", "user": "ada", "group": None, "tenant": None}
LISTS = {"/publications": [PUBLISHED], "/role-bindings": [BINDING]}


def answer(asked: Asked) -> Answer:
    if "dry_run" in asked.query:
        more = {"items": []} if asked.path.endswith("/gc") else {}
        return 200, {
            "words": ["Nothing changes in who reaches whom among endpoints."],
            "more": False,
            "hosts": [],
            **more,
        }
    if asked.method == "GET":
        path = asked.path.removeprefix("/api/v1")
        return 200, {"items": LISTS.get(path, []), "next": None, "default_deny": [], "version": 1}
    return 500, {"title": "Changed", "detail": f"{asked.method} {asked.path} would have changed something."}


@pytest.mark.parametrize("line", TRIES)
def test_a_change_that_is_tried_changes_nothing(
    api: ScriptedApi,
    capsys: pytest.CaptureFixture[str],
    tmp_path_factory: pytest.TempPathFactory,
    line: str,
) -> None:
    file = tmp_path_factory.mktemp("files") / "policy.yaml"
    file.write_text(POLICY)
    words = [str(file) if word == "FILE" else word for word in line.split()]
    assert run([*words, "--dry-run"]) == 0, capsys.readouterr().err
    assert "othing was changed" in capsys.readouterr().out
    sent = [asked for asked in api.asked if asked.method != "GET"]
    assert all(asked.query.get("dry_run") == "true" for asked in sent)
    assert sent


def test_all_of_them_are_here() -> None:
    tried = {
        " ".join(path)
        for name, lazy in COMMANDS.items()
        if lazy.target.startswith("client.")
        for path, command in every_command(load(name, lazy.target), (name,))
        if any("--dry-run" in one.opts for one in command.params if isinstance(one, click.Option))
    }
    assert tried == {next(name for name in tried if f"{line} ".startswith(f"{name} ")) for line in TRIES}


def test_what_no_host_has_to_do_with_is_waited_for_only_if_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def answers(asked: Asked) -> Answer:
        if asked.path.startswith("/api/v1/revisions"):
            return 200, {"revision": 9, "state": "applied", "hosts": []}
        return 201, {"name": "team", "members": [], "revision": 9}

    with ScriptedApi(answers) as serving:
        monkeypatch.setenv("WARREN_API", serving.url)
        monkeypatch.setenv("WARREN_TOKEN", "wrn_1_x")
        for more, count in ((["--no-wait"], 1), ([], 1), (["--wait"], 2)):
            serving.asked.clear()
            assert run(["group", "create", "team", *more]) == 0
            assert len(serving.asked) == count
