"""`POST /explain`: why a connection is allowed or denied, by the model and by the switches of the hosts concerned.

It decides what may be asked, how the hosts' agents are asked and how long they are waited for; what follows from the
answers is said by `controller.calc.explain`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Set
from contextlib import suppress

from apiflask import APIBlueprint
from sqlalchemy.orm import Session

from controller.calc.explain import Explanation, Fate, Heard, decide, explain, packets
from controller.calc.judge import PROTOCOLS, Asked, Decision
from controller.calc.outside import explain_outside, judge_outside, packet_outside
from controller.model import Endpoint
from controller.openflow.text import match_texts
from controller.world import World
from db import convergence, endpoints, snapshot
from db.changes import current_revision
from db.collisions import inside
from db.errors import Invalid, NotFound
from web.api import asking
from web.api.asking import asked_of
from web.api.replies import Json
from web.api.schemas.explain import Explain, Explained
from web.auth.access import BODY, TENANT_READERS, allow, sight
from web.state import reading_all

blueprint = APIBlueprint("explain", __name__, tag="Policies")

AUDIT_SECONDS = 15
NUMBERS = {name: number for number, name in PROTOCOLS.items()}
IN_WORDS = {"tcp": "TCP", "udp": "UDP", "sctp": "SCTP", "icmp": "ICMP", "icmpv6": "ICMPv6"}
ECHO = {"icmp": 8, "icmpv6": 128}
OF_VERSION = {"icmp": 4, "icmpv6": 6}
UNSEEN = "No switch was asked: its answer would tell where other tenants' networks are. What is theirs is not reached."
"""What a tenant's people are told of every address that is outside, or in a network that they neither see nor reach."""
UNJUDGED = frozenset({*range(130, 138), 143})
"""ICMPv6 between an endpoint and its network: multicast listeners, routers and neighbours."""


@blueprint.post("/explain")
@allow(TENANT_READERS, by=BODY)
@blueprint.input(Explain, arg_name="body")
@blueprint.output(Explained)
def ask(body: Explain) -> Json:
    """Explain a connection

    Answered by the model, and by the switches of both hosts, which say what they would do with its first packet.
    """
    return answered(body)


def answered(body: Explain) -> Json:
    if "/" not in body.destination:
        return _outside(body)
    with reading_all() as session:
        ends = tuple(_endpoint(session, getattr(body, field), field) for field in ("source", "destination"))
        revision = current_revision(session)
        world = World().apply(revision, snapshot.between(session, *ends))
    source, destination = (world.endpoints[id] for id in ends)
    asked = _asked(body, source, {address.version for address in destination.addresses})
    decisions = decide(world, source, destination, asked)
    texts = {host: ",".join(match_texts(packet)) for host, packet in packets(world, source, destination, asked).items()}
    explained = explain(world, source, destination, decisions, traced(texts) if texts else {})
    return _said(world, source, _end(world, destination, asked), asked, explained, revision)


def _outside(body: Explain) -> Json:
    try:
        address = ipaddress.ip_address(body.destination)
    except ValueError:
        remedy = "write tenant/name, or an address outside such as 192.0.2.7"
        raise Invalid(f"{body.destination!r} is neither an endpoint nor an address", remedy, "destination") from None
    with reading_all() as session:
        id = _endpoint(session, body.source, "source")
        revision = current_revision(session)
        world = World().apply(revision, snapshot.between(session, id, id))
        source = world.endpoints[id]
        seen = sight()
        if inside(session, address, world.networks[source.network].tenant, None if seen is None else seen.values()):
            problem = f"{address} is an address of one of Warren's networks"
            raise Invalid(problem, "name the endpoint that has it", "destination")
    asked = _asked(body, source, {address.version})
    decisions = judge_outside(world, source, int(address), asked)
    packet = packet_outside(source, int(address), asked)
    if packet and seen is not None:
        explained = Explanation(decisions, [], "unconfirmed", [UNSEEN])
    else:
        fate = traced({source.host: ",".join(match_texts(packet))})[source.host] if packet else None
        explained = explain_outside(world, source, decisions, fate)
    end = {"name": str(address), "host": None, "address": str(address)}
    return _said(world, source, end, asked, explained, revision)


