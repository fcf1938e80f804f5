"""The way out to where the host gets, and the way in from there: by a port whose other end is the host's.

Networks may use the same addresses, so the host is not shown them: between bridge and host each endpoint is called by
an address that follows from its port's number, and conntrack translates, in a zone of the tenant's besides that of its
policies. What enters is judged as it will be delivered, what leaves before it is translated. Nobody reaches these
addresses from inside but in answer to one. What the host does with what leaves is the agent's business.

What all hosts publish comes in by any host's gateway and goes by tunnel to the endpoint's host, which translates and
judges. It was sent to an address that says by which host it came, so the answer bears that address and finds back.
"""

from __future__ import annotations

from controller.model import Address, Endpoint, Network
from controller.pipeline.flow import Action, Ct, Flow, Kind, Match, Move, Nat, Output, Reason, SetField, drop, flow
from controller.pipeline.packet import (
    CT_ESTABLISHED,
    CT_INVALID,
    CT_NEW,
    CT_RELATED,
    CT_REPLY,
    CT_TRACKED,
    GATEWAY_OFPORT,
    GRE,
    IPV4,
    IPV6,
    MESH,
    MESH_ENDPOINT_BITS,
    MESH_HOST_BITS,
    MESH_MASK,
    MULTICAST,
    ROUTER_MAC,
    TRANSIT,
    TRANSIT_MASK,
    UDP,
    in_mesh,
    ip,
    ip_destination,
    ip_source,
    tracked,
)
from controller.pipeline.registers import (
    CARRIER,
    DESTINATION_HOST,
    DESTINATION_IDENTITY,
    DESTINATION_NETWORK,
    DESTINATION_TENANT,
    FROM_GATEWAY,
    FROM_TUNNEL,
    GATEWAY,
    LOCAL_SOURCE,
    OUTPUT_PORT,
    SOURCE_IDENTITY,
    SOURCE_NETWORK,
    flag,
    flagged,
    set_identity,
    set_source_tenant,
)
from controller.pipeline.stages import Stage
from controller.transport import transport
from controller.transport.vxlan import VXLAN
from controller.world import World

_VERSIONS = 4, 6
_FROM_HOST = Match("in_port", GATEWAY_OFPORT)
_OUT = SetField(DESTINATION_HOST, GATEWAY)
_JUDGE = Stage.TRACK_DESTINATION
_NO_NETWORK = Match(SOURCE_NETWORK, 0)
_BY_TUNNEL = SetField(CARRIER, VXLAN.number)
"""Whatever carries the network: hosts without an endpoint of it are concerned, too, and every bridge has that port."""
_LOOPBACK = IPV4, Match("ip_dst", 127 << 24, 0xFF000000)


def zone(tenant: int) -> int:
    """The conntrack zone in which a tenant's addresses are translated. Tenants' own zones have smaller numbers."""
    return 0x8000 | tenant


def is_open(network: Network) -> bool:
    """Whether the host's gateway is the network's way out; one on a physical segment leaves by that."""
    return network.outbound and not transport(network.transport).on_segment


