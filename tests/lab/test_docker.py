"""Docker for real: a dockerd on each of two hosts, and the docker command as people type it."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from client.rest import Problem
from lab import docker, image, netns
from lab.lab import Lab
from lab.names import LabError
from lab.process import Process, of_lab
from tests.lab.conftest import running

BOUND = 60.0
"""Seconds in which anything is answered, whatever is away; dockerd alone takes fifteen for a plugin that is."""
WARREN = ("--driver", "warren", "--ipam-driver", "warren")


class Site:
    """The lab, and tenants whose networks hosts may make."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.rest = lab.rest
        self._containers: list[tuple[str, str]] = []
        self._networks: list[tuple[str, str]] = []
        self.tenants = [f"t{secrets.token_hex(3)}" for _ in range(2)]
        for tenant in self.tenants:
            self.rest.post("/tenants", {"name": tenant, "labels": {"warren/engine-networks": "create"}})

    def docker(self, host: str, *arguments: str) -> str:
        return docker.run(self.lab.host(host), self.lab.folder, *arguments).strip()

    def fails(self, host: str, *arguments: str) -> str:
        """What it says, on stderr."""
        at = self.lab.host(host)
        command = [docker.program(), *arguments]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=BOUND, env=docker.settings(at, self.lab.folder)
        )
        assert done.returncode, done.stdout
        return done.stderr

    def network(self, host: str, name: str, *arguments: str) -> str:
        self.docker(host, "network", "create", *WARREN, *arguments, name)
        self._networks.append((host, name))
        return name

    def run(self, host: str, name: str, network: str, *more: str, command: str = "httpd -f -h /www") -> str:
        self._containers.append((host, name))
        self.docker(host, "run", "-d", "--name", name, "--network", network, *more, docker.IMAGE, *command.split())
        return self.address(host, name, network)

    def address(self, host: str, container: str, network: str) -> str:
        return str(self.inspect(host, container)["NetworkSettings"]["Networks"][network]["IPAddress"])

    def inspect(self, host: str, container: str) -> Any:
        return json.loads(self.docker(host, "inspect", container))[0]

    def remove(self, host: str, container: str) -> None:
        self.docker(host, "rm", "-f", container)
        self._containers.remove((host, container))

    def hears(self, host: str, container: str, target: str) -> bool:
        """Whether the web page there is heard."""
        try:
            return image.PAGE.strip() in self.docker(
                host, "exec", container, "timeout", "3", "wget", "-qO-", f"http://{target}/"
            )
        except LabError:
            return False

    def endpoints(self, tenant: str) -> list[dict[str, Any]]:
        return list(self.rest.items("/endpoints", {"tenant": tenant}))

    def clear(self) -> None:
        for host, container in reversed(self._containers):
            self.docker(host, "rm", "-f", container)
        for host, network in self._networks:
            self.docker(host, "network", "rm", network)
        for tenant in self.tenants:
            assert self.endpoints(tenant) == []
            for network in list(self.rest.items("/networks", {"tenant": tenant})):
                self.rest.delete(f"/networks/{network['name']}")
            try:
                self.rest.delete(f"/tenants/{tenant}")
            except Problem as problem:
                if problem.status != 404:
                    raise


def until(condition: Callable[[], object], what: str, seconds: float = BOUND) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def engines() -> Iterator[Lab]:
    with running(2, engines=True) as lab:
        yield lab


@pytest.fixture
def site(engines: Lab) -> Iterator[Site]:
    site = Site(engines)
    yield site
    site.clear()


def test_containers_of_two_hosts_hear_each_other_and_no_other_tenant(site: Site) -> None:
    """Both tenants use the same subnet; a container on both kinds of network reaches both."""
    mine, theirs = site.tenants
    subnet = ("--subnet", "10.40.0.0/24")
    for host in ("h1", "h2"):
        site.network(host, "mine", *subnet, "-o", f"tenant={mine}", "-o", "network=web")
        site.network(host, "theirs", *subnet, "-o", f"tenant={theirs}", "-o", "network=web")
    site.network("h1", "side", "--subnet", "10.41.0.0/24", "-o", f"tenant={theirs}")
    first = site.run("h1", "m1", "mine")
    second = site.run("h2", "m2", "mine")
    assert first != second
    other = site.run("h2", "o1", "theirs", "--ip", "10.40.0.77")
    assert site.hears("h1", "m1", second) and site.hears("h2", "m2", first)
    assert not site.hears("h1", "m1", other) and not site.hears("h2", "o1", first)
    assert site.hears("h1", "m1", "m1")  # Docker's own names, of its own host

    side = site.run("h1", "s1", "side")
    assert not site.hears("h1", "m1", side)
    site.docker("h1", "network", "connect", "--ip", "10.41.0.9", "--alias", "me", "side", "m1")
    assert site.hears("h1", "m1", side) and site.hears("h1", "m1", second) and site.hears("h1", "s1", "me")
    assert not site.hears("h2", "m2", side)
    site.docker("h1", "network", "disconnect", "side", "m1")
    assert not site.hears("h1", "m1", side) and site.hears("h1", "m1", second)


