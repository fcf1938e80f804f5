"""No tunnel: endpoints sit on a physical segment, in place of macvlan, 802.1Q interfaces and provider networks.

Each host's bridge is joined with the segment by one port, whose number follows from the segment; a tag, or none, tells
networks apart there. Their gateway is somebody else's. Who speaks from outside is known by no port: it is nobody, or
another host's endpoint, told by its address. What nobody here has may be outside, so questions for it go there.
What came from the segment goes to endpoints here and nowhere else. To other networks hosts carry packets by VXLAN.
"""

from __future__ import annotations

from controller.model import Endpoint, Host, Network
from controller.pipeline.allowed import WHOLE, allowed_in, announcement
from controller.pipeline.flow import (
    Action,
    Flow,
    InPort,
    Kind,
    Match,
    Output,
    PopVlan,
    PushVlan,
    Reason,
    Resubmit,
    SetField,
    ToController,
    drop,
    flow,
    read,
)
from controller.pipeline.neighbor import ADVERTISED, ADVERTISED_TO_ALL, arp_reply, neighbor_reply
from controller.pipeline.packet import (
    ARP,
    ARP_REPLY,
    IPV4,
    IPV6,
    MULTICAST,
    NEIGHBOR_ADVERTISEMENT,
    NEIGHBOR_SOLICITATION,
    REDIRECT,
    ROUTER_ADVERTISEMENT,
    icmpv6,
    into_subnet,
    ip,
    ip_source,
    link_local,
)
from controller.pipeline.registers import (
    CARRIER,
    DESTINATION_HOST,
    DESTINATION_JUDGED,
    DESTINATION_NETWORK,
    DESTINATION_TENANT,
    FLAGS,
    FROM_OUTSIDE,
    FROM_TUNNEL,
    LOCAL_SOURCE,
    OUTSIDE,
    SOURCE_NETWORK,
    flagged,
    set_destination,
    set_source_tenant,
)
from controller.pipeline.stages import Stage
from controller.transport.transport import Transport
from controller.transport.vxlan import VXLAN
from controller.world import World

MOST_SEGMENTS = 80
_TAGGED = 0x1000  # OFPVID_PRESENT, part of every tag in `vlan_vid`
_NO_TAG, _PRIORITY_TAG = 0, _TAGGED  # a frame of the untagged network may have a priority all the same (802.1Q, 6.9)
_FROM_OUTSIDE = flagged(FROM_OUTSIDE)
_QUESTION, _ANSWER = icmpv6(NEIGHBOR_SOLICITATION), icmpv6(NEIGHBOR_ADVERTISEMENT)
_ARRIVED = SetField(FLAGS, FROM_TUNNEL | FROM_OUTSIDE, FROM_TUNNEL | FROM_OUTSIDE)


def segment_ofport(physical: int) -> int:
    """Of the port to a physical segment (1 to `MOST_SEGMENTS`), on every host's bridge that has it; the number before
    these is host-gw's."""
    return 9 + physical


