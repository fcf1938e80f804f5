"""The CNI project's own client, cnitool, with libcni in it: the verbs, what it hands on, and chains, on two hosts."""

from __future__ import annotations

import json
import secrets
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from lab import host as hosts
from lab import netns
from lab.lab import Lab
from lab.names import HostName
from tests.lab.internet import asked, serving
from tests.lab.outside import pings
from tests.lab.world import World

CNITOOL = Path(__file__).parents[2] / "build" / "cnitool"
REFERENCE = "/usr/lib/cni"
ALL = dict.fromkeys(("portMappings", "bandwidth", "ips", "mac", "aliases", "dns"), True)
WARREN = {"type": "warren", "capabilities": ALL}


class Box(NamedTuple):
    """A namespace on a host, and the networks that cnitool finds for it."""

    host: HostName
    netns: str
    folder: Path

    def call(
        self, verb: str, plugins: list[dict[str, Any]], *, version: str = "1.0.0", args: str = "", **capabilities: Any
    ) -> subprocess.CompletedProcess[str]:
        """`capabilities` are those of the runtime."""
        plugins = [{**one, "socket": str(self.host.cni_socket)} if one["type"] == "warren" else one for one in plugins]
        (self.folder / "net.conflist").write_text(
            json.dumps({"cniVersion": version, "name": "net", "plugins": plugins})
        )
        environment = {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "CNI_PATH": f"{hosts.bin_dir(self.host)}:{REFERENCE}",
            "NETCONFPATH": str(self.folder),
            "CNI_ARGS": args,
            "CAP_ARGS": json.dumps(capabilities),
        }
        command = [str(CNITOOL), verb, "net", str(netns.path(self.netns))]
        with netns.inside(self.host.netns):
            return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)

    def succeeds(self, verb: str, plugins: list[dict[str, Any]], **more: Any) -> Any:
        done = self.call(verb, plugins, **more)
        assert not done.returncode, done.stdout + done.stderr
        return json.loads(done.stdout) if done.stdout.strip() else None

    def run(self, *command: str) -> str:
        return netns.run("ip", "netns", "exec", self.netns, *command)


NewBox = Callable[[str], Box]


@pytest.fixture
def box(lab: Lab, tmp_path: Path) -> Iterator[NewBox]:
    assert CNITOOL.exists(), f"{CNITOOL} is missing: `make test` builds it, or `make build/cnitool`"
    made: list[Box] = []

    def new(host: str) -> Box:
        at = lab.host(host)
        one = Box(at, f"{at.netns}.{secrets.token_hex(3)}", tmp_path / secrets.token_hex(3))
        one.folder.mkdir()
        netns.create(one.netns)
        made.append(one)
        return one

    yield new
    for one in made:
        one.call("del", [WARREN])
        netns.delete(one.netns)


def of(tenant: str, name: str) -> str:
    return f"IgnoreUnknown=1;K8S_POD_NAMESPACE={tenant};K8S_POD_NAME={name}"


def addresses(answer: Any) -> dict[int, str]:
    bare = [one["address"].split("/")[0] for one in answer["ips"]]
    return {6 if ":" in address else 4: address for address in bare}


def test_ports_by_all_hosts_as_the_configuration_says(lab: Lab, world: World, box: NewBox) -> None:
    tenant, one = world.tenant("mine"), box("h1")
    told: dict[str, Any] = {"args": of(tenant, "first")}
    told["portMappings"] = [{"hostPort": 18078, "containerPort": 8001, "protocol": "tcp"}]
    refused = one.call("add", [{**WARREN, "mesh": True}], **told)
    assert (
        refused.returncode
        and f"warren tenant label {tenant} warren/engine-mesh=allow" in refused.stdout + refused.stderr
    )
    world.rest.patch(f"/tenants/{tenant}", {"labels": {"warren/engine-mesh": "allow"}})
    h1, h2, h3 = (lab.host(name) for name in ("h1", "h2", "h3"))
    for plugin, everywhere in (
        ({**WARREN, "mesh": True}, True),
        (WARREN, False),
        ({**WARREN, "args": {"cni": {"mesh": True}}}, True),
        ({**WARREN, "mesh": True, "args": {"cni": {"mesh": False}}}, False),
    ):
        one.succeeds("add", [plugin], **told)
        with serving(one.netns, 8001):
            assert asked(h3.netns, h1.address, 18078) == h3.address
            by_h2 = asked(h3.netns, h2.address, 18078, seconds=30 if everywhere else 1)
            assert by_h2 == (h3.address if everywhere else None)
        one.succeeds("del", [plugin], **told)
    assert not list(world.rest.items("/publications", {"tenant": tenant}))


