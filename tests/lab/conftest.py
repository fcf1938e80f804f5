"""One lab of three hosts for all tests here, under a name of its own; what a killed run left is swept first."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator

import pytest

from lab.lab import Lab, sweep_orphans
from lab.process import Process
from tests.lab.world import World


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    assert os.geteuid() == 0, "labs are made of network namespaces; run these tests as root"
    sweep_orphans()
    lab = Lab(f"t{secrets.token_hex(3)}")
    try:
        lab.up(3, owner=Process.of(os.getpid()))
        yield lab
    finally:
        lab.down()


@pytest.fixture
def world(lab: Lab) -> Iterator[World]:
    """Tenants and endpoints of one test; they go when it ends."""
    world = World(lab)
    yield world
    world.clear()