def test_every_option(site: Site) -> None:
    tenant = site.tenants[0]
    site.network(
        "h1",
        "full",
        *("--subnet", "10.42.0.0/16", "--ip-range", "10.42.5.0/24", "--gateway", "10.42.0.254"),
        *("--aux-address", "a=10.42.5.1", "--ipv6", "--subnet", "fd42::/64", "--gateway", "fd42::1", "--internal"),
        *("--label", "lab=yes", "-o", f"tenant={tenant}", "-o", "network=full", "-o", "transport=vxlan"),
        *("-o", "com.docker.network.driver.mtu=1400"),
    )
    made = site.rest.get(f"/networks/{tenant}/full").body
    assert made["isolated"] and made["mtu"] == 1400
    assert {one["gateway"] for one in made["subnets"]} == {"10.42.0.254", "fd42::1"}
    known = json.loads(site.docker("h1", "network", "inspect", "full"))[0]
    assert known["Labels"] == {"lab": "yes"} and known["IPAM"]["Driver"] == known["Driver"] == "warren"

    options = ("--ip", "10.42.7.9", "--ip6", "fd42::9", "--mac-address", "02:11:22:33:44:55", "-p", "127.0.0.1:8080:80")
    site.run("h1", "c1", "full", *options, "-P", "--expose", "7777", "--hostname", "hh")
    inside = site.docker("h1", "exec", "c1", "ip", "addr", "show", "eth0")
    for part in ("10.42.7.9/16", "fd42::9/64", "02:11:22:33:44:55", "mtu 1400"):
        assert part in inside
    assert "default" not in site.docker("h1", "exec", "c1", "ip", "route")  # --internal
    addresses = []
    for name in ("c2", "c3"):
        site._containers.append(("h1", name))
        asked = f"name=full,driver-opt=name=front-{name},driver-opt=label.app=front"
        site.docker("h1", "run", "-d", "--name", name, "--network", asked, docker.IMAGE, "sleep", "1000")
        addresses.append(site.address("h1", name, "full"))
    assert len(set(addresses)) == 2 and all(one.startswith("10.42.5.") for one in addresses)
    assert "10.42.5.1" not in addresses
    assert site.hears("h1", "c2", "10.42.7.9") and site.hears("h1", "c2", "[fd42::9]")
    endpoint = site.rest.get(f"/endpoints/{tenant}/front-c2").body
    assert endpoint["labels"] == {"app": "front"} and endpoint["addresses"][0].startswith(addresses[0])

    site.network("h1", "plain", "--subnet", "10.43.0.0/24", "-o", f"tenant={tenant}")
    site.docker("h1", "network", "connect", "--link-local-ip", "169.254.3.3", "plain", "c1")
    assert "169.254.3.3/16" in site.docker("h1", "exec", "c1", "ip", "addr", "show", "eth1")
    assert "default via 10.43.0.1" in site.docker("h1", "exec", "c1", "ip", "route")
    assert "10.42.7.9" in site.fails("h1", "run", "--rm", "--network", "full", "--ip", "10.42.7.9", docker.IMAGE)
    misspelled = ("network", "create", *WARREN, "--subnet", "10.44.0.0/24", "-o", "tennant=x", "n")
    assert "no option -o tennant" in site.fails("h1", *misspelled)
    assert "--ipam-driver warren" in site.fails("h1", "network", "create", "-d", "warren", "n")


