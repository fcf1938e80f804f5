"""Podman for real: one on each of two hosts, with its CNI backend, and the podman command as people type it."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from lab import image, netns, podman
from lab.lab import Lab
from lab.names import LabError
from lab.process import Process, environment, of_lab
from tests.lab.conftest import running
from tests.lab.waiting import BOUND, NEVER, SOON, until, until_ready

SUBNET = "10.60.0.0/24"


class Site:
    """The lab, and two tenants with a network `web` each, which Podman calls by the tenants' names."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.rest = lab.rest
        self.tenants = [f"p{secrets.token_hex(3)}" for _ in range(2)]
        self._containers: list[tuple[str, str]] = []
        for tenant in self.tenants:
            self.rest.post("/tenants", {"name": tenant})
            self.network(tenant, f"{tenant}/web", SUBNET)

    def network(self, name: str, network: str, subnet: str) -> None:
        self.rest.post("/networks", {"name": network, "subnets": [subnet], "private": True})
        for host in self.lab.hosts:
            podman.add_network(host, self.lab.folder, name, network)

    def podman(self, host: str, *arguments: str) -> str:
        return podman.run(self.lab.host(host), self.lab.folder, *arguments).strip()

    def fails(self, host: str, *arguments: str) -> str:
        """What it says, on stderr."""
        at = self.lab.host(host)
        with netns.inside(at.netns):
            done = subprocess.run(
                [podman.PROGRAM, *arguments],
                capture_output=True,
                text=True,
                timeout=BOUND,
                env=environment(self.lab.folder, podman.settings(at)),
            )
        assert done.returncode, done.stdout
        return done.stderr

    def run(self, host: str, name: str, network: str, *more: str, command: str = "httpd -f -h /www") -> str:
        """The address."""
        self._containers.append((host, name))
        self.podman(host, "run", "-d", "--name", name, "--network", network, *more, image.IMAGE, *command.split())
        return self.address(host, name)

    def inspect(self, host: str, container: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.podman(host, "inspect", container))[0]["NetworkSettings"]["Networks"]
        return found

    def address(self, host: str, container: str) -> str:
        return str(next(iter(self.inspect(host, container).values()))["IPAddress"])

    def remove(self, host: str, container: str) -> None:
        self.podman(host, "rm", "-f", "-t", "0", container)
        self._containers.remove((host, container))

    def hears(self, host: str, container: str, target: str, seconds: int = SOON) -> bool:
        """Whether the web page there is heard."""
        wget = ("timeout", str(seconds), "wget", "-qO-", f"http://{target}/")
        try:
            return image.PAGE.strip() in self.podman(host, "exec", container, *wget)
        except LabError:
            return False

    def endpoints(self, tenant: str) -> list[dict[str, Any]]:
        return list(self.rest.items("/endpoints", {"tenant": tenant}))

    def clear(self) -> None:
        for host, container in reversed(self._containers):
            self.podman(host, "rm", "-f", "-t", "0", container)
        for tenant in self.tenants:
            until(lambda tenant=tenant: not self.endpoints(tenant), "their endpoints are gone")
            for network in list(self.rest.items("/networks", {"tenant": tenant})):
                self.rest.delete(f"/networks/{network['name']}")
            self.rest.delete(f"/tenants/{tenant}")
        for host in self.lab.hosts:
            for tenant in self.tenants:
                for path in podman.conf_dir(host).glob(f"10-{tenant}*.conflist"):
                    path.unlink()


@pytest.fixture(scope="module")
def engines() -> Iterator[Lab]:
    with running(2, podmans=True) as lab:
        yield lab


@pytest.fixture
def site(engines: Lab) -> Iterator[Site]:
    site = Site(engines)
    yield site
    site.clear()