@pytest.mark.parametrize("version", ["0.4.0", "1.0.0"])
def test_every_verb_on_two_hosts(lab: Lab, world: World, box: NewBox, version: str) -> None:
    """What the runtime wants of address, MAC, ports and bandwidth, in the tenant that CNI_ARGS name."""
    mine, theirs = world.tenant("mine"), world.tenant("theirs")
    subnets = [ip["cidr"] for ip in world.rest.get(f"/networks/{mine}/default").body["subnets"]]
    wanted = [f"{one.split('/')[0].removesuffix('0')}77/{one.split('/')[1]}" for one in subnets]
    capabilities: dict[str, Any] = {
        "ips": wanted,
        "mac": "02:11:22:33:44:66",
        "portMappings": [{"hostPort": 18077, "containerPort": 8001, "protocol": "tcp"}],
        "bandwidth": {
            "ingressRate": 8_000_000,
            "ingressBurst": 800_000,
            "egressRate": 8_000_000,
            "egressBurst": 800_000,
        },
    }
    one, two, stranger = box("h1"), box("h2"), box("h2")
    first: dict[str, Any] = {"version": version, "args": of(mine, "first"), **capabilities}
    answer = one.succeeds("add", [WARREN], **first)
    assert answer["cniVersion"] == version
    assert sorted(ip["address"] for ip in answer["ips"]) == sorted(wanted)
    second = two.succeeds("add", [WARREN], version=version, args=of(mine, "second"))
    other = stranger.succeeds("add", [WARREN], version=version, args=of(theirs, "second"))
    shown = one.run("ip", "addr", "show", "eth0")
    assert "02:11:22:33:44:66" in shown and all(text in shown for text in wanted)
    assert "tbf" in one.run("tc", "qdisc", "show", "dev", "eth0")
    for family in (4, 6):
        assert pings(one.netns, addresses(second)[family]) and pings(two.netns, addresses(answer)[family])
        assert not pings(one.netns, addresses(other)[family], 1)
    with serving(one.netns, 8001):
        assert asked(lab.host("h2").netns, lab.host("h1").address, 18077) == lab.host("h2").address
    found = {row["name"]: row for row in world.rest.items("/endpoints", {"tenant": mine})}
    assert set(found) == {f"{mine}/first", f"{mine}/second"} and found[f"{mine}/first"]["host"] == "h1"

    assert one.succeeds("check", [WARREN], **first) is None
    one.run("ip", "link", "set", "eth0", "down")
    wrong = one.call("check", [WARREN], **first)
    assert wrong.returncode and "eth0" in wrong.stdout + wrong.stderr
    for _ in range(2):
        assert one.succeeds("del", [WARREN], **first) is None
    assert not pings(two.netns, addresses(answer)[4], 1)
    two.succeeds("del", [WARREN], version=version, args=of(mine, "second"))
    stranger.succeeds("del", [WARREN], version=version, args=of(theirs, "second"))
    for tenant in (mine, theirs):
        assert not list(world.rest.items("/endpoints", {"tenant": tenant}))
    assert not list(world.rest.items("/publications", {"tenant": mine}))
    assert not list(Path("/var/lib/cni/results").glob(f"net-*{one.netns}*"))


def test_a_chain_with_reference_plugins(lab: Lab, world: World, box: NewBox) -> None:
    tenant = world.tenant("chained")
    plugins: list[dict[str, Any]] = [
        {"type": "warren", "network": f"{tenant}/default", "capabilities": {"ips": True, "mac": True}},
        {"type": "portmap", "capabilities": {"portMappings": True}},
        {"type": "tuning", "sysctl": {"net.ipv4.tcp_fin_timeout": "17"}},
        {"type": "bandwidth", "capabilities": {"bandwidth": True}},
    ]
    one, two, space = box("h1"), box("h2"), lab.host("h1").netns
    limits = {"ingressRate": 8_000_000, "ingressBurst": 800_000}
    said: dict[str, Any] = {
        "portMappings": [{"hostPort": 18078, "containerPort": 8001, "protocol": "tcp"}],
        "bandwidth": limits,
    }
    answer, peer = one.succeeds("add", plugins, **said), two.succeeds("add", plugins[:1])
    address, port = addresses(answer)[4], answer["interfaces"][0]["name"]
    translated = ("ip", "netns", "exec", space, "iptables", "-t", "nat", "-S")
    assert f"--to-destination {address}:8001" in netns.run(*translated)
    assert one.run("sysctl", "-n", "net.ipv4.tcp_fin_timeout").strip() == "17"
    assert "tbf" in netns.run("tc", "-n", space, "qdisc", "show", "dev", port)
    assert pings(one.netns, addresses(peer)[4]) and pings(two.netns, addresses(answer)[6])
    checked = [one for one in plugins if one["type"] != "portmap"]  # 1.1.1 looks for the rules of IPv4 in ip6tables
    one.succeeds("check", checked, **said)
    one.run("sysctl", "-qw", "net.ipv4.tcp_fin_timeout=18")
    assert one.call("check", checked, **said).returncode, "it is tuning's to say"
    one.succeeds("del", plugins, **said)
    assert address not in netns.run(*translated)
    assert not list(world.rest.items("/endpoints", {"tenant": tenant, "host": "h1"}))
    two.succeeds("del", plugins[:1])


def test_errors_are_said_as_the_specification_wants(world: World, box: NewBox) -> None:
    one = box("h1")
    refused = one.call("add", [{"type": "warren", "network": "nobody/web"}])
    assert refused.returncode and "no tenant nobody; create it with" in refused.stdout + refused.stderr
    assert one.run("ip", "-o", "link").count("\n") == 1, "loopback alone"
    one.succeeds("del", [WARREN])
