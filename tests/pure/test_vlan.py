"""Networks on a physical segment: what leaves by it, what comes in, and what does not."""

from __future__ import annotations

from itertools import permutations

import pytest

from controller.calc.judge import Asked
from controller.calc.membership import members
from controller.model import Action, Block, Change, Direction, Endpoint, Members, Policy, Rule, Tier
from controller.pipeline.flow import Flow, Reason
from controller.pipeline.packet import ROUTER_MAC
from controller.pipeline.program import program
from controller.pipeline.stages import Stage
from controller.transport.vlan import segment_ofport
from controller.world import World
from tests.pure import worlds
from tests.pure.connections import NEW, REPLY, TRACKED, Packet
from tests.pure.softswitch import PRESENT, Always, Outcome, Switch, arrive, send
from tests.pure.test_allowed import announcement, neighbor
from tests.pure.test_explain import told
from tests.pure.test_packets import BROADCAST, arp, solicit, udp

TAG, OTHER_TAG = 50, 60
SEGMENT = segment_ofport(1)
STRANGER, STRANGER_MAC = (10 << 24) | (10 << 16) | 77, 0x525400000001
STRANGER6 = (0xFD00 << 112) | (0x10 << 96) | 0x77
GATEWAY_MAC, FAR = 0x525400000002, 0x08080808


def site(*more: Change, tag: int = TAG) -> World:
    """Tenant A is on tag 50 with 101 and 104 on host 1 and 102 on host 2, and has network 12 with 113 and 112 there.
    Tenant B is on tag 60 of the same segment with 201 on host 1."""
    return worlds.world(
        worlds.tenant(1),
        worlds.tenant(2),
        worlds.network(10, 1, transport="vlan", vlan=tag),
        worlds.network(12, 1),
        worlds.network(11, 2, transport="vlan", vlan=OTHER_TAG),
        *(worlds.host(h) for h in (1, 2, 3)),
        worlds.endpoint(101, 10, 1, 11),
        worlds.endpoint(104, 10, 1, 14),
        worlds.endpoint(102, 10, 2, 12),
        worlds.endpoint(113, 12, 1, 13),
        worlds.endpoint(112, 12, 2, 12),
        worlds.endpoint(201, 11, 1, 11),
        *more,
    )


def flows(world: World, host: int = 1) -> frozenset[Flow]:
    return program(world, members(world, host))


def stranger(to: Endpoint, tag: int = TAG, version: int = 4, **more: int) -> Packet:
    """A packet from outside, as the segment brings it."""
    packet = udp(to, to, version) | {"in_port": SEGMENT, "eth_src": STRANGER_MAC, "vlan_vid": tag and PRESENT | tag}
    packet |= {"ip_src": STRANGER} if version == 4 else {"ipv6_src": STRANGER6}
    return packet | more


def over_the_segment(sent: Outcome) -> Packet:
    assert sent.port == SEGMENT, sent
    assert "tun_dst" not in sent.packet or not sent.packet.get("tun_id") or sent.port == SEGMENT
    keep = ("eth_", "ip_", "ipv6_", "udp_", "nw_", "vlan_")
    return {"in_port": SEGMENT, **{f: v for f, v in sent.packet.items() if f.startswith(keep)}}


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("tag", [TAG, 0])
def test_strangers_and_endpoints_talk_both_ways_without_any_address_changed(tag: int, version: int) -> None:
    world = site(tag=tag)
    a1, family = world.endpoints[101], "ip" if version == 4 else "ipv6"
    came = send(flows(world), stranger(a1, tag, version))
    assert (came.port, came.packet["eth_dst"], came.packet.get("vlan_vid", 0)) == (a1.ofport, a1.mac, 0)
    assert came.packet["eth_src"] == STRANGER_MAC
    answer = udp(a1, a1, version) | {
        "eth_dst": STRANGER_MAC,
        f"{family}_dst": stranger(a1, tag, version)[f"{family}_src"],
    }
    went = send(flows(world), answer)
    assert (went.port, went.packet.get("vlan_vid", 0)) == (SEGMENT, tag and PRESENT | tag)
    assert {k: went.packet[k] for k in answer if k != "in_port"} == {k: v for k, v in answer.items() if k != "in_port"}


def test_a_frame_of_the_untagged_network_may_have_a_priority() -> None:
    world = site(tag=0)
    assert send(flows(world), stranger(world.endpoints[101], 0, vlan_vid=PRESENT)).port == world.endpoints[101].ofport


