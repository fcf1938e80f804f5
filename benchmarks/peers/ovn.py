"""OVN on this machine: its databases, northd, and hosts with their own switch and ovn-controller, no packet anywhere.

Everything stands in folders of its own below /tmp, speaks over sockets there, and dies with the process that started
it. The hosts have one tenant: a switch behind a router, ports spread evenly, and groups of them that deny what no rule
allows, as Warren's policies do. What is measured with it, and what Warren makes of the same, is the benchmark's.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from ipaddress import IPv4Address
from pathlib import Path
from typing import Self

from benchmarks.peers.northbound import Northbound
from tests.ovs import Daemons, Ovs, wait_for

SCHEMAS = Path("/usr/share/ovn")
BRIDGE = "br-int"
FIRST = IPv4Address("10.20.0.10")
"""Of the ports; the router has 10.20.0.1."""
DEFAULT_DENY, ALLOW = 1000, 1001
"""Priorities."""
BATCH = 200
"""Commands in one call of ovn-nbctl."""


class Central(Daemons):
    """Both databases and northd."""

    def start(self) -> None:
        for name in ("nb", "sb"):
            self.serve(name, SCHEMAS / f"ovn-{name}.ovsschema")
        self.spawn("ovn-northd", f"--ovnnb-db=unix:{self.nb}", f"--ovnsb-db=unix:{self.sb}")
        self.nbctl([["init"], ["set", "NB_Global", ".", "options:northd_probe_interval=0"]])

    @property
    def nb(self) -> Path:
        return self.folder / "nb.sock"

    @property
    def sb(self) -> Path:
        return self.folder / "sb.sock"

    def nbctl(self, commands: Iterable[Sequence[str]], wait: str = "none") -> None:
        """Many commands in few transactions."""
        commands = list(commands)
        for begin in range(0, len(commands), BATCH):
            words = [word for command in commands[begin : begin + BATCH] for word in ("--", *command)]
            self.run("ovn-nbctl", f"--db=unix:{self.nb}", f"--wait={wait}", "--timeout=120", *words)


class Chassis(Ovs):
    """A host. Its ports are dummies: what counts is the flows that ovn-controller gives its switch."""

    def join(self, number: int, sb: Path, ports: Iterable[str]) -> None:
        self.add_bridge(BRIDGE)
        settings = {
            "system-id": f"h{number}",
            "hostname": f"h{number}",
            "ovn-remote": f"unix:{sb}",
            "ovn-encap-type": "geneve",
            "ovn-encap-ip": f"198.18.0.{10 + number}",
            "ovn-bridge": BRIDGE,
            # As large clusters are advised to: hosts keep all of the database, and nobody filters it for each.
            "ovn-monitor-all": "true",
        }
        self.vsctl("set", "Open_vSwitch", ".", *(f"external_ids:{key}={value}" for key, value in settings.items()))
        self.spawn("ovn-controller", f"unix:{self.folder / 'db.sock'}", "--pidfile")
        words = [f"-- add-port {BRIDGE} {p} -- set Interface {p} type=dummy external_ids:iface-id={p}" for p in ports]
        self.vsctl(*" ".join(words).split()[1:])

    @property
    def flow_count(self) -> int:
        said = self.run("ovs-ofctl", "-O", "OpenFlow15", "dump-aggregate", BRIDGE)
        found = re.search(r"flow_count=(\d+)", said)
        assert found, said
        return int(found[1])


class Ovn:
    """`ports` endpoints of one tenant on `hosts` hosts, all of them confirmed when `with` begins."""

    def __init__(self, hosts: int, ports: int) -> None:
        self.names = [f"web{number}" for number in range(ports)]
        self.hosts = hosts
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.central = stack.enter_context(Central())
            self._make_tenant()
            self.chassis = []
            for number in range(self.hosts):
                chassis = stack.enter_context(Chassis())
                self.chassis.append(chassis)
                chassis.join(number, self.central.sb, self.on(number))
            wait_for(self._all_bound, "binding of every port", 60)
            self.northbound = Northbound(self.central.nb)
            stack.callback(self.northbound.close)
            self.northbound.confirmed()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def on(self, host: int) -> list[str]:
        """The ports of a host."""
        share = len(self.names) // self.hosts
        return self.names[host * share : (host + 1) * share]

    def group(self, name: str, ports: Iterable[str]) -> None:
        """A group of ports that are denied whatever comes to them."""
        deny = ["acl-add", name, "to-lport", str(DEFAULT_DENY), f"outport == @{name} && ip", "drop"]
        self.central.nbctl([["pg-add", name, *ports], ["--type=port-group", *deny]], wait="hv")

    def allow(self, group: str, matches: Iterable[str]) -> None:
        """Connections to the group that match, one ACL for each; confirmed by all hosts."""
        self.central.nbctl(
            ["--type=port-group", "acl-add", group, "to-lport", str(ALLOW), f"outport == @{group} && {match}"]
            + ["allow-related"]
            for match in matches
        )
        self.northbound.confirmed()

    def forbid(self, group: str) -> None:
        """Take everything away that `allow` gave."""
        self.central.nbctl([["--type=port-group", "acl-del", group]], wait="hv")

    def allow_one(self, group: str, match: str) -> float:
        """Milliseconds until all hosts have confirmed one ACL more."""
        row = {"direction": "to-lport", "priority": ALLOW, "action": "allow-related"}
        start = time.perf_counter()
        self.northbound.confirmed(
            {"op": "insert", "table": "ACL", "row": {**row, "match": f"outport == @{group} && {match}"}}
            | {"uuid-name": "rule"},
            {
                "op": "mutate",
                "table": "Port_Group",
                "where": [["name", "==", group]],
                "mutations": [["acls", "insert", ["set", [["named-uuid", "rule"]]]]],
            },
        )
        return (time.perf_counter() - start) * 1000

    def _make_tenant(self) -> None:
        self.central.nbctl(
            [
                ["ls-add", "net"],
                ["lr-add", "router"],
                ["lrp-add", "router", "gateway", "02:00:0a:14:00:01", "10.20.0.1/16"],
                ["lsp-add", "net", "uplink"],
                ["lsp-set-type", "uplink", "router"],
                ["lsp-set-addresses", "uplink", "router"],
                ["lsp-set-options", "uplink", "router-port=gateway"],
            ]
        )
        commands = []
        for number, name in enumerate(self.names):
            address = FIRST + number
            place = f"02:00:{':'.join(f'{byte:02x}' for byte in address.packed)} {address}"
            commands += [["lsp-add", "net", name], ["lsp-set-addresses", name, place]]
            commands.append(["lsp-set-port-security", name, place])
        self.central.nbctl(commands)

    def _all_bound(self) -> bool:
        time.sleep(0.1)
        db = f"--db=unix:{self.central.nb}"
        said = self.central.run("ovn-nbctl", db, "--bare", "--columns=name", "find", "Logical_Switch_Port", "up=true")
        return len(said.split()) >= len(self.names)
