"""In from outside: by ports of the host, with the client's address, under the policies of whom they lead to."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from contextlib import ExitStack, closing
from typing import Any

import pytest

from client.rest import Problem
from lab import host as hosts
from lab import netns
from lab.host import conf_dir, plugin
from lab.lab import Lab
from lab.state import Placed
from tests.lab import caches
from tests.lab.internet import FAR, ROUTER, ROUTER6, Internet, Line, asked, asked_udp, rules, serving
from tests.lab.outside import pings
from tests.lab.rules import apply, policy
from tests.lab.sctp import asked_sctp, serving_sctp
from tests.lab.test_gateway import overlapping, ports
from tests.lab.world import SECONDS, World
from tests.ovs import wait_for

SERVED = 8001
"""A port that nobody has in the lab's endpoints."""


def publish(world: World, placed: Placed, host_port: int, port: int, **more: Any) -> dict[str, Any]:
    """Open when this returns."""
    body = {"endpoint": f"{placed.tenant}/{placed.name}", "host_port": host_port, "port": port, **more}
    made = dict(world.rest.post("/publications", body, params={"wait": SECONDS}, timeout=2 * SECONDS).body)
    assert made["live"]["state"] == "applied", made["live"]
    assert placed.host in {one["host"] for one in made["live"]["hosts"]}
    return made


def transit(lab: Lab, placed: Placed) -> str:
    ofport = ports(lab, placed)
    return f"240.119.{ofport >> 8}.{ofport & 255}"


def test_a_published_port_is_reached_with_the_clients_address_and_unpublished_again(
    lab: Lab, world: World, there: Internet
) -> None:
    one, other = overlapping(world, "h1", "h1")
    h1 = lab.host("h1")
    with serving(one.netns, SERVED), serving(other.netns, SERVED):
        made = publish(world, one, 18080, SERVED)
        publish(world, one, 18080, SERVED, protocol="udp")
        publish(world, other, 18081, SERVED)
        for port in (18080, 18081):
            assert asked(there.netns, h1.address, port) == ROUTER
            assert asked(there.netns, h1.address6, port) == ROUTER6
        assert asked_udp(there.netns, h1.address, 18080) == ROUTER
        assert asked(there.netns, h1.address, 18082, seconds=1) is None
        (listed,) = [o for o in world.rest.items("/publications", {"tenant": one.tenant}) if o["id"] == made["id"]]
        assert (listed["host"], listed["host_port"], listed["port"]) == ("h1", 18080, SERVED)
        own = f"/publications/{one.tenant}/{one.name}/{made['id']}"
        gone = world.rest.delete(own, params={"wait": SECONDS}, timeout=2 * SECONDS).body
        assert gone["state"] == "applied"
        assert asked(there.netns, h1.address, 18080, seconds=0.5) is None
        assert asked_udp(there.netns, h1.address, 18080) == ROUTER
    world.remove(other)
    wait_for(lambda: "tcp . 18081" not in rules(h1.netns), "ports to go with the endpoint")


def test_ranges_a_given_address_and_a_chosen_port(lab: Lab, world: World, there: Internet) -> None:
    (one,) = overlapping(world, "h1")
    h1 = lab.host("h1")
    second = "198.18.0.77"
    netns.batch(h1.netns, [f"addr add {second}/24 dev br-phy"])
    try:
        with serving(one.netns, 8001), serving(one.netns, 8002):
            publish(world, one, 18001, 8001, count=2)
            publish(world, one, 18010, 8001, host_ip=second)
            chosen = publish(world, one, 0, 8001)
            assert chosen["host_port"] >= 32768
            for port in (18001, 18002, chosen["host_port"]):
                assert asked(there.netns, h1.address, port) == ROUTER
            assert asked(there.netns, second, 18010) == ROUTER
            assert asked(there.netns, h1.address, 18010, seconds=1) is None
    finally:
        netns.batch(h1.netns, [f"addr del {second}/24 dev br-phy"])


def test_unpublishing_ends_the_open_connections_of_that_port_and_no_others(
    lab: Lab, world: World, there: Internet
) -> None:
    one, other = overlapping(world, "h1", "h2")
    h1, h2 = lab.host("h1"), lab.host("h2")
    with serving(one.netns, SERVED), serving(other.netns, SERVED), ExitStack() as stack:

        def line(address: str, port: int) -> Line:
            return stack.enter_context(closing(Line(there.netns, address, port)))

        made = [
            publish(world, one, 18080, SERVED),
            publish(world, one, 18081, SERVED),
            publish(world, one, 18082, SERVED, mesh=True),
            publish(world, other, 18083, SERVED, mesh=True),
        ]
        lines = [line(h1.address, 18080), line(h1.address6, 18080), line(h1.address, 18081)]
        lines += [line(host.address, port) for port in (18082, 18083) for host in (h1, h2)]
        out = stack.enter_context(closing(Line(one.netns, FAR)))
        assert all(one.ask() for one in (*lines, out))
        lab.restart("agent:h1", kill=True)

        def close(number: int) -> None:
            world.rest.delete(f"/publications/{one.tenant}/{one.name}/{made[number]['id']}")

        close(0)
        wait_for(lambda: falls(lines[0]) and falls(lines[1]), "the connections to end")
        assert all(one.ask() for one in (*lines[2:], out))
        close(2)
        wait_for(lambda: falls(lines[3]) and falls(lines[4]), "the connections to end, by both hosts")
        assert all(one.ask() for one in (lines[2], *lines[5:], out))


