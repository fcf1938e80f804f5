"""Networks on a physical segment, with an outside machine there: both ways, by tag, guarded and policed."""

from __future__ import annotations

import secrets
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, NamedTuple

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, Dot1Q, Ether

from client.rest import Problem
from lab.lab import Lab
from lab.names import LabError
from lab.state import Placed
from tests.lab.outside import NIC, Outside, listening, outside, pings
from tests.lab.rules import apply, policy
from tests.lab.test_broadcast import EVERYBODY, GROUP, GROUP6, PORT, heard, say
from tests.lab.test_explain import explained
from tests.lab.test_transports import BOTH, NEITHER, reaches
from tests.lab.wire import Tap, tap
from tests.lab.world import World
from tests.ovs import wait_for

TAG, OTHER, FOREIGN = 50, 51, 60
ROUTER, ROUTER6 = "10.62.1.254", "fd00:62:1::fe"
FAR, FAR6 = "198.19.0.1", "fd00:198:19::1"
"""Addresses behind the outside machine, in nobody's network."""
_ROUTERS = f"{ROUTER}/24", f"{ROUTER6}/64", f"{FAR}/32", f"{FAR6}/128"


@pytest.fixture(scope="module")
def stranger(lab: Lab) -> Iterator[Outside]:
    with outside(lab.name) as machine:
        machine.interface(FOREIGN, "10.62.6.254/24", "fd00:62:6::fe/64")
        yield machine


class Site(NamedTuple):
    """A tenant with a network on the segment, one that is routed and one on a tag of its own that is isolated; `near`
    are on h1, `far` on h2. Another tenant is on a third tag, on h1."""

    network: str
    one: Placed
    near: Placed
    far: Placed
    routed_near: Placed
    routed_far: Placed
    apart_near: Placed
    apart_far: Placed
    foreign: Placed


def site(world: World, tag: int) -> Site:
    tenant, other = world.tenant("office"), world.tenant("shop")

    def network(of: str, name: str, third: int, **more: Any) -> str:
        subnets = [f"10.62.{third}.0/24", f"fd00:62:{third}::/64"]
        return str(world.rest.post("/networks", {"name": f"{of}/{name}", "subnets": subnets, **more}).body["name"])

    def on(tag: int, third: int, **more: Any) -> dict[str, Any]:
        gateways = [f"10.62.{third}.254", f"fd00:62:{third}::fe"]
        return {"transport": "vlan", "physical": "lan", "vlan": tag, "gateways": gateways, **more}

    front = network(tenant, "front", 1, **on(tag, 1))
    back = network(tenant, "back", 2)
    apart = network(tenant, "apart", 3, **on(OTHER, 3, isolated=True))
    foreign = network(other, "web", 6, **on(FOREIGN, 6))
    at = [(front, "h1"), (front, "h1"), (front, "h2"), (back, "h1"), (back, "h2"), (apart, "h1"), (apart, "h2")]
    placed = [world.endpoint(network, host) for network, host in (*at, (foreign, "h1"))]
    world.settle()
    # The first network on a segment gives bridges their ports to it, by their agents.
    wait_for(lambda: pings(placed[0].netns, addresses(placed[2])[0]), "port to the segment on h1 and h2")
    return Site(front, *placed)


@pytest.fixture(params=[TAG, 0], ids=["tagged", "untagged"])
def tag(request: pytest.FixtureRequest, stranger: Outside) -> Iterator[int]:
    """Where the outside machine is the network's gateway."""
    stranger.interface(request.param, *_ROUTERS)
    yield request.param
    stranger.remove(request.param)


@pytest.fixture
def router(stranger: Outside) -> Iterator[Outside]:
    """The outside machine as the gateway on TAG."""
    stranger.interface(TAG, *_ROUTERS)
    yield stranger
    stranger.remove(TAG)


def addresses(placed: Placed) -> list[str]:
    return [address.partition("/")[0] for address in placed.addresses]


def test_endpoints_and_an_outside_machine_talk_both_ways_and_other_tags_are_apart(
    world: World, stranger: Outside, tag: int
) -> None:
    its = site(world, tag)
    for inside in (its.one, its.far):
        for address in (ROUTER, ROUTER6, FAR, FAR6):
            assert pings(inside.netns, address), f"{inside.name} to {address}"
        assert all(map(stranger.hears, addresses(inside)))
    for inside in (its.apart_near, its.apart_far, its.foreign):
        assert not any(pings(inside.netns, address, 1) for address in (ROUTER, ROUTER6)), "on another tag"
    assert not any(stranger.hears(address, 1) for address in addresses(its.apart_far)), "nobody is outside there"
    assert all(map(stranger.hears, addresses(its.foreign))) and pings(its.foreign.netns, "10.62.6.254")
    for destination in (its.near, its.far, its.routed_near, its.routed_far):
        assert reaches(its.one, destination) == BOTH, destination.name
        assert reaches(destination, its.one) == BOTH, destination.name
    for destination in (its.apart_near, its.apart_far, its.foreign):
        assert reaches(its.one, destination, 1) == NEITHER
        assert reaches(destination, its.one, 1) == NEITHER
    assert reaches(its.apart_near, its.apart_far) == BOTH


