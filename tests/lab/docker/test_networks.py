"""Networks that people create with the docker command: every option, the same on two hosts, or refused."""

from __future__ import annotations

import json

import pytest

from lab import docker
from tests.lab.docker.site import WARREN, Site
from tests.lab.waiting import until


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
    for _ in range(2):
        assert site.run("h2", "db", "agreed", "--ip", "10.53.0.98") == "10.53.0.98", "it is kept for who is called so"
        assert site.hears("h1", "a0", "10.53.0.98")
        site.remove("h2", "db")
    named = ("--network", "name=agreed,driver-opt=name=base,driver-opt=label.app=db,ip=10.53.0.98")
    site._containers.append(("h1", "db"))
    site.docker("h1", "run", "-d", "--name", "db", *named, docker.IMAGE, "sleep", "1000")
    assert site.rest.get(f"/endpoints/{tenant}/base").body["addresses"][0].startswith("10.53.0.98")


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


def test_a_running_container_follows_its_networks_mtu(site: Site) -> None:
    tenant = site.tenants[0]
    site.network("h1", "sized", "--subnet", "10.48.0.0/24", "-o", f"tenant={tenant}", "-o", "network=sized")
    site.run("h1", "z1", "sized")

    def inside() -> str:
        return site.docker("h1", "exec", "z1", "ip", "link", "show", "eth0")

    assert "mtu 1450 " in inside()
    site.rest.patch(f"/networks/{tenant}/sized", {"mtu": 1300})
    until(lambda: "mtu 1300 " in inside(), "MTU 1300")
