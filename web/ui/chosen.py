"""Doing the same with several things at once: first a page that says what it does to each of them, then all or nothing.

It decides how that is asked, tried and carried out; what there is to do with which list is in `bulk`. Trying is a
rehearsal, item by item: one that is refused says why and stays, one that would not change is not touched.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from flask import Response, request, url_for
from sqlalchemy.orm import Session

from db.changes import Transaction
from db.errors import DomainError, Invalid
from web.auth.access import SIGHT, allow, sight, unseen
from web.problems import Problem, from_domain
from web.state import changing, reading
from web.ui import words
from web.ui.forms import Field, Values, away, faults_of, given, seen_ahead
from web.ui.frame import blueprint, render

MOST = 100
SO_ALREADY = "nothing would change: it is so already, or becomes so by what is done to the others."


class Looked(NamedTuple):
    """One that was chosen. `breaks` is what becomes of it; `keeps`, if not empty, why it cannot be done now; `id`,
    `version`: of what was looked at."""

    id: int
    name: str
    breaks: str
    version: int
    keeps: str = ""


class Bulk(NamedTuple):
    """`asks` and `does` are the addresses below the list's: the page that asks, and where it is sent. `read` makes of
    the form what `change` is given for each item. `reached` says of items by their names who reaches them now."""

    noun: str
    asks: str
    does: str
    roles: frozenset[str]
    offer: str
    title: str
    verb: str
    will: str
    look: Callable[[Session, str], Looked]
    change: Callable[[Transaction, str, int, Any], object]
    fields: Sequence[Field] = ()
    read: Callable[[Values], Any] = lambda values: None
    reached: Callable[[Sequence[Looked]], Mapping[str, str]] | None = None
    danger: bool = False

    @property
    def view(self) -> str:
        return f"{self.noun}_{self.asks}"


def offered(bulk: Bulk) -> None:
    """Gives it its two addresses."""
    path = f"/{bulk.noun}"

    def asks() -> str | Response:
        if not request.form.getlist("name") and (back := request.form.get("back")):
            return away(back)  # to the list, which says so
        return asked(bulk)

    def does() -> Response:
        return done(bulk)

    rule = allow(bulk.roles, by=SIGHT)
    blueprint.post(f"{path}/{bulk.asks}", endpoint=bulk.view)(rule(asks))
    blueprint.post(f"{path}/{bulk.does}", endpoint=f"{bulk.noun}_{bulk.does}")(rule(does))


def named(by_tenant: bool) -> list[str]:
    """What the form names, of tenants in which the asker may do this."""
    names = list(dict.fromkeys(request.form.getlist("name")))
    if not names:
        raise Invalid("nothing is chosen", "tick some in the list", "name")
    if len(names) > MOST:
        raise Invalid(f"{len(names)} are too many at once", f"select at most {MOST}", "name")
    seen = sight()
    for name in names:
        tenant = name.partition("/")[0]
        if seen is not None and by_tenant and tenant not in seen:
            raise unseen(tenant)
    return names


def asked(bulk: Bulk) -> str | Response:
    names = named(bulk.noun != "hosts")
    with reading() as session:
        chosen = [bulk.look(session, name) for name in names]
    values = given(bulk.fields)
    facts: dict[str, Any] = {"bulk": bulk, "noun": bulk.noun, "values": values, "faults": {}}
    if bulk.fields and "step" not in request.form:
        which = words.many(len(chosen), bulk.noun.removesuffix("s"))
        return render("chosen.html", bulk.noun.capitalize(), **facts, gone=chosen, kept=[], lead=f"{which} chosen.")
    try:
        what = bulk.read(values)
        kept, foreseen = tried(bulk, [one for one in chosen if not one.keeps], what)
    except (Problem, Invalid) as refused:
        problem = refused if isinstance(refused, Problem) else from_domain(refused)
        facts |= {"problem": problem, "faults": faults_of(problem, bulk.fields), "gone": chosen, "kept": []}
        return Response(render("chosen.html", bulk.noun.capitalize(), **facts, lead=""), problem.status)
    chosen = [one._replace(keeps=one.keeps or kept.get(one.name, "")) for one in chosen]
    gone, stay = [one for one in chosen if not one.keeps], [one for one in chosen if one.keeps]
    facts |= {"gone": gone, "kept": stay, "lead": lead(bulk, gone, stay), "confirming": True}
    if bulk.reached is not None:
        facts |= {"reached": bulk.reached(gone), "gone_told": True}
    return render("chosen.html", bulk.noun.capitalize(), **facts, **(foreseen if gone else {}))


def tried(bulk: Bulk, chosen: Sequence[Looked], what: object) -> tuple[dict[str, str], dict[str, object]]:
    """Why some cannot be done, or need not, by their names; and what all the others together would do."""
    kept: dict[str, str] = {}

    def each(tx: Transaction) -> None:
        kept.clear()
        for one in chosen:
            before = tx.recorded
            try:
                with tx.attempt():
                    bulk.change(tx, one.name, one.version, what)
            except Invalid as wrong:
                if wrong.field in {field.name for field in bulk.fields}:
                    raise
                kept[one.name] = from_domain(wrong).detail
            except DomainError as refused:
                kept[one.name] = from_domain(refused).detail
            else:
                if tx.recorded == before:
                    kept[one.name] = SO_ALREADY

    foreseen = seen_ahead(each)
    return kept, foreseen


def lead(bulk: Bulk, gone: Sequence[Looked], kept: Sequence[Looked]) -> str:
    one = bulk.noun.removesuffix("s")
    if not gone:
        return f"None of them can be {bulk.will} now."
    stays = f" {words.many(len(kept), one)} must stay for now." if kept else ""
    ends = " This cannot be undone." if bulk.danger else ""
    return f"{words.many(len(gone), one)} will be {bulk.will}, all of them or none.{ends}{stays}"


def done(bulk: Bulk) -> Response:
    names, versions = named(bulk.noun != "hosts"), request.form.getlist("version")
    if len(versions) != len(names) or not all(one.isascii() and one.isdigit() and len(one) < 10 for one in versions):
        raise Invalid("the list has changed since the form was shown", "select again in the list", "version")
    what = bulk.read(given(bulk.fields))
    with changing() as tx:
        for name, version in zip(names, versions, strict=True):
            bulk.change(tx, name, int(version), what)
    back = url_for(f"ui.{bulk.noun}")
    return away(url_for("ui.change", revision=tx.revision, back=back))
