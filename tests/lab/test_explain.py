"""`explain` says what packets do, and why; and when the flows installed are not those of the model, it says that."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from lab import host as hosts
from lab import netns, ovs
from lab.process import environment
from lab.state import Placed
from tests.lab.standing import change
from tests.lab.world import SECONDS, World

PORT, OTHER = 5432, 5433
AUDIT_SECONDS = 15
PLACES = pytest.mark.parametrize("place", ["h1", "h2"], ids=["one-host", "two-hosts"])
FAMILIES = pytest.mark.parametrize("version", [4, 6])


class Scene:
    """Tenant acme has a client on h1; whom it calls is on `place`."""

    def __init__(self, world: World, place: str) -> None:
        self.world, self.place = world, place
        self.acme, self.beta = world.tenant("acme"), world.tenant("beta")
        network = world.network(self.acme, "back", "10.61.0.0/24", "fd00:61::/64")
        self.client = world.endpoint(f"{self.acme}/default", "h1", labels={"app": "web"})
        self.server = world.endpoint(network, place, labels={"app": "db"})
        self.stranger = world.endpoint(f"{self.beta}/default", place)
        self._policies: list[str] = []
        world.settle()

    def apply(self, *documents: dict[str, Any]) -> None:
        reply = change(self.world, "POST", "/policies", {"documents": documents})
        self._policies += [policy["name"] for policy in reply["policies"]]

    def ask(
        self,
        port: int = PORT,
        version: int = 4,
        source: Placed | None = None,
        destination: Placed | None = None,
        times: int = 5,
        **more: Any,
    ) -> dict[str, Any]:
        ends = source or self.client, destination or self.server
        names = dict(zip(("source", "destination"), (f"{end.tenant}/{end.name}" for end in ends), strict=True))
        body = {**names, "protocol": "tcp", "port": port, "version": version, **more}
        return explained(self.world, body, times)

    def connects(
        self, port: int = PORT, version: int = 4, destination: Placed | None = None, seconds: float = 20
    ) -> bool:
        """Whether a TCP connection is really opened."""
        target = destination or self.server
        family = socket.AF_INET if version == 4 else socket.AF_INET6
        address = next(text for text in map(bare, target.addresses) if (":" in text) == (version == 6))
        with netns.inside(target.netns):
            listening = socket.create_server((address, port), family=family)
        with listening, netns.inside(self.client.netns), socket.socket(family) as calling:
            calling.settimeout(seconds)
            try:
                calling.connect((address, port))
            except OSError:  # no answer, or the host's that it has no route there
                return False
            return True

    @contextmanager
    def meddled(self, host: str, flow: str) -> Iterator[None]:
        """With a flow on the host that somebody has added by hand."""
        name = self.world.lab.host(host)
        env = environment(self.world.lab.folder, ovs.settings(name))
        ofctl = ("ovs-ofctl", "-O", "OpenFlow14", "--strict")
        netns.run(*ofctl, "add-flow", "warren0", flow, env=env)
        try:
            yield
        finally:
            netns.run(*ofctl, "del-flows", "warren0", flow.split(",actions=")[0], env=env)

    def clear(self) -> None:
        for name in self._policies:
            self.world.rest.delete(f"/policies/{name}")


def explained(world: World, body: dict[str, Any], times: int = 5) -> dict[str, Any]:
    """Agents that had no time to answer are asked again, so many times at most."""
    for _ in range(times):
        found: dict[str, Any] = world.rest.post("/explain", body).body
        if found["agreement"] != "unconfirmed":
            break
    return found


def bare(address: str) -> str:
    return address.split("/")[0]


@pytest.fixture
def scene(world: World) -> Iterator[Callable[[str], Scene]]:
    made: list[Scene] = []

    def make(place: str) -> Scene:
        made.append(Scene(world, place))
        return made[-1]

    yield make
    for one in made:
        one.clear()


def tenants(tenant: str, name: str = "lockdown", app: str = "db", **spec: Any) -> dict[str, Any]:
    """A tenant's policy for its databases, or another app."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": tenant},
        "spec": {"podSelector": {"matchLabels": {"app": app}}, **spec},
    }