class _Vlan(Transport):
    name, number, on_segment = "vlan", 5, True

    def base(self, world: World) -> list[Flow]:
        def on(stage: Stage, priority: int, match: tuple[Match, ...], goto: Stage, *actions: Action) -> Flow:
            return flow(Kind.BASE, stage, priority, match, actions, goto)

        guard, back = Stage.GUARD, Stage.ANSWER
        return [
            # Endpoints have addresses and routes from Warren: an outside router's would make them speak as strangers.
            *(drop(Reason.SEGMENT, guard, 226, (_FROM_OUTSIDE, *icmpv6(t))) for t in (ROUTER_ADVERTISEMENT, REDIRECT)),
            *(on(guard, 224, (_FROM_OUTSIDE, *asked), back) for asked in ((ARP,), _QUESTION, _ANSWER)),
            *(on(guard, 222, (_FROM_OUTSIDE, family, MULTICAST), back) for family in (IPV4, IPV6)),
            drop(Reason.SEGMENT, guard, 195, (_FROM_OUTSIDE,)),  # unicast IP is on its way to ROUTE
            *(drop(Reason.SEGMENT, back, 114, (_FROM_OUTSIDE, *asked)) for asked in ((ARP,), _QUESTION, _ANSWER)),
            drop(Reason.BROADCAST, back, 112, (_FROM_OUTSIDE, MULTICAST)),
            # Whose broadcast it is, a MAC of this network's endpoints elsewhere tells; else it is a stranger's.
            *(
                on(Stage.HEAR, 50, (_FROM_OUTSIDE, family), Stage.REPLICATE, read(source), set_source_tenant(0))
                for family, source in ((IPV4, "ip_src"), (IPV6, "ipv6_src"))
            ),
            *(drop(Reason.SEGMENT, Stage.ROUTE, 290, (_FROM_OUTSIDE, family)) for family in (IPV4, IPV6)),
            *(
                on(Stage.IDENTIFY, 20, (_FROM_OUTSIDE, family), Stage.NORMALIZE, read(source), set_source_tenant(0))
                for family, source in ((IPV4, "ip_src"), (IPV6, "ipv6_src"))
            ),
            on(Stage.OUTPUT, 100, (Match(DESTINATION_HOST, OUTSIDE), LOCAL_SOURCE), Stage.CARRY),
            flow(Kind.BASE, Stage.CARRY, 100, (Match(CARRIER, self.number),), (Output(VXLAN.ofport),)),
        ]

    def network(self, world: World, network: Network) -> list[Flow]:
        its, here = Match(SOURCE_NETWORK, network.vni), LOCAL_SOURCE
        to_itself = Match(DESTINATION_NETWORK, network.vni)
        outside = SetField(DESTINATION_HOST, OUTSIDE)
        out = _out(network)

        def on(stage: Stage, priority: int, match: tuple[Match, ...], actions: tuple[Action, ...], goto: Stage) -> Flow:
            return flow(Kind.NETWORK, stage, priority, (its, *match), actions, goto)

        def leave(stage: Stage, priority: int, *match: Match) -> Flow:
            return flow(Kind.NETWORK, stage, priority, (its, *match), out)

        flows = [
            *_arrivals(network),
            *(leave(Stage.ANSWER, 60, here, *question) for question in ((ARP,), _QUESTION)),
            *(
                on(Stage.ANSWER, 46, (here, family, MULTICAST), (), Stage.TRACK_SOURCE)
                for family in (IPV4, IPV6)
                if not network.broadcast  # then copies go out, and to the others here
            ),
            *(
                on(
                    Stage.ROUTE,
                    300,
                    (_FROM_OUTSIDE, ip(subnet.version), into_subnet(subnet)),
                    set_destination(network),
                    Stage.DELIVER,
                )
                for subnet in network.subnets
            ),
            *(
                on(
                    Stage.DELIVER,
                    50,
                    (to_itself, here, family),
                    (read(address), outside, SetField(DESTINATION_TENANT, 0)),
                    Stage.ADMIT,
                )
                for family, address in ((IPV4, "ip_dst"), (IPV6, "ipv6_dst"))
            ),
            *([on(Stage.WAY_OUT, 100, (here,), (outside,), Stage.TRACK_DESTINATION)] if network.outbound else []),
            leave(Stage.CARRY, 120, to_itself),
            leave(Stage.CARRY, 120, Match(DESTINATION_HOST, OUTSIDE), Match(DESTINATION_NETWORK, 0)),
        ]
        for priority, asker, answered in (
            (120, (), ADVERTISED),
            (130, (Match("ipv6_dst", 0),), ADVERTISED_TO_ALL),
        ):
            match = (its, _FROM_OUTSIDE, *_ANSWER, *asker)
            actions = *answered, *_tag(network), InPort()
            flows.append(flow(Kind.NETWORK, Stage.ADVERTISE, priority, match, actions))
        return flows

    def local(self, world: World, endpoint: Endpoint) -> list[Flow]:
        network = world.networks[endpoint.network]
        port, mac = Match("in_port", endpoint.ofport), Match("eth_src", endpoint.mac)
        its = _FROM_OUTSIDE, Match(SOURCE_NETWORK, network.vni)
        to_it = *its, Match("eth_dst", endpoint.mac)
        out = _out(network)

        def liar(*match: Match) -> Flow:
            return drop(Reason.SPOOFED, Stage.GUARD, 230, (*its, *match))

        flows = [liar(mac)]
        flows += [
            flow(Kind.ENDPOINT, Stage.ANSWER, 118, (*to_it, *answer_), (Output(endpoint.ofport),))
            for answer_ in ((ARP, Match("arp_op", ARP_REPLY)), _ANSWER)
        ]
        for address in endpoint.addresses:
            flows.append(liar(ip(address.version), ip_source(address.version, address.value)))
            if address.version == 4:
                own = (port, ARP, Match("arp_tpa", address.value))
                flows += [
                    liar(ARP, Match("arp_spa", address.value)),
                    arp_reply(Kind.ENDPOINT, its, Match("arp_tpa", address.value), endpoint.mac, 120, _tag(network)),
                    # Its probes and announcements: whether somebody outside has the address, nobody here can know.
                    flow(Kind.ENDPOINT, Stage.ANSWER, 110, own, out),
                ]
        if any(address.version == 6 for address in endpoint.addresses):
            for value in (link_local(endpoint.mac), *(a.value for a in endpoint.addresses if a.version == 6)):
                target = Match("nd_target", value)
                flows += [
                    liar(*_ANSWER, target),
                    neighbor_reply(Kind.ENDPOINT, its, target, endpoint.mac, 120),
                    *(flow(Kind.ENDPOINT, Stage.ANSWER, 110, (port, *it, target), out) for it in (_QUESTION, _ANSWER)),
                ]
        for pair in endpoint.allowed:
            # What is outside learns by announcements, and by nothing else, that an address has come to another host.
            if not pair.active:
                takes_over = port, Match("eth_src", pair.mac), *announcement(pair)
                above = 91 if pair.is_address else 81
                flows.append(flow(Kind.ANNOUNCEMENT, Stage.GUARD, above, takes_over, (ToController(WHOLE), *out)))
                continue
            said = (ARP,) if pair.version == 4 else _ANSWER
            about = allowed_in(pair, "arp_tpa" if pair.version == 4 else "nd_target")
            flows.append(flow(Kind.ENDPOINT, Stage.ANSWER, 110, (port, *said, about), out))
            priority = 119 if pair.is_address else 117
            if pair.version == 4:
                asked = allowed_in(pair, "arp_tpa")
                flows.append(arp_reply(Kind.ENDPOINT, its, asked, pair.mac, priority, _tag(network)))
            else:
                flows.append(neighbor_reply(Kind.ENDPOINT, its, allowed_in(pair, "nd_target"), pair.mac, priority))
            if pair.is_address:  # a range may be anybody's outside
                flows.append(liar(ip(pair.version), ip_source(pair.version, pair.network)))
        return flows

    def to_host(self, world: World, network: Network, host: Host) -> tuple[Action, ...]:
        """The segment brings what went outside."""
        return ()

    def outside(self, world: World, network: Network) -> list[tuple[Action, ...]]:
        stranger = SetField(DESTINATION_TENANT, 0), SetField(FLAGS, 0, DESTINATION_JUDGED)
        return [(SetField(DESTINATION_HOST, OUTSIDE), *stranger, Resubmit(Stage.ADMIT))]

    def arrival(self, near: Host, far: Host, network: Network) -> tuple[Match, ...]:
        """Within the network; to others VXLAN carries it."""
        return Match("in_port", segment_ofport(network.physical)), Match("vlan_vid", _tags(network)[0])