def test_containers_of_two_hosts_hear_each_other_by_name_and_no_other_tenant(site: Site) -> None:
    """Both tenants use the same subnet."""
    mine, theirs = site.tenants
    first = site.run("h1", "m1", mine)
    second = site.run("h2", "m2", mine, "--network-alias", "front")
    other = site.run("h2", "o1", theirs, "--ip", "10.60.0.77")
    assert first != second
    assert site.hears("h1", "m1", second) and site.hears("h2", "m2", first)
    for name in ("m2", "front", "m2.web", f"m2.web.{mine}.warren.internal", "M2"):
        assert site.hears("h1", "m1", name), name
    assert not site.hears("h1", "m1", other, NEVER) and not site.hears("h2", "o1", first, NEVER)
    for name in ("m1", f"m1.web.{mine}.warren.internal"):
        assert not site.hears("h2", "o1", name, NEVER), name
    assert {one["name"] for one in site.endpoints(mine)} == {f"{mine}/m1", f"{mine}/m2"}
    site.remove("h2", "m2")
    assert not site.hears("h1", "m1", "front", NEVER) and not site.hears("h1", "m1", second, NEVER)


def test_every_option(site: Site) -> None:
    tenant, side = site.tenants[0], f"{site.tenants[0]}-side"
    site.network(side, f"{tenant}/side", "10.61.0.0/24")
    asked = f"{tenant}:ip=10.60.0.50,mac=02:42:00:00:00:50,alias=yy"
    assert site.run("h1", "c1", asked) == "10.60.0.50"
    peer = site.run("h2", "c2", side)
    assert "02:42:00:00:00:50" in site.podman("h1", "exec", "c1", "ip", "link", "show", "eth0")
    site.podman("h1", "network", "connect", side, "c1")
    assert "inet 10.61.0." in site.podman("h1", "exec", "c1", "ip", "addr", "show", "eth1")
    assert f"{peer} dev eth1" in site.podman("h1", "exec", "c1", "ip", "route", "get", peer)
    assert site.hears("h1", "c1", peer) and site.hears("h1", "c1", "10.60.0.50")
    site.podman("h1", "network", "disconnect", side, "c1")
    assert "eth1" not in site.podman("h1", "exec", "c1", "ip", "addr")
    site.podman("h1", "network", "reload", "c1")
    assert site.address("h1", "c1") == "10.60.0.50"
    site.podman("h1", "restart", "-t", "0", "c1")
    assert site.address("h1", "c1") == "10.60.0.50"
    assert site.hears("h1", "c1", "yy")
    said = site.fails("h1", "run", "--name", "late", "--network", tenant, "--ip", "10.60.0.50", image.IMAGE, "true")
    assert f"Address 10.60.0.50 of network {tenant}/web is endpoint {tenant}/c1's" in said
    site.podman("h1", "rm", "late")
    site.podman("h1", "kill", "-s", "KILL", "c1")
    until(lambda: len(site.endpoints(tenant)) == 1, "a container that was killed has no endpoint")


def test_the_port_that_a_containers_monitor_holds_is_published(site: Site) -> None:
    """Podman reserves it by a socket of `conmon`, which nobody is to hear."""
    tenant, host = site.tenants[0], site.lab.host("h1")

    def agent() -> dict[str, Any]:
        return dict(site.rest.get("/hosts/h1").body["agent"])

    def served() -> str:
        with netns.inside(host.netns):
            url = f"http://{host.address}:18301/"
            return subprocess.run(["curl", "-sm5", url], capture_output=True, text=True, timeout=BOUND).stdout.strip()

    site.run("h1", "first", tenant, "-p", "18301:80")
    held = {"protocol": "tcp", "address": "0.0.0.0", "port": 18301}
    until(lambda: held in agent()["listening"], "the report of the monitor's socket")
    until(lambda: served() == image.PAGE.strip(), "it is served")
    site.podman("h1", "network", "reload", "first")
    until(lambda: served() == image.PAGE.strip(), "it is served")
    site.podman("h1", "restart", "-t", "0", "first")
    until(lambda: served() == image.PAGE.strip(), "the server of the container that was started again")
    site.run("h1", "second", tenant, "-p", "18302:80")
    until(lambda: held | {"port": 18302} in agent()["listening"], "a look at all ports after the last change")
    assert agent()["problems"] == []
    said = site.fails("h1", "run", "--name", "late", "--network", tenant, "-p", "18301:80", image.IMAGE, "true")
    assert "18301" in said
    site.podman("h1", "rm", "-f", "late")