def admins(tenant: str, direction: str, action: str) -> dict[str, Any]:
    """A policy of the cluster's about what a tenant's endpoints open to PORT, or are opened there."""
    peers = "to" if direction == "egress" else "from"
    namespaces = {"matchLabels": {"kubernetes.io/metadata.name": tenant}}
    rule = {
        "action": action,
        peers: [{"namespaces": {}}],
        "protocols": [{"tcp": {"destinationPort": {"number": PORT}}}],
    }
    return {
        "apiVersion": "policy.networking.k8s.io/v1alpha2",
        "kind": "ClusterNetworkPolicy",
        "metadata": {"name": f"wall-{tenant}-{direction}"},
        "spec": {"tier": "Admin", "priority": 10, "subject": {"namespaces": namespaces}, direction: [rule]},
    }


def verdicts(explained: dict[str, Any]) -> list[tuple[str, str]]:
    return [(decision["stage"], decision["verdict"]) for decision in explained["decisions"]]


def heard(explained: dict[str, Any]) -> list[tuple[str, str]]:
    return [(host["host"], host["reason"]) for host in explained["hosts"]]


def arriving(place: str, reason: str) -> list[tuple[str, str]]:
    """What is heard when the decision is the destination's."""
    return [("h1", reason)] if place == "h1" else [("h1", "sent to h2"), ("h2", reason)]


@PLACES
@FAMILIES
def test_what_is_allowed_is_delivered_by_every_switch_on_the_way(
    scene: Callable[[str], Scene], place: str, version: int
) -> None:
    its = scene(place)
    for policed in (False, True):
        if policed:
            its.apply(tenants(its.acme, ingress=[{"ports": [{"port": PORT}]}]))
        said = its.ask(version=version)
        assert said["verdict"] == "allowed"
        assert said["agreement"] == "confirmed", said
        assert heard(said) == arriving(place, "delivered")
        assert its.connects(version=version)
    assert said["decisions"][-1]["policy"] == f"{its.acme}/lockdown"
    assert said["decisions"][-1]["rule"] == 1


@PLACES
@FAMILIES
def test_a_denial_names_its_stage_its_policy_and_the_table_that_drops(
    scene: Callable[[str], Scene], place: str, version: int
) -> None:
    its = scene(place)
    apart = its.ask(version=version, destination=its.stranger)
    assert verdicts(apart) == [("isolation", "denied")]
    assert apart["agreement"] == "confirmed", apart
    assert not its.connects(version=version, destination=its.stranger, seconds=1)

    its.apply(tenants(its.acme, ingress=[{"ports": [{"port": PORT}]}]))
    closed = its.ask(OTHER, version)
    assert verdicts(closed) == [("isolation", "allowed"), ("egress", "allowed"), ("ingress", "denied")]
    assert closed["decisions"][-1]["policy"] == f"{its.acme}/lockdown"
    assert heard(closed) == arriving(place, "ingress_policy")
    assert closed["hosts"][-1]["table"] == "INGRESS_TENANT"
    assert closed["agreement"] == "confirmed", closed
    assert not its.connects(OTHER, version, seconds=1)

    its.apply(admins(its.acme, "egress", "Deny"))
    shut = its.ask(version=version)
    assert verdicts(shut) == [("isolation", "allowed"), ("egress", "denied")]
    assert (shut["decisions"][-1]["policy"], shut["decisions"][-1]["rule"]) == (f"wall-{its.acme}-egress", 1)
    assert heard(shut) == [("h1", "egress_policy")]
    assert shut["hosts"][0]["table"] == "EGRESS_ADMIN"
    assert shut["agreement"] == "confirmed", shut
    assert not its.connects(version=version, seconds=1)


@pytest.mark.parametrize("protocol", ["udp", "sctp", "icmp", "icmpv6"])
def test_every_protocol_can_be_asked_about(scene: Callable[[str], Scene], protocol: str) -> None:
    its = scene("h2")
    its.apply(tenants(its.acme, egress=[{"ports": [{"protocol": "SCTP", "port": PORT}]}], app="web"))
    how = {"icmp": {"port": None, "version": 4}, "icmpv6": {"port": None, "version": 6}}.get(protocol, {})
    said = its.ask(protocol=protocol, **how)
    assert said["verdict"] == ("allowed" if protocol == "sctp" else "denied")
    assert said["agreement"] == "confirmed", said


