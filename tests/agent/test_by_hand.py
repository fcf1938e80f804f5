"""`warren attach` and `detach`, as people call them: namespaces, processes, containers, and interfaces of the host."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from db import attachments, endpoints, networks
from db.changes import transaction
from db.engine import reading
from tests.agent.conftest import Host
from tests.agent.site import ROOT, Container, inside, run, until

NewContainer = Callable[..., Container]
TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 0x0002, 0x1000


def warren(host: Host, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command on the host, which has no token and knows no API."""
    with inside(host.site.netns):
        return subprocess.run(
            [sys.executable, "-m", "client", *arguments, "--socket", str(host.socket)],
            capture_output=True,
            text=True,
            timeout=60,
            cwd=ROOT,
            env={**os.environ, **environment},
        )


def done(host: Host, *arguments: str, **environment: str) -> Any:
    """What it prints, which must succeed."""
    ran = warren(host, *arguments, "-o", "json", **environment)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def refused(host: Host, *arguments: str, **environment: str) -> str:
    ran = warren(host, *arguments, **environment)
    assert ran.returncode and "Traceback" not in ran.stderr, ran.stderr
    return ran.stderr


def reaches(container: Container, address: str, ifname: str = "eth1") -> None:
    run("ip", "netns", "exec", container.netns, "ping", "-c1", "-W20", "-I", ifname, address)


def test_a_namespace_gets_an_interface_and_gives_it_back(host: Host, container: NewContainer) -> None:
    one, two = container(), container()
    ip = two.add()["ips"][0]["address"].split("/")[0]
    asked = ("--netns", one.path, "--network", "acme/web", "--name", "hand1", "--ip", "10.20.0.99", "--label", "app=db")
    made = done(host, "attach", *asked)
    assert (made["name"], made["addresses"][0], made["ifname"]) == ("acme/hand1", "10.20.0.99/24", "eth1")
    reaches(one, ip)
    with reading(host.site.engine) as session:
        assert endpoints.get(session, "acme/hand1").labels == {"app": "db"}
    assert "exists already in" in refused(host, "attach", *asked)
    said = warren(host, "detach", "--netns", one.path)
    assert said.returncode == 0 and "Interface eth1 is detached" in said.stdout, said
    assert "eth1" not in one.ip("link") and made["port_name"] not in host.ports()
    assert "is not attached here" in refused(host, "detach", "--netns", one.path)


def test_a_process_is_as_good_as_a_path(host: Host, container: NewContainer) -> None:
    one = container()
    process = subprocess.Popen(["ip", "netns", "exec", one.netns, "sleep", "600"])
    try:
        until(lambda: Path(f"/proc/{process.pid}/ns/net").stat().st_ino == Path(one.path).stat().st_ino, "it is there")
        made = done(host, "attach", "--pid", str(process.pid), "--network", "acme/old", "--ifname", "net7")
        assert made["name"] == f"acme/pid-{process.pid}-net7" and "inet 10.21." in one.ip("address", "show", "net7")
    finally:
        process.kill()
        process.wait()
    done(host, "detach", "--pid", str(process.pid), "--ifname", "net7")
    assert "net7" not in one.ip("link")


@pytest.fixture
def docker(tmp_path: Path, container: NewContainer) -> Iterator[tuple[dict[str, str], Container]]:
    """An engine that knows one container, `db1`, and says of it what Docker does."""
    one = container()
    process = subprocess.Popen(["ip", "netns", "exec", one.netns, "sleep", "600"])
    try:
        told = [{"Id": "f" * 64, "Name": "/db1", "State": {"Pid": process.pid}}]
        (tmp_path / "docker").write_text(
            f"#!/bin/sh\n[ \"$3\" = db1 ] && echo '{json.dumps(told)}' && exit\n"
            'echo "Error: No such container: $3" >&2; exit 1\n'
        )
        (tmp_path / "docker").chmod(0o755)
        until(lambda: Path(f"/proc/{process.pid}/ns/net").stat().st_ino == Path(one.path).stat().st_ino, "it is there")
        yield {"PATH": f"{tmp_path}:{os.environ['PATH']}"}, one
    finally:
        process.kill()
        process.wait()


def test_a_container_is_found_by_what_its_engine_calls_it(host: Host, docker: tuple[dict[str, str], Container]) -> None:
    path, one = docker
    made = done(host, "attach", "--container", "db1", "--network", "acme/web", **path)
    assert (made["name"], made["container_id"]) == ("acme/db1", "f" * 64) and "eth1" in one.ip("link")
    assert "No container db9 (" in refused(host, "attach", "--container", "db9", "--network", "acme/web", **path)
    done(host, "detach", "--container", "f" * 64, **path)
    assert "eth1" not in one.ip("link")


