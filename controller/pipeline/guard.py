"""Nobody can pretend: what an endpoint sends must carry its own MAC and addresses, in ARP and ND as well.

Packets from other hosts were guarded where they entered; they go straight to routing. Whatever an endpoint's own
flows do not name is dropped by the endpoint's last flow, whose counter is that endpoint's spoofed packets.
"""

from __future__ import annotations

from controller.model import Endpoint, Host
from controller.pipeline.flow import Flow, Kind, Match, Reason, drop, flow
from controller.pipeline.packet import (
    ARP,
    GRE,
    IPV4,
    IPV6,
    LISTENER_DONE,
    LISTENER_QUERY,
    LISTENER_REPORT,
    LISTENER_REPORT_V2,
    NEIGHBOR_SOLICITATION,
    REDIRECT,
    ROUTER_ADVERTISEMENT,
    ROUTER_SOLICITATION,
    UDP,
    icmpv6,
    ip,
    ip_destination,
    ip_source,
    link_local,
)
from controller.pipeline.registers import FROM_TUNNEL, flagged
from controller.pipeline.stages import Stage
from controller.transport import transport
from controller.world import World

STAGE = Stage.GUARD


def base(world: World) -> list[Flow]:
    flows = [
        *(flow(Kind.BASE, STAGE, 200, (flagged(FROM_TUNNEL), ip), goto=Stage.ROUTE) for ip in (IPV4, IPV6)),
        drop(Reason.SPOOFED, STAGE, 0),
        # A tag would choose another network on a physical segment. Tags of segments are gone by now.
        drop(Reason.SPOOFED, STAGE, 240, (Match("vlan_vid", 0x1000, 0x1000),)),
    ]
    # Only Warren speaks for routers, so an endpoint's advertisements and redirects are lies.
    flows += [drop(Reason.SPOOFED, STAGE, 140, icmpv6(type)) for type in (ROUTER_ADVERTISEMENT, REDIRECT)]
    # What every kernel mutters when an interface comes up; nobody listens, nothing is wrong.
    flows += [
        drop(Reason.BROADCAST, STAGE, 140, icmpv6(type))
        for type in (ROUTER_SOLICITATION, LISTENER_QUERY, LISTENER_REPORT, LISTENER_DONE, LISTENER_REPORT_V2)
    ]
    return flows


def host(world: World, host: Host) -> list[Flow]:
    """No endpoint reaches any host's tunnels: it could forge packets of every tenant."""
    if host.address is None:
        return []
    version, value = host.address
    to_host = ip(version), ip_destination(version, value)
    tunnels = [(UDP, Match("udp_dst", port)) for port in world.tunnel_ports]
    return [drop(Reason.TUNNEL_PORT, STAGE, 160, (*to_host, *tunnel)) for tunnel in (*tunnels, (GRE,))]


def local(world: World, endpoint: Endpoint) -> list[Flow]:
    port, mac = Match("in_port", endpoint.ofport), Match("eth_src", endpoint.mac)

    def allow(*match: Match) -> Flow:
        return flow(Kind.ENDPOINT, STAGE, 100, (port, mac, *match), goto=Stage.ANSWER)

    def probe(*match: Match) -> Flow:
        """A question for an own address. On a physical segment it goes out: somebody outside may have the address."""
        if transport(world.networks[endpoint.network].transport).on_segment:
            return flow(Kind.ENDPOINT, STAGE, 150, (port, mac, *match), goto=Stage.ANSWER)
        return drop(Reason.OWN_PROBE, STAGE, 150, (port, mac, *match))

    flows = [drop(Reason.SPOOFED, STAGE, 10, (port,))]
    has_ipv4 = has_ipv6 = False
    for address in endpoint.addresses:
        flows.append(allow(ip(address.version), ip_source(address.version, address.value)))
        if address.version == 4:
            has_ipv4 = True
            flows.append(allow(ARP, Match("arp_spa", address.value), Match("arp_sha", endpoint.mac)))
        else:
            has_ipv6 = True
            flows.append(probe(*_probe(address.value)))
    if has_ipv4:
        # A probe carries no sender address (RFC 5227): is this address taken?
        flows.append(allow(ARP, Match("arp_spa", 0), Match("arp_sha", endpoint.mac)))
    if has_ipv6:
        own_link_local = link_local(endpoint.mac)
        flows.append(allow(*icmpv6(NEIGHBOR_SOLICITATION), Match("ipv6_src", own_link_local)))
        # As ARP's probe: who asks whether an address is taken has none yet.
        flows.append(allow(*icmpv6(NEIGHBOR_SOLICITATION), Match("ipv6_src", 0)))
        flows.append(probe(*_probe(own_link_local)))
    return flows


def _probe(target: int) -> tuple[Match, ...]:
    """Duplicate address detection (RFC 4862): a solicitation for `target` from the unspecified address."""
    return *icmpv6(NEIGHBOR_SOLICITATION), Match("ipv6_src", 0), Match("nd_target", target)
