"""Why a connection is allowed or denied: what the model says, held against what switches say that they would do.

It decides which packet each host is asked about, what the model expects to become of it there, and whether an answer
agrees. How hosts are asked, and how long anybody waits, is not its business.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from controller.calc.judge import Asked, Decision, judge, named_rule
from controller.model import Address, Direction, Endpoint, Host, Tier, ip_address
from controller.pipeline.firewall import firewall
from controller.pipeline.flow import Kind, Match, Reason
from controller.pipeline.packet import GATEWAY_OFPORT, ROUTER_MAC, ip, ip_destination, ip_source
from controller.pipeline.stages import Stage
from controller.transport import DEFAULT, TUNNEL_OFPORTS, transport
from controller.transport.host_gw import SEGMENT_OFPORT
from controller.transport.vlan import segment_ofport
from controller.world import World

ADDRESS = "address"
OPENER_PORT = 40_000
"""Where the connection comes from; no policy looks at it."""
TTL = 64
_SYN = 0x002
_PORTS = {6: "tcp", 17: "udp", 132: "sctp"}
_MESSAGES = {1: "icmp", 58: "icmpv6"}
_APART = frozenset({Reason.TENANT_ISOLATION, Reason.NO_ENDPOINT, Reason.NO_ROUTE})
"""A host that has no endpoint of the other tenant knows no way to it, and takes it for somebody outside."""
_OUTSIDE = Reason.EGRESS_FIREWALL
"""So the tenant's egress firewall may drop it before isolation shows. That proves nothing of isolation: it would pass
if the firewall allowed the address and there was a way out."""
_POLICY = frozenset({Reason.EGRESS_POLICY, Reason.INGRESS_POLICY})


class Fate(NamedTuple):
    """What a switch says of a packet: the table and the flow's cookie where it ends (None: no flow matches), the ports
    that it leaves by, the address that it is tunnelled to. `table` None: no answer, for the reason in `trouble`; else
    `trouble` is what befalls it after its flows are done."""

    table: int | None = None
    cookie: int | None = None
    outputs: frozenset[int] = frozenset()
    tunnel: str | None = None
    trouble: str = ""


class Expected(NamedTuple):
    """What becomes of the packet at a host. `reasons` are those that it may be dropped for, `stage` where, if known;
    `elsewhere`: it may also go to somebody else; `unproven`: reasons that neither agree nor disagree; `rule`: which one
    drops it there, if one does."""

    words: str
    reasons: frozenset[Reason] = frozenset()
    stage: Stage | None = None
    elsewhere: bool = False
    unproven: frozenset[Reason] = frozenset()
    rule: str = ""


class Heard(NamedTuple):
    """A host's answer. `allowed` and `agrees` are None when there is none; `agrees` also when nothing is expected of
    the host, because the packet should never have come there, and when it drops the packet for a reason that proves
    nothing. `words` follow on the host's name."""

    host: Host
    allowed: bool | None
    reason: str
    words: str
    table: str | None = None
    agrees: bool | None = None


class Explanation(NamedTuple):
    """`agreement` is confirmed, disagreement or unconfirmed; `remarks` are sentences about it."""

    decisions: Sequence[Decision]
    hosts: Sequence[Heard]
    agreement: str
    remarks: Sequence[str]

    @property
    def allowed(self) -> bool:
        return self.decisions[-1].allowed

    @property
    def words(self) -> list[str]:
        """All of it in sentences."""
        stages = [
            f"{d.stage.capitalize()}: {'allowed' if d.allowed else 'denied'}, {d.reason}." for d in self.decisions
        ]
        return [*stages, *(f"{one.host.name} {one.words}." for one in self.hosts), *self.remarks]


def decide(world: World, source: Endpoint, destination: Endpoint, asked: Asked) -> list[Decision]:
    """As `judge`; the stage `address` speaks instead of it where no packet leaves the source."""
    if source.id == destination.id:
        return [Decision(ADDRESS, True, "as what an endpoint sends to itself never leaves it")]
    for endpoint in (source, destination):
        if _address(endpoint, asked.version) is None:
            return [Decision(ADDRESS, False, f"as {endpoint.name} has no IPv{asked.version} address")]
    return judge(world, source, destination, asked)