@pytest.mark.parametrize("tag", [0, 51])
def test_other_tags_are_nobodys(tag: int) -> None:
    world = site()
    assert send(flows(world), stranger(world.endpoints[101], tag)).reason is Reason.UNKNOWN_VLAN
    assert send(flows(world, 3), stranger(world.endpoints[101])).reason is Reason.UNKNOWN_VLAN, "no endpoint on host 3"


def test_a_tag_reaches_its_own_network_only() -> None:
    world = site()
    a1, b1, inner = world.endpoints[101], world.endpoints[201], world.endpoints[113]
    assert send(flows(world), stranger(a1, OTHER_TAG)).reason is Reason.SEGMENT
    assert send(flows(world), stranger(b1, OTHER_TAG)).port == b1.ofport
    for target in (b1, inner):
        assert send(flows(world), stranger(target)).reason is Reason.SEGMENT, "not even the tenant's other networks"
    out = send(flows(world), udp(a1, b1) | {"eth_dst": GATEWAY_MAC})
    assert out.reason is Reason.TENANT_ISOLATION


def test_endpoints_of_one_network_on_two_hosts_talk_by_the_segment() -> None:
    world = site()
    a1, a2 = world.endpoints[101], world.endpoints[102]
    sent = send(flows(world), udp(a1, a2))
    assert sent.packet["vlan_vid"] == PRESENT | TAG
    there = send(flows(world, 2), over_the_segment(sent))
    assert (there.port, there.packet["eth_src"]) == (a2.ofport, a1.mac)
    assert send(flows(world), udp(a1, world.endpoints[104])).port == world.endpoints[104].ofport


def test_the_tenants_other_networks_are_routed_to_by_a_tunnel_and_from() -> None:
    world = site()
    a1, a2, near, far = (world.endpoints[id] for id in (101, 102, 113, 112))
    assert send(flows(world), udp(a1, near) | {"eth_dst": GATEWAY_MAC}).port == near.ofport
    sent = send(flows(world), udp(a1, far) | {"eth_dst": GATEWAY_MAC})
    assert (sent.port, sent.packet["tun_id"], sent.packet.get("vlan_vid", 0)) == (1, 1010, 0)
    address = world.hosts[1].address
    assert address is not None
    assert send(flows(world, 2), arrive(sent, address)).port == far.ofport
    back = send(flows(world), udp(near, a2, through_gateway=True))
    assert (back.port, back.packet["tun_id"]) == (1, 1012)
    assert send(flows(world, 2), arrive(back, address)).port == a2.ofport
    assert send(flows(world), udp(near, a1, through_gateway=True) | {"ip_dst": STRANGER}).reason is Reason.NO_ENDPOINT


def test_nobody_outside_speaks_as_an_endpoint_that_is_here() -> None:
    world = site()
    a1, a2, a4 = world.endpoints[101], world.endpoints[102], world.endpoints[104]
    own, own6 = (address.value for address in a4.addresses)
    for lie in ({"eth_src": a4.mac}, {"ip_src": own}):
        assert send(flows(world), stranger(a1, **lie)).reason is Reason.SPOOFED
    assert send(flows(world), stranger(a1, version=6, ipv6_src=own6)).reason is Reason.SPOOFED
    assert send(flows(world), asks(own, sender=own)).reason is Reason.SPOOFED
    advertised = solicits(own6) | {"icmpv6_type": 136, "nd_tll": STRANGER_MAC}
    assert send(flows(world), advertised).reason is Reason.SPOOFED
    elsewhere = a2.addresses[0].value
    assert send(flows(world), stranger(a1, eth_src=a2.mac, ip_src=elsewhere)).port == a1.ofport


def test_an_endpoint_cannot_choose_its_tag() -> None:
    world = site(tag=0)
    for target in (101, 104, 113):
        packet = udp(world.endpoints[101], world.endpoints[target]) | {"vlan_vid": PRESENT | OTHER_TAG}
        assert send(flows(world), packet).reason is Reason.SPOOFED


def asks(target: int, sender: int = STRANGER) -> Packet:
    return {
        "in_port": SEGMENT,
        "vlan_vid": PRESENT | TAG,
        "eth_src": STRANGER_MAC,
        "eth_dst": BROADCAST,
        "eth_type": 0x0806,
        "arp_op": 1,
        "arp_spa": sender,
        "arp_sha": STRANGER_MAC,
        "arp_tpa": target,
        "arp_tha": 0,
    }


