"""OVN on this machine: its databases, northd, and hosts with their own switch and ovn-controller, no packet anywhere.

Everything stands in folders of its own below /tmp, speaks over sockets there, and dies with the process that started
it. The tenant is a switch behind a router, its groups are port groups, and a rule is an ACL that allows what belongs to
its connections. What is measured with it is the benchmark's business.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.sides.northbound import Northbound
from benchmarks.sides.scene import GATEWAY, SUBNET, Rule, Scene, endpoint_name
from tests.ovs import Daemons, Ovs, wait_for

SCHEMAS = Path("/usr/share/ovn")
BRIDGE = "br-int"
DENY, ALLOW = 1000, 1001
"""Priorities."""
BATCH = 200
"""Commands in one call of ovn-nbctl."""

Command = Sequence[str]


class Central(Daemons):
    """Both databases and northd."""

    @property
    def nb(self) -> Path:
        return self.folder / "nb.sock"

    @property
    def sb(self) -> Path:
        return self.folder / "sb.sock"

    def start(self) -> None:
        for name in ("nb", "sb"):
            self.serve(name, SCHEMAS / f"ovn-{name}.ovsschema")
        self.spawn("ovn-northd", f"--ovnnb-db=unix:{self.nb}", f"--ovnsb-db=unix:{self.sb}")
        self.nbctl(["init"])

    def nbctl(self, *commands: Command) -> str:
        """Many commands in few transactions; what they said."""
        said = ""
        for begin in range(0, len(commands), BATCH):
            words = [word for command in commands[begin : begin + BATCH] for word in ("--", *command)]
            said += self.run("ovn-nbctl", f"--db=unix:{self.nb}", "--timeout=60", *words)
        return said

    def ports(self, *where: str) -> set[str]:
        """The names of all ports, or of those of which the condition holds."""
        query = ("--bare", "--columns=name", "find", "Logical_Switch_Port", *where)
        return set(self.run("ovn-nbctl", f"--db=unix:{self.nb}", *query).split())


class Chassis(Ovs):
    """A host. Its ports are dummies: what counts is the flows that ovn-controller gives its switch."""

    def enrol(self, name: str, address: str, sb: Path) -> None:
        self.add_bridge(BRIDGE)
        settings = {
            "system-id": name,
            "hostname": name,
            "ovn-remote": f"unix:{sb}",
            "ovn-encap-type": "geneve",
            "ovn-encap-ip": address,
            "ovn-bridge": BRIDGE,
            # As large clusters are advised to: hosts read the whole database, and nobody filters it for each of them.
            "ovn-monitor-all": "true",
        }
        self.vsctl("set", "Open_vSwitch", ".", *(f"external_ids:{key}={value}" for key, value in settings.items()))
        self.spawn("ovn-controller", f"unix:{self.folder / 'db.sock'}")

    def plug(self, ports: Iterable[str]) -> None:
        words: list[str] = []
        for port in ports:
            words += ["--", "add-port", BRIDGE, port]
            words += ["--", "set", "interface", port, "type=dummy", f"external_ids:iface-id={port}"]
        self.vsctl(*words)


class Ovn(NamedTuple):
    name: str
    scene: Scene
    central: Central
    chassis: Sequence[Chassis]
    northbound: Northbound

    def deny(self, group: str) -> None:
        ports = [endpoint_name(number) for number in self.scene.groups[group]]
        self.central.nbctl(["pg-add", group, *ports], _acl(group, DENY, "ip", "drop"))
        self.northbound.confirmed()

    def allow(self, group: str, rules: Sequence[Rule]) -> None:
        self.central.nbctl(*(_acl(group, ALLOW, _match(rule), "allow-related") for rule in rules))
        self.northbound.confirmed()

    def allow_one(self, group: str, rule: Rule) -> float:
        row = {"match": f"outport == @{group} && {_match(rule)}", "priority": ALLOW, "direction": "to-lport"}
        member = ["acls", "insert", ["set", [["named-uuid", "rule"]]]]
        operations: list[dict[str, Any]] = [
            {"op": "insert", "table": "ACL", "row": {**row, "action": "allow-related"}, "uuid-name": "rule"},
            {"op": "mutate", "table": "Port_Group", "where": [["name", "==", group]], "mutations": [member]},
        ]
        start = time.perf_counter()
        self.northbound.confirmed(*operations)
        return (time.perf_counter() - start) * 1000

    def join(self, name: str, groups: Sequence[str]) -> None:
        self.central.nbctl(*_port(name, len(self.central.ports())))
        for group in groups:
            self.central.nbctl(["add", "Port_Group", group, "ports", self._uuid(name)])
        self.chassis[-1].plug([name])
        self._settle([name])

    def flow_count(self) -> int:
        said = self.chassis[0].run("ovs-ofctl", "-O", "OpenFlow15", "dump-aggregate", BRIDGE)
        found = re.search(r"flow_count=(\d+)", said)
        assert found, said
        return int(found[1])

    def flows(self) -> set[str]:
        return {re.sub(r"cookie=\w+, ", "", flow) for flow in self.chassis[0].flows(BRIDGE)}

    def make_tenant(self) -> None:
        length = SUBNET.partition("/")[2]
        self.central.nbctl(
            ["ls-add", "net"],
            ["lr-add", "router"],
            ["lrp-add", "router", "gateway", _mac(IPv4Address(GATEWAY)), f"{GATEWAY}/{length}"],
            ["lsp-add", "net", "uplink"],
            ["lsp-set-type", "uplink", "router"],
            ["lsp-set-addresses", "uplink", "router"],
            ["lsp-set-options", "uplink", "router-port=gateway"],
        )
        self.central.nbctl(*(one for number in self.scene.endpoints for one in _port(endpoint_name(number), number)))
        for host, chassis in enumerate(self.chassis):
            chassis.plug(endpoint_name(number) for number in self.scene.on(host))
        self._settle([endpoint_name(number) for number in self.scene.endpoints])

    def _settle(self, ports: Iterable[str]) -> None:
        """Until the ports are up, which says that their own host has their flows, and all hosts confirmed them."""
        wanted = set(ports)

        def up() -> bool:
            time.sleep(0.05)
            return wanted <= self.central.ports("up=true")

        wait_for(up, "port of OVN that is up", 60)
        self.northbound.confirmed()

    def _uuid(self, port: str) -> str:
        return self.central.nbctl(["get", "Logical_Switch_Port", port, "_uuid"]).strip()


@contextmanager
def ovn(scene: Scene) -> Iterator[Ovn]:
    with ExitStack() as stack:
        central = stack.enter_context(Central())
        chassis = [stack.enter_context(Chassis()) for _ in range(scene.hosts)]
        for number, host in enumerate(chassis):
            host.enrol(f"h{number + 1}", f"198.18.0.{11 + number}", central.sb)
        northbound = stack.enter_context(closing(Northbound(central.nb)))
        version = central.run("ovn-nbctl", "--version").split()[1]
        made = Ovn(f"OVN {version}", scene, central, chassis, northbound)
        made.make_tenant()
        yield made


def _acl(group: str, priority: int, match: str, verdict: str) -> Command:
    match = f"outport == @{group} && {match}"
    return ["--type=port-group", "acl-add", group, "to-lport", str(priority), match, verdict]


def _match(rule: Rule) -> str:
    sources = f"${rule.members}_ip4" if rule.members else _set(rule.sources)
    return f"ip4.src == {sources}" + (f" && tcp.dst == {_set(rule.ports)}" if rule.ports else "")


def _set(values: Sequence[object]) -> str:
    return str(values[0]) if len(values) == 1 else f"{{{', '.join(map(str, values))}}}"


def _port(name: str, number: int) -> list[Command]:
    at = IPv4Address(GATEWAY) + 1 + number
    place = f"{_mac(at)} {at}"
    return [["lsp-add", "net", name], ["lsp-set-addresses", name, place], ["lsp-set-port-security", name, place]]


def _mac(address: IPv4Address) -> str:
    return "02:00:" + address.packed.hex(":")
