"""What containers are called, in the DNS of every host."""

from __future__ import annotations

from lab import docker
from tests.lab.docker.site import Site
from tests.lab.waiting import NEVER, until, until_ready


def test_containers_are_known_by_their_names_on_all_hosts_as_long_as_they_run(site: Site) -> None:
    mine, theirs = site.tenants
    for host in ("h1", "h2"):
        site.network(host, "named", "--subnet", "10.55.0.0/24", "-o", f"tenant={mine}", "-o", "network=named")
        site.network(host, "others", "--subnet", "10.55.0.0/24", "-o", f"tenant={theirs}", "-o", "network=named")
    asker = site.run("h2", "asker", "named", "--network-alias", "back")
    site.run("h2", "stranger", "others")
    site.run("h1", "Web_1.x", "named", "--network-alias", "web", "--network-alias", "Front", "--hostname", "hh")
    address = site.run("h1", "web1", "named", "--network-alias", "front")
    for name in ("web1", "WEB", "front", "hh", "web1.named", f"web1.named.{mine}.warren.internal"):
        until(lambda name=name: site.hears("h2", "asker", name), f"{name} is known on h2")
    assert site.hears("h1", "web1", "asker") and site.hears("h1", "web1", "back") and site.hears("h1", "web1", asker)
    assert not site.hears("h2", "stranger", "web1", NEVER) and not site.hears("h2", "stranger", "front", NEVER)
    assert "169.254.53.53" not in site.docker("h2", "exec", "asker", "cat", "/etc/resolv.conf"), (
        "Docker's own resolver asks"
    )
    direct = ("exec", "asker", "nslookup", "web1.named", "169.254.53.53")
    assert address in site.docker("h2", *direct)
    site.fails("h2", "exec", "stranger", "nslookup", "web1.named", "169.254.53.53")

    site.docker("h1", "run", "-d", "--name", "late", docker.IMAGE, "httpd", "-f", "-h", "/www")
    site._containers.insert(0, ("h1", "late"))
    site.docker("h1", "network", "connect", "--alias", "later", "named", "late")
    until(lambda: site.hears("h2", "asker", "late") and site.hears("h2", "asker", "later"), "connected later")
    site.docker("h1", "network", "disconnect", "named", "late")
    assert not site.hears("h2", "asker", "late", NEVER)

    site.docker("h1", "rename", "web1", "web2")
    site._containers[-1] = ("h1", "web2")
    until(lambda: site.hears("h2", "asker", "web2"), "a new name")
    assert not site.hears("h2", "asker", "web1", NEVER)
    site.remove("h1", "web2")
    assert not site.hears("h2", "asker", "web2", NEVER), "gone with the container"
    site.docker("h1", "restart", "--time", "0", "Web_1.x")
    until(lambda: site.hears("h2", "asker", "front"), "the name of a container that started again")


def test_names_on_an_internal_network_are_asked_for_at_its_gateway(site: Site) -> None:
    for host in ("h1", "h2"):
        named = ("-o", f"tenant={site.tenants[0]}", "-o", "network=inner")
        site.network(host, "inner", "--subnet", "10.57.0.0/24", "--internal", *named)
    site.run("h1", "kept", "inner")
    site.run("h2", "asker", "inner", "--dns", "10.57.0.1")
    until(lambda: site.hears("h2", "asker", "kept"), "kept is known on h2")


def test_names_come_after_all_when_docker_or_the_agent_was_away(site: Site) -> None:
    tenant = site.tenants[0]
    for host in ("h1", "h2"):
        site.network(host, "late", "--subnet", "10.56.0.0/24", "-o", f"tenant={tenant}", "-o", "network=late")
    site.run("h2", "asker", "late")
    site.run("h1", "stays", "late", "--restart", "always")
    until(lambda: site.hears("h2", "asker", "stays"), "it is known")
    site.lab.restart("agent:h1")
    until_ready(site.lab)
    assert site.hears("h2", "asker", "stays"), "names are no agent's memory"
    site.docker("h1", "rename", "stays", "moved")
    site._containers[-1] = ("h1", "moved")
    site.lab.restart("docker:h1", True)
    until(lambda: site.hears("h2", "asker", "moved"), "named by the dockerd that came back")
