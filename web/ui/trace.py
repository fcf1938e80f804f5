"""A connection's way from one endpoint to another as a line with stops: by the model, and by the installed flows.

Decides what stands at each stop and who could change it; what is true of the connection is said by `web.api.explain`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from flask import Response, make_response, request

from db import endpoints
from db.errors import DomainError
from web.api.explain import answered
from web.api.replies import Json
from web.api.schemas.explain import Explain
from web.auth.access import SIGHT, TENANT_READERS, allow
from web.problems import Problem, from_domain
from web.state import reading
from web.ui.forms import Choice, Field, Values, body, number
from web.ui.frame import blueprint, render

MOST_CHOICES = 500
PROTOCOLS = (("tcp", "TCP"), ("udp", "UDP"), ("sctp", "SCTP"), ("icmp", "ICMP"), ("icmpv6", "ICMPv6"))
VERSIONS = (("", "whichever both have"), ("4", "IPv4"), ("6", "IPv6"))
PORTLESS = ("icmp", "icmpv6")
AT_SOURCE = ("source", "isolation", "transport", "egress", "wire")
TITLES = {
    "source": "Leaves",
    "isolation": "Isolation",
    "transport": "Transport",
    "egress": "Egress policies",
    "wire": "Between hosts",
    "ingress": "Ingress policies",
    "destination": "Arrives",
}
ASKED = {
    "isolation": "Do the two networks talk at all?",
    "transport": "Does anything leave the host?",
    "egress": "May the source call?",
    "ingress": "May the destination be called?",
}


class Stop(NamedTuple):
    """`state` is passed, stopped, unknown or unreached; `policy` decided, if one did; `who` could change it."""

    name: str
    title: str
    state: str
    words: str = ""
    policy: str | None = None
    who: str = ""


@blueprint.get("/trace")
@allow(TENANT_READERS, by=SIGHT)
def trace() -> Response | str:
    values = {name: request.args.get(name, "").strip()[:130] for name in Explain.model_fields}
    values["protocol"] = values["protocol"] or "tcp"
    faults: dict[str, str] = {}
    problem = found = None
    if values["source"] and values["destination"]:
        try:
            found = answered(_asked(values))
        except (Problem, DomainError) as refused:
            problem = refused if isinstance(refused, Problem) else from_domain(refused)
            faults = {one.field: one.message for one in problem.errors if one.field in values}
    page = render(
        "trace.html",
        "Trace",
        fields=_fields(),
        values=values,
        faults=faults,
        problem=problem,
        found=found,
        tracks=tracks(found) if found else [],
        end=_end(found) if found else None,
    )
    return make_response(page, problem.status) if problem else page


def _asked(values: Values) -> Explain:
    portless = values["protocol"] in PORTLESS
    return body(
        Explain,
        source=values["source"],
        destination=values["destination"],
        protocol=values["protocol"],
        port=None if portless else number(values["port"]),
        type=number(values["type"]) if portless else None,
        code=number(values["code"]) if portless else None,
        version=number(values["version"]),
    )


def _fields() -> list[Field]:
    with reading() as session:
        names = endpoints.names(session, MOST_CHOICES)
    known: list[Choice] = [(name, name) for name in names]
    return [
        Field("source", "From", "suggest", choices=known, required=True),
        Field("destination", "To", "suggest", choices=known, required=True),
        Field("protocol", "Protocol", "select", choices=PROTOCOLS),
        Field("port", "Port", "number"),
        Field("version", "Addresses", "select", choices=VERSIONS),
        Field("type", "Type", "number", "Only of ICMP; empty: a ping.", rare=True),
        Field("code", "Code", "number", "Only of ICMP.", rare=True),
    ]


def tracks(found: Json) -> list[tuple[str, list[Stop]]]:
    """By the model, and by what is installed: the same stops, which should look the same."""
    names = list(_names(found))
    return [("By the model", _model(found, names)), ("As installed", _installed(found, names))]


def _names(found: Json) -> Iterator[str]:
    said = {decision["stage"] for decision in found["decisions"]}
    for name in TITLES:
        if name == "transport" and name not in said:
            continue
        if name == "wire" and found["source"]["host"] == found["destination"]["host"]:
            continue
        yield name


def _model(found: Json, names: Sequence[str]) -> list[Stop]:
    by_stage: Mapping[str, Json] = {decision["stage"]: decision for decision in found["decisions"]}
    stops: list[Stop] = []
    going = True
    for name in names:
        decision = by_stage.get("address") if name == "source" else by_stage.get(name)
        stopped = decision is not None and decision["verdict"] == "denied"
        state = "unreached" if not going else "stopped" if stopped else "passed"
        if decision is not None and going:
            words = f"{ASKED.get(name, '')} {'No' if stopped else 'Yes'}, {decision['reason']}.".strip()
            who = who_can(found, decision) if stopped else ""
            stops.append(Stop(name, TITLES[name], state, words, decision["policy"], who))
        else:
            stops.append(Stop(name, TITLES[name], state, _place(found, name) if going else ""))
        going = going and not stopped
    return stops


def _place(found: Json, name: str) -> str:
    if name in ("source", "destination"):
        end = found[name]
        return f"{end['name']} on {end['host']}, {end['address'] or 'without such an address'}."
    return f"{found['source']['host']} to {found['destination']['host']}." if name == "wire" else ""


def _installed(found: Json, names: Sequence[str]) -> list[Stop]:
    """What each host's flows do, at the stops that are on it."""
    heard = {one["host"]: one for one in found["hosts"]}
    here, there = found["source"]["host"], found["destination"]["host"]
    parts = [(here, names)] if here == there else [
        (here, [name for name in names if name in AT_SOURCE]),
        (there, [name for name in names if name not in AT_SOURCE]),
    ]  # fmt: skip
    stops: list[Stop] = []
    going = True
    for host, own in parts:
        said = heard.get(host)
        if not going or said is None:
            state = "unknown" if going else "unreached"
            words = "Not asked." if going else ""
            stops += [Stop(name, TITLES[name], state, words if name == own[0] else "") for name in own]
            continue
        words = f"{host} {said['words']}."
        match said["verdict"]:
            case None:
                stops += [Stop(name, TITLES[name], "unknown", words if name == own[0] else "") for name in own]
            case "allowed":
                stops += [Stop(name, TITLES[name], "passed", words if name == own[-1] else "") for name in own]
            case _:
                at = own.index(_station(said["table"])) if _station(said["table"]) in own else 0
                stops += [Stop(name, TITLES[name], "passed") for name in own[:at]]
                stops.append(Stop(own[at], TITLES[own[at]], "stopped", words))
                stops += [Stop(name, TITLES[name], "unreached") for name in own[at + 1 :]]
                going = False
    return stops


