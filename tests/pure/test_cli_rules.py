"""`warren policy rules`, `unused`, `denied` and `names`: what policies did, and what their names stand for."""

from __future__ import annotations

import pytest

from client.__main__ import run
from tests.pure.scripted_api import Answer, Asked, ScriptedApi

RULE = {
    "policy": "acme/db",
    "direction": "ingress",
    "number": 2,
    "name": "",
    "action": "accept",
    "packets": 0,
    "bytes": 0,
    "last_hit": None,
    "connections": 0,
    "revision": 7,
}
HIT = {**RULE, "number": 1, "name": "web", "packets": 42, "bytes": 4116, "last_hit": "2026-11-20T12:36:55.838685Z"}
HIT["connections"] = 3
DENIAL = {
    "action": "deny",
    "host": "h2",
    "direction": "ingress",
    "policies": ["acme/db"],
    "rule": None,
    "rule_name": "",
    "source": "acme/web1",
    "source_address": "10.20.0.9",
    "destination": "acme/db1",
    "destination_address": "10.20.0.10",
    "protocol": "tcp",
    "port": 81,
    "icmp_type": None,
    "icmp_code": None,
    "count": 3,
    "first_at": "2026-11-20T12:36:55.838685Z",
    "last_at": "2026-11-20T12:37:01.5Z",
}
PING = {**DENIAL, "source": None, "protocol": "icmp", "port": None, "icmp_type": 8, "icmp_code": 0}
PING |= {"policies": ["wall"], "rule": 2, "rule_name": "no-ping"}


def answer(asked: Asked) -> Answer:
    match asked.method, asked.path.removeprefix("/api/v1"):
        case "GET", "/rules":
            rules = {"acme/db": [HIT, RULE], None: [RULE]}.get(asked.query.get("policy"), [])
            return 200, {"items": rules, "next": None}
        case "GET", "/denials":
            return 200, {"items": [DENIAL, PING]}
    return 404, {"title": "Not found", "detail": f"There is nothing at {asked.path}."}


def test_each_rule_of_a_policy_tells_what_it_counted(api: ScriptedApi, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["policy", "rules", "acme/db"]) == 0
    assert capsys.readouterr().out == (
        "DIRECTION  RULE  NAME  ACTION  PACKETS  BYTES  OPEN  LAST HIT\n"
        "ingress    1     web   accept  42       4116   3     2026-11-20 12:36:55\n"
        "ingress    2     -     accept  0        0      0     -\n"
    )


def test_rules_of_a_policy_that_is_not_there_are_an_error(api: ScriptedApi, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["policy", "rules", "acme/nothing"]) != 0
    assert "There is nothing at" in capsys.readouterr().err


def test_unused_rules_are_listed(api: ScriptedApi, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["policy", "unused", "--tenant", "acme"]) == 0
    assert api.asked[0].query == {"limit": "1000", "tenant": "acme", "unused": "true"}
    assert capsys.readouterr().out == (
        "POLICY   DIRECTION  RULE  NAME  ACTION\nacme/db  ingress    2     -     accept\n"
    )


@pytest.mark.parametrize(
    "asked", [("unused", "--tenant", "nope"), ("denied", "--tenant", "nope"), ("denied", "--endpoint", "acme/nobody")]
)
def test_nothing_found_of_what_does_not_exist_is_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], asked: tuple[str, ...]
) -> None:
    def nothing(request: Asked) -> Answer:
        path = request.path.removeprefix("/api/v1")
        if path in ("/rules", "/denials"):
            return 200, {"items": [], "next": None}
        if path in ("/tenants/acme",):
            return 200, {"name": "acme"}
        return 404, {"title": "Not found", "detail": f"There is nothing at {path}."}

    with ScriptedApi(nothing) as serving:
        monkeypatch.setenv("WARREN_API", serving.url)
        monkeypatch.setenv("WARREN_TOKEN", "wrn_1_x")
        assert run(["policy", *asked]) != 0
        assert f"There is nothing at /{asked[1][2:]}s/{asked[2]}." in capsys.readouterr().err
        assert run(["policy", asked[0], "--tenant", "acme"]) == 0


def test_denials_tell_from_whom_to_whom_by_what_and_how_often(
    api: ScriptedApi, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["policy", "denied", "--tenant", "acme", "--endpoint", "acme/db1", "--limit", "5"]) == 0
    assert api.asked[0].query == {"limit": "5", "tenant": "acme", "endpoint": "acme/db1"}
    assert capsys.readouterr().out == (
        "LAST                 FROM       TO        SERVICE             HOST  DIRECTION  POLICY   RULE       TIMES\n"
        "2026-11-20 12:37:01  acme/web1  acme/db1  tcp/81              h2    ingress    acme/db  -          3\n"
        "2026-11-20 12:37:01  10.20.0.9  acme/db1  icmp type 8 code 0  h2    ingress    wall     2 no-ping  3\n"
    )


def test_what_was_denied_over_ipv6_is_another_line_than_over_ipv4(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    six = {**DENIAL, "source_address": "fd00:20::9", "destination_address": "fd00:20::a"}
    ping = {**six, "protocol": "icmpv6", "port": None, "icmp_type": 128, "icmp_code": 0}
    other = {**six, "protocol": "ospf", "port": None}
    with ScriptedApi(lambda asked: (200, {"items": [DENIAL, six, ping, other]})) as serving:
        monkeypatch.setenv("WARREN_API", serving.url)
        monkeypatch.setenv("WARREN_TOKEN", "wrn_1_x")
        assert run(["policy", "denied"]) == 0
    lines = capsys.readouterr().out.splitlines()
    services = [line[lines[0].index("SERVICE") : lines[0].index("HOST")].strip() for line in lines[1:]]
    assert services == ["tcp/81", "tcp/81 over IPv6", "icmpv6 type 128 code 0", "ospf over IPv6"]
