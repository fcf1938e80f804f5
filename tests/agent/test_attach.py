"""What a container gets from ADD, keeps under CHECK and gives back with DEL."""

from __future__ import annotations

import array
import fcntl
import ipaddress
import re
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from db import endpoints
from db.changes import transaction
from ovs_agent.netlink.veth import SIOCETHTOOL
from tests.agent.conftest import Host, Site
from tests.agent.site import Container, configuration, inside, run, until

NewContainer = Callable[..., Container]
CONFIRMATION = re.compile(r'"GET /api/v1/revisions/\d+\?(\S*) HTTP')


@contextmanager
def other_host(site: Site) -> Iterator[Host]:
    other = Host(site)
    try:
        other.start()
        yield other
    finally:
        other.close()


def addresses(container: Container) -> set[str]:
    shown = container.ip("-o", "address", "show", "dev", container.ifname, "scope", "global").split("\n")
    return {line.split()[3] for line in shown if line}


def test_the_interface_inside_is_what_the_result_says(host: Host, container: NewContainer) -> None:
    one = container()
    result = one.add()
    outer, inner = result["interfaces"]
    assert inner["sandbox"] == one.path
    link = one.ip("-o", "link", "show", "dev", "eth0")
    assert f"link/ether {inner['mac']}" in link and f"mtu {inner['mtu']}" in link and "state UP" in link
    assert {ip["address"] for ip in result["ips"]} == addresses(one)
    assert {ipaddress.ip_interface(ip["address"]).version for ip in result["ips"]} == {4, 6}
    for route, family in zip(result["routes"], ("-4", "-6"), strict=True):
        assert f"default via {route['gw']} dev eth0" in one.ip(family, "route")
    assert f"link/ether {outer['mac']}" in run("ip", "-n", host.site.netns, "link", "show", "dev", outer["name"])


def test_the_port_has_the_number_that_its_flows_are_made_for(host: Host, container: NewContainer) -> None:
    one = container()
    name = one.add()["interfaces"][0]["name"]
    wanted = next(endpoint for endpoint in host.endpoints() if endpoint.container_id == one.id)
    assert wanted.port_name == name
    shown = host.site.ovs.vsctl("--columns=ofport,external_ids", "--format=json", "list", "interface", name)
    assert f"[[{wanted.ofport}," in shown.replace(" ", "") and one.id in shown and one.path in shown


def test_the_first_packet_after_add_passes(container: NewContainer) -> None:
    one, two = container(), container()
    two.add()
    there = [address.split("/")[0] for address in addresses(two)]
    one.add()
    for address in sorted(there):
        run("ip", "netns", "exec", one.netns, "ping", "-c", "1", "-W", "20", address)


def test_packets_leave_with_their_checksum(container: NewContainer) -> None:
    """A data path in user space would pass on an unfinished one."""
    one = container()
    one.add()
    value = array.array("B", struct.pack("=II", 0x16, 1))
    with inside(one.netns), socket.socket() as any_socket:
        fcntl.ioctl(any_socket, SIOCETHTOOL, struct.pack("16sP16x", b"eth0", value.buffer_info()[0]))
    assert struct.unpack("=II", value)[1] == 0


def test_ipv6_answers_only_where_the_network_has_it(container: NewContainer) -> None:
    both, old = container(), container()
    both.add()
    old.add(network="acme/old")
    assert "inet6 fe80::" in both.ip("address") and "tentative" not in both.ip("address")
    assert "inet6" not in old.ip("address", "show", "dev", "eth0")


def test_the_host_itself_cannot_be_spoken_to_around_the_bridge(host: Host, container: NewContainer) -> None:
    one = container()
    name = one.add()["interfaces"][0]["name"]
    settings = {"ipv4/conf/{}/arp_ignore": "8", "ipv4/conf/{}/rp_filter": "1", "ipv6/conf/{}/disable_ipv6": "1"}
    with inside(host.site.netns):
        for path, value in settings.items():
            assert Path("/proc/sys/net", path.format(name)).read_text().strip() == value


@pytest.mark.parametrize("version", ["0.3.1", "0.4.0", "1.0.0", "1.1.0"])
def test_the_result_has_the_shape_of_the_version_asked_for(container: NewContainer, version: str) -> None:
    one = container()
    result = one.add(cniVersion=version)
    assert result["cniVersion"] == version
    assert all(("version" in ip) == (version < "1.0.0") for ip in result["ips"])
    assert all(("mtu" in interface) == (version == "1.1.0") for interface in result["interfaces"])
    assert all(ip["interface"] == 1 for ip in result["ips"])


def test_an_address_and_a_mac_can_be_asked_for(container: NewContainer) -> None:
    one = container()
    runtime = {"ips": ["10.20.0.99/24", "fd00:20::99"], "mac": "06:11:22:33:44:55"}
    result = one.add(runtimeConfig=runtime)
    assert addresses(one) == {"10.20.0.99/24", "fd00:20::99/64"}
    assert result["interfaces"][1]["mac"] == "06:11:22:33:44:55"