def test_a_container_that_is_started_anew_gets_its_endpoint_back(
    host: Host, container: NewContainer, docker: tuple[dict[str, str], Container], tmp_path: Path
) -> None:
    path, one = docker
    two, peer = container(), container()
    ip = peer.add()["ips"][0]["address"].split("/")[0]
    asked = "--container", "db1", "--network", "acme/web"
    first = done(host, "attach", *asked, **path)
    process = subprocess.Popen(["ip", "netns", "exec", two.netns, "sleep", "600"])
    try:
        until(lambda: Path(f"/proc/{process.pid}/ns/net").stat().st_ino == Path(two.path).stat().st_ino, "it is there")
        told = [{"Id": "f" * 64, "Name": "/db1", "State": {"Pid": process.pid}}]
        (tmp_path / "docker").write_text(f"#!/bin/sh\necho '{json.dumps(told)}'\n")
        assert "is attached already" in refused(host, "attach", *asked, **path)
        again = done(host, "attach", *asked, "--move", **path)
        stays = ("id", "name", "addresses", "mac", "ofport", "port_name")
        assert [again[key] for key in stays] == [first[key] for key in stays]
        assert "eth1" not in one.ip("link")
        reaches(two, ip)
        done(host, "detach", "--container", "db1", **path)
        assert "eth1" not in two.ip("link")
    finally:
        process.kill()
        process.wait()


def test_without_an_engine_the_remedy_is_said(host: Host, tmp_path: Path) -> None:
    said = refused(host, "attach", "--container", "db1", "--network", "acme/web", PATH=str(tmp_path))
    assert "None of docker, podman, nerdctl is installed here" in said and "--pid" in said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "Give one of --netns"),
        (("--pid", "1", "--netns", "x"), "Give one of --netns"),
        (("--netns", "none-such"), "Network namespace /run/netns/none-such does not exist"),
        (("--interface", "none0"), "This host has no interface none0"),
        (("--interface", "none0", "--ifname", "eth3"), "leave --ifname out"),
        (("--netns", "x", "--route", "10.0.0.1/8"), "is not CIDR"),
        (("--netns", "x", "--route", "10.0.0.0/8,fd00::1"), "mixes IPv4 and IPv6"),
    ],
)
def test_what_cannot_be_is_refused_in_words(host: Host, arguments: tuple[str, ...], words: str) -> None:
    assert words in refused(host, "attach", *arguments, "--network", "acme/web")


def test_the_hosts_own_namespace_is_refused(host: Host) -> None:
    said = refused(host, "attach", "--pid", str(host.agent.pid), "--network", "acme/web")
    assert "is this host's own network namespace" in said


def test_routes_are_those_that_are_asked_for(host: Host, container: NewContainer) -> None:
    one = container()
    one.add()
    asked = (
        "--netns",
        one.path,
        "--network",
        "acme/old",
        "--route",
        "10.21.99.0/24",
        "--route",
        "10.99.0.0/16,10.21.0.7",
    )
    done(host, "attach", *asked, "--name", "routed")
    assert "10.21.99.0/24 via 10.21.0.1 dev eth1" in one.ip("route")
    assert "10.99.0.0/16 via 10.21.0.7 dev eth1" in one.ip("route")
    assert one.ip("route").count("default") == 1, "the first interface's"
    two = container()
    done(host, "attach", "--netns", two.path, "--network", "acme/old", "--no-default-route", "--name", "bare")
    assert "default" not in two.ip("route")