def test_the_wire_shows_the_tag_and_every_address_as_it_is(lab: Lab, world: World, stranger: Outside, tag: int) -> None:
    its = site(world, tag)
    one, far = (socket.inet_aton(addresses(end)[0]) for end in (its.one, its.far))
    with listening(lab.host("h2").netns, "eth0") as first:
        assert reaches(its.one, its.far) == BOTH
        frame = first(lambda data: one in data and far in data and data[12:14] == b"\x08\x00")
    packet = Ether(frame.data)
    assert (frame.tag, packet.src, packet.dst) == (tag or None, its.one.mac, its.far.mac)
    assert UDP not in packet and (packet[IP].src, packet[IP].dst) == (addresses(its.one)[0], addresses(its.far)[0])
    with listening(stranger.netns, NIC) as first:
        assert pings(its.one.netns, FAR)
        frame = first(lambda data: one in data and socket.inet_aton(FAR) in data)
    packet = Ether(frame.data)
    assert (frame.tag, packet.src, packet[IP].src) == (tag or None, its.one.mac, addresses(its.one)[0]), "no NAT"
    with listening(lab.host("h2").netns, "eth0") as first:
        assert reaches(its.one, its.routed_far) == BOTH
        routed = socket.inet_aton(addresses(its.routed_far)[0])
        frame = first(lambda data: one in data and routed in data)
    assert (frame.tag, Ether(frame.data)[UDP].dport) == (None, 4789), "to other networks by a tunnel"


def frames(stranger: Outside) -> Tap:
    return Tap(stranger.netns, NIC)


def test_nobody_outside_speaks_as_an_endpoint(lab: Lab, world: World, router: Outside) -> None:
    its = site(world, TAG)
    one, near = addresses(its.one)[0], addresses(its.near)[0]
    tagged = Dot1Q(vlan=TAG)
    mac = "52:54:00:00:00:09"
    lies = {
        b"lie: address": Ether(src=mac, dst=its.one.mac) / tagged / IP(src=near, dst=one) / UDP(),
        b"lie: mac": Ether(src=its.near.mac, dst=its.one.mac) / tagged / IP(src="10.62.1.9", dst=one) / UDP(),
    }
    poison = Ether(src=mac, dst=its.one.mac) / tagged / ARP(op=2, hwsrc=mac, psrc=near, hwdst=its.one.mac, pdst=one)
    tags = Ether(src=mac, dst=its.one.mac) / Dot1Q(vlan=OTHER) / IP(src="10.62.1.9", dst=one) / UDP()
    truth = Ether(src=mac, dst=its.one.mac) / tagged / IP(src="10.62.1.9", dst=one) / UDP() / b"the truth"
    with tap(its.one.netns) as inside:
        line = frames(router)
        for said, frame in lies.items():
            line.send(bytes(frame / said))
        line.send(bytes(poison))
        line.send(bytes(tags / b"lie: tag"))
        line.send(bytes(truth))
        line.close()
        heard = inside.heard(lambda frame: b"the truth" in frame)
    assert not any(b"lie" in frame for frame in heard)
    assert not any(frame[12:14] == b"\x08\x06" and socket.inet_aton(near) == frame[28:32] for frame in heard)


def test_announcements_from_outside_reach_all_endpoints(world: World, stranger: Outside) -> None:
    its = site(world, TAG)
    mac = "52:54:00:00:00:09"
    news = Ether(src=mac, dst="ff:ff:ff:ff:ff:ff") / Dot1Q(vlan=TAG)
    news /= ARP(op=1, hwsrc=mac, psrc="10.62.1.99", hwdst="00:00:00:00:00:00", pdst="10.62.1.99")
    with tap(its.one.netns) as one, tap(its.near.netns) as near, tap(its.far.netns) as far:
        line = frames(stranger)
        line.send(bytes(news))
        line.close()
        for end in (one, near, far):
            end.heard(lambda frame: frame[12:14] == b"\x08\x06" and frame[28:32] == socket.inet_aton("10.62.1.99"))


def test_an_endpoint_cannot_choose_its_tag(world: World, router: Outside) -> None:
    its = site(world, 0)
    with tap(router.netns, f"v{TAG}") as there, listening(router.netns, NIC) as first:
        line = Tap(its.one.netns, "eth0")
        own = Ether(src=its.one.mac, dst="ff:ff:ff:ff:ff:ff")
        packet = IP(src=addresses(its.one)[0], dst="10.62.1.255") / UDP()
        line.send(bytes(own / Dot1Q(vlan=TAG) / packet / b"hop"))
        line.send(bytes(own / packet / b"stay"))
        line.close()
        assert first(lambda data: b"hop" in data or b"stay" in data).tag is None
        assert not any(b"hop" in frame for frame in there.waiting())