def test_the_endpoint_is_named_and_labelled_as_the_runtime_says(host: Host, container: NewContainer) -> None:
    one = container()
    config = configuration(args={"cni": {"labels": [{"key": "app", "value": "web"}]}})
    del config["network"]
    ports = [{"name": "http", "port": 80, "protocol": "tcp"}]
    reply = one.call(
        "ADD", {**config, "network": None, "ports": ports}, CNI_ARGS="K8S_POD_NAMESPACE=acme;K8S_POD_NAME=Web.Pod_1"
    )
    assert reply.exit == 0, reply.body
    wanted = next(endpoint for endpoint in host.endpoints() if endpoint.container_id == one.id)
    assert (wanted.name, wanted.network) == ("acme/web-pod-1", "acme/default")


def test_a_second_interface_leaves_the_first_its_default_route(host: Host, container: NewContainer) -> None:
    one = container()
    one.add()
    other = one._replace(ifname="eth1")
    result = other.add(network="acme/old")
    assert result["routes"] == []
    assert one.ip("route").count("default") == 1
    other.delete()
    assert "eth1" not in one.ip("link") and "eth0" in one.ip("link")


def test_del_gives_everything_back(host: Host, container: NewContainer) -> None:
    before = set(host.ports()), set(host.links()), {endpoint.id for endpoint in host.endpoints()}
    one = container()
    one.add()
    one.delete()
    assert "eth0" not in one.ip("link")
    assert before == (set(host.ports()), set(host.links()), {endpoint.id for endpoint in host.endpoints()})


def test_del_succeeds_again_and_for_what_never_was(container: NewContainer) -> None:
    one = container()
    one.delete()
    one.add()
    one.delete()
    one.delete(CNI_NETNS="")
    one._replace(ifname="never").delete(CNI_NETNS=None)


def test_del_needs_no_namespace(host: Host, container: NewContainer) -> None:
    one = container()
    name = one.add()["interfaces"][0]["name"]
    one.delete(CNI_NETNS=None)
    assert name not in host.ports() and name not in host.links()


def test_del_after_the_namespace_is_gone(host: Host, container: NewContainer) -> None:
    one = container()
    name = one.add()["interfaces"][0]["name"]
    run("ip", "netns", "del", one.netns)
    until(lambda: name not in host.links(), "the kernel takes the veth away")
    one.delete()
    assert name not in host.ports()
    run("ip", "netns", "add", one.netns)


def test_a_container_can_come_back(container: NewContainer) -> None:
    """`podman network reload` detaches and attaches a running container."""
    one = container()
    first = one.add()
    one.delete()
    second = one.add(runtimeConfig={"ips": [ip["address"] for ip in first["ips"]] * 2})
    assert [ip["address"] for ip in first["ips"]] == [ip["address"] for ip in second["ips"]]


def test_check_is_content_with_what_add_made(container: NewContainer) -> None:
    one = container()
    result = one.add()
    assert one.call("CHECK", {"prevResult": result}) == (0, None)


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (("address", "del", "{ip}", "dev", "eth0"), "has lost address {ip}"),
        (("-4", "route", "del", "default"), "The default route through 10.20.0.1 is gone"),
        (("link", "set", "eth0", "address", "02:00:00:00:00:01"), "has MAC address 02:00:00:00:00:01"),
        (("link", "del", "eth0"), "has no interface eth0"),
    ],
)
def test_check_finds_what_was_changed(container: NewContainer, damage: tuple[str, ...], complaint: str) -> None:
    one = container()
    result = one.add()
    ip = result["ips"][0]["address"]
    one.ip(*(word.format(ip=ip) for word in damage))
    reply = one.call("CHECK", {"prevResult": result})
    assert reply.exit == 1 and reply.code >= 100
    assert complaint.format(ip=ip) in f"{reply.body['msg']} {reply.body.get('details')}"


def test_check_of_the_unknown_fails(container: NewContainer) -> None:
    reply = container().call("CHECK", {"prevResult": {"cniVersion": "1.1.0"}})
    assert reply.code >= 100 and "is not attached" in reply.body["msg"]


def test_an_add_that_is_repeated_is_refused_and_harms_nothing(host: Host, container: NewContainer) -> None:
    one = container()
    result = one.add()
    reply = one.call("ADD")
    assert reply.code == 100 and "eth0" in reply.body["msg"]
    assert one.call("CHECK", {"prevResult": result}) == (0, None)


def test_status_says_whether_an_add_would_work(host: Host, container: NewContainer) -> None:
    one = container()
    until(lambda: one.call("STATUS").exit == 0, "the bridge is connected")
    with host.site.without_api():
        reply = one.call("STATUS")
    assert reply.code == 50 and host.site.api_url in reply.body["msg"]


def test_version_is_told_without_an_agent(host: Host, container: NewContainer) -> None:
    reply = container().call("VERSION", {"cniVersion": "1.0.0"})
    assert reply.body == {"cniVersion": "1.0.0", "supportedVersions": ["0.3.1", "0.4.0", "1.0.0", "1.1.0"]}


