"""Warren for the policy benchmark: a lab with its web process, controller, SQLite database and real switches.

Endpoints are rows: their flows are made before their ports, so no container is needed to count or confirm them. The
agents end once the bridges are up, for they would look for those containers. Policies come as Kubernetes documents
through the API, on a connection that is kept, and the clock runs until the API says that every host confirmed.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from sqlalchemy import Engine

from benchmarks.sides.scene import SUBNET, Rule, Scene, endpoint_name
from client.rest import Rest
from db import attachments, hosts
from db.changes import transaction
from db.engine import create_engine
from lab import ovs, server
from lab.lab import Lab
from lab.process import Process

TENANT, NETWORK = "bench", "bench/web"
BRIDGE = "warren0"
PATIENCE = 30


class Warren(NamedTuple):
    name: str
    scene: Scene
    lab: Lab
    rest: Rest
    database: Engine

    def deny(self, group: str) -> None:
        self._apply([_policy("deny-others", group, [])])

    def allow(self, group: str, rules: Sequence[Rule]) -> None:
        """A policy each: somebody else may take one away."""
        self._apply([_policy(rule.name, group, [_ingress(rule)]) for rule in rules])

    def allow_one(self, group: str, rule: Rule) -> float:
        documents = [_policy(rule.name, group, [_ingress(rule)])]
        start = time.perf_counter()
        self._apply(documents)
        return (time.perf_counter() - start) * 1000

    def join(self, name: str, groups: Sequence[str]) -> None:
        self._attach([(self.scene.hosts - 1, name, groups)])

    def flow_count(self) -> int:
        return len(self.flows())

    def flows(self) -> set[str]:
        host = self.lab.host("h1")
        command = [
            "ovs-ofctl",
            "-O",
            "OpenFlow14",
            "--no-stats",
            "--no-names",
            "dump-flows",
            f"{host.ovs}/{BRIDGE}.mgmt",
        ]
        done = subprocess.run(command, env=os.environ | ovs.settings(host), capture_output=True, text=True, check=True)
        lines = (line.strip() for line in done.stdout.splitlines() if "actions=" in line)
        return {re.sub(r"cookie=\w+, ", "", line) for line in lines}

    def make_tenant(self) -> None:
        self.rest.post("/tenants", {"name": TENANT})
        self.rest.post("/networks", {"name": NETWORK, "subnets": [SUBNET]})
        self._attach(
            [
                (host, endpoint_name(number), self.scene.groups_of(number))
                for host in range(self.scene.hosts)
                for number in self.scene.on(host)
            ]
        )

    def _attach(self, wanted: Sequence[tuple[int, str, Sequence[str]]]) -> None:
        with transaction(self.database) as tx:
            ids = [hosts.get(tx.session, f"h{number + 1}").id for number in range(self.scene.hosts)]
            for host, name, groups in wanted:
                labels = dict.fromkeys(groups, "yes")
                attachments.attach(tx, ids[host], name, "eth0", network=NETWORK, name=name, labels=labels)
        self._confirmed(tx.revision)

    def _apply(self, documents: Sequence[dict[str, Any]]) -> None:
        body = {"documents": documents}
        _check(self.rest.request("POST", "/policies", body, params=_WAIT, timeout=PATIENCE + 5).body)

    def _confirmed(self, revision: int) -> None:
        _check(self.rest.get(f"/revisions/{revision}", params=_WAIT, timeout=PATIENCE + 5).body)


def _check(said: dict[str, Any]) -> None:
    if said["state"] != "applied":
        hosts = json.dumps(said["hosts"])
        raise SystemExit(f"Revision {said['revision']} is {said['state']} after {PATIENCE} s: {hosts}")


_WAIT = {"wait": PATIENCE}


@contextmanager
def warren(scene: Scene) -> Iterator[Warren]:
    lab = Lab(f"bench{secrets.token_hex(3)}")
    try:
        lab.up(scene.hosts, owner=Process.of(os.getpid()))
        for part in lab.parts():
            if part.name.startswith("agent:"):
                part.daemon.stop(kill=True)
        made = Warren("Warren", scene, lab, lab.rest, create_engine(server.database(lab.folder)))
        made.make_tenant()
        yield made
    finally:
        lab.down()


def _policy(name: str, group: str, ingress: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": f"{group}-{name}", "namespace": TENANT},
        "spec": {"podSelector": _selector(group), "policyTypes": ["Ingress"], "ingress": ingress},
    }


def _ingress(rule: Rule) -> dict[str, Any]:
    peers: list[dict[str, Any]] = [{"ipBlock": {"cidr": f"{source}/32"}} for source in rule.sources]
    if rule.members:
        peers.append({"podSelector": _selector(rule.members)})
    ports = [{"protocol": "TCP", "port": port} for port in rule.ports]
    return {"from": peers, **({"ports": ports} if ports else {})}


def _selector(group: str) -> dict[str, Any]:
    return {"matchLabels": {group: "yes"}}