def solicits(target: int, sender: int = STRANGER6) -> Packet:
    outside = {"in_port": SEGMENT, "vlan_vid": PRESENT | TAG, "eth_src": STRANGER_MAC, "nd_sll": STRANGER_MAC}
    return solicit(site().endpoints[101], target, sender) | outside


def test_the_hosts_own_endpoints_are_found_from_outside_and_no_others() -> None:
    world = site()
    a1, a2 = world.endpoints[101], world.endpoints[102]
    found = send(flows(world), asks(a1.addresses[0].value))
    assert (found.port, found.packet["vlan_vid"], found.packet["arp_sha"]) == (SEGMENT, PRESENT | TAG, a1.mac)
    assert found.packet["eth_dst"] == STRANGER_MAC
    found = send(flows(world), solicits(a1.addresses[1].value))
    assert (found.port, found.packet["vlan_vid"], found.packet["nd_tll"]) == (SEGMENT, PRESENT | TAG, a1.mac)
    probed = send(flows(world), solicits(a1.addresses[1].value, sender=0))
    assert (probed.port, probed.packet["ipv6_dst"]) == (SEGMENT, (0xFF02 << 112) | 1), "who has no address is told, too"
    assert SEGMENT not in send(flows(world), asks(a2.addresses[0].value)).ports, "its own host answers"
    assert not send(flows(world), solicits(a2.addresses[1].value)).delivered


@pytest.mark.parametrize("active", [True, False])
@pytest.mark.parametrize("version", [4, 6])
def test_who_shares_an_address_announces_it_outside_too(version: int, active: bool) -> None:
    """Else neighbours outside would go on sending to the one who had it before."""
    pair = worlds.allowed(10, 100, version, active=active)
    endpoint = site().endpoints[101]._replace(allowed=(pair,))
    world = site(Change("endpoint", 101, endpoint))
    went = send(flows(world), announcement(endpoint, version))
    assert (went.ports, went.packet["vlan_vid"], went.packet["eth_src"]) == ((SEGMENT,), PRESENT | TAG, pair.mac)
    assert went.logged is not active, "who has it already tells the controller nothing new"
    for lie in ({"eth_src": STRANGER_MAC}, {"arp_spa": STRANGER} if version == 4 else {"nd_target": STRANGER6}):
        assert not send(flows(world), announcement(endpoint, version) | lie).ports


@pytest.mark.parametrize("version", [4, 6])
def test_an_endpoint_that_came_here_announces_its_own_addresses_outside(version: int) -> None:
    a1 = site().endpoints[101]
    own = a1.addresses[0 if version == 4 else 1].value
    said = arp(a1, own, sender=own) if version == 4 else neighbor(a1, a1.mac, own, own, type=136)
    assert send(flows(site()), said).ports == (SEGMENT,)


def test_what_nobody_here_has_is_asked_for_outside() -> None:
    world = site()
    a1, a2 = world.endpoints[101], world.endpoints[102]
    gateway = world.networks[10].subnets[0].gateway
    for target in (STRANGER, gateway):
        asked = send(flows(world), arp(a1, target))
        assert (asked.ports, asked.packet["vlan_vid"]) == ((SEGMENT,), PRESENT | TAG)
    assert send(flows(world), solicit(a1, STRANGER6, a1.addresses[1].value)).ports == (SEGMENT,)
    assert send(flows(world), arp(a1, a2.addresses[0].value)).port == a1.ofport, "Warren's own are known"
    probe = send(flows(world), arp(a1, a1.addresses[0].value, sender=0))
    assert probe.ports == (SEGMENT,), "somebody outside may have the address"
    assert send(flows(world), solicit(a1, a1.addresses[1].value, 0)).ports == (SEGMENT,)
    assert ROUTER_MAC not in probe.packet.values()


def test_answers_from_outside_come_to_the_asker_and_announcements_to_all() -> None:
    world = site()
    a1, a4 = world.endpoints[101], world.endpoints[104]
    answer = asks(a1.addresses[0].value) | {"arp_op": 2, "eth_dst": a1.mac}
    assert send(flows(world), answer).ports == (a1.ofport,)
    advertised = solicits(STRANGER6) | {"icmpv6_type": 136, "nd_tll": STRANGER_MAC}
    assert send(flows(world), advertised | {"eth_dst": a4.mac}).ports == (a4.ofport,)
    for announced in (asks(STRANGER), asks(STRANGER) | {"arp_op": 2}, advertised):
        assert send(flows(world), announced).ports == (a1.ofport, a4.ofport)
    assert send(flows(world), solicits(STRANGER6) | {"icmpv6_type": 134}).reason is Reason.SEGMENT