def test_gc_removes_what_the_runtime_has_forgotten(host: Host, container: NewContainer) -> None:
    kept, lost, foreign = container(), container(), container()
    for one, name in ((kept, "gc"), (lost, "gc"), (foreign, "other")):
        one.add(name=name)
    valid = {"cni.dev/valid-attachments": [{"containerID": kept.id, "ifname": "eth0"}]}
    assert kept.call("GC", {"name": "gc", **valid}) == (0, None)
    there = {endpoint.container_id for endpoint in host.endpoints()}
    assert kept.id in there and foreign.id in there and lost.id not in there
    assert "eth0" not in lost.ip("link")


@pytest.mark.parametrize(
    ("environment", "code"),
    [
        ({"CNI_NETNS": "/run/netns/not-there"}, 3),
        ({"CNI_NETNS": "/etc/passwd"}, 8),
        ({"CNI_IFNAME": "far-too-long-a-name"}, 4),
        ({"CNI_CONTAINERID": None}, 4),
        ({"CNI_COMMAND": "EXPLODE"}, 4),
    ],
)
def test_a_call_in_a_wrong_environment_changes_nothing(
    host: Host, container: NewContainer, environment: dict[str, Any], code: int
) -> None:
    before = host.endpoints(), host.links()
    reply = container().call(environment.pop("CNI_COMMAND", "ADD"), **environment)
    assert (reply.exit, reply.code) == (1, code), reply
    assert before == (host.endpoints(), host.links())


def test_the_hosts_own_namespace_is_refused(host: Host, container: NewContainer) -> None:
    reply = container().call("ADD", CNI_NETNS=f"/run/netns/{host.site.netns}")
    assert reply.code == 8 and "own network namespace" in reply.body["msg"]


@pytest.mark.parametrize(
    ("config", "code", "word"),
    [
        ('{"cniVersion": "1.1.0", ', 6, "JSON"),
        ({"cniVersion": "2.0.0"}, 1, "2.0.0"),
        ({"network": "web"}, 7, "network"),
        ({"network": "acme/none"}, 7, "acme/none"),
        ({"ports": [{"name": "http", "port": 99999}]}, 7, "ports"),
        ({"runtimeConfig": {"ips": ["10.99.0.9"]}}, 7, "10.99.0.9"),
        ({"runtimeConfig": {"ips": ["10.20.0.1"]}}, 101, "10.20.0.1"),
    ],
)
def test_a_wrong_configuration_changes_nothing(
    host: Host, container: NewContainer, config: Any, code: int, word: str
) -> None:
    before = host.endpoints(), host.links()
    reply = container().call("ADD", config)
    assert (reply.exit, reply.code) == (1, code), reply
    assert word in reply.body["msg"]
    assert before == (host.endpoints(), host.links())


def test_without_an_agent_the_plugin_says_try_again(host: Host, container: NewContainer) -> None:
    reply = container().call("ADD", {"socket": str(host.folder / "nobody.sock")})
    assert reply.code == 11 and "nobody.sock" in reply.body["msg"]
    assert container().call("STATUS", {"socket": str(host.folder / "nobody.sock")}).code == 50


def test_a_host_that_is_cut_off_does_not_hold_up_every_attach(host: Host, container: NewContainer) -> None:
    """It is waited for once, for a moment; the next ones know."""
    with other_host(host.site) as other:
        host.agent.stop()  # the two share a namespace here, and each would take the other's pairs for left-overs
        first = other.container()
        first.add()
        until(lambda: host.site.connected(other.name), "the other host's bridge is connected")
        other.agent.stop()
        host.start()
        host.site.ovs.vsctl("del-br", other.bridge)
        until(lambda: not host.site.connected(other.name), "the other host is cut off")
        container().add()

        def asked() -> list[str]:
            """Where a revision is live: on this host alone, where the question names it."""
            return CONFIRMATION.findall(host.site.api.said)

        def waits() -> bool:
            before = len(asked())
            container().add()
            until(lambda: len(asked()) > before, "the API has written down what it was asked")
            return any("host=" not in question for question in asked()[before:])

        tries = 1  # it is looked at again after a while, on a slow machine sooner than the next comes
        while waits():
            tries += 1
            assert tries < 20
        with transaction(host.site.engine) as tx:
            endpoints.delete(tx, f"acme/{first.id}")


def test_many_at_once(host: Host, container: NewContainer) -> None:
    containers = [container() for _ in range(24)]
    calls = [one.start("ADD") for one in containers]
    for child, config in calls:
        child.stdin.write(config)
        child.stdin.close()
        child.stdin = None
    assert [child.wait(60) for child, _ in calls] == [0] * len(calls), [c.stdout.read() for c, _ in calls]
    for child, _ in calls:
        child.communicate()
    numbers = [endpoint.ofport for endpoint in host.endpoints()]
    assert len(set(numbers)) == len(numbers)
    first, last = containers[0], containers[-1]
    address = next(iter(sorted(addresses(last)))).split("/")[0]
    run("ip", "netns", "exec", first.netns, "ping", "-c1", "-W20", address)
    for one in containers:
        one.delete()


def test_the_socket_is_roots_alone(host: Host) -> None:
    assert host.socket.stat().st_mode & 0o777 == 0o600