def test_an_address_that_another_tenant_has_too_is_not_taken_for_its_endpoint(world: World) -> None:
    its = [world.tenant(name) for name in ("red", "blue")]
    networks = [world.network(tenant, "same", "10.62.0.0/24", private=True) for tenant in its]
    client, twin = (
        world.endpoint(networks[0], host, addresses=[f"10.62.0.{n}"]) for n, host in ((10, "h1"), (11, "h2"))
    )
    other = world.endpoint(networks[1], "h3", addresses=["10.62.0.11"])
    world.settle()

    def ask(target: Placed) -> dict[str, Any]:
        names = (f"{end.tenant}/{end.name}" for end in (client, target))
        body = dict(zip(("source", "destination"), names, strict=True))
        return explained(world, {**body, "protocol": "tcp", "port": 80})

    assert (ask(twin)["verdict"], ask(twin)["agreement"]) == ("allowed", "confirmed")
    said = ask(other)
    assert (said["verdict"], said["agreement"]) == ("denied", "confirmed"), said
    assert "not to" in said["hosts"][0]["words"]


def meddling(its: Scene, host: str, flow: str, port: int) -> dict[str, Any]:
    """What is said while somebody's flow is there: the controller may have removed it before it was seen."""
    for _ in range(10):
        with its.meddled(host, flow):
            said = its.ask(port)
        if said["agreement"] == "disagreement":
            break
    return said


@PLACES
def test_a_flow_that_somebody_added_is_a_disagreement(scene: Callable[[str], Scene], place: str) -> None:
    its = scene(place)
    its.apply(tenants(its.acme, ingress=[{"ports": [{"port": PORT}]}]))
    target = bare(its.server.addresses[0])

    drops = meddling(its, place, f"table=75,priority=65000,ip,nw_dst={target},actions=drop", PORT)
    assert (drops["verdict"], drops["agreement"]) == ("allowed", "disagreement"), drops
    assert (drops["hosts"][-1]["reason"], drops["hosts"][-1]["table"]) == ("foreign_flow", "ADMIT")
    assert drops["hosts"][-1]["agrees"] is False
    assert any("should deliver it" in remark for remark in drops["remarks"])
    assert any("something else has changed their flows" in remark for remark in drops["remarks"])

    passes = meddling(its, place, f"table=96,priority=65000,tcp,nw_dst={target},actions=goto_table:100", OTHER)
    assert (passes["verdict"], passes["agreement"]) == ("denied", "disagreement"), passes
    assert (passes["hosts"][-1]["reason"], passes["hosts"][-1]["agrees"]) == ("delivered", False)
    assert any("should drop it in INGRESS_TENANT" in remark for remark in passes["remarks"])
    assert its.ask(OTHER)["agreement"] == "confirmed"


def test_a_packet_that_should_not_have_left_is_followed_to_the_other_host(scene: Callable[[str], Scene]) -> None:
    its = scene("h2")
    its.apply(admins(its.acme, "egress", "Deny"))
    target = bare(its.server.addresses[0])
    said = meddling(its, "h1", f"table=90,priority=65530,tcp,nw_dst={target},actions=goto_table:95", PORT)
    assert said["agreement"] == "disagreement", said
    assert [(host["host"], host["agrees"]) for host in said["hosts"]] == [("h1", False), ("h2", None)]
    assert said["hosts"][1]["reason"] == "delivered"


def test_the_controller_ends_a_disagreement(scene: Callable[[str], Scene]) -> None:
    its = scene("h2")
    flow = f"table=75,priority=65000,ip,nw_dst={bare(its.server.addresses[0])},actions=drop"
    with its.meddled("h2", flow):
        deadline = time.monotonic() + AUDIT_SECONDS + SECONDS
        while its.ask()["agreement"] != "confirmed":
            assert time.monotonic() < deadline
            time.sleep(0.5)
        assert its.connects()


def test_without_an_agents_answer_the_model_stands_alone(scene: Callable[[str], Scene]) -> None:
    its = scene("h2")
    agent = hosts.agent(its.world.lab.host("h2")).process
    assert agent is not None
    os.kill(agent.pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        said = its.ask(times=1)
        assert 4 < time.monotonic() - began < 25
    finally:
        os.kill(agent.pid, signal.SIGCONT)
    assert (said["verdict"], said["agreement"]) == ("allowed", "unconfirmed"), said
    assert heard(said) == [("h1", "sent to h2"), ("h2", "no_answer")]
    assert said["hosts"][1]["verdict"] is None
    assert "its agent has not answered within 5 s" in said["hosts"][1]["words"]
    assert its.ask()["agreement"] == "confirmed"
