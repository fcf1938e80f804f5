"""One lab of three hosts for all tests here, under a name of its own; what a killed run left is swept first."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from lab.lab import Lab, sweep_orphans
from lab.process import Process
from tests.lab.internet import Internet, internet, rules
from tests.lab.world import World
from tests.ovs import wait_for


@contextmanager
def running(hosts: int = 3, **engines: bool) -> Iterator[Lab]:
    """`engines`: what `Lab.up` is to give the hosts besides."""
    assert os.geteuid() == 0, "labs are made of network namespaces; run these tests as root"
    sweep_orphans()
    lab = Lab(f"t{secrets.token_hex(3)}")
    try:
        lab.up(hosts, owner=Process.of(os.getpid()), **engines)
        yield lab
    finally:
        lab.down()


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    with running() as lab:
        yield lab


@pytest.fixture(scope="session")
def there(lab: Lab) -> Iterator[Internet]:
    """The machine outside, once every host's way out is set up."""
    with internet(lab) as machine:
        for host in lab.hosts:
            wait_for(lambda host=host: "masquerade" in rules(host.netns), f"the rules of {host.name}")
        yield machine


@pytest.fixture
def world(lab: Lab) -> Iterator[World]:
    """Tenants and endpoints of one test; they go when it ends."""
    world = World(lab)
    yield world
    world.clear()