def test_what_one_host_said_of_a_network_holds_on_all(site: Site) -> None:
    """Range, auxiliary addresses and reservations, whoever gives addresses; and a host that says otherwise is told."""
    tenant = site.tenants[0]
    named = ("--subnet", "10.53.0.0/24", "-o", f"tenant={tenant}", "-o", "network=agreed")
    said = ("--gateway", "10.53.0.99", "--ip-range", "10.53.0.96/29", "--aux-address", "printer=10.53.0.97")
    site.network("h1", "agreed", *named, *said, "-o", "transport=geneve")
    made = site.rest.get(f"/networks/{tenant}/agreed").body
    assert made["transport"] == "geneve"
    (subnet,) = made["subnets"]
    assert (subnet["gateway"], subnet["ip_range"], subnet["aux_addresses"]) == (
        "10.53.0.99",
        "10.53.0.96/29",
        {"printer": "10.53.0.97"},
    )
    for wrong, differs in (
        (("--ip-range", "10.53.0.128/25", "--gateway", "10.53.0.99"), "has IP range 10.53.0.96/29, not 10.53.0.128/25"),
        (("--gateway", "10.53.0.1"), "has gateway 10.53.0.99, not 10.53.0.1"),
        (("--gateway", "10.53.0.99", "--aux-address", "door=10.53.0.7"), "gives auxiliary address 10.53.0.7"),
        (("--gateway", "10.53.0.99", "-o", "transport=gre"), "has transport geneve, not gre"),
    ):
        assert differs in site.fails("h2", "network", "create", *WARREN, *named, *wrong, "n")
    site.network("h2", "agreed", *named, *said)
    site.rest.post(f"/networks/{tenant}/agreed/reservations", {"name": "db", "addresses": ["10.53.0.98"]})
    given = [site.run(host, f"a{n}", "agreed") for n, host in enumerate(("h1", "h2", "h1"))]
    assert sorted(given) == ["10.53.0.100", "10.53.0.101", "10.53.0.96"]
    assert site.hears("h1", "a0", given[1])
    taken = ("run", "--rm", "--network", "agreed", "--ip", "10.53.0.98", docker.IMAGE, "true")
    assert "10.53.0.98" in site.fails("h2", *taken)


@pytest.mark.parametrize("transport", ["vxlan", "geneve", "gre", "host-gw", "vlan", "local"])
def test_every_transport_can_be_chosen(site: Site, transport: str) -> None:
    tenant, subnet = site.tenants[0], ("--subnet", "10.54.0.0/24")
    options = ["-o", f"tenant={tenant}", "-o", "network=carried", "-o", f"transport={transport}"]
    if transport == "vlan":
        options += ["-o", "physical=lan", "-o", "vlan=54"]
    for host in ("h1", "h2"):
        site.network(host, "carried", *subnet, *options)
    site.run("h1", "first", "carried")
    if transport == "local":
        said = site.fails("h2", "run", "--rm", "--network", "carried", docker.IMAGE, "true")
        assert "local keeps to one host" in said
    else:
        assert site.hears("h1", "first", site.run("h2", "second", "carried"))
    made = site.rest.get(f"/networks/{tenant}/carried").body
    assert made["transport"] == transport and made["vlan"] == (54 if transport == "vlan" else None)
    wrong = ("network", "create", *WARREN, *subnet, "-o", f"tenant={tenant}", "-o")
    assert "'ipvlan'; Warren has vxlan, geneve, gre, vlan" in site.fails("h1", *wrong, "transport=ipvlan", "n")
    assert "physical segment" in site.fails("h1", *wrong, "transport=vlan", "n")


def test_published_ports_lead_to_containers_as_long_as_they_are_there(site: Site) -> None:
    tenant, address = site.tenants[0], site.lab.host("h1").address
    for host in ("h1", "h2"):
        site.network(host, "open", "--subnet", "10.52.0.0/24", "-o", f"tenant={tenant}", "-o", "network=open")
    site.run("h2", "client", "open")
    site.run("h1", "server", "open", "-p", "18080:80", "-p", f"{address}:18081:80", "-p", "80")
    assert site.hears("h2", "client", f"{address}:18080") and site.hears("h2", "client", f"{address}:18081")
    assert site.hears("h1", "server", f"{address}:18080"), "itself"
    published = {one["host_port"]: one for one in site.rest.items("/publications", {"tenant": tenant})}
    (chosen,) = published.keys() - {18080, 18081}
    assert site.hears("h2", "client", f"{address}:{chosen}") and all(one["by_runtime"] for one in published.values())
    taken = ("run", "--rm", "--network", "open", "-p", "18080:80", docker.IMAGE, "true")
    assert "Port tcp/18080 of host h1 is published for" in site.fails("h1", *taken)
    site.remove("h1", "server")
    assert not site.hears("h2", "client", f"{address}:18080")
    assert not list(site.rest.items("/publications", {"tenant": tenant}))
    site.run("h1", "server", "open", "-p", "18080:80")
    assert site.hears("h2", "client", f"{address}:18080")