def packets(world: World, source: Endpoint, destination: Endpoint, asked: Asked) -> dict[int, tuple[Match, ...]]:
    """The connection's first packet as it comes to the source's host, and to the destination's if that is another."""
    home, target = (_address(endpoint, asked.version) for endpoint in (source, destination))
    if home is None or target is None or source.id == destination.id:
        return {}
    direct = _subnet(home) == _subnet(target._replace(prefix=home.prefix))
    inner = (
        ip(asked.version),
        ip_source(asked.version, home.value),
        ip_destination(asked.version, target.value),
        Match("ip_proto", asked.protocol),
        *asked_for(asked),
    )
    sent = _link(source.mac, destination.mac if direct else ROUTER_MAC, TTL)
    found = {source.host: (Match("in_port", source.ofport), *sent, *inner)}
    if source.host == destination.host:
        return found
    network = world.networks[source.network]
    within = source.network == destination.network or not transport(network.transport).on_segment
    carrier = transport(network.transport) if within else DEFAULT
    arrival = carrier.arrival(world.hosts[source.host], world.hosts[destination.host], network)
    if arrival:
        link = sent if direct else _link(ROUTER_MAC, destination.mac, TTL - 1)
        # A transport may have link-layer addresses of its own.
        fields = {match.field: match for match in (*link, *arrival, *inner)}
        found[destination.host] = tuple(fields.values())
    return found


def _link(source: int, destination: int, ttl: int) -> tuple[Match, ...]:
    return Match("eth_src", source), Match("eth_dst", destination), Match("nw_ttl", ttl)


def explain(
    world: World,
    source: Endpoint,
    destination: Endpoint,
    decisions: Sequence[Decision],
    fates: Mapping[int, Fate],
) -> Explanation:
    """`fates` are the answers of the hosts that were asked, by their ids."""
    if decisions[-1].stage == ADDRESS:
        return Explanation(decisions, [], "unconfirmed", ["No packet leaves, so no switch was asked."])
    here, there = world.hosts[source.host], world.hosts[destination.host]
    segment = _segment(world, source)
    tenant = world.networks[source.network].tenant
    unproven = frozenset() if firewall(world, tenant) is None else frozenset({_OUTSIDE})
    hidden, leaves = _may_be_hidden(world, source, destination), world.networks[source.network].outbound
    expected = _expected(here, there, decisions[-1], hidden, leaves, unproven)
    within = segment == SEGMENT_OFPORT or source.network == destination.network
    heard: list[Heard] = []
    for host in [here] if here.id == there.id else [here, there]:
        # Where it begins comes first; without an answer from there, where it should come to may still tell something.
        if host is here or heard[0].allowed or (heard[0].allowed is None and host.id in expected):
            fate = fates.get(host.id, Fate(trouble="one of the hosts has no address for its tunnels"))
            heard.append(_hear(host, there, destination, fate, expected.get(host.id), segment, within))
    remarks = [
        f"By the model {one.host.name} should {expected[one.host.id].words}." for one in heard if one.agrees is False
    ]
    if remarks:
        return Explanation(decisions, heard, "disagreement", remarks)
    if any(one.agrees is None and one.reason == _OUTSIDE.name.lower() for one in heard):
        whom = world.tenants[world.networks[destination.network].tenant].name
        remark = f"{here.name} takes it for an address outside, as where nobody of {whom} is; isolation is not asked."
        return Explanation(decisions, heard, "unconfirmed", [remark])
    if any(one.allowed is None for one in heard):
        return Explanation(decisions, heard, "unconfirmed", ["The model's answer stands alone."])
    return Explanation(decisions, heard, "confirmed", [])


def _expected(
    here: Host, there: Host, last: Decision, hidden: bool, leaves: bool, unproven: frozenset[Reason]
) -> dict[int, Expected]:
    """By host; none for where the packet should never come. `leaves`: it may go outside, where nobody it is for is."""
    deliver = Expected("deliver it")
    forward = deliver if here.id == there.id else Expected(f"send it to {there.name}")
    if last.allowed:
        return {there.id: deliver, here.id: forward}
    if last.stage == "transport":
        kept = {Reason.OTHER_HOST, Reason.NO_ENDPOINT}
        return {here.id: Expected("drop it (the network keeps to its host)", frozenset(kept) | _POLICY)}
    if last.stage == "isolation":
        if not hidden:
            reasons = _APART | {Reason.EGRESS_POLICY} if leaves else _APART
            return {here.id: Expected("drop it (tenant isolation)", reasons, unproven=unproven)}
        # Whom the address means there may be on either host, and policies about it may decide.
        apart = Expected("not deliver it (tenant isolation)", _APART | _POLICY, elsewhere=True, unproven=unproven)
        return {there.id: apart, here.id: apart}
    tier = Tier.TENANT if last.policy is None else last.policy.tier
    stage = Stage[f"{last.stage.upper()}_{tier.name}"]
    reason = Reason[f"{last.stage.upper()}_POLICY"]
    rule = ""
    if last.policy is not None and last.rule is not None:
        rule = named_rule(last.policy, Direction[last.stage.upper()], last.rule)
    drop = Expected(f"drop it in {stage.name} ({last.stage} policy)", frozenset({reason}), stage, rule=rule)
    return {here.id: drop} if last.stage == "egress" else {here.id: forward, there.id: drop}


