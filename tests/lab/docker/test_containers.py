"""Containers that people run with the docker command, on two hosts."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lab import docker, netns
from lab import host as hosts
from lab.names import HostName
from tests.lab.docker.site import Site
from tests.lab.waiting import NEVER, until
from tests.lab.world import SECONDS

WEB = ("httpd", "-f", "-h", "/www")


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
    assert not site.hears("h1", "m1", other, NEVER) and not site.hears("h2", "o1", first, NEVER)
    assert site.hears("h1", "m1", "m1")  # Docker's own names, of its own host

    side = site.run("h1", "s1", "side")
    assert not site.hears("h1", "m1", side, NEVER)
    site.docker("h1", "network", "connect", "--ip", "10.41.0.9", "--alias", "me", "side", "m1")
    assert site.hears("h1", "m1", side) and site.hears("h1", "m1", second) and site.hears("h1", "s1", "me")
    assert not site.hears("h2", "m2", side, NEVER)
    site.docker("h1", "network", "disconnect", "side", "m1")
    assert not site.hears("h1", "m1", side, NEVER) and site.hears("h1", "m1", second)


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
    assert not site.hears("h2", "client", f"{address}:18080", NEVER)
    until(lambda: not list(site.rest.items("/publications", {"tenant": tenant})), "they went with it")
    site.run("h1", "server", "open", "-p", "18080:80")
    assert site.hears("h2", "client", f"{address}:18080")


def test_ports_by_all_hosts_as_the_container_or_its_network_says(site: Site) -> None:
    tenant, (h1, h2) = site.tenants[0], (site.lab.host(name).address for name in ("h1", "h2"))
    own = ("--subnet", "10.53.0.0/24", "-o", f"tenant={tenant}", "-o", "network=mesh")
    site.network("h1", "plain", *own)
    site.network("h2", "mesh", *own, "-o", "mesh=true")
    site.run("h2", "client", "mesh")
    refused = site.fails("h2", "run", "--rm", "--network", "mesh", "-p", "18082:80", docker.IMAGE, "true")
    assert f"warren tenant label {tenant} warren/engine-mesh=allow" in refused
    site.rest.patch(f"/tenants/{tenant}", {"labels": {"warren/engine-mesh": "allow"}})
    alone = "name=plain,driver-opt=mesh=true"
    site.docker("h1", "run", "-d", "--name", "one", "--network", alone, "-p", "18080:80", docker.IMAGE, *WEB)
    try:
        site.run("h2", "two", "mesh", "-p", "18081:80")
        site.run("h1", "three", "plain", "-p", "18082:80")
        assert [site.hears("h2", "client", f"{at}:18080") for at in (h1, h2)] == [True, True]
        assert [site.hears("h2", "client", f"{at}:18081") for at in (h1, h2)] == [True, True]
        assert [site.hears("h2", "client", f"{at}:18082") for at in (h1, h2)] == [True, False]
        listed = {one["host_port"]: one["mesh"] for one in site.rest.items("/publications", {"tenant": tenant})}
        assert listed == {18080: True, 18081: True, 18082: False}
        taken = ("run", "--rm", "--network", "plain", "-p", "18081:80", docker.IMAGE, "true")
        assert "Port tcp/18081 of every host is published for" in site.fails("h1", *taken)
        wrong = ("run", "--rm", "--network", "name=plain,driver-opt=mesh=yes", docker.IMAGE, "true")
        assert "Option mesh is 'yes'; give true or false" in site.fails("h1", *wrong)
    finally:
        site.docker("h1", "rm", "-f", "one")
    assert not site.hears("h2", "client", f"{h2}:18080"), "it went with its container"


def test_limits_of_a_container_hold_as_soon_as_it_runs(site: Site) -> None:
    """Its runtime moves the interface, and the kernel forgets the limits of one that moves."""
    tenant = site.tenants[0]
    site.network("h1", "slow", "--subnet", "10.54.0.0/24", "-o", f"tenant={tenant}", "-o", "network=slow")
    site.rest.patch(f"/tenants/{tenant}", {"quota": {"bandwidth": 8_000_000}})
    site.run("h1", "slow1", "slow", command="sleep 1000")
    pid = str(site.inspect("h1", "slow1")["State"]["Pid"])

    def limit() -> str:
        return netns.run("nsenter", "-t", pid, "-n", "tc", "qdisc", "show", "dev", "eth0")

    until(lambda: "rate 8Mbit" in limit(), "the limit")
    changed = {"quota": {"bandwidth": 4_000_000}}
    live = site.rest.patch(f"/tenants/{tenant}", changed, params={"wait": SECONDS}, timeout=2 * SECONDS).body["live"]
    assert (live["state"], [one["host"] for one in live["hosts"]]) == ("applied", ["h1"])
    assert "rate 4Mbit" in limit(), "when the answer comes"


def test_two_hundred_containers_eight_at_a_time(site: Site) -> None:
    """On both hosts: no address twice at the same time, nothing left behind, and no agent that grows."""
    tenant, lock = site.tenants[0], threading.Lock()
    for host in ("h1", "h2"):
        held = ("--aux-address", "printer=10.51.0.3")  # the same on both hosts, and given to nobody
        site.network(host, "many", "--subnet", "10.51.0.0/24", *held, "-o", f"tenant={tenant}", "-o", "network=many")
    live: set[str] = {"10.51.0.3"}

    def start_and_stop(number: int) -> None:
        host, name = ("h1", "h2")[number % 2], f"many{number}"
        address = site.run(host, name, "many", command="sleep 1000")
        with lock:
            assert address not in live, f"{address} twice at the same time"
            live.add(address)
        time.sleep(0.3)  # it lives a while
        with lock:
            live.discard(address)
        site.remove(host, name)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(start_and_stop, range(60)))  # caches and pools grow to what eight at a time need
        before = [needs(host) for host in site.lab.hosts]
        list(pool.map(start_and_stop, range(60, 200)))
    until(lambda: not site.endpoints(tenant), "all are gone")
    for host, (memory, files) in zip(site.lab.hosts, before, strict=True):
        assert needs(host)[0] - memory < 6 * 1024
        until(lambda host=host, files=files: needs(host)[1] <= files + 4, f"files of {host.name}'s agent are closed")
        assert "wrn" not in netns.run("ip", "-n", host.netns, "-o", "link", "show", "type", "veth")
        assert not list((host.folder / "agent" / "docker" / "endpoints").iterdir())


def needs(host: HostName) -> tuple[int, int]:
    """KiB of memory and open files of the host's agent."""
    process = hosts.agent(host).process
    assert process is not None
    status = Path(f"/proc/{process.pid}/status").read_text()
    memory = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
    return memory, len(list(Path(f"/proc/{process.pid}/fd").iterdir()))