def test_a_network_is_joined_by_name(site: Site) -> None:
    tenant = site.tenants[0]
    site.rest.post("/networks", {"name": f"{tenant}/there", "subnets": ["10.45.0.0/24"], "gateways": ["10.45.0.9"]})
    site.network("h1", "here", "--ipam-opt", f"tenant={tenant}", "--ipam-opt", "network=there")
    address = site.run("h1", "c1", "here")
    assert address.startswith("10.45.0.") and "via 10.45.0.9" in site.docker("h1", "exec", "c1", "ip", "route")
    wrong = ("network", "create", *WARREN, "-o", f"tenant={tenant}", "-o", "network=there", "--subnet")
    assert "10.45.0.0/24" in site.fails("h1", *wrong, "10.46.0.0/24", "n")
    site.rest.patch(f"/tenants/{tenant}", {"labels": {"warren/engine-networks": None}})
    assert "warren/engine-networks=create" in site.fails(
        "h1", "network", "create", *WARREN, "--subnet", "10.47.0.0/24", "-o", f"tenant={tenant}", "n"
    )


@pytest.mark.parametrize("kill", [False, True])
def test_a_restart_of_any_part_is_survived(site: Site, kill: bool) -> None:
    lab, tenant = site.lab, site.tenants[0]
    for host in ("h1", "h2"):
        site.network(host, "lasting", "--subnet", "10.48.0.0/24", "-o", f"tenant={tenant}", "-o", "network=lasting")
    site.run("h1", "stays", "lasting", "--restart", "always", "--ip", "10.48.0.50")
    peer = site.run("h2", "peer", "lasting")
    for part in ("agent:h1", "controller", "web"):
        lab.restart(part, kill)
        until(lambda: site.hears("h1", "stays", peer), f"packets pass after {part} restarted")
        name = f"new-{part.replace(':', '-')}"
        until_ready(lab)
        address = site.run("h1", name, "lasting")
        assert site.hears("h2", "peer", address)
        site.remove("h1", name)
    lab.restart("docker:h1", kill)
    until(lambda: site.hears("h1", "stays", peer), "the container that restarts with dockerd is heard")
    assert site.address("h1", "stays", "lasting") == "10.48.0.50"
    assert site.hears("h2", "peer", "10.48.0.50")
    assert site.hears("h2", "peer", site.run("h1", "after", "lasting"))
    assert len(site.endpoints(tenant)) == 3


def until_ready(lab: Lab) -> None:
    until(lambda: all(one["connected"] for one in lab.rest.items("/hosts")), "all hosts are connected")


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


def test_many_containers_at_once_have_addresses_of_their_own(site: Site) -> None:
    tenant = site.tenants[0]
    for host in ("h1", "h2"):
        held = ("--aux-address", "printer=10.51.0.3")  # the same on both hosts, and given to nobody
        site.network(host, "many", "--subnet", "10.51.0.0/24", *held, "-o", f"tenant={tenant}", "-o", "network=many")
    assert site.rest.get(f"/networks/{tenant}/many").body["subnets"][0]["aux_addresses"] == {"printer": "10.51.0.3"}
    hosts = [("h1", "h2")[n % 2] for n in range(24)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda n: site.run(hosts[n], f"many{n}", "many", command="sleep 1000"), range(24)))
        assert len(set(found)) == 24 and "10.51.0.3" not in found
        list(pool.map(lambda n: site.remove(hosts[n], f"many{n}"), range(24)))
    for host in site.lab.hosts:
        assert "wrn" not in netns.run("ip", "-n", host.netns, "-o", "link", "show", "type", "veth")
    assert site.endpoints(tenant) == []


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


def test_a_running_container_follows_its_networks_mtu(site: Site) -> None:
    tenant = site.tenants[0]
    site.network("h1", "sized", "--subnet", "10.48.0.0/24", "-o", f"tenant={tenant}", "-o", "network=sized")
    site.run("h1", "z1", "sized")

    def inside() -> str:
        return site.docker("h1", "exec", "z1", "ip", "link", "show", "eth0")

    assert "mtu 1450 " in inside()
    site.rest.patch(f"/networks/{tenant}/sized", {"mtu": 1300})
    until(lambda: "mtu 1300 " in inside(), "MTU 1300")
