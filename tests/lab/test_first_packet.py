"""The first packet already finds its way, and meets its tenant's walls."""

from __future__ import annotations

import socket

from lab import netns
from lab.lab import Lab
from lab.state import Placed
from tests.lab.test_spoofing import ip
from tests.lab.world import World

ROUNDS = 200


def ask(source: Placed, target: Placed, seconds: float = 20.0) -> bytes | None:
    """One datagram to the target's responder, never repeated."""
    with netns.inside(source.netns):
        line = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with line:
        line.settimeout(seconds)
        line.sendto(b"?", (ip(target), 80))
        try:
            return line.recv(200).strip()
        except TimeoutError:
            return None


def answered(world: World, source: Placed, target: Placed, seconds: float = 20.0) -> bool | None:
    """Whether a datagram gets an answer that is sent at once; None if it gets none and a host has not come to what was
    changed before: an attach waits for other hosts, but a slow one holds nobody up."""
    with netns.inside(source.netns):
        line = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with line:
        line.sendto(b"?", (ip(target), 80))
        newest = world.rest.get("/revisions", params={"limit": 1}).body["revision"]
        live = world.rest.get(f"/revisions/{newest}").body["state"] == "applied"
        line.settimeout(seconds if live else min(seconds, 1.0))
        try:
            return line.recv(200).strip() == target.name.encode()
        except TimeoutError:
            return False if live else None


def test_what_is_sent_the_instant_add_returns_is_answered_200_of_200_times(lab: Lab, world: World) -> None:
    network = world.network(world.tenant("red"), "net", "10.45.0.0/16")
    friends = [world.endpoint(network, host) for host in ("h2", "h3", "h1")]
    world.settle()
    seen: list[tuple[str, bool]] = []
    late = 0
    while len(seen) < ROUNDS:
        friend = friends[len(seen) % 3]
        new = world.endpoint(network, "h1")
        its = answered(world, new, friend)
        world.remove(new)
        if its is None:
            late += 1
            assert late < ROUNDS / 10, f"hosts are late too often: {late} times, {len(seen)} were in time"
        else:
            seen.append((friend.host, its))
    lost = [host for host, its in seen if not its]
    assert not lost, f"{len(lost)} of {ROUNDS}: {lost}"


def test_nothing_passes_before_add_and_nothing_after_del(world: World) -> None:
    network = world.network(world.tenant("red"), "net", "10.46.0.0/24")
    friend = world.endpoint(network, "h2")
    new = world.endpoint(network, "h1", addresses=["10.46.0.20"])
    world.settle()
    assert ask(friend, new) == new.name.encode()
    world.remove(new)
    assert ask(friend, new, 0.3) is None
    again = world.endpoint(network, "h3", addresses=["10.46.0.20"])
    world.settle()
    assert ask(friend, again) == again.name.encode()


def test_the_first_packet_to_another_tenant_is_dropped_too(world: World) -> None:
    ours = world.network(world.tenant("red"), "net", "10.47.0.0/24")
    theirs = world.network(world.tenant("blue"), "net", "10.48.0.0/24")
    victim = world.endpoint(theirs, "h2")
    for _ in range(10):
        new = world.endpoint(ours, "h1")
        assert ask(new, victim, 0.1) is None
        world.remove(new)