def base(world: World) -> list[Flow]:
    tunnels = [*((UDP, Match("udp_dst", port)) for port in world.tunnel_ports), (GRE,)]
    return [
        drop(Reason.BROADCAST, Stage.CLASSIFY, 90, (_FROM_HOST, MULTICAST)),
        *(
            drop(Reason.NO_ENDPOINT, Stage.CLASSIFY, 50, (_FROM_HOST, family), exact=field)
            for family, field in ((IPV4, "ip_dst"), (IPV6, "ipv6_dst"))
        ),
        drop(Reason.INVALID_CONNECTION, Stage.ENTER, 100, (tracked(CT_INVALID),)),
        *(flow(Kind.BASE, Stage.ENTER, 90, (tracked(it),), (), _JUDGE) for it in (CT_RELATED, CT_ESTABLISHED)),
        drop(Reason.NO_STAGE, Stage.ENTER, 0),
        flow(Kind.BASE, Stage.OUTWARD, 0, (), goto=Stage.FIREWALL),
        *(
            drop(Reason.NO_ROUTE, Stage.WAY_OUT, 110, to(version))
            for to in (_to_transit, _to_mesh)
            for version in _VERSIONS
        ),
        drop(Reason.NO_ROUTE, Stage.WAY_OUT, 110, _LOOPBACK),
        # A host takes tunnels' packets by any of its addresses, and what leaves has a host's: it would be believed.
        *(drop(Reason.TUNNEL_PORT, Stage.WAY_OUT, 140, (family, *it)) for family in (IPV4, IPV6) for it in tunnels),
        drop(Reason.INVALID_CONNECTION, Stage.LEAVE, 0),
        flow(Kind.BASE, Stage.ZONE, 110, (_NO_NETWORK, Match("in_port", VXLAN.ofport)), (), Stage.MESH),
        *(
            flow(
                Kind.BASE,
                Stage.MESH,
                90,
                _from_mesh(version),
                (SetField("eth_dst", ROUTER_MAC), Output(GATEWAY_OFPORT)),
            )
            for version in _VERSIONS
        ),
        *(
            drop(Reason.NO_ENDPOINT, Stage.MESH, 10, (family,), exact=field)
            for family, field in ((IPV4, "ip_dst"), (IPV6, "ipv6_dst"))
        ),
        drop(Reason.NO_STAGE, Stage.MESH, 0),
    ]


def network(world: World, network: Network) -> list[Flow]:
    """Packets to nobody's address are looked up before the egress firewall is asked, which lets answers pass."""
    if not is_open(network):
        return []
    own = zone(network.tenant)
    from_here = Match(SOURCE_NETWORK, network.vni), LOCAL_SOURCE

    def on(stage: Stage, priority: int, *match: Match) -> Flow:
        actions, then = ((), Stage.WAY_OUT) if stage is Stage.FIREWALL else ((_OUT,), _JUDGE)
        return flow(Kind.NETWORK, stage, priority, (*from_here, *match), actions, then)

    return [
        *(
            flow(Kind.NETWORK, Stage.OUTWARD, 100, (*from_here, ip(version)), (Ct(own, table=Stage.FIREWALL),))
            for version in _VERSIONS
        ),
        *(on(Stage.FIREWALL, 0xFFFE, tracked(it), Match("ct_zone", own)) for it in (CT_REPLY, CT_RELATED)),
        on(Stage.WAY_OUT, 100),
        *(
            on(Stage.WAY_OUT, 120, *_to_transit(version), tracked(it))
            for version in _VERSIONS
            for it in (CT_REPLY, CT_RELATED)
        ),
    ]


def local(world: World, endpoint: Endpoint) -> list[Flow]:
    if not is_open(world.networks[endpoint.network]):
        return []
    return [flow for address in endpoint.addresses for flow in _local(world, endpoint, address)]


def elsewhere(world: World, endpoint: Endpoint) -> list[Flow]:
    """At the gateways of other hosts, of an endpoint that all hosts publish."""
    if not is_open(world.networks[endpoint.network]):
        return []
    to_its_host = SetField(DESTINATION_HOST, endpoint.host), _BY_TUNNEL
    return [
        flow(
            Kind.ENDPOINT,
            Stage.CLASSIFY,
            100,
            (_FROM_HOST, ip(address.version), in_mesh("ip_dst", address.version, endpoint.mesh)),
            to_its_host,
            Stage.OUTPUT,
        )
        for address in endpoint.addresses
    ]