def test_what_only_the_agent_finds_out_makes_a_change_failed(lab: Lab, world: World, there: Internet) -> None:
    """A program that was quicker than the report of it, and an address that goes away."""
    (one,) = overlapping(world, "h1")
    h1 = lab.host("h1")
    name, second = f"{one.tenant}/{one.name}", "198.18.0.78"

    def asked_for(host_port: int, **more: Any) -> dict[str, Any]:
        body = {"endpoint": name, "host_port": host_port, "port": SERVED, **more}
        return dict(world.rest.post("/publications", body, params={"wait": SECONDS}, timeout=2 * SECONDS).body)

    def problems() -> list[str]:
        return [p for o in world.rest.items("/publications", {"tenant": one.tenant}) for p in o["problems"]]

    with pytest.raises(Problem, match=f"no address {second}: it has .*{h1.address}.*; publish by one of these"):
        publish(world, one, 18010, SERVED, host_ip=second)
    agent = hosts.agent(h1).process
    assert agent is not None
    os.kill(agent.pid, signal.SIGSTOP)
    with serving(h1.netns, 18011):
        try:
            body = {"endpoint": name, "host_port": 18011, "port": SERVED}
            revision = world.rest.post("/publications", body).body["revision"]
            pending = world.rest.get(f"/revisions/{revision}").body
            assert (pending["state"], pending["hosts"][0]["state"]) == ("pending", "pending")
        finally:
            os.kill(agent.pid, signal.SIGCONT)
        said = world.rest.get(f"/revisions/{revision}", params={"wait": SECONDS}, timeout=2 * SECONDS).body
        assert said["state"] == "failed" and "listens at tcp/18011" in said["hosts"][0]["error"], said
        assert "tcp . 18011" not in rules(h1.netns)
        assert any("listens at tcp/18011" in problem for problem in problems())
    wait_for(lambda: not problems(), "the port to open once the program has ended")
    netns.batch(h1.netns, [f"addr add {second}/24 dev br-phy"])
    try:
        wait_for(lambda: second in lab.rest.get("/hosts/h1").body["agent"]["addresses"], "the report of it")
        revision = asked_for(18010, host_ip=second)["revision"]
    finally:
        netns.batch(h1.netns, [f"addr del {second}/24 dev br-phy"])
    wait_for(lambda: any(f"has no address {second}" in problem for problem in problems()), "the report of it")
    said = world.rest.get(f"/revisions/{revision}").body
    assert said["state"] == "failed" and said["hosts"][0]["state"] == "failed"


def falls(line: Line) -> bool:
    """Whether a connection ends, or is heard no more, once the host has closed its port."""
    try:
        return line.falls_silent()
    except OSError:
        return True


def test_a_stream_of_datagrams_goes_where_the_port_leads_now(lab: Lab, world: World, there: Internet) -> None:
    """Conntrack would go on for as long as it comes."""
    one, other = overlapping(world, "h1", "h1")
    h1 = lab.host("h1")
    with serving(one.netns, SERVED), serving(other.netns, SERVED + 1):
        with netns.inside(there.netns):
            stream = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with closing(stream):
            stream.settimeout(0.2)

            def answers() -> bool:
                try:
                    stream.sendto(b"who?", (h1.address, 18080))
                    return bool(stream.recv(100))
                except OSError:
                    return False

            made = publish(world, one, 18080, SERVED, protocol="udp")
            wait_for(answers, "an answer")
            world.rest.delete(f"/publications/{one.tenant}/{one.name}/{made['id']}")
            wait_for(lambda: not answers(), "the port to be closed")
            publish(world, other, 18080, SERVED + 1, protocol="udp")
            wait_for(answers, "the other endpoint")