def test_what_is_in_no_network_leaves_for_the_external_gateway() -> None:
    world = site()
    packet = udp(world.endpoints[101], world.endpoints[102]) | {"ip_dst": FAR, "eth_dst": GATEWAY_MAC}
    went = send(flows(world), packet)
    assert (went.port, went.packet["vlan_vid"]) == (SEGMENT, PRESENT | TAG)
    assert (went.packet["eth_dst"], went.packet["nw_ttl"]) == (GATEWAY_MAC, 64)
    assert Stage.FIREWALL in went.path
    inner = udp(world.endpoints[113], world.endpoints[112]) | {"ip_dst": FAR, "eth_dst": ROUTER_MAC}
    assert send(flows(world), inner).reason is Reason.NO_ROUTE


def test_its_router_is_asked_for_names_as_for_anything() -> None:
    world = site()
    a1 = world.endpoints[101]
    gateway = world.networks[10].subnets[0].gateway
    query = {**udp(a1, a1), "eth_dst": GATEWAY_MAC, "ip_dst": gateway, "udp_dst": 53}
    sent = send(flows(world), query)
    assert (sent.port, sent.packet["ip_src"], sent.packet["ip_dst"]) == (SEGMENT, a1.addresses[0].value, gateway)


def test_broadcast_of_an_endpoint_goes_outside() -> None:
    world = site()
    packet = udp(world.endpoints[101], world.endpoints[102]) | {"eth_dst": BROADCAST, "ip_dst": 0xFFFFFFFF}
    assert send(flows(world), packet).ports == (SEGMENT,)
    assert send(flows(world), packet | {"ip_dst": (10 << 24) | (10 << 16) | 255}).ports == (SEGMENT,)


EVERYBODY, DIRECTED, GROUP = 0xFFFFFFFF, (10 << 24) | (10 << 16) | 255, 0xEF070707
GROUP6 = (0xFF05 << 112) | 0x77


def copies(world: World, packet: Packet, host: int = 1) -> tuple[list[int], list[Outcome], list[Reason | None]]:
    """The ports here that got one; what left by the segment; why the rest ended."""
    ends = Switch(program(world, members(world, host))).copies(packet, Always(TRACKED | NEW))
    went = [end.port for end in ends if end.port is not None]
    out = [end for end in ends if end.port == SEGMENT]
    return sorted(port for port in went if port != SEGMENT), out, [end.reason for end in ends if end.port is None]


def to_many(packet: Packet, to: int) -> Packet:
    return packet | {"eth_dst": BROADCAST, ("ipv6_dst" if to > EVERYBODY else "ip_dst"): to}


@pytest.mark.parametrize("to", [EVERYBODY, DIRECTED, GROUP, GROUP6])
@pytest.mark.parametrize("tag", [TAG, 0])
def test_in_a_network_open_to_broadcasts_all_endpoints_and_the_segment_get_one_each(tag: int, to: int) -> None:
    world = site(worlds.network(10, 1, transport="vlan", vlan=tag, broadcast=True), tag=tag)
    a1, a4, a2 = (world.endpoints[id] for id in (101, 104, 102))
    version = 6 if to > EVERYBODY else 4
    here, out, lost = copies(world, to_many(udp(a1, a2, version), to))
    assert (here, len(out), lost) == ([a4.ofport], 1, [Reason.OWN_BROADCAST])
    assert out[0].packet.get("vlan_vid", 0) == (tag and PRESENT | tag)
    there = over_the_segment(out[0])
    assert copies(world, there, 2) == ([a2.ofport], [], []), "once, and back to nobody"
    here, out, lost = copies(world, to_many(stranger(a1, tag, version), to))
    assert (here, out, lost) == ([a1.ofport, a4.ofport], [], [])
    other = to_many(stranger(a1, OTHER_TAG, version), to)
    assert copies(world, other) == ([], [], [Reason.BROADCAST]), "another tenant's network, which is not open"