def _said(
    world: World, source: Endpoint, destination: Json, asked: Asked, explained: Explanation, revision: int
) -> Json:
    remarks = [*explained.remarks, *_why_not(revision, explained)]
    return {
        "source": _end(world, source, asked),
        "destination": destination,
        "connection": str(asked),
        "version": asked.version,
        "verdict": _verdict(explained.allowed),
        "decisions": [_decision(decision) for decision in explained.decisions],
        "hosts": [_host(heard) for heard in explained.hosts],
        "agreement": explained.agreement,
        "remarks": remarks,
        "words": explained._replace(remarks=remarks).words,
        "revision": revision,
    }


def traced(packets: Mapping[int, str]) -> dict[int, Fate]:
    """What the switches of the hosts say of their packets, as soon as all have answered or the time is over."""
    said = asked_of(packets)
    silence = Fate(trouble=f"its agent has not answered within {asking.PATIENCE:g} s")
    return {host: _fate(said[host]) if host in said else silence for host in packets}


def _fate(said: Json) -> Fate:
    cookie = None if said["cookie"] is None else int(said["cookie"], 16)
    return Fate(said["table"], cookie, frozenset(said["outputs"]), said["tunnel"], said["trouble"])


def _endpoint(session: Session, name: str, field: str) -> int:
    try:
        return endpoints.get(session, name).id
    except NotFound as fault:
        raise NotFound(fault.problem, fault.remedy, field) from None
    except Invalid as fault:
        raise Invalid(fault.problem, fault.remedy, field) from None


def _asked(body: Explain, source: Endpoint, families: Set[int]) -> Asked:
    """`families` are the destination's."""
    protocol, number, named = body.protocol, NUMBERS[body.protocol], IN_WORDS[body.protocol]
    if protocol in ECHO:
        if body.port is not None:
            raise Invalid(f"{named} has no port {body.port}", "give a type and a code, or neither", "port")
        if body.version not in (None, OF_VERSION[protocol]):
            raise Invalid(f"there is no {named} over IPv{body.version}", "leave out the version", "version")
        type, code = ECHO[protocol] if body.type is None else body.type, body.code or 0
        if protocol == "icmpv6" and type in UNJUDGED:
            raise Invalid(
                f"ICMPv6 type {type} is between an endpoint and its network, and no policy judges it",
                "ask about another type",
                "type",
            )
        return Asked(OF_VERSION[protocol], number, type << 8 | code)
    for field in ("type", "code"):
        if getattr(body, field) is not None:
            raise Invalid(f"{named} has no {field}", "give a port instead", field)
    if body.port is None:
        raise Invalid(f"{named} needs a port", "give one, like 443", "port")
    if body.version is not None:
        return Asked(body.version, number, body.port)
    versions = [address.version for address in source.addresses]
    both = [version for version in versions if version in families]
    return Asked((both or versions)[0], number, body.port)


def _why_not(revision: int, explained: Explanation) -> list[str]:
    """What an administrator should know of a disagreement."""
    if explained.agreement != "disagreement":
        return []
    late = []
    with reading_all() as session:
        now = current_revision(session)
        for heard in explained.hosts:
            with suppress(NotFound):  # somebody removed the host meanwhile
                if convergence.progress(session, now, heard.host.name).state != "applied":
                    late.append(heard.host.name)
    if late:
        return [f"Revision {now} is not live yet on {' and '.join(late)}: ask again when it is."]
    if now != revision:
        return ["Something was changed at the same moment: ask again."]
    return [
        f"Its hosts have confirmed revision {now}, so something else has changed their flows; "
        f"the controller puts them right within {AUDIT_SECONDS} s."
    ]


def _end(world: World, endpoint: Endpoint, asked: Asked) -> Json:
    address = next((str(address) for address in endpoint.addresses if address.version == asked.version), None)
    return {"name": endpoint.name, "host": world.hosts[endpoint.host].name, "address": address}


def _decision(decision: Decision) -> Json:
    return {
        "stage": decision.stage,
        "verdict": _verdict(decision.allowed),
        "policy": None if decision.policy is None else decision.policy.name,
        "rule": None if decision.rule is None else decision.rule + 1,
        "reason": decision.reason,
    }


def _host(heard: Heard) -> Json:
    return {
        "host": heard.host.name,
        "verdict": None if heard.allowed is None else _verdict(heard.allowed),
        "reason": heard.reason,
        "table": heard.table,
        "agrees": heard.agrees,
        "words": heard.words,
    }


def _verdict(allowed: bool) -> str:
    return "allowed" if allowed else "denied"