class Tap:
    """A tap as a hypervisor has it: the guest is whoever reads and writes the descriptor."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(self.descriptor, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI))

    def says(self, frame: bytes) -> None:
        os.write(self.descriptor, frame)

    def hears(self) -> list[bytes]:
        """What has come since it was last asked."""
        frames = []
        while True:
            try:
                frames.append(os.read(self.descriptor, 2048))
            except BlockingIOError:
                return frames

    def close(self) -> None:
        os.close(self.descriptor)


GUEST = "52:54:00:00:00:07"


@pytest.fixture
def tap(host: Host) -> Iterator[Tap]:
    with inside(host.site.netns):
        made = Tap("tap7")
    yield made
    made.close()


def question(sender: str, target: str, mac: str = GUEST) -> bytes:
    own, asker, asked = (bytes.fromhex(mac.replace(":", "")), *map(_packed, (sender, target)))
    return b"\xff" * 6 + own + bytes.fromhex("08060001080006040001") + own + asker + bytes(6) + asked


def _packed(address: str) -> bytes:
    return bytes(map(int, address.split(".")))


def test_a_guest_behind_a_tap_is_an_endpoint_and_the_tap_is_given_back(
    host: Host, container: NewContainer, tap: Tap
) -> None:
    one = container()
    one.add()
    without = refused(host, "attach", "--interface", "tap7", "--network", "acme/web")
    assert "is a tap: give the MAC of the guest's interface with --mac" in without
    made = done(host, "attach", "--interface", "tap7", "--network", "acme/web", "--mac", GUEST, "--ip", "10.20.0.77")
    assert (made["name"], made["port_name"], made["mac"]) == ("acme/tap7", "tap7", GUEST)
    with reading(host.site.engine) as session:
        assert endpoints.get(session, "acme/tap7").interface == "tap7"
    assert "tap7" in host.ports()
    until(lambda: states(host).get("acme/tap7") == "up", "the agent says that it is up")

    def answered(sender: str) -> set[bytes]:
        """Whom the gateway answers (ARP), after this was asked and then asked by the guest itself."""
        asked: set[bytes] = set()

        def is_answered() -> bool:
            for address in (sender, "10.20.0.77"):
                tap.says(question(address, "10.20.0.1"))
            replies = [f for f in tap.hears() if f[12:22] == bytes.fromhex("08060001080006040002")]
            assert all(reply[22:28] == bytes.fromhex("02776172726e") for reply in replies), "the gateway's MAC"
            asked.update(reply[38:42] for reply in replies)
            return _packed("10.20.0.77") in asked

        until(is_answered, "the guest is answered")
        return asked

    own = {_packed("10.20.0.77")}
    assert answered("10.20.0.78") == own, "the guest cannot pretend, either"

    again = "--interface", "tap7", "--network", "acme/web", "--mac", GUEST, "--name", "again"
    assert "is attached already" in refused(host, "attach", *again)
    assert "tap7" in host.ports()
    host.site.ovs.kill_switch()
    host.site.restart_switch()
    assert answered("10.20.0.78") == own, "also once the switch has started again"
    host.agent.stop(signal.SIGKILL)
    host.start()
    host.make_it_look()
    assert "tap7" in host.ports()

    done(host, "detach", "--interface", "tap7")
    assert "tap7" not in host.ports()
    shown = run("ip", "-n", host.site.netns, "-o", "link", "show", "dev", "tap7")
    assert "UP" not in shown.split("<")[1].split(">")[0].split(","), "down, as it was"


def states(host: Host) -> dict[str, str]:
    names = {str(endpoint.id): endpoint.name for endpoint in host.endpoints()}
    return {names.get(id, id): state for id, state in host.report().get("ports", {}).items()}


def test_an_interface_that_the_host_needs_or_warren_made_is_not_taken(host: Host, container: NewContainer) -> None:
    space = host.site.netns
    run("ip", "-n", space, "link", "add", "nic1", "type", "veth", "peer", "name", "wire1")
    run("ip", "-n", space, "address", "add", "198.18.77.1/24", "dev", "nic1")
    try:
        said = refused(host, "attach", "--interface", "nic1", "--network", "acme/web")
        assert "has the host's address 198.18.77.1/24" in said
        rest = "--network", "acme/web", "--mac", GUEST
        pair = container().add()["interfaces"][0]["name"]
        assert "is Warren's own" in refused(host, "attach", "--interface", pair, *rest)
        assert "is Warren's own" in refused(host, "attach", "--interface", host.bridge, *rest)
        run("ip", "-n", space, "address", "flush", "dev", "nic1")
        run("ip", "-n", space, "link", "set", "nic1", "address", "06:00:00:00:00:44", "up")
        assert done(host, "attach", "--interface", "nic1", "--network", "acme/web")["mac"] == "06:00:00:00:00:44"
        with transaction(host.site.engine) as tx:
            attachments.detach(tx, host.id, "interface:nic1", "nic1")
        until(lambda: "nic1" not in host.ports(), "what the API deleted is given back as well")
        assert "UP" in run("ip", "-n", space, "-o", "link", "show", "dev", "nic1"), "as it was"
    finally:
        run("ip", "-n", space, "link", "del", "nic1")


def test_a_running_containers_mtu_follows_its_networks(host: Host, container: NewContainer) -> None:
    with transaction(host.site.engine) as tx:
        networks.create(tx, "acme/mtu", subnets=["10.24.0.0/24"])
    one = container()
    pair = one.add(network="acme/mtu")["interfaces"][0]["name"]
    before = one.ip("-o", "address"), one.ip("route")
    for mtu in (1380, 1430):
        with transaction(host.site.engine) as tx:
            networks.update(tx, "acme/mtu", mtu=mtu)
        until(lambda mtu=mtu: f"mtu {mtu}" in one.ip("link", "show", "dev", "eth0"), "inside")
        until(lambda mtu=mtu: f"mtu {mtu}" in run("ip", "-n", host.site.netns, "link", "show", "dev", pair), "outside")
    assert (one.ip("-o", "address"), one.ip("route")) == before