def test_policies_judge_broadcasts_from_the_segment_and_those_that_go_there() -> None:
    world = site(worlds.network(10, 1, transport="vlan", vlan=TAG, broadcast=True), policy(Direction.INGRESS, OWN))
    a1, a4, a2 = (world.endpoints[id] for id in (101, 104, 102))
    assert copies(world, to_many(stranger(a1), EVERYBODY))[0] == [], "a stranger is nobody's endpoint"
    sent = to_many(udp(a1, a2), EVERYBODY)
    here, out, _ = copies(world, sent)
    assert (here, len(out)) == ([a4.ofport], 1)
    assert copies(world, over_the_segment(out[0]), 2)[0] == [a2.ofport], "told by its MAC"
    world = site(worlds.network(10, 1, transport="vlan", vlan=TAG, broadcast=True), policy(Direction.EGRESS))
    assert copies(world, sent)[:2] == ([], [])


def test_what_came_from_the_segment_leaves_the_host_by_nothing() -> None:
    world = site()
    assert send(flows(world), stranger(world.endpoints[102])).reason is Reason.NO_TUNNEL
    assert send(flows(world), stranger(world.endpoints[101], ip_dst=STRANGER + 1)).reason is Reason.NO_ENDPOINT
    assert send(flows(world), stranger(world.endpoints[101], ip_dst=FAR)).reason is Reason.SEGMENT


def policy(direction: Direction, *rules: Rule) -> Change:
    ingress, egress = (rules, None) if direction is Direction.INGRESS else (None, rules)
    return worlds.policy(Policy(1, "t1/p", 1, Tier.TENANT, 1, 0, None, (), ingress, egress))


STRANGERS = Block(4, STRANGER & ~0xF, 28)
ALLOWED = Rule("", Action.ACCEPT, (STRANGERS,), None)
OWN = Rule("", Action.ACCEPT, (Members(None, ()),), None)
ALL = Rule("", Action.ACCEPT, (Members((), ()),), None)


@pytest.mark.parametrize(
    ("rule", "from_stranger", "from_far_endpoint"), [(ALLOWED, True, False), (OWN, False, True), (ALL, False, True)]
)
def test_policies_judge_strangers_by_address_and_other_hosts_endpoints_by_what_they_are(
    rule: Rule, from_stranger: bool, from_far_endpoint: bool
) -> None:
    world = site(policy(Direction.INGRESS, rule))
    a1, a2 = world.endpoints[101], world.endpoints[102]
    assert send(flows(world), stranger(a1)).delivered == from_stranger
    sibling = stranger(a1, eth_src=a2.mac, ip_src=a2.addresses[0].value)
    assert send(flows(world), sibling).delivered == from_far_endpoint
    answer = udp(a1, a1) | {"ip_dst": STRANGER, "eth_dst": STRANGER_MAC}
    assert send(flows(world), answer, TRACKED | REPLY).delivered == from_stranger


@pytest.mark.parametrize("rule", [ALLOWED, OWN, ALL])
def test_policies_judge_what_goes_outside(rule: Rule) -> None:
    world = site(policy(Direction.EGRESS, rule))
    packet = udp(world.endpoints[101], world.endpoints[102]) | {"eth_dst": STRANGER_MAC}
    assert send(flows(world), packet | {"ip_dst": STRANGER}, TRACKED | NEW).delivered == (rule is ALLOWED)
    assert send(flows(world), packet | {"ip_dst": FAR}).reason is Reason.EGRESS_POLICY
    assert send(flows(world), stranger(world.endpoints[101]), TRACKED | REPLY).delivered == (rule is ALLOWED)


def test_an_explanation_asks_as_packets_come_and_says_what_leaves() -> None:
    world = site(policy(Direction.EGRESS, OWN))
    switches = {host: Switch(flows(world, host)) for host in world.hosts}
    ids = (101, 102, 104, 112, 113, 201)
    for source, destination in permutations((world.endpoints[id] for id in ids), 2):
        said = told(world, switches, source, destination, Asked(4, 6, 80))
        assert said.agreement == "confirmed", f"{source.name} {destination.name}: {said.words}"
        assert said.allowed == (world.networks[source.network].tenant == world.networks[destination.network].tenant)


def test_whom_a_host_knows_nothing_of_is_taken_for_somebody_outside() -> None:
    world = site(Change("endpoint", 201, None), worlds.endpoint(202, 11, 2, 11))
    switches = {host: Switch(flows(world, host)) for host in world.hosts}
    said = told(world, switches, world.endpoints[101], world.endpoints[202], Asked(4, 6, 80))
    assert (said.allowed, said.agreement, said.hosts[0].reason) == (False, "confirmed", "sent outside")
