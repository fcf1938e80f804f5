"""`warren explain`: what is asked for, and what a tired administrator gets to read."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from client.__main__ import run
from tests.pure.scripted_api import Answer, Asked, ScriptedApi

DENIED: dict[str, Any] = {
    "source": {"name": "acme/web1", "host": "h1", "address": "10.20.0.9/24"},
    "destination": {"name": "acme/db1", "host": "h2", "address": "10.20.0.10/24"},
    "connection": "tcp/5432",
    "version": 4,
    "verdict": "denied",
    "decisions": [
        {"stage": "isolation", "verdict": "allowed", "policy": None, "rule": None, "reason": "both are acme's"},
        {"stage": "ingress", "verdict": "denied", "policy": "acme/lock", "rule": None, "reason": "by policy acme/lock"},
    ],
    "hosts": [
        {"host": "h1", "verdict": "allowed", "reason": "sent to h2", "table": "OUTPUT", "words": "sends it to h2"},
        {"host": "h2", "verdict": "denied", "reason": "ingress_policy", "table": "I", "words": "drops it in I"},
    ],
    "agreement": "confirmed",
    "remarks": [],
    "words": [],
    "revision": 7,
}
DISAGREED = {**DENIED, "agreement": "disagreement", "remarks": ["By the model h2 should deliver it.", "Ask again."]}
NEVER_LEFT = {**DENIED, "hosts": [], "agreement": "unconfirmed", "remarks": ["No packet leaves."]}


def answer(asked: Asked) -> Answer:
    assert (asked.method, asked.path) == ("POST", "/api/v1/explain")
    return 200, {22: DISAGREED, 1: NEVER_LEFT}.get(asked.body.get("port"), DENIED)


def explain(*arguments: str) -> int:
    return run(["explain", "acme/web1", "acme/db1", *arguments])


def test_stages_are_aligned_and_what_is_installed_stands_below(
    api: ScriptedApi, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explain("--tcp", "5432") == 0, "an answer is a success, whatever it is"
    assert capsys.readouterr().out.splitlines() == [
        "acme/web1 (h1) -> acme/db1 (h2), tcp/5432 over IPv4: DENIED",
        "  isolation  allowed  both are acme's",
        "  ingress    denied   by policy acme/lock",
        "  installed  h1 sends it to h2; h2 drops it in I: agrees",
    ]


def test_a_disagreement_cannot_be_overlooked(api: ScriptedApi, capsys: pytest.CaptureFixture[str]) -> None:
    assert explain("--tcp", "22") == 0
    assert capsys.readouterr().out.splitlines()[3:] == [
        "  installed  h1 sends it to h2; h2 drops it in I: DISAGREES",
        "             By the model h2 should deliver it.",
        "             Ask again.",
    ]


def test_what_was_not_asked_of_any_switch_is_not_called_installed(
    api: ScriptedApi, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explain("--tcp", "1") == 0
    assert capsys.readouterr().out.splitlines()[3:] == [
        "  installed  not confirmed",
        "             No packet leaves.",
    ]


@pytest.mark.parametrize(
    ("arguments", "asked"),
    [
        (["--tcp", "443"], {"protocol": "tcp", "port": 443}),
        (["--udp", "53", "-6"], {"protocol": "udp", "port": 53, "version": 6}),
        (["-4", "--sctp", "9"], {"protocol": "sctp", "port": 9, "version": 4}),
        (["--icmp"], {"protocol": "icmp"}),
        (["--icmp", "-6"], {"protocol": "icmpv6", "version": 6}),
        (["--icmp", "3"], {"protocol": "icmp", "type": 3, "code": 0}),
        (["-6", "--icmp", "1:4"], {"protocol": "icmpv6", "version": 6, "type": 1, "code": 4}),
    ],
)
def test_options_say_what_is_asked(api: ScriptedApi, arguments: list[str], asked: dict[str, Any]) -> None:
    assert explain(*arguments) == 0
    assert api.asked[-1].body == {"source": "acme/web1", "destination": "acme/db1", **asked}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "Give one of --tcp PORT"),
        (["--tcp", "1", "--udp", "1"], "Give one of --tcp PORT"),
        (["--tcp", "0"], "0"),
        (["--icmp", "8:x"], "'8:x' is not TYPE or TYPE:CODE"),
        (["--icmp", "256"], "'256' is not TYPE or TYPE:CODE"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_it_is_sent(
    api: ScriptedApi, capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    assert explain(*arguments) == 2
    assert sentence in capsys.readouterr().err
    assert not api.asked


def test_programs_get_the_whole_answer(api: ScriptedApi, capsys: pytest.CaptureFixture[str]) -> None:
    assert explain("--tcp", "5432", "-o", "json") == 0
    assert json.loads(capsys.readouterr().out) == DENIED
    assert explain("--tcp", "5432", "-o", "yaml") == 0
    assert yaml.safe_load(capsys.readouterr().out) == DENIED
