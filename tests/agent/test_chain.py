"""Warren among other plugins: before reference plugins, under them as IPAM, and over their IPAM. All of them real."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from db import tenants
from db.changes import transaction
from tests.agent.conftest import Host
from tests.agent.site import NETNS, Container, inside, run, until

REFERENCE = "/usr/lib/cni"
NewContainer = Callable[..., Container]


class Failed(Exception):  # noqa: N818
    pass


class Chain(NamedTuple):
    """A network of several plugins, called as libcni does."""

    host: Host
    plugins: list[dict[str, Any]]
    name: str = "chain"
    version: str = "1.0.0"

    def call(self, command: str, box: Container, previous: Any = None, **runtime: Any) -> Any:
        for plugin in reversed(self.plugins) if command == "DEL" else self.plugins:
            if (plugin["type"], command) == ("portmap", "CHECK"):
                continue  # 1.1.1 looks for the rules of IPv4 in ip6tables
            config = {"cniVersion": self.version, "name": self.name, **plugin}
            if previous:
                config["prevResult"] = previous
            wanted = {key: value for key, value in runtime.items() if plugin.get("capabilities", {}).get(key)}
            if wanted:
                config["runtimeConfig"] = wanted
            answer = self._run(plugin["type"], command, box, config)
            previous = answer if command == "ADD" else previous
        return previous

    def _run(self, type: str, command: str, box: Container, config: Any) -> Any:
        environment = {
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": box.id,
            "CNI_NETNS": str(NETNS / box.netns),
            "CNI_IFNAME": box.ifname,
            "CNI_PATH": f"{self.host.plugin.parent}:{REFERENCE}",
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        }
        program = self.host.plugin if type == "warren" else Path(REFERENCE, type)
        with inside(self.host.site.netns):
            done = subprocess.run(
                [program], input=json.dumps(config), capture_output=True, text=True, env=environment, timeout=60
            )
        if done.returncode:
            raise Failed(f"{type} {command}: {done.stdout}{done.stderr}")
        return json.loads(done.stdout) if done.stdout.strip() else None


def pings(box: Container, address: str, seconds: int = 20) -> bool:
    command = ["ip", "netns", "exec", box.netns, "ping", "-c1", f"-W{seconds}", address]
    return subprocess.run(command, capture_output=True).returncode == 0


def bare(answer: Any) -> str:
    return str(answer["ips"][0]["address"]).split("/")[0]


@pytest.fixture
def leases(tmp_path: Path) -> Iterator[Path]:
    """host-local's book; empty again in the end."""
    yield tmp_path
    assert not list(tmp_path.rglob("1*")), "an address stays taken"


def test_reference_plugins_follow(host: Host, container: NewContainer) -> None:
    limits = {"ingressRate": 8_000_000, "ingressBurst": 800_000}
    chain = Chain(
        host,
        [
            {"type": "warren", "network": "acme/web", "capabilities": {"ips": True, "aliases": True}},
            {"type": "portmap", "capabilities": {"portMappings": True}},
            {"type": "tuning", "sysctl": {"net.ipv4.tcp_fin_timeout": "17"}},
            {"type": "bandwidth", "capabilities": {"bandwidth": True}},
        ],
    )
    one, two = container(), container()
    two.add()
    said: dict[str, Any] = {"portMappings": [{"hostPort": 18080, "containerPort": 80, "protocol": "tcp"}]}
    said["bandwidth"] = limits
    answer = chain.call("ADD", one, **said)
    address, port = bare(answer), answer["interfaces"][0]["name"]
    nat = ("ip", "netns", "exec", host.site.netns, "iptables", "-t", "nat", "-S")
    assert f"--to-destination {address}:80" in run(*nat)
    assert run("ip", "netns", "exec", one.netns, "sysctl", "-n", "net.ipv4.tcp_fin_timeout").strip() == "17"
    assert "tbf" in run("tc", "-n", host.site.netns, "qdisc", "show", "dev", port)
    assert pings(two, address)
    chain.call("CHECK", one, answer, **said)
    chain.call("DEL", one, answer, **said)
    chain.call("DEL", one, answer, **said)
    assert address not in run(*nat)
    assert port not in host.links() and not pings(two, address, seconds=2)
    two.delete()


