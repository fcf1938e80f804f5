"""Hosts keep their way to each other, the controllers and the API, whatever addresses endpoints have."""

from __future__ import annotations

import ipaddress

import pytest

from client.rest import Problem
from lab import netns
from lab.lab import Lab
from tests.lab.outside import pings
from tests.lab.world import World
from tests.ovs import wait_for

NET, MINE, EVIL = "198.19.77.0/24", "198.19.77.200", "198.19.77.9"


def test_a_network_with_the_hosts_own_addresses_is_refused(lab: Lab, world: World) -> None:
    own = lab.host("h1").address
    with pytest.raises(Problem) as refused:
        world.network(world.tenant("net"), "x1", str(ipaddress.ip_network(f"{own}/24", strict=False)))
    assert refused.value.status == 409 and own in str(refused.value) and "--private" in str(refused.value)


def test_a_host_leaves_addresses_to_its_interface_that_are_on_its_line(lab: Lab, world: World) -> None:
    """A network that was there first: the host got an address in it later."""
    space = lab.host("h1").netns
    placed = world.endpoint(world.network(world.tenant("net"), "x1", NET), "h1", addresses=(EVIL,))
    world.settle()

    def way() -> str:
        return netns.run("ip", "-n", space, "route", "show", "match", EVIL)

    def problems() -> list[str]:
        said = world.rest.get("/hosts/h1").body["agent"]["problems"]
        return [one for one in said if EVIL in one]

    wait_for(lambda: "warren0-gw" in way() and pings(space, EVIL, 1), "a route to the endpoint", 60)
    assert not problems()
    netns.run("ip", "-n", space, "link", "add", "other0", "type", "veth", "peer", "other1")
    try:
        netns.run("ip", "-n", space, "addr", "add", f"{MINE}/24", "dev", "other0")
        netns.run("ip", "-n", space, "link", "set", "other0", "up")
        wait_for(lambda: "warren0-gw" not in way(), "the route to the endpoint to go", 60)
        wait_for(lambda: not pings(space, EVIL, 1), "no translation to it either", 60)
        wait_for(problems, "the problem to be told", 60)
        (said,) = problems()
        assert placed.network in said and "198.19.77.0/24 of the host's interface other0" in said
    finally:
        netns.run("ip", "-n", space, "link", "del", "other0")
    wait_for(lambda: pings(space, EVIL, 1), "the endpoint to be reached again", 60)
    wait_for(lambda: not problems(), "the problem to go", 60)
