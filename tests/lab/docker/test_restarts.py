"""What stays, and what is said, while a part is away, comes back or is killed."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import pytest

from lab import docker, netns
from lab.lab import Lab
from lab.process import Process, of_lab
from tests.lab.docker.site import Site
from tests.lab.waiting import until, until_ready


@pytest.mark.parametrize("kill", [False, True])
def test_a_restart_of_any_part_is_survived(site: Site, kill: bool) -> None:
    lab, tenant = site.lab, site.tenants[0]
    for host in ("h1", "h2"):
        site.network(host, "lasting", "--subnet", "10.48.0.0/24", "-o", f"tenant={tenant}", "-o", "network=lasting")
    site.run("h1", "stays", "lasting", "--restart", "always", "--ip", "10.48.0.50", "-p", "18090:80")
    peer, published = site.run("h2", "peer", "lasting"), f"{lab.host('h1').address}:18090"
    for part in ("agent:h1", "controller", "web"):
        lab.restart(part, kill)
        until(lambda: site.hears("h1", "stays", peer), f"packets pass after {part} restarted")
        until(lambda: site.hears("h2", "peer", published), f"the port is open after {part} restarted")
        name = f"new-{part.replace(':', '-')}"
        until_ready(lab)
        address = site.run("h1", name, "lasting")
        assert site.hears("h2", "peer", address)
        site.remove("h1", name)
    lab.restart("docker:h1", kill)
    until(lambda: site.hears("h1", "stays", peer), "the container that restarts with dockerd is heard")
    assert site.address("h1", "stays", "lasting") == "10.48.0.50"
    assert site.hears("h2", "peer", "10.48.0.50")
    until(lambda: site.hears("h2", "peer", published), "its port is open again")
    assert site.hears("h2", "peer", site.run("h1", "after", "lasting"))
    assert len(site.endpoints(tenant)) == 3


TOGETHER = [("controller", "web", "agent:h1"), ("controller", "web", "agent:h1", "docker:h1")]


@pytest.mark.parametrize("parts", TOGETHER, ids="+".join)
def test_parts_that_are_killed_together(site: Site, parts: tuple[str, ...]) -> None:
    """As after a power cut: what was up is up again, with its address, its port and its name."""
    lab, tenant = site.lab, site.tenants[0]
    for host in ("h1", "h2"):
        site.network(host, "cut", "--subnet", "10.58.0.0/24", "-o", f"tenant={tenant}", "-o", "network=cut")
    published = f"{lab.host('h1').address}:18091"
    site.run("h1", "stays", "cut", "--restart", "always", "--ip", "10.58.0.50", "-p", "18091:80")
    site.run("h2", "peer", "cut")
    until(lambda: site.hears("h2", "peer", "stays"), "its name is known")
    try:
        for part in reversed(parts):
            lab.part(part).stop(kill=True)
        if "docker:h1" not in parts:
            for target in ("10.58.0.50", published, "stays"):
                assert site.hears("h2", "peer", target), "packets need none of them"
    finally:
        for part in parts:
            lab.part(part).start()
            if part.startswith("agent"):
                until_ready(lab)
    for target in ("10.58.0.50", published, "stays"):
        until(lambda target=target: site.hears("h2", "peer", target), f"{target} is heard again")
    assert site.hears("h2", "peer", site.run("h1", "after", "cut"))
    site.remove("h1", "after")
    assert len(site.endpoints(tenant)) == 2


@pytest.mark.parametrize("part", ["web", "controller"])
def test_nothing_hangs_while_the_control_plane_is_away(site: Site, part: str) -> None:
    tenant = site.tenants[0]
    site.network("h1", "away", "--subnet", "10.49.0.0/24", "-o", f"tenant={tenant}")
    site.run("h1", "old", "away")
    site.lab.part(part).stop()
    try:
        said = site.fails("h1", "run", "--rm", "--network", "away", docker.IMAGE, "true")
        assert ("API" if part == "web" else "controller") in said, said
        site.remove("h1", "old")
    finally:
        site.lab.part(part).start()
    until_ready(site.lab)
    until(lambda: not site.endpoints(tenant), "what ended meanwhile is released")
    site.run("h1", "new", "away")


def test_a_lab_goes_without_remains_also_after_a_kill() -> None:
    lab = Lab(f"g{secrets.token_hex(3)}")
    lab.up(1, owner=Process.of(os.getpid()), engines=True)
    host = lab.host("h1")
    docker.run(host, lab.folder, "run", "-d", "--network", "web", docker.IMAGE, "sleep", "1000")
    docker.run(host, lab.folder, "run", "-d", docker.IMAGE, "sleep", "1000")
    docker.engine(host).stop(kill=True)
    lab.down()
    assert not of_lab(lab.folder) and not lab.folder.exists()
    assert not list(Path("/sys/fs/cgroup").glob(f"*/{docker.cgroup(host)}"))
    assert not list(Path("/sys/fs/cgroup").glob(docker.cgroup(host)))
    assert not netns.names(lab.name) and lab.name not in Path("/proc/mounts").read_text()