@pytest.mark.parametrize("kind", ["bridge", "macvlan"])
def test_addresses_for_another_plugins_interface(host: Host, container: NewContainer, kind: str) -> None:
    ipam = {"type": "warren", "network": "acme/web", "routes": [{"dst": "0.0.0.0/0"}]}
    bridge = {"type": "bridge", "bridge": "cnitest0", "isGateway": True, "ipam": ipam}
    macvlan = {"type": "macvlan", "master": "cnitest1", "mode": "bridge", "ipam": ipam}
    chain = Chain(host, [bridge if kind == "bridge" else macvlan], "under")
    run("ip", "-n", host.site.netns, "link", "add", "cnitest1", "type", "veth", "peer", "cnitest2")
    for end in ("cnitest1", "cnitest2"):
        run("ip", "-n", host.site.netns, "link", "set", end, "up")
    try:
        one, two, ours = container(), container(), container()
        answers = [chain.call("ADD", box) for box in (one, two)]
        addresses = {bare(answer) for answer in answers}
        assert len(addresses) == 2 and bare(ours.add()) not in addresses
        for box, answer in zip((one, two), answers, strict=True):
            assert answer["ips"][0]["address"] in box.ip("addr")
        assert pings(one, bare(answers[1]))
        assert "default via 10." in one.ip("route")
        with pytest.raises(Failed, match="already"):
            host_ipam(chain, one, ipam)
        for box, answer in zip((one, two), answers, strict=True):
            chain.call("CHECK", box, answer)
        with pytest.raises(Failed, match=r"has no address"):
            chain.call("CHECK", one, {**answers[0], "ips": answers[1]["ips"]})
        chain.call("DEL", one, answers[0])
        chain.call("DEL", one)
        names = {endpoint.container_id for endpoint in host.endpoints()}
        assert names == {f"ipam:under:{two.id}", ours.id}
        gc = {"cniVersion": "1.1.0", "name": "under", "type": kind, "ipam": ipam, "cni.dev/valid-attachments": []}
        assert two.call("GC", json.dumps(gc)).exit == 0
        assert {endpoint.container_id for endpoint in host.endpoints()} == {ours.id}
        chain.call("DEL", two, answers[1])
        ours.delete()
    finally:
        run("ip", "-n", host.site.netns, "link", "del", "cnitest1")
        if kind == "bridge":
            run("ip", "-n", host.site.netns, "link", "del", "cnitest0")


def host_ipam(chain: Chain, box: Container, ipam: Any) -> Any:
    """A second ADD of the addresses alone; the bridge's own would give them back when it fails."""
    return chain._run("warren", "ADD", box, {"cniVersion": "1.0.0", "name": "under", "type": "bridge", "ipam": ipam})


def test_addresses_from_another_plugin(host: Host, container: NewContainer, leases: Path) -> None:
    ranges = [[{"subnet": "10.20.0.0/24", "rangeStart": "10.20.0.200", "rangeEnd": "10.20.0.201"}]]
    routes = [{"dst": "0.0.0.0/0"}, {"dst": "10.77.0.0/16"}]
    ipam = {"type": "host-local", "dataDir": str(leases), "ranges": ranges, "routes": routes}
    chain = Chain(host, [{"type": "warren", "network": "acme/web", "ipam": ipam}], "over")
    one, two, three = container(), container(), container()
    answers = [chain.call("ADD", box) for box in (one, two)]
    assert {bare(answer) for answer in answers} == {"10.20.0.200", "10.20.0.201"}
    assert pings(one, bare(answers[1]))
    assert "10.77.0.0/16 via 10.20.0.1" in one.ip("route") and "default via 10.20.0.1" in one.ip("route")
    with pytest.raises(Failed, match="host-local"):
        chain.call("ADD", three)  # the range has no third
    chain.call("CHECK", one, answers[0])
    for box, answer in zip((one, two), answers, strict=True):
        chain.call("DEL", box, answer)
        chain.call("DEL", box)
    chain.call("DEL", three)


def test_what_another_plugin_gave_is_given_back_when_the_attach_fails(
    host: Host, container: NewContainer, leases: Path
) -> None:
    ipam = {"type": "host-local", "dataDir": str(leases), "ranges": [[{"subnet": "198.18.77.0/24"}]]}
    chain = Chain(host, [{"type": "warren", "network": "acme/web", "ipam": ipam}], "over")
    with pytest.raises(Failed, match=r"198\.18\.77\.2.* is outside of network acme/web"):
        chain.call("ADD", container())


def test_static_addresses_and_a_plugin_that_is_not_there(host: Host, container: NewContainer) -> None:
    static = {"type": "static", "addresses": [{"address": "10.20.0.123/24"}], "dns": {"nameservers": ["192.0.2.53"]}}
    box = container()
    chain = Chain(host, [{"type": "warren", "network": "acme/web", "ipam": static}], version="0.4.0")
    answer = chain.call("ADD", box)
    assert bare(answer) == "10.20.0.123" and answer["ips"][0]["version"] == "4"
    assert answer["dns"] == {"nameservers": ["192.0.2.53"]}
    assert "default" not in box.ip("route")  # it gave no route
    chain.call("DEL", box, answer)
    with pytest.raises(Failed, match=r"no-such.*CNI_PATH"):
        Chain(host, [{"type": "warren", "network": "acme/web", "ipam": {"type": "no-such"}}]).call("ADD", box)