def _local(world: World, endpoint: Endpoint, address: Address) -> list[Flow]:
    network, version, port = world.networks[endpoint.network], address.version, endpoint.ofport
    own, its, called = zone(network.tenant), world.identity_of(endpoint).id, TRANSIT[version] | port
    family, here = ip(version), Match("in_port", port)
    entered: tuple[Action, ...] = (
        # Not its zone: that changes without the endpoint, and isolation is not asked of what comes in.
        SetField(DESTINATION_NETWORK, network.vni),
        SetField(DESTINATION_TENANT, network.tenant),
        *set_identity(DESTINATION_IDENTITY, its),
        SetField(OUTPUT_PORT, port),
        SetField("eth_src", ROUTER_MAC),
        SetField("eth_dst", endpoint.mac),
    )

    def on(stage: Stage, priority: int, match: tuple[Match, ...], *actions: Action, goto: Stage | None = None) -> Flow:
        return flow(Kind.ENDPOINT, stage, priority, (family, *match), actions, goto)

    to_it, from_it = ip_destination(version, called), ip_source(version, called)
    known, leaves = Nat(), Nat("src", version, called)
    enters = Ct(own, True, _JUDGE, nat=Nat("dst", version, address.value))
    who = *set_identity(SOURCE_IDENTITY, its), set_source_tenant(network.tenant)
    whom = *set_identity(DESTINATION_IDENTITY, its), SetField(DESTINATION_TENANT, network.tenant), _OUT
    flows = [
        on(
            Stage.CLASSIFY,
            100,
            (_FROM_HOST, to_it),
            flag(FROM_TUNNEL, FROM_GATEWAY),
            *entered,
            Ct(own, table=Stage.ENTER, nat=known),
        ),
        on(Stage.ENTER, 70, (Match(OUTPUT_PORT, port), tracked(CT_NEW)), enters),
        on(
            Stage.COMMIT_DESTINATION,
            110,
            (Match(DESTINATION_HOST, GATEWAY), here),
            SetField("eth_dst", ROUTER_MAC),
            Ct(own, True, Stage.LEAVE, nat=leaves),
        ),
        # Conntrack leaves what it takes for invalid as it was.
        on(Stage.LEAVE, 100, (here, from_it), Output(GATEWAY_OFPORT)),
        # Who went out and came back in, to an address of the host's that leads to somebody here, is known all the same.
        flow(Kind.ENDPOINT, Stage.IDENTIFY, 110, (family, flagged(FROM_GATEWAY), from_it), who, Stage.NORMALIZE),
        *(
            flow(Kind.ENDPOINT, Stage.WAY_OUT, 130, (family, LOCAL_SOURCE, to_it, tracked(it)), whom, _JUDGE)
            for it in (CT_REPLY, CT_RELATED)
        ),
    ]
    if endpoint.mesh:
        source = "ip_src" if version == 4 else "ipv6_src"
        answers = Match("ct_state", CT_TRACKED, CT_TRACKED | CT_INVALID), in_mesh("ip_src", version, endpoint.mesh)
        to_where_it_came = (
            SetField(DESTINATION_HOST, 0),
            Move(source, DESTINATION_HOST, MESH_HOST_BITS, MESH_ENDPOINT_BITS),
            SetField(SOURCE_NETWORK, 0),
            _BY_TUNNEL,
        )
        to_it = in_mesh("ip_dst", version, endpoint.mesh)
        flows += [
            on(Stage.MESH, 100, (to_it,), *entered, Ct(own, table=Stage.ENTER, nat=known)),
            on(Stage.LEAVE, 100, (here, *answers), *to_where_it_came, goto=Stage.OUTPUT),
        ]
    return flows


def _to_transit(version: int) -> tuple[Match, Match]:
    field = "ip_dst" if version == 4 else "ipv6_dst"
    return ip(version), Match(field, TRANSIT[version], TRANSIT_MASK[version])


def _to_mesh(version: int) -> tuple[Match, Match]:
    return ip(version), Match("ip_dst" if version == 4 else "ipv6_dst", MESH[version], MESH_MASK[version])


def _from_mesh(version: int) -> tuple[Match, Match]:
    return ip(version), Match("ip_src" if version == 4 else "ipv6_src", MESH[version], MESH_MASK[version])
