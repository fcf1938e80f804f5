"""Containers that people run with the docker command, on two hosts."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from lab import docker, netns
from tests.lab.docker.site import Site


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