def test_bandwidth_is_limited_both_ways(host: Host, container: NewContainer) -> None:
    """A burst of fifty packets at once: of those over the limit few arrive, without a limit all do."""
    fast, slow = container(), container()
    free = fast.add()
    limits = {
        f"{way}{what}": bits for way in ("ingress", "egress") for what, bits in (("Rate", 8000), ("Burst", 16000))
    }
    runtime = {"runtimeConfig": {"bandwidth": limits}}
    answer = slow.add(**runtime)
    assert arrived(fast, slow, bare(answer)) <= 5
    assert arrived(slow, fast, bare(free)) <= 5
    other = container()
    assert arrived(fast, other, bare(other.add()), SENT) == SENT
    assert slow.call("CHECK", {**runtime, "prevResult": answer}).exit == 0
    run("tc", "-n", slow.netns, "qdisc", "del", "dev", "eth0", "root")
    lifted = slow.call("CHECK", {**runtime, "prevResult": answer})
    assert lifted.code == 104 and "sends is not limited" in lifted.body["msg"]
    for box in (fast, slow, other):
        box.delete()


def buckets(box: Container, dev: str = "eth0") -> tuple[int, int] | None:
    """Rate (bit/s) and burst (bits) of the token bucket inside of a container; None without one."""
    listed = json.loads(run("tc", "-n", box.netns, "-j", "qdisc", "show", "dev", dev))
    found = [one["options"] for one in listed if one["kind"] == "tbf"]
    return (found[0]["rate"] * 8, found[0]["burst"] * 8) if found else None


def test_a_tenants_quota_of_bandwidth_holds_for_those_who_run(host: Host, container: NewContainer) -> None:
    """Who is there is held to a quota as it comes, changes and goes, and whoever comes later; what was asked for lives
    on below it. A limit that a container takes away comes back, and more than the quota is not given."""

    def give(bandwidth: int | None) -> None:
        with transaction(host.site.engine) as tx:
            tenants.update(tx, "acme", quota={"bandwidth": bandwidth})

    there, free = container(), container()
    address = bare(there.add())
    free.add()
    rates = {f"{way}{what}": bits for way in ("ingress", "egress") for what, bits in (("Rate", 16000), ("Burst", 8000))}
    asked = container()
    asked.add(runtimeConfig={"bandwidth": rates})
    assert arrived(free, there, address, SENT) == SENT
    try:
        give(64_000)
        until(lambda: buckets(there) == (64_000, pytest.approx(11_712, abs=1)), "it is held to the quota")
        assert buckets(asked)[0] == 16_000  # type: ignore[index]
        assert arrived(free, there, address) <= 10
        later = container()
        later.add()
        assert buckets(later)[0] == 64_000  # type: ignore[index]
        greedy = container()
        over = {"bandwidth": {"egressRate": 64_001, "egressBurst": 8000}}
        refused = greedy.call("ADD", {"runtimeConfig": over})
        assert refused.exit and "64001 bit/s (egress_rate) are asked for" in refused.body["msg"]
        assert "eth0" not in greedy.ip("link", "show")
        run("tc", "-n", there.netns, "qdisc", "del", "dev", "eth0", "root")
        host.make_it_look()
        until(lambda: buckets(there) is not None, "it is held to it again")
        give(128_000)
        until(lambda: buckets(later) == (128_000, 12_800), "and to another one")
    finally:
        give(None)
    until(lambda: buckets(there) is None and buckets(later) is None, "it is held to nothing any more")
    assert buckets(asked)[0] == 16_000  # type: ignore[index]
    assert arrived(free, there, address, SENT) == SENT
    for box in (there, free, asked, later):
        box.delete()


SENT = 50
SEND = f"import socket,sys; s=socket.socket(2,2); [s.sendto(bytes(1000),(sys.argv[1],9)) for _ in range({SENT})]"
HEAR = """
import socket,sys; s=socket.socket(2,2); s.bind(("",9)); print("ready",flush=True); n=0; awaited=int(sys.argv[1])
try:
    while s.settimeout(60 if n<awaited else 1.5) or s.recv(2000): n+=1
except TimeoutError: pass
print(n)
"""


def arrived(sender: Container, receiver: Container, address: str, awaited: int = 1) -> int:
    """How many of a burst come: once those that are awaited have, and a little more."""
    pings(sender, address)  # so that neither waits for a neighbour
    enter = ("ip", "netns", "exec")
    with subprocess.Popen(
        [*enter, receiver.netns, "python3", "-c", HEAR, str(awaited)], stdout=subprocess.PIPE, text=True
    ) as listening:
        assert listening.stdout is not None and listening.stdout.readline() == "ready\n"
        run(*enter, sender.netns, "python3", "-c", SEND, address)
        return int(listening.stdout.readline())
