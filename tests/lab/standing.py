"""What tests of isolation ask of a lab: change who stands how to whom, live; and see which tenants hear each other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from lab.state import Placed
from tests.lab.world import SECONDS, World


def change(world: World, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """Do it and wait until it is live on every host concerned."""
    reply: dict[str, Any] = world.rest.request(method, path, body, params={"wait": SECONDS}, timeout=2 * SECONDS).body
    assert reply["state"] == "applied", reply
    return reply


def join(world: World, one: str, other: str) -> dict[str, Any]:
    return change(world, "POST", f"/tenants/{one}/join", {"to": other})


def isolate(world: World, one: str) -> dict[str, Any]:
    return change(world, "POST", f"/tenants/{one}/isolate")


def make_global(world: World, one: str) -> dict[str, Any]:
    return change(world, "POST", f"/tenants/{one}/global")


def peer(world: World, one: str, other: str) -> dict[str, Any]:
    return change(world, "POST", f"/tenants/{one}/peer", {"with": other})


def unpeer(world: World, one: str, other: str) -> dict[str, Any]:
    return change(world, "DELETE", f"/tenants/{one}/peers/{other}")


def set_mode(world: World, mode: str) -> dict[str, Any]:
    return change(world, "PATCH", "/cluster", {"isolation": mode})


def set_apart(world: World, network: str, isolated: bool) -> dict[str, Any]:
    return change(world, "PATCH", f"/networks/{network}", {"isolated": isolated})


def together(world: World, placed: Sequence[Placed], by: str = "tenant") -> set[frozenset[str]]:
    """Pairs of tenants (or of networks) that hear each other: all their endpoints, over both families, both ways."""
    group = {one.name: str(getattr(one, by)) for one in placed}
    heard: dict[tuple[str, str], set[bool]] = defaultdict(set)
    for answer in world.probe(*placed):
        if answer.ok is not None:
            heard[group[answer.ask.source.name], group[answer.ask.target.name]].add(answer.ok)
    mixed = {pair for pair, oks in heard.items() if len(oks) > 1}
    assert not mixed, f"some hear and some do not: {mixed}"
    there = {pair for pair, oks in heard.items() if oks == {True}}
    one_way = {pair for pair in there if pair[::-1] not in there}
    assert not one_way, f"heard in one direction only: {one_way}"
    return {frozenset(pair) for pair in there if pair[0] != pair[1]}