def segment(world: World, physical: int) -> list[Flow]:
    """What comes from a physical segment for no network."""
    return [drop(Reason.UNKNOWN_VLAN, Stage.CLASSIFY, 50, (Match("in_port", segment_ofport(physical)),))]


def heard_by_all(world: World, network: Network, host: int) -> list[Flow]:
    """Address announcements from outside, to all of the network's endpoints on a host."""
    its = world.endpoints_of_network.get(network.id, {}).values()
    ports = sorted(endpoint.ofport for endpoint in its if endpoint.host == host)
    match = _FROM_OUTSIDE, Match(SOURCE_NETWORK, network.vni), MULTICAST
    return [
        flow(Kind.NETWORK, Stage.ANSWER, 116, (*match, *said), tuple(map(Output, ports)))
        for said in ((ARP,), _ANSWER)
        if ports
    ]


def _arrivals(network: Network) -> list[Flow]:
    said = (SetField(SOURCE_NETWORK, network.vni), _ARRIVED)
    port = Match("in_port", segment_ofport(network.physical))
    return [
        flow(
            Kind.NETWORK,
            Stage.CLASSIFY,
            100,
            (port, Match("vlan_vid", tag)),
            ((PopVlan(), *said) if tag else said),
            Stage.ZONE,
        )
        for tag in _tags(network)
    ]


def _tags(network: Network) -> list[int]:
    return [_TAGGED | network.vlan] if network.vlan else [_NO_TAG, _PRIORITY_TAG]


def _tag(network: Network) -> tuple[Action, ...]:
    return (PushVlan(), SetField("vlan_vid", _TAGGED | network.vlan)) if network.vlan else ()


def _out(network: Network) -> tuple[Action, ...]:
    return *_tag(network), Output(segment_ofport(network.physical))


VLAN = _Vlan()