def _may_be_hidden(world: World, source: Endpoint, destination: Endpoint) -> bool:
    """Whether somebody else near the source may have the destination's address, and answer to it."""
    return any(world.networks[endpoint.network].private for endpoint in (source, destination))


def _segment(world: World, source: Endpoint) -> int:
    """The port by which the source's packets may leave its host without a tunnel."""
    network = world.networks[source.network]
    return segment_ofport(network.physical) if transport(network.transport).on_segment else SEGMENT_OFPORT


def _hear(
    host: Host, target: Host, destination: Endpoint, fate: Fate, expected: Expected | None, segment: int, within: bool
) -> Heard:
    """`segment` is the port to the source's segment; `within`: what leaves by it may be for the destination."""
    if fate.table is None:
        return Heard(host, None, "no_answer", f"cannot be asked: {fate.trouble}")
    table = Stage(fate.table).name if fate.table in set(Stage) else str(fate.table)
    lost = f", where it is lost: {fate.trouble}" if fate.trouble else ""
    if host.id == target.id and destination.ofport in fate.outputs:
        agrees = None if expected is None else not expected.reasons
        return Heard(host, True, "delivered", f"delivers it{lost}", table, agrees)
    if GATEWAY_OFPORT in fate.outputs or (segment in fate.outputs and not within):
        agrees = None if expected is None else Reason.NO_ROUTE in expected.reasons
        way = "to its gateway" if GATEWAY_OFPORT in fate.outputs else "by the physical segment"
        words = f"sends it out {way}, not to {destination.name}{lost}"
        return Heard(host, False, "sent outside", words, table, agrees)
    if host.id != target.id and _is_sent(fate, target, segment):
        agrees = None if expected is None else expected.elsewhere or not expected.reasons
        return Heard(host, True, f"sent to {target.name}", f"sends it to {target.name}{lost}", table, agrees)
    if fate.outputs:
        where = f"to {fate.tunnel}" if fate.tunnel else f"by port {min(fate.outputs)}"
        agrees = None if expected is None else expected.elsewhere
        return Heard(host, False, f"sent {where}", f"sends it {where}, not to {destination.name}{lost}", table, agrees)
    reason, name = read_drop(fate.cookie)
    agrees = None
    if expected is not None and reason not in expected.unproven:
        agrees = reason in expected.reasons and expected.stage in (None, fate.table)
    # The switch shows the tier; which of its rules it is, the model says.
    rule = f": by the model {expected.rule}" if agrees and expected is not None and expected.rule else ""
    return Heard(host, False, name, f"drops it in {table} ({name.replace('_', ' ')}{rule})", table, agrees)


def _is_sent(fate: Fate, target: Host, segment: int) -> bool:
    """Whether it leaves for the host. A packet without a tunnel does not show for which host of the segment."""
    if TUNNEL_OFPORTS & fate.outputs:
        return fate.tunnel == _text(target.address)
    return segment in fate.outputs


def read_drop(cookie: int | None) -> tuple[Reason | None, str]:
    """Why a flow drops, and its name."""
    if cookie is None:
        return None, "no_flow"
    owner = cookie >> 48
    if owner - Kind.DROP in set(Reason):
        reason = Reason(owner - Kind.DROP)
        return reason, reason.name.lower()
    return None, "no_output" if owner in set(Kind) else "foreign_flow"


def asked_for(asked: Asked) -> tuple[Match, ...]:
    """The fields that say what a connection is opened to."""
    if name := _MESSAGES.get(asked.protocol):
        return Match(f"{name}_type", asked.port >> 8), Match(f"{name}_code", asked.port & 0xFF)
    name = _PORTS[asked.protocol]
    ports = Match(f"{name}_src", OPENER_PORT), Match(f"{name}_dst", asked.port)
    return (*ports, Match("tcp_flags", _SYN)) if name == "tcp" else ports


def _address(endpoint: Endpoint, version: int) -> Address | None:
    return next((address for address in endpoint.addresses if address.version == version), None)


def _subnet(address: Address) -> int:
    return address.value >> ((32 if address.version == 4 else 128) - address.prefix)


def _text(address: tuple[int, int] | None) -> str | None:
    return None if address is None else str(ip_address(*address))