def test_policies_judge_what_comes_from_outside_and_what_goes_there(world: World, router: Outside) -> None:
    its = site(world, TAG)
    one = addresses(its.one)[0]
    tenant = its.network.partition("/")[0]
    from_own = {"from": [{"podSelector": {}}]}
    apply(world, policy(tenant, ingress=[from_own]))
    assert not router.hears(one, 1), "who is outside is nobody's pod"
    assert reaches(its.far, its.one) == BOTH, "who comes by the segment from another host is"
    assert pings(its.one.netns, ROUTER), "answers come back"
    apply(world, policy(tenant, ingress=[from_own, {"from": [{"ipBlock": {"cidr": f"{ROUTER}/32"}}]}]))
    assert router.hears(one)
    apply(world, policy(tenant, egress=[{"to": [{"ipBlock": {"cidr": "10.62.1.0/24"}}]}]))
    assert pings(its.one.netns, ROUTER) and not pings(its.one.netns, FAR, 1)


def test_broadcasts_pass_between_an_open_network_and_the_segment_and_no_other(
    lab: Lab, world: World, router: Outside
) -> None:
    """Both ways, to endpoints of both hosts once, and never to another tag or another tenant."""
    its = site(world, TAG)
    assert world.rest.patch(f"/networks/{its.network}", {"broadcast": True}).body["broadcast"]
    world.settle()
    mine, foreign = [its.one, its.near, its.far], [its.routed_near, its.routed_far, its.apart_far, its.foreign]
    directed, mac = "10.62.1.255", "52:54:00:00:00:09"
    with ExitStack() as stack:
        taps = {one.name: stack.enter_context(tap(one.netns)) for one in (*mine, *foreign)}
        taps["outside"] = stack.enter_context(tap(router.netns, f"v{TAG}"))
        taps["outside, elsewhere"] = stack.enter_context(tap(router.netns, f"v{FOREIGN}"))
        for to in (EVERYBODY, directed, GROUP, GROUP6):
            hears(taps, its.one, to, [its.near, its.far], "outside")
            text = secrets.token_bytes(16)
            packet = IPv6(src="fd00:62:1::99", dst=to) if ":" in to else IP(src="10.62.1.99", dst=to)
            said = Ether(src=mac, dst="ff:ff:ff:ff:ff:ff") / Dot1Q(vlan=TAG) / packet / UDP(sport=9, dport=PORT) / text
            line = frames(router)
            line.send(bytes(said))
            line.close()
            expected = Counter([its.one.name, its.near.name, its.far.name])
            assert heard(taps, text, list(expected)) == expected, f"{to} from outside"
        apply(world, policy(its.one.tenant, ingress=[{"from": [{"podSelector": {}}]}]))
        hears(taps, its.one, EVERYBODY, [its.near, its.far], "outside")
        line = frames(router)
        text = secrets.token_bytes(16)
        to_all = Ether(src=mac, dst="ff:ff:ff:ff:ff:ff") / Dot1Q(vlan=TAG)
        line.send(bytes(to_all / IP(src="10.62.1.99", dst=directed) / UDP() / text))
        line.close()
        assert heard(taps, text, []) == Counter(), "who is outside is nobody's pod"


def hears(taps: dict[str, Tap], source: Placed, to: str, receivers: list[Placed], *others: str) -> None:
    expected = Counter([*(one.name for one in receivers), *others])
    assert heard(taps, say(source, to), list(expected)) == expected, f"{to} from {source.name}"


def test_explanations_agree_with_the_switches(world: World) -> None:
    its = site(world, TAG)
    for destination, allowed in ((its.far, True), (its.routed_far, True), (its.near, True), (its.foreign, False)):
        ends = {"source": f"{its.one.tenant}/{its.one.name}", "destination": f"{destination.tenant}/{destination.name}"}
        said = explained(world, {**ends, "protocol": "tcp", "port": 80, "version": 4})
        assert (said["verdict"] == "allowed", said["agreement"]) == (allowed, "confirmed"), said


def test_wrong_tags_and_hosts_are_refused(world: World) -> None:
    tenant = world.tenant("office")
    body = {"name": f"{tenant}/lan", "transport": "vlan", "physical": "lan", "vlan": TAG, "subnets": ["10.62.1.0/24"]}
    network = world.rest.post("/networks", body).body
    assert (network["physical"], network["vlan"], network["subnets"][0]["gateway"]) == ("lan", TAG, None)
    for more, said in (
        ({"name": f"{tenant}/two", "subnets": ["10.62.2.0/24"]}, f"VLAN tag {TAG} on physical segment lan is network"),
        ({"name": f"{tenant}/two", "vlan": 4095}, "VLAN tag 4095 is not possible"),
        ({"name": f"{tenant}/two", "vlan": 7, "physical": "dmz"}, "No host has a physical segment dmz"),
    ):
        with pytest.raises(Problem, match=said):
            world.rest.post("/networks", body | more)
    lonely = world.endpoint(f"{tenant}/lan", "h1")
    assert lonely.addresses[0].endswith("/24")
    with pytest.raises(LabError):
        world.endpoint("nobody/lan", "h1")
