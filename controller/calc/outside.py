"""May this endpoint reach that address outside of all networks? As `judge` and `explain` say it of two endpoints."""

from __future__ import annotations

from collections.abc import Sequence

from controller.calc.explain import TTL, Explanation, Fate, Heard, asked_for, read_drop
from controller.calc.judge import Asked, Decision, End, decide, named_rule, within
from controller.model import Action, Block, Direction, DomainName, Endpoint, Peer
from controller.pipeline.firewall import firewall
from controller.pipeline.flow import Match, Reason
from controller.pipeline.packet import GATEWAY_OFPORT, ROUTER_MAC, ip, ip_destination, ip_source
from controller.pipeline.stages import Stage
from controller.transport import transport
from controller.transport.vlan import segment_ofport
from controller.world import World

_REASONS = {
    "address": Reason.NO_ROUTE,
    "outbound": Reason.NO_ROUTE,
    "firewall": Reason.EGRESS_FIREWALL,
    "egress": Reason.EGRESS_POLICY,
}


def judge_outside(world: World, source: Endpoint, address: int, asked: Asked) -> list[Decision]:
    """What each stage says, up to the first that denies."""
    network = world.networks[source.network]
    if not any(own.version == asked.version for own in source.addresses):
        return [Decision("address", False, f"as {source.name} has no IPv{asked.version} address")]
    if not network.outbound:
        return [Decision("outbound", False, f"as network {network.name} is closed to the outside")]
    way = "its physical segment" if transport(network.transport).on_segment else "its host's gateway"
    said = [Decision("outbound", True, f"as network {network.name} goes out by {way}")]
    said.append(_firewall(world, network.tenant, address, asked))
    if said[-1].allowed:
        end = End(None, address)
        said.append(decide(world, Direction.EGRESS, End.of(world, source, asked.version), end, asked))
    return said


def _firewall(world: World, tenant: int, address: int, asked: Asked) -> Decision:
    policy = firewall(world, tenant)
    for number, rule in enumerate((policy.egress or ()) if policy else ()):
        meant = rule.peers is None or any(_means(world, peer, address, asked) for peer in rule.peers)
        ports = rule.services is None or any(
            one.protocol == asked.protocol and one.first <= asked.port <= one.last for one in rule.services
        )
        if policy and meant and ports:
            words = f"by {named_rule(policy, Direction.EGRESS, number)}"
            return Decision("firewall", rule.action is Action.ACCEPT, words, policy, number)
    return Decision("firewall", True, "as no rule of an egress firewall decides")


def _means(world: World, peer: Peer, address: int, asked: Asked) -> bool:
    match peer:
        case Block():
            return peer.version == asked.version and within(peer, address)
        case DomainName():
            return (asked.version, address) in world.addresses_of(peer)
    return False


def packet_outside(source: Endpoint, address: int, asked: Asked) -> tuple[Match, ...]:
    """The connection's first packet as it comes to the source's host; nothing where it has no such address."""
    for own in source.addresses:
        if own.version == asked.version:
            return (
                *(Match("in_port", source.ofport), Match("eth_src", source.mac), Match("eth_dst", ROUTER_MAC)),
                *(Match("nw_ttl", TTL), ip(asked.version), ip_source(asked.version, own.value)),
                *(ip_destination(asked.version, address), Match("ip_proto", asked.protocol), *asked_for(asked)),
            )
    return ()


def explain_outside(world: World, source: Endpoint, decisions: Sequence[Decision], fate: Fate | None) -> Explanation:
    if fate is None:
        return Explanation(decisions, [], "unconfirmed", ["No packet leaves, so no switch was asked."])
    host, network = world.hosts[source.host], world.networks[source.network]
    on_segment = transport(network.transport).on_segment
    way = segment_ofport(network.physical) if on_segment else GATEWAY_OFPORT
    last = decisions[-1]
    if fate.table is None:
        heard = Heard(host, None, "no_answer", f"cannot be asked: {fate.trouble}")
        return Explanation(decisions, [heard], "unconfirmed", ["The model's answer stands alone."])
    table = Stage(fate.table).name if fate.table in set(Stage) else str(fate.table)
    if way in fate.outputs:
        words = "sends it out by the physical segment" if on_segment else "sends it out to its gateway"
        heard = Heard(host, True, "sent outside", words, table, last.allowed)
    elif fate.outputs:
        port = min(fate.outputs)
        heard = Heard(host, False, f"sent by port {port}", f"sends it by port {port}, not outside", table, False)
    else:
        reason, name = read_drop(fate.cookie)
        agrees = not last.allowed and reason is _REASONS[last.stage]
        heard = Heard(host, False, name, f"drops it in {table} ({name.replace('_', ' ')})", table, agrees)
    if heard.agrees:
        return Explanation(decisions, [heard], "confirmed", [])
    should = "send it out" if last.allowed else f"drop it ({_REASONS[last.stage].name.lower().replace('_', ' ')})"
    return Explanation(decisions, [heard], "disagreement", [f"By the model {host.name} should {should}."])