def _station(table: str | None) -> str:
    """The stop at which a table is."""
    stage = (table or "").partition("_")[0].lower()
    if stage in ("egress", "ingress"):
        return stage
    return {"classify": "source", "guard": "source", "output": "wire", "carry": "wire"}.get(stage, "isolation")


def who_can(found: Json, decision: Json) -> str:
    """Who could let it pass, in a sentence."""
    source, destination = (found[end]["name"].partition("/")[0] for end in ("source", "destination"))
    match decision["stage"]:
        case "address":
            return ""
        case "isolation" if source == destination:
            return f"An administrator of {source} can route its networks to each other."
        case "isolation":
            return f"An administrator of the cluster can join {source} and {destination}, or let them peer."
        case "transport":
            return f"An administrator of {source} can move the network to another transport."
    tenant = source if decision["stage"] == "egress" else destination
    if decision["policy"] is None:
        return f"An administrator of {tenant} can allow it by a policy."
    owner, slash, _ = decision["policy"].partition("/")
    return f"An administrator of {owner if slash else 'the cluster'} can change policy {decision['policy']}."


def _end(found: Json) -> Json:
    """The answer in one sentence, with its sign."""
    names = f"{found['source']['name']} to {found['destination']['name']}, {found['connection']}"
    allowed = found["verdict"] == "allowed"
    agreement = {
        "confirmed": "The installed flows agree.",
        "disagreement": "The installed flows do something else.",
        "unconfirmed": "The installed flows did not confirm it.",
    }[found["agreement"]]
    sure = found["agreement"] != "disagreement"
    return {
        "lead": f"{names}: {'allowed' if allowed else 'denied'}.",
        "under": " ".join([agreement, *found["remarks"]]),
        "mark": ("ok" if allowed else "wrong") if sure else "changing",
    }
