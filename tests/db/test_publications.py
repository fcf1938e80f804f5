"""Published ports: what stands beside what, what goes with what, and what hosts are told."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Engine

from db import attachments, endpoints, hosts, networks, publications, tenants, transport
from db.changes import transaction
from db.engine import reading, writing
from db.errors import CollidesElsewhere, Conflict, Exhausted, Forbidden, Invalid, NotFound
from db.publications import Wish
from db.snapshot import snapshot
from db.tables import Endpoint, utcnow
from db.wanted import WantedEndpoint, changed_for_host, wanted
from tests.db import steps


def site(engine: Engine) -> dict[str, Any]:
    h1, h2 = steps.host(engine, "h1"), steps.host(engine, "h2", "198.18.0.12")
    for tenant in ("acme", "beta"):
        steps.tenant(engine, tenant)
        steps.network(engine, f"{tenant}/web", private=True)
    made = {"h1": h1, "h2": h2}
    for host, tenant, name in ((h1, "acme", "web1"), (h1, "beta", "web1"), (h2, "acme", "web2")):
        made[f"{tenant}/{name}"] = _attach(engine, host, tenant, name)
    return made


def _attach(engine: Engine, host: Any, tenant: str, name: str) -> WantedEndpoint:
    with transaction(engine) as tx:
        where = host.id, f"{tenant}-{name}", "eth0"
        return attachments.attach(tx, *where, network=f"{tenant}/web", name=name).endpoint


def publish(engine: Engine, name: str, host_port: int, port: int = 80, **more: Any) -> int:
    wish = Wish(**{"protocol": "tcp", "port": port, "host_port": host_port, **more})
    with transaction(engine) as tx:
        made = publications.publish(tx, name, wish)
        return made.host_port


def told(engine: Engine, host: Any) -> list[dict[str, Any]]:
    with reading(engine) as session:
        return wanted(session, host.id).published


def test_hosts_are_told_their_own_and_of_nobody_elses(engine: Engine) -> None:
    its = site(engine)
    before = steps.revision(engine)
    publish(engine, "acme/web1", 8080, count=2, host_ip="192.0.2.11")
    (one,) = told(engine, its["h1"])
    assert (one["endpoint"], one["host_ip"], one["host_port"], one["port"], one["count"]) == (
        *("acme/web1", "192.0.2.11", 8080, 80),
        2,
    )
    assert one["ofport"] == 100 and one["families"] == [4, 6]
    assert not told(engine, its["h2"])
    with reading(engine) as session:
        assert changed_for_host(session, its["h1"].id, before)
        assert not changed_for_host(session, its["h2"].id, before)


@pytest.mark.parametrize(
    ("more", "collides"),
    [
        ({}, True),
        ({"host_port": 8079, "count": 2}, True),
        ({"host_ip": "192.0.2.11"}, True),
        ({"host_ip": "::"}, True),
        ({"host_port": 8082}, False),
        ({"protocol": "udp"}, False),
    ],
)
def test_a_port_is_one_endpoints(engine: Engine, more: dict[str, Any], collides: bool) -> None:
    site(engine)
    publish(engine, "acme/web1", 8080, count=2)
    asked = {"host_port": 8080, **more}
    publish(engine, "acme/web2", **asked)  # on another host
    if not collides:
        publish(engine, "beta/web1", **asked)
        return
    with pytest.raises(CollidesElsewhere, match="is published for acme/web1") as fault:
        publish(engine, "beta/web1", **asked)
    assert "acme" not in fault.value.discreet
    with pytest.raises(Conflict, match="is published for acme/web1"):
        publish(engine, "acme/web1", **asked)


def test_addresses_of_the_host_and_families_are_apart(engine: Engine) -> None:
    site(engine)
    publish(engine, "acme/web1", 8080, host_ip="192.0.2.11")
    publish(engine, "beta/web1", 8080, host_ip="192.0.2.12")
    publish(engine, "beta/web1", 8080, host_ip="::")
    for host_ip in ("0.0.0.0", "", "2001:db8::1"):
        with pytest.raises(Conflict):
            publish(engine, "acme/web1", 8080, host_ip=host_ip)


def test_programs_of_the_host_are_heeded(engine: Engine) -> None:
    its = site(engine)
    listening = [{"protocol": "tcp", "address": a, "port": p} for a, p in (("::", 22), ("127.0.0.1", 25))]
    with writing(engine) as session:
        hosts.report(session, its["h1"].id, {"listening": listening}, utcnow())
    with pytest.raises(Conflict, match="port tcp/22 of host h1 is in use"):
        publish(engine, "acme/web1", 20, count=5)
    with pytest.raises(Conflict, match="in use"):
        publish(engine, "acme/web1", 25)
    publish(engine, "acme/web1", 25, host_ip="192.0.2.11")
    publish(engine, "acme/web1", 22, protocol="udp")


def test_a_free_port_is_chosen(engine: Engine) -> None:
    site(engine)
    first = publish(engine, "acme/web1", 0)
    assert first == 32768 and publish(engine, "beta/web1", 0) == 32769
    assert publish(engine, "acme/web1", 9000, last=9001) == 9000
    assert publish(engine, "acme/web1", 9000, last=9001) == 9001
    with pytest.raises(Exhausted, match="no port of 9000 to 9001 of host h1 is free"):
        publish(engine, "acme/web1", 9000, last=9001)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"protocol": "icmp"}, "protocol 'icmp' cannot be published"),
        ({"port": 0}, "ports 0 to 0 do not exist"),
        ({"host_port": 65535, "count": 2}, "ports 65535 to 65536 do not exist"),
        ({"count": 1025}, "1025 ports cannot be published at once"),
        ({"host_ip": "x"}, "'x' is not an address"),
        ({"host_ip": "fe80::1%eth0"}, "'fe80::1%eth0' is not an address"),
        ({"host_ip": "::1%x"}, "'::1%x' is not an address"),
    ],
)
def test_what_cannot_be_is_refused(engine: Engine, more: dict[str, Any], said: str) -> None:
    site(engine)
    with pytest.raises(Invalid, match=said):
        publish(engine, "acme/web1", **{"host_port": 8080, **more})


def test_a_closed_network_publishes_nothing_and_rests_what_is_there(engine: Engine) -> None:
    its = site(engine)
    publish(engine, "acme/web1", 8080)
    with transaction(engine) as tx:
        networks.update(tx, "acme/web", outbound=False)
    assert not told(engine, its["h1"])
    with pytest.raises(Conflict, match="network acme/web is closed to the outside"):
        publish(engine, "acme/web1", 8081)
    with transaction(engine) as tx:
        networks.update(tx, "acme/web", outbound=True)
    assert told(engine, its["h1"])


def mesh(engine: Engine, name: str, host_port: int, **more: Any) -> int:
    return publish(engine, name, host_port, mesh=True, **more)


def test_all_hosts_are_told_what_all_publish_and_each_where_it_is(engine: Engine) -> None:
    its = site(engine)
    before = steps.revision(engine)
    mesh(engine, "acme/web1", 8080)
    (here,), (there,) = told(engine, its["h1"]), told(engine, its["h2"])
    assert (here["ofport"], here["mesh"]) == (100, 0) and (there["ofport"], there["mesh"]) == (0, 1)
    assert {**here, "ofport": 0, "mesh": 1} == there
    assert [told(engine, steps.host(engine, "h3", "198.18.0.13"))] == [[there]], "one that joins, too"
    with reading(engine) as session:
        assert all(changed_for_host(session, its[host].id, before) for host in ("h1", "h2"))
        assert {one.mesh for one in _endpoints(session)} == {0, 1}
        assert [one.host_port for one in publications.find(session, host="h2").items] == [8080]


def _endpoints(session: Any) -> list[Any]:
    return [change.value for change in snapshot(session)[1] if change.noun == "endpoint"]


def test_an_endpoint_has_one_number_which_rests_when_it_is_free(engine: Engine) -> None:
    its = site(engine)
    numbers = lambda: [one["mesh"] for one in told(engine, its["h2"])]  # noqa: E731
    for port in (8080, 8081):
        mesh(engine, "acme/web1", port)
    mesh(engine, "beta/web1", 8082)
    assert numbers() == [1, 1, 2]
    with reading(engine) as session:
        rows = publications.find(session, tenant="acme").items
    for row in rows:
        before = steps.revision(engine)
        with transaction(engine) as tx:
            publications.withdraw(tx, "acme/web1", row.id)
        with reading(engine) as session:
            assert changed_for_host(session, its["h2"].id, before)
    assert numbers() == [2]
    mesh(engine, "acme/web1", 8080)
    assert sorted(numbers()) == [2, 3], "who spoke to number 1 reaches nobody else"
    before = steps.revision(engine)
    with transaction(engine) as tx:
        endpoints.delete(tx, "beta/web1")
    assert numbers() == [3]
    with reading(engine) as session:
        assert changed_for_host(session, its["h2"].id, before)


@pytest.mark.parametrize(
    ("first", "then", "said"),
    [
        (("acme/web2", 8080, False), ("acme/web1", 8080, True), "port tcp/8080 of host h2 is published for acme/web2"),
        (("acme/web1", 8080, True), ("acme/web2", 8080, False), "port tcp/8080 of every host is published for acme"),
        (("acme/web1", 8080, True), ("acme/web2", 8080, True), "port tcp/8080 of every host is published for acme"),
    ],
)
def test_a_port_of_all_hosts_is_one_endpoints(engine: Engine, first: Any, then: Any, said: str) -> None:
    its = site(engine)
    name, port, everywhere = first
    publish(engine, name, port, mesh=everywhere)
    name, port, everywhere = then
    with pytest.raises(Conflict, match=said):
        publish(engine, name, port, mesh=everywhere)
    publish(engine, name, port + 1, mesh=everywhere)
    with writing(engine) as session:
        hosts.report(session, its["h2"].id, {"listening": [{"protocol": "tcp", "address": "::", "port": 22}]}, utcnow())
    with pytest.raises(Conflict, match="port tcp/22 of host h2 is in use"):
        mesh(engine, "acme/web1", 22)
    publish(engine, "acme/web1", 22)
    with pytest.raises(Invalid, match=r"192.0.2.11 is an address of one host"):
        mesh(engine, "acme/web1", 9000, host_ip="192.0.2.11")
    assert mesh(engine, "acme/web1", 0) == 32768


def test_all_hosts_hear_when_it_moves_or_its_network_closes(engine: Engine) -> None:
    its = site(engine)
    h3 = steps.host(engine, "h3", "198.18.0.13")
    mesh(engine, "acme/web1", 8080)
    before = steps.revision(engine)
    _move(engine, "acme/web1", its["h2"])
    with reading(engine) as session:
        assert changed_for_host(session, h3.id, before)
    assert [told(engine, its[host])[0]["mesh"] for host in ("h1", "h2")] == [1, 0]
    before = steps.revision(engine)
    with transaction(engine) as tx:
        networks.update(tx, "acme/web", outbound=False)
    with reading(engine) as session:
        assert changed_for_host(session, h3.id, before)
    assert not any(told(engine, host) for host in (its["h1"], its["h2"], h3))


def _move(engine: Engine, name: str, to: Any) -> None:
    tenant, short = name.split("/")
    with transaction(engine) as tx:
        where = to.id, f"{short}-there", "eth0"
        attachments.attach(tx, *where, network=f"{tenant}/web", name=short, move=True, entitled=True)


def test_an_endpoint_takes_its_ports_along_or_does_not_move(engine: Engine) -> None:
    its = site(engine)
    publish(engine, "acme/web1", 8080)
    mesh(engine, "acme/web1", 8081)
    publish(engine, "acme/web2", 8080)
    with pytest.raises(Conflict, match=r"acme/web1 takes its .* host h2, and port tcp/8080 .* published for acme/web2"):
        _move(engine, "acme/web1", its["h2"])
    assert len(told(engine, its["h1"])) == 2 and told(engine, its["h1"])[0]["ofport"] == 100, "nothing half done"
    with transaction(engine) as tx:
        endpoints.delete(tx, "acme/web2")
    with writing(engine) as session:
        listening = [{"protocol": "tcp", "address": "0.0.0.0", "port": 8080}]
        hosts.report(session, its["h2"].id, {"listening": listening}, utcnow())
    with pytest.raises(Conflict, match="port tcp/8080 of host h2 is in use: a program"):
        _move(engine, "acme/web1", its["h2"])
    with writing(engine) as session:
        hosts.report(session, its["h2"].id, {"listening": []}, utcnow())
    _move(engine, "acme/web1", its["h2"])
    assert [one["host_port"] for one in told(engine, its["h2"])] == [8080, 8081]


def test_ports_go_one_by_one_and_with_their_endpoint(engine: Engine) -> None:
    its = site(engine)
    for port in (8080, 8081):
        publish(engine, "acme/web1", port)
    with reading(engine) as session:
        first, _ = publications.find(session, tenant="acme", host="h1").items
        assert not publications.find(session, tenant="beta").items
    with pytest.raises(NotFound), transaction(engine) as tx:
        publications.withdraw(tx, "beta/web1", first.id)
    with transaction(engine) as tx:
        publications.withdraw(tx, "acme/web1", first.id)
    assert [one["host_port"] for one in told(engine, its["h1"])] == [8081]
    with transaction(engine) as tx:
        endpoints.delete(tx, "acme/web1")
    assert not told(engine, its["h1"])


def test_a_runtime_says_all_of_its_own(engine: Engine) -> None:
    its = site(engine)
    publish(engine, "acme/web1", 8080)
    wishes = [Wish("tcp", 80, 9000), Wish("udp", 53)]

    def replace(asked: list[Wish]) -> list[int]:
        with transaction(engine) as tx:
            endpoint = tx.session.get_one(Endpoint, its["acme/web1"].id)
            return [one.host_port for one in publications.replace(tx, endpoint, asked)]

    assert replace(wishes) == [9000, 32768]
    before = steps.revision(engine)
    assert sorted(replace(wishes)) == [9000, 32768] and steps.revision(engine) == before, "nothing changed"
    assert replace(wishes[1:]) == [32768]
    with pytest.raises(Conflict, match="published for acme/web1"):
        replace([Wish("tcp", 80, 8080)])
    assert replace([]) == []
    assert [one["host_port"] for one in told(engine, its["h1"])] == [8080], "what people published stays"


def test_an_address_that_the_host_has_not_got_is_refused_where_its_agent_has_said_which_it_has(engine: Engine) -> None:
    its = site(engine)
    publish(engine, "acme/web1", 8080, host_ip="192.0.2.99")  # nobody knows yet

    def says(addresses: list[str]) -> None:
        for host in ("h1", "h2"):
            with writing(engine) as session:
                hosts.report(session, its[host].id, {"addresses": addresses if host == "h1" else []}, utcnow())

    says(["198.18.0.11", "2001:db8::1"])
    words = "host h1 has no address 192.0.2.99: it has 198.18.0.11, 2001:db8::1; publish by one of these, or give"
    with pytest.raises(Conflict, match=words) as refused:
        publish(engine, "acme/web1", 8081, host_ip="192.0.2.99")
    assert refused.value.field == "host_ip"
    for number, host_ip in enumerate(("198.18.0.11", "2001:db8::1", "127.0.0.9", "::1", "0.0.0.0", "::", "")):
        publish(engine, "acme/web1", 9000 + number, host_ip=host_ip)
    with pytest.raises(Conflict, match=r"host h2 has no address .*: it has told none"):
        publish(engine, "acme/web2", 8081, host_ip="198.18.0.11")
    words = r"takes its published ports along to host h2, and host h2 has no address 192\.0\.2\.99"
    with transaction(engine) as tx, pytest.raises(Conflict, match=words):
        move = {"network": "acme/web", "name": "web1", "move": True, "entitled": True}
        attachments.attach(tx, its["h2"].id, "elsewhere", "eth0", **move)


def test_runtimes_publish_by_all_hosts_where_the_tenant_lets_them(engine: Engine) -> None:
    its = site(engine)
    wish = Wish("tcp", 80, 8080, mesh=True)

    def replace(wishes: list[Wish]) -> list[bool]:
        with transaction(engine) as tx:
            endpoint = endpoints.get(tx.session, "acme/web1")
            return [one.mesh > 0 for one in publications.replace(tx, endpoint, wishes)]

    with pytest.raises(Forbidden, match="`warren tenant label acme warren/engine-mesh=allow`, or publish without mesh"):
        replace([wish])
    assert replace([wish._replace(mesh=False)]) == [False] and not told(engine, its["h2"])
    with transaction(engine) as tx:
        tenants.update(tx, "acme", labels={"warren/engine-mesh": "allow"})
    assert replace([wish]) == [True] and [one["host_port"] for one in told(engine, its["h2"])] == [8080]
    with transaction(engine) as tx:
        tenants.update(tx, "acme", labels={"warren/engine-mesh": None})
    assert replace([wish]) == [True], "what is there stays"
    assert replace([wish._replace(mesh=False)]) == [False] and not told(engine, its["h2"])


def test_the_ports_of_tunnels_are_nobody_elses(engine: Engine) -> None:
    """Hosts would hand an endpoint what others send to each other."""
    site(engine)
    for wish in ({"host_port": 4789}, {"host_port": 4780, "count": 20}, {"host_port": 6081, "mesh": True}):
        with pytest.raises(Conflict, match=r"port udp/(4789|6081) of every host is for tunnels"):
            publish(engine, "acme/web1", protocol="udp", **wish)
    publish(engine, "acme/web1", 4789)
    assert publish(engine, "acme/web1", 4789, last=4790, protocol="udp") == 4790
    with pytest.raises(Conflict, match="UDP port 4790 is published for acme/web1") as refused:
        steps.do(engine, transport.set_udp_ports, {"vxlan": 4790})
    assert "warren unpublish acme/web1 4790" in refused.value.remedy
    steps.do(engine, transport.set_udp_ports, {"vxlan": 8472})
    assert publish(engine, "acme/web1", 4789, protocol="udp") == 4789


def test_a_host_address_of_a_family_that_the_endpoint_has_not_got_leads_nowhere(engine: Engine) -> None:
    its = site(engine)
    steps.network(engine, "acme/four", "10.77.0.0/24")
    steps.attach(engine, its["h1"], "four", "acme/four")
    for host_ip in ("::", "2001:db8::1", "::1"):
        with pytest.raises(Conflict, match=f"endpoint acme/four has no IPv6 address, and {host_ip} is one") as refused:
            publish(engine, "acme/four", 8080, host_ip=host_ip)
        assert refused.value.field == "host_ip"
    for number, host_ip in enumerate(("", "0.0.0.0", "192.0.2.11")):
        publish(engine, "acme/four", 8080 + number, host_ip=host_ip)


def test_a_runtime_that_asks_again_with_rubbish_is_told_so(engine: Engine) -> None:
    its = site(engine)
    for wish, refused in ((Wish("tcp", 80, 8080), None), (Wish("tcp", 80, 8080, host_ip="x"), Invalid)):
        with transaction(engine) as tx:
            endpoint = tx.session.get_one(Endpoint, its["acme/web1"].id)
            if refused is None:
                publications.replace(tx, endpoint, [wish])
            else:
                with pytest.raises(refused, match="'x' is not an address"):
                    publications.replace(tx, endpoint, [wish])