def test_sctp_comes_in_and_its_answer_gets_out(lab: Lab, world: World, there: Internet) -> None:
    """This kernel may have no SCTP, but its conntrack has; so an association is begun by hand."""
    one, other = overlapping(world, "h1", "h1")
    h1, h2 = lab.host("h1"), lab.host("h2")
    with serving_sctp(one.netns, SERVED) as heard, serving_sctp(other.netns, SERVED) as others:
        publish(world, one, 18080, SERVED, protocol="sctp")
        publish(world, other, 18081, SERVED, protocol="sctp", mesh=True)
        for host, port, ears in ((h1, 18080, heard), (h2, 18081, others)):
            for to, client in ((host.address, ROUTER), (host.address6, ROUTER6)):
                answer = asked_sctp(there.netns, to, port)
                assert answer is not None, f"no INIT-ACK from {to} port {port}"
                assert (answer.address, answer.source_port) == (to, port)
                assert (ears[-1].address, ears[-1].source_port, ears[-1].port) == (client, 40_000, SERVED)
        count = len(heard)
        assert asked_sctp(there.netns, h1.address, 18082, seconds=0.5) is None and len(heard) == count
        assert asked_sctp(there.netns, h2.address, 18080, seconds=0.5) is None and len(heard) == count
        block = {"from": [{"ipBlock": {"cidr": "203.0.113.0/24"}}], "ports": [{"port": SERVED, "protocol": "SCTP"}]}
        apply(world, policy(one.tenant, ingress=[block]))
        caches.follow(lab)
        assert asked_sctp(there.netns, h1.address, 18080, 41_000, seconds=0.5) is None and len(heard) == count


def test_the_host_itself_its_loopback_and_endpoints_beside_it_reach_a_published_port(
    lab: Lab, world: World, there: Internet
) -> None:
    network = world.network(world.tenant("t"), "web", "10.81.0.0/24", "fd00:aa81::/64")
    one, beside = (world.endpoint(network, "h1") for _ in range(2))
    far = world.endpoint(network, "h2")
    h1 = lab.host("h1")
    with serving(one.netns, SERVED):
        publish(world, one, 18080, SERVED)
        assert asked(h1.netns, h1.address, 18080) == "240.119.0.1"
        assert asked(h1.netns, "127.0.0.1", 18080) == "240.119.0.1"
        assert asked(h1.netns, h1.address6, 18080) == "fd77:6172:7265:6f75::1"
        assert asked(h1.netns, "::1", 18080) == "fd77:6172:7265:6f75::1"
        publish(world, one, 18081, SERVED, host_ip="::1")
        assert asked(h1.netns, "::1", 18081) == "fd77:6172:7265:6f75::1"
        assert asked(h1.netns, h1.address6, 18081, seconds=1) is None
        assert asked(lab.host("h2").netns, h1.address, 18080) == lab.host("h2").address
        assert asked(beside.netns, h1.address, 18080) == transit(lab, beside)
        assert asked(one.netns, h1.address, 18080) == transit(lab, one), "by itself"
        assert asked(far.netns, h1.address, 18080) == lab.host("h2").address


def test_policies_judge_whom_a_published_port_leads_to_and_by_the_clients_address(
    lab: Lab, world: World, there: Internet
) -> None:
    network = world.network(world.tenant("t"), "web", "10.82.0.0/24", "fd00:aa82::/64")
    one = world.endpoint(network, "h1")
    beside = world.endpoint(network, "h1", labels={"app": "client"})
    h1 = lab.host("h1")

    def are_heard(*expected: bool) -> bool:
        """Outside, the host itself and who is beside: whoever ought to be has time for it."""
        caches.follow(lab)
        spaces = (there.netns, h1.netns, beside.netns)
        seconds = (30 if ought else 3 for ought in expected)
        said = [asked(space, h1.address, 18080, its) for space, its in zip(spaces, seconds, strict=True)]
        return [address is not None for address in said] == list(expected)

    with serving(one.netns, SERVED):
        publish(world, one, 18080, SERVED)
        assert are_heard(True, True, True)
        with closing(Line(there.netns, h1.address, 18080)) as line:
            assert line.ask() == ROUTER
            apply(world, policy(one.tenant, ingress=[{"from": [{"podSelector": {"matchLabels": {"app": "client"}}}]}]))
            assert line.falls_silent()
        assert are_heard(False, False, True), "who comes from beside is known"
        block = {"from": [{"ipBlock": {"cidr": f"{ROUTER}/32"}}], "ports": [{"port": SERVED}]}
        apply(world, policy(one.tenant, ingress=[block]))
        assert are_heard(True, False, False), "by the endpoint's port, not the host's"
        apply(world, policy(one.tenant, ingress=[{"from": [{"ipBlock": {"cidr": "240.119.0.1/32"}}]}]))
        assert are_heard(False, True, False), "the host by its own address there"


