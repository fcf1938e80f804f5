"""`warren policy` and `warren tenant deny`: what is read of files, what is asked for, and what is printed."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from client.__main__ import run
from tests.pure.scripted_api import Answer, Asked, ScriptedApi

LIVE = {"host": "h1", "state": "applied", "error": ""}
DOCUMENT = {
    "kind": "NetworkPolicy",
    "apiVersion": "networking.k8s.io/v1",
    "metadata": {"name": "db", "namespace": "acme"},
    "spec": {"podSelector": {"matchLabels": {"app": "db"}}},
}
ADMINS = {
    "apiVersion": "policy.networking.k8s.io/v1alpha2",
    "kind": "ClusterNetworkPolicy",
    "metadata": {"name": "wall"},
}
POLICY = {
    "name": "acme/db",
    "tenant": "acme",
    "kind": "NetworkPolicy",
    "tier": "tenant",
    "priority": None,
    "subject": "endpoints app=db",
    "ingress": 0,
    "egress": None,
    "document": DOCUMENT,
    "version": 1,
    "revision": 7,
}
WALL = {**POLICY, "name": "wall", "tier": "admin", "priority": 5, "kind": "ClusterNetworkPolicy", "document": ADMINS}
PREVIEW = {"dry_run": True, "revision": 6, "words": ["Nothing changes."], "changes": [], "more": False, "hosts": []}


def answer(asked: Asked) -> Answer:
    path = asked.path.removeprefix("/api/v1")
    if path == "/revisions/7":
        return 200, {"revision": 7, "state": "applied", "hosts": [LIVE]}
    if asked.query.get("dry_run") == "true":
        return 200, PREVIEW
    match asked.method, path:
        case "POST", "/policies":
            names = [document["metadata"]["name"] for document in asked.body["documents"]]
            policies = [{**POLICY, "name": name} for name in names]
            return 200, {"policies": policies, "revision": 7, "state": "pending", "hosts": []}
        case "GET", "/policies":
            return 200, {"items": [WALL, POLICY], "next": None}
        case "GET", "/policies/acme/db":
            return 200, POLICY
        case "DELETE", "/policies/acme/db" | "/policies/wall":
            return 200, {"revision": 7, "state": "pending", "hosts": []}
        case "GET", "/tenants/acme":
            return 200, {"name": "acme", "default_deny": ["egress"], "version": 3, "revision": 6}
        case "PATCH", "/tenants/acme":
            return 200, {"name": "acme", **asked.body, "revision": 7, "state": "pending", "hosts": []}
    return 404, {"title": "Not found", "detail": f"There is nothing at {asked.path}."}


def file(folder: Path, text: str, name: str = "policies.yaml") -> str:
    path = folder / name
    path.write_text(text)
    return str(path)


def sent(api: ScriptedApi) -> Any:
    return api.asked[0].body["documents"]


# -- apply --


def test_a_policy_is_applied_and_waited_for(
    api: ScriptedApi, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["policy", "apply", "-f", file(tmp_path, yaml.safe_dump(DOCUMENT))]) == 0
    first, second = api.asked
    assert (first.method, first.path, first.query) == ("POST", "/api/v1/policies", {})
    assert first.body == {"documents": [DOCUMENT]}
    assert second.path == "/api/v1/revisions/7"
    assert capsys.readouterr().out == "Policy db applied (revision 7, live on 1 host)\n"


def test_files_are_one_request_in_their_order(
    api: ScriptedApi, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = file(tmp_path, f"---\n{yaml.safe_dump(DOCUMENT)}---\n# nothing here\n---\n{yaml.safe_dump(ADMINS)}...\n")
    other = file(tmp_path, json.dumps({**DOCUMENT, "metadata": {"name": "b", "namespace": "acme"}}, indent="\t"), "b")
    assert run(["policy", "apply", "-f", one, "-f", other, "--no-wait"]) == 0
    assert [document["metadata"]["name"] for document in sent(api)] == ["db", "wall", "b"]
    assert len(api.asked) == 1
    assert capsys.readouterr().out == "3 policies applied: db, wall, b (revision 7)\n"


@pytest.mark.parametrize("ask", [["apply", "--dry-run"], ["diff"]])
def test_a_diff_is_a_dry_run(
    api: ScriptedApi, tmp_path: Path, capsys: pytest.CaptureFixture[str], ask: list[str]
) -> None:
    assert run(["policy", *ask, "-f", file(tmp_path, yaml.safe_dump(DOCUMENT))]) == 0
    (only,) = api.asked
    assert (only.method, only.path, only.query) == ("POST", "/api/v1/policies", {"dry_run": "true"})
    assert capsys.readouterr().out == "Nothing changes.\nNothing was changed.\n"


def test_standard_input_is_a_file(api: ScriptedApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(yaml.safe_dump(DOCUMENT)))
    assert run(["policy", "apply", "-f", "-", "--no-wait"]) == 0
    assert sent(api) == [DOCUMENT]


@pytest.mark.parametrize("write", [yaml.safe_dump, json.dumps])
def test_lists_are_unpacked(api: ScriptedApi, tmp_path: Path, write: Any) -> None:
    bare = {key: DOCUMENT[key] for key in ("metadata", "spec")}
    for kept in (
        {"apiVersion": "v1", "kind": "List", "items": [DOCUMENT, ADMINS]},
        {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicyList", "items": [bare]},
    ):
        assert run(["policy", "apply", "-f", file(tmp_path, write(kept)), "--no-wait"]) == 0
    assert sent(api) == [DOCUMENT, ADMINS]
    assert api.asked[1].body["documents"] == [DOCUMENT]


def test_what_is_listed_as_yaml_can_be_applied_again(
    api: ScriptedApi, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for output in ("yaml", "json"):
        api.asked.clear()
        assert run(["policy", "get", "-o", output]) == 0
        assert run(["policy", "apply", "-f", file(tmp_path, capsys.readouterr().out), "--no-wait"]) == 0
        assert api.asked[1].body["documents"] == [ADMINS, DOCUMENT]
        capsys.readouterr()


def test_a_document_without_a_namespace_is_the_tenants_that_is_said(api: ScriptedApi, tmp_path: Path) -> None:
    bare = {**DOCUMENT, "metadata": {"name": "db"}}
    both = file(tmp_path, yaml.safe_dump_all([bare, ADMINS, {**DOCUMENT, "metadata": {"namespace": "beta"}}]))
    assert run(["policy", "diff", "-f", both, "-n", "acme"]) == 0
    assert sent(api) == [DOCUMENT, ADMINS, {**DOCUMENT, "metadata": {"namespace": "beta"}}]


def test_dates_are_strings_and_so_is_text_of_any_alphabet(api: ScriptedApi, tmp_path: Path) -> None:
    text = "metadata: {creationTimestamp: 2026-01-01T00:00:00Z, name: a, annotations: {x: '\U0001f407'}}\nkind: X\n"
    assert run(["policy", "diff", "-f", file(tmp_path, text)]) == 0
    assert sent(api)[0]["metadata"] == {
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "name": "a",
        "annotations": {"x": "\U0001f407"},
    }
    assert run(["policy", "diff", "-f", file(tmp_path, json.dumps(sent(api)[0]))]) == 0
    assert api.asked[1].body["documents"] == sent(api)


def test_merge_keys_and_anchors_are_yaml_as_everywhere(api: ScriptedApi, tmp_path: Path) -> None:
    text = "kind: X\nmetadata: &m {name: a}\nother: {<<: *m, name: b}\n"
    assert run(["policy", "diff", "-f", file(tmp_path, text)]) == 0
    assert sent(api) == [{"kind": "X", "metadata": {"name": "a"}, "other": {"name": "b"}}]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", " holds no document; write one as Kubernetes has it."),
        ("---\n---\n", " holds no document; write one as Kubernetes has it."),
        ("kind: List\nitems: []\n", " holds no document; write one as Kubernetes has it."),
        ("kind: X\nspec: [1, 2\n", ", line 3, column 1: expected ',' or ']', but got '<stream end>'."),
        ("kind: X\n\tspec: 1\n", ", line 2, column 1: found character '\\t' that cannot start any token."),
        (
            "kind: X\nspec:\n  ingress: []\n  ingress: [{}]\n",
            ", line 4, column 3: key 'ingress' stands there twice; leave one out.",
        ),
        ('{"kind": "X", "kind": "Y"}', ": key 'kind' stands twice in one object; leave one out."),
        ("kind: X\nspec: {1: a}\n", ", line 2, column 8: key '1' is not a string; put it in quotes."),
        ("kind: X\nspec: {on: a}\n", ", line 2, column 8: key 'on' is not a string; put it in quotes."),
        ("kind: X\nspec: {[a]: b}\n", ", line 2, column 8: a key is not a string; write one."),
        ("kind: X\nspec: !!python/name:os.system\n", ", line 2, column 7: could not determine a constructor"),
        ("kind: X\n---\nspec: !!binary YQ==\n", ", line 3: it holds what JSON has no word for"),
        ("kind: X\n---\nspec: &a [*a]\n", ", line 3: it holds what JSON has no word for"),
        (
            "kind: X\n---\n- a\n",
            ", line 3: this document is not a mapping; begin it with apiVersion, kind and metadata.",
        ),
        ("kind: X\n---\nkind: List\n", ", line 3: a List has items, a list of documents; add it."),
        ("kind: X\n---\nkind: List\nitems: [5]\n", ", line 3: a List has items, a list of documents; add it."),
        (
            "kind: X\n---\n\nkind: NetworkPolicy\nmetadata: {name: db}\n",
            ", line 4: NetworkPolicy db has no metadata.namespace; name its tenant there, or with --tenant.",
        ),
        ("a: \x01\n", " is not YAML: unacceptable character #x0001: special characters are not allowed"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_with_the_line_and_asks_nothing(
    api: ScriptedApi, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, sentence: str
) -> None:
    path = file(tmp_path, text)
    assert run(["policy", "apply", "-f", path]) == 1
    assert capsys.readouterr().err.startswith(f"Error: {path}{sentence}")
    assert api.asked == []


def test_a_file_that_is_none_is_named(api: ScriptedApi, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path, reason in ((tmp_path / "none", "no such file or directory"), (tmp_path, "is a directory")):
        assert run(["policy", "apply", "-f", str(path)]) == 1
        said = f"Error: {path} cannot be read ({reason}); name a file, or - for standard input.\n"
        assert capsys.readouterr().err == said
    binary = tmp_path / "binary"
    binary.write_bytes(b"a\xff")
    assert run(["policy", "apply", "-f", str(binary)]) == 1
    assert "is not UTF-8 text (at byte 1)" in capsys.readouterr().err
    assert api.asked == []


# -- list, get, delete --


@pytest.mark.parametrize("verb", ["list", "get"])
def test_policies_are_listed(api: ScriptedApi, capsys: pytest.CaptureFixture[str], verb: str) -> None:
    assert run(["policy", verb, "--tenant", "acme"]) == 0
    assert api.asked[0].query["tenant"] == "acme"
    assert capsys.readouterr().out == (
        "NAME     KIND                  TIER    PRIORITY  INGRESS  EGRESS  SUBJECT\n"
        "wall     ClusterNetworkPolicy  admin   5         0        -       endpoints app=db\n"
        "acme/db  NetworkPolicy         tenant  -         0        -       endpoints app=db\n"
    )


def test_programs_list_objects_with_what_the_api_says_of_them(
    api: ScriptedApi, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["policy", "list", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"items": [WALL, POLICY]}


def test_one_policy_is_the_document_as_it_was_given(api: ScriptedApi, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["policy", "get", "acme/db", "-o", "yaml"]) == 0
    assert capsys.readouterr().out == yaml.safe_dump(DOCUMENT, sort_keys=False)
    assert run(["policy", "get", "acme/db", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == DOCUMENT
    assert run(["policy", "get", "acme/db"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("name      acme/db\n") and shown.endswith(
        "\n\n" + yaml.safe_dump(DOCUMENT, sort_keys=False)
    )


@pytest.mark.parametrize("name", ["acme/db", "wall"])
def test_a_policy_is_deleted(api: ScriptedApi, capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert run(["policy", "delete", name]) == 0
    first, second = api.asked
    assert (first.method, first.path, second.path) == ("DELETE", f"/api/v1/policies/{name}", "/api/v1/revisions/7")
    assert capsys.readouterr().out == f"Policy {name} deleted (revision 7, live on 1 host)\n"
    assert run(["policy", "delete", name, "--dry-run"]) == 0
    assert api.asked[2].query == {"dry_run": "true"} and len(api.asked) == 3


# -- default deny --


@pytest.mark.parametrize(
    ("options", "denies", "words"),
    [
        (["--ingress"], ["ingress", "egress"], "ingress and egress"),
        (["--no-egress"], [], "nothing"),
        (["--ingress", "--no-egress"], ["ingress"], "ingress"),
        (["--no-ingress"], ["egress"], "egress"),
    ],
)
def test_a_direction_that_is_not_named_stays_as_it_is(
    api: ScriptedApi, capsys: pytest.CaptureFixture[str], options: list[str], denies: list[str], words: str
) -> None:
    assert run(["tenant", "deny", "acme", *options]) == 0
    _, change, _ = api.asked
    assert (change.method, change.body) == ("PATCH", {"default_deny": denies})
    assert change.headers["if-match"] == '"3"'
    assert capsys.readouterr().out == f"Tenant acme denies {words} by default (revision 7, live on 1 host)\n"
    assert run(["tenant", "deny", "acme", *options, "--dry-run"]) == 0
    assert api.asked[-1].query == {"dry_run": "true"}
    assert capsys.readouterr().out.endswith("Nothing was changed.\n")


@pytest.mark.parametrize(
    ("typed", "named"),
    [
        ("tenant deny acme", "Give --ingress, --egress, --no-ingress or --no-egress"),
        ("policy apply", "Missing option '-f'"),
        ("policy diff", "Missing option '-f'"),
        ("policy delete a/b/c", "'a/b/c' is neither TENANT/NAME nor NAME"),
        ("policy get ../tokens", "'../tokens' is neither TENANT/NAME nor NAME"),
        ("policy get acme/db --tenant acme", "Give --tenant only without a name"),
        ("policy apply -f x -n a/b", "'a/b' is not a name"),
    ],
)
def test_a_wrong_usage_asks_nothing(
    api: ScriptedApi, capsys: pytest.CaptureFixture[str], typed: str, named: str
) -> None:
    assert run(typed.split()) == 2
    assert named in capsys.readouterr().err
    assert api.asked == []
