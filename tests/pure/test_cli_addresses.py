"""`warren pool`, `reservation`, `ipam` and the address options of networks: what is asked and what is printed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from client.__main__ import run
from tests.pure.scripted_api import Answer, Asked, ScriptedApi

GONE = {
    "kind": "container-gone",
    "subject": "acme/web1",
    "sentence": "the container of endpoint acme/web1 on host h1 is gone",
    "repair": "remove the endpoint",
}
STRAY = {"kind": "port-without-endpoint", "subject": "h1:eth9", "sentence": "port eth9 on host h1 is odd", "repair": ""}


def answer(asked: Asked) -> Answer:
    match asked.method, asked.path.partition("?")[0].removeprefix("/api/v1"):
        case "POST", "/networks":
            return 201, {"subnets": [{"cidr": "10.20.0.0/24"}], "vni": 9, "revision": 7}
        case "PATCH", "/networks/acme/web":
            return 200, {"revision": 7}
        case "PATCH", "/pools/second":
            return 200, {"name": "second", "revision": 7}
        case "POST", "/networks/acme/web/reservations":
            return 201, {"addresses": ["10.20.0.50"], "revision": 7}
        case "GET", "/ipam/check":
            return 200, {"items": [GONE, STRAY]}
        case "POST", "/ipam/gc":
            return 200, {"items": [GONE, STRAY], "revision": 7}
    return 404, {"title": "Not found", "detail": f"There is nothing at {asked.path}."}


def test_the_options_of_docker_and_calico_are_those_of_network_create(api: ScriptedApi) -> None:
    words = "network create acme/web --subnet 10.20.0.0/24 --gateway 10.20.0.254 --ip-range 10.20.0.128/25"
    words += " --exclude 10.20.0.200-10.20.0.210 --aux-address lb=10.20.0.250 --plan per-host --block-size 28 --strict"
    assert run([*words.split(), "--no-wait"]) == 0
    body = api.asked[0].body
    assert body["subnets"] == ["10.20.0.0/24"] and body["gateways"] == ["10.20.0.254"]
    assert body["ip_ranges"] == ["10.20.0.128/25"] and body["excludes"] == ["10.20.0.200-10.20.0.210"]
    assert body["aux_addresses"] == {"lb": "10.20.0.250"} and body["block_sizes"] == [28]
    assert (body["plan"], body["strict"]) == ("per-host", True)


def test_how_addresses_are_given_out_is_changed_as_a_whole(api: ScriptedApi) -> None:
    for words, body in (
        (
            "--ip-range all --exclude 10.20.0.9 --borrowing",
            {"ip_ranges": [], "excludes": ["10.20.0.9"], "strict": False},
        ),
        ("--ip-range 10.20.0.0/25 --exclude none", {"ip_ranges": ["10.20.0.0/25"], "excludes": []}),
    ):
        assert run(["network", "update", "acme/web", *words.split(), "--no-wait"]) == 0
        assert api.asked[-1].body == body


def test_a_pool_is_enabled_disabled_and_drained(api: ScriptedApi, capsys: pytest.CaptureFixture[str]) -> None:
    for verb in ("enable", "disable", "drain"):
        assert run(["pool", verb, "second", "--no-wait"]) == 0
    assert [asked.body["state"] for asked in api.asked] == ["enabled", "disabled", "draining"]
    assert capsys.readouterr().out.splitlines()[2] == "Pool second is draining"


def test_a_reservation_ends_after_a_while_or_at_a_moment(api: ScriptedApi) -> None:
    reserve = ["reservation", "create", "acme/web", "db1", "--ip", "10.20.0.50", "--no-wait", "--expires"]
    assert run([*reserve, "7d"]) == run([*reserve, "2999-01-31T12:00:00Z"]) == 0
    after, at = (datetime.fromisoformat(asked.body["expires_at"]) for asked in api.asked)
    assert timedelta(days=6, hours=23) < after - datetime.now(UTC) <= timedelta(days=7)
    assert at == datetime(2999, 1, 31, 12, tzinfo=UTC)
    assert run([*reserve, "soon"]) == 2


def test_check_fails_where_something_differs(api: ScriptedApi, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["ipam", "check"]) == 1
    assert "the container of endpoint acme/web1 on host h1 is gone" in capsys.readouterr().out


def test_gc_says_what_it_does_and_a_dry_run_what_it_would(api: ScriptedApi, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["ipam", "gc", "--no-wait"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        f"{GONE['sentence']}: remove the endpoint",
        f"{STRAY['sentence']}: left as it is",
        "Repaired 1 of 2 differences (revision 7)",
    ]
    assert run(["ipam", "gc", "--dry-run"]) == 0
    assert capsys.readouterr().out.endswith("Would repair 1 of 2 differences; nothing was changed.\n")
    assert api.asked[-1].query == {"dry_run": "true"}