@pytest.mark.parametrize("kill", [False, True])
def test_a_restart_of_any_part_is_survived(site: Site, kill: bool) -> None:
    lab, tenant = site.lab, site.tenants[0]
    site.run("h1", "stays", tenant, "--ip", "10.60.0.50")
    peer = site.run("h2", "peer", tenant)
    for part in ("agent:h1", "controller", "web"):
        lab.restart(part, kill)
        until(lambda: site.hears("h1", "stays", peer), f"packets pass after {part} restarted")
        until(lambda: site.hears("h2", "peer", "stays"), f"names are answered after {part} restarted")
        until_ready(lab)
        name = f"new-{part.replace(':', '-')}"
        assert site.hears("h2", "peer", site.run("h1", name, tenant))
        site.remove("h1", name)
    assert len(site.endpoints(tenant)) == 2


@pytest.mark.parametrize("part", ["web", "controller"])
def test_nothing_hangs_while_the_control_plane_is_away(site: Site, part: str) -> None:
    tenant = site.tenants[0]
    site.run("h1", "old", tenant)
    site.lab.part(part).stop()
    try:
        said = site.fails("h1", "run", "--rm", "--name", "late", "--network", tenant, image.IMAGE, "true")
        assert ("API" if part == "web" else "controller") in said, said
        site.remove("h1", "old")
    finally:
        site.lab.part(part).start()
    until_ready(site.lab)
    until(lambda: not site.endpoints(tenant), "what ended meanwhile is released")
    site.run("h1", "new", tenant)


def test_many_containers_at_once_have_addresses_of_their_own(site: Site) -> None:
    tenant = site.tenants[0]
    hosts = [("h1", "h2")[n % 2] for n in range(16)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda n: site.run(hosts[n], f"many{n}", tenant, command="sleep 1000"), range(16)))
        assert len(set(found)) == 16
        list(pool.map(lambda n: site.remove(hosts[n], f"many{n}"), range(16)))
    until(lambda: not site.endpoints(tenant), "all are gone")
    for host in site.lab.hosts:
        assert "wrn" not in netns.run("ip", "-n", host.netns, "-o", "link", "show", "type", "veth")


def test_a_lab_goes_without_remains_also_after_its_monitors_were_killed() -> None:
    lab = Lab(f"g{secrets.token_hex(3)}")
    lab.up(1, owner=Process.of(os.getpid()), podmans=True)
    host = lab.host("h1")
    one = podman.run(host, lab.folder, "run", "-d", "--network", "web", image.IMAGE, "sleep", "1000").strip()
    space = Path(json.loads(podman.run(host, lab.folder, "inspect", one))[0]["NetworkSettings"]["SandboxKey"])
    pid = int(podman.run(host, lab.folder, "inspect", "--format", "{{.State.ConmonPid}}", one))
    assert space.exists() and Process.of(pid) in podman.monitors(podman.folder(host))
    os.kill(pid, 9)
    lab.down()
    assert not of_lab(lab.folder) and not lab.folder.exists() and not space.exists()
    assert not list(Path("/sys/fs/cgroup").glob(f"*/libpod_parent/*{one}"))
    assert not [path for place in podman.ELSEWHERE for path in place.glob(f"*{one}*")]
    assert not netns.names(lab.name) and lab.name not in Path("/proc/mounts").read_text()
    assert not [path for path in Path("/proc").glob("[0-9]*/mountinfo") if str(lab.folder) in _text(path)]


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
