"""The table of nftables that is Warren's: whoever changes it, in whatever moment, it is put right."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from ovs_agent import gateway, nat
from ovs_agent.gateway import Gateway
from ovs_agent.ledger import Ledger
from ovs_agent.netlink.rules import generation
from tests.agent.site import PREFIX, inside, make_netns, remove_netns, run, sweep

RULES = nat.ruleset(nat.gateway_port("warren0"), (), (), 1)


@pytest.fixture(autouse=True)
def host() -> Iterator[None]:
    """The test runs in a namespace of its own."""
    sweep()
    name = make_netns(f"{PREFIX}{os.getpid()}-rules")
    with inside(name):
        yield
    remove_netns(name)


@pytest.fixture
def way() -> Gateway:
    ledger = Ledger("warren0", "netdev", {})
    return Gateway("warren0", "http://192.0.2.1:8080", ledger, lambda problems: None, lambda: None)


def test_each_transaction_is_a_generation() -> None:
    before = generation()
    run("nft", "add table inet one; add table inet other")
    assert generation() == before + 1
    run("nft", "list", "ruleset")
    assert generation() == before + 1


@pytest.mark.parametrize("change", ["delete table inet warren", "flush table inet warren", "add table inet theirs"])
def test_what_is_changed_in_the_moment_it_is_loaded_is_put_right(
    way: Gateway, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    nft, changes = gateway._nft, [change]

    def meddled(*arguments: str, **more: Any) -> str:
        said = nft(*arguments, **more)
        if arguments[0] == "-f" and changes:
            run("nft", changes.pop())
        return said

    monkeypatch.setattr(gateway, "_nft", meddled)
    way._load(RULES)
    way._load(RULES)
    assert "masquerade" in run("nft", "list", "table", "inet", "warren")
    before = generation()
    way._load(RULES)
    assert generation() == before, "nothing is left to do"