def test_the_host_reaches_its_endpoints_and_they_reach_it(lab: Lab, world: World, there: Internet) -> None:
    network = world.network(world.tenant("t"), "web", "10.83.0.0/24", "fd00:aa83::/64")
    one = world.endpoint(network, "h1")
    (private,) = overlapping(world, "h1")
    h1 = lab.host("h1")
    addresses = [address.partition("/")[0] for address in one.addresses]
    wait_for(lambda: all(address in rules(h1.netns) for address in addresses), "the host's own way in")
    with serving(one.netns, SERVED), serving(h1.netns, 18090):
        assert [asked(h1.netns, address, SERVED) for address in addresses] == ["240.119.0.1", "fd77:6172:7265:6f75::1"]
        assert all(pings(h1.netns, address) for address in addresses)
        assert asked(one.netns, h1.address, 18090) == transit(lab, one)
        assert asked(one.netns, h1.address6, 18090)
        assert not pings(h1.netns, private.addresses[0].partition("/")[0], 1), "whose address may be another's, too"
        apply(world, policy(one.tenant, egress=[]))
        wait_for(lambda: asked(one.netns, h1.address, 18090, seconds=1) is None, "the policy to hold")
    world.remove(one)
    wait_for(lambda: not any(address in rules(h1.netns) for address in addresses), "the way in to go")
    assert "proto 119" not in netns.run("ip", "-n", h1.netns, "route")


def test_a_port_that_is_taken_is_refused_in_words(lab: Lab, world: World, there: Internet) -> None:
    one, other, far = overlapping(world, "h1", "h1", "h2")
    publish(world, one, 18080, SERVED, count=3)
    for placed, more, said in (
        (one, {"host_port": 18082}, f"is published for {one.tenant}/{one.name}"),
        (other, {"host_port": 18078, "count": 5}, "Port tcp/18080 of host h1 is published for"),
        (one, {"host_port": 18080, "host_ip": lab.host("h1").address}, "is published for"),
        (one, {"host_port": 65535, "count": 2}, "Ports 65535 to 65536 do not exist"),
    ):
        with pytest.raises(Problem, match=said):
            publish(world, placed, more.pop("host_port"), SERVED, **more)
    publish(world, one, 18080, SERVED, protocol="udp")
    publish(world, far, 18080, SERVED)
    with serving(lab.host("h1").netns, 18099):
        listening = {"protocol": "tcp", "address": "0.0.0.0", "port": 18099}
        wait_for(lambda: listening in lab.rest.get("/hosts/h1").body["agent"]["listening"], "the report of it")
        with pytest.raises(Problem, match="Port tcp/18099 of host h1 is in use: a program of the host listens"):
            publish(world, one, 18099, SERVED)
    with serving(lab.host("h1").netns, 18080):

        def problems() -> str:
            return " ".join(lab.rest.get("/hosts/h1").body["agent"]["problems"])

        wait_for(lambda: "listens at tcp/18080, which is published for" in problems(), "the warning")
    closed = world.network(one.tenant, "closed", "10.78.0.0/24", outbound=False)
    with pytest.raises(Problem, match="closed to the outside"):
        publish(world, world.endpoint(closed, "h1"), 18100, SERVED)


def test_cni_port_mappings_are_open_when_the_plugin_returns(lab: Lab, world: World, there: Internet) -> None:
    network = world.network(world.tenant("t"), "web", "10.84.0.0/24")
    h1 = lab.host("h1")
    space = f"{h1.netns}.cni"
    netns.create(space)
    mapping = [{"hostPort": 18085, "containerPort": SERVED, "protocol": "tcp"}]

    def call(command: str, container: str = "c1", ports: Any = mapping) -> subprocess.CompletedProcess[str]:
        configuration = json.loads(next(conf_dir(h1).glob("*.conflist*")).read_text())
        entry = configuration["plugins"][0]
        assert entry["capabilities"]["portMappings"]
        stdin = {"cniVersion": "1.0.0", "name": "warren", **entry, "network": network}
        stdin["runtimeConfig"] = {"portMappings": ports}
        environment = {"CNI_COMMAND": command, "CNI_CONTAINERID": container, "CNI_IFNAME": "eth0"}
        environment |= {"CNI_NETNS": f"/run/netns/{space}", "CNI_PATH": "/", "PATH": os.environ["PATH"]}
        asked = [str(plugin(h1))]
        return subprocess.run(asked, input=json.dumps(stdin), env=environment, capture_output=True, text=True)

    try:
        done = call("ADD")
        assert done.returncode == 0, done.stdout
        with serving(space, SERVED):
            assert asked(there.netns, h1.address, 18085) == ROUTER
        call("DEL")
        wait_for(lambda: "18085" not in rules(h1.netns), "the port to be closed")
        (one,) = overlapping(world, "h1")
        publish(world, one, 18085, SERVED)
        refused = call("ADD")
        assert refused.returncode and "Port tcp/18085 of host h1 is published for" in refused.stdout
        with netns.inside(space):
            assert "eth0" not in subprocess.run(["ip", "link"], capture_output=True, text=True).stdout
        assert call("ADD", ports=[{"hostPort": "x"}]).returncode
    finally:
        call("DEL")
        netns.delete(space)
