"""Forms: what a page asks for, how it is read as the API's own body, and the way from asking to done.

A change is asked for, previewed, and carried out when it is confirmed: three faces of one page, without script. It
decides how what is refused is put beside its field; what is refused, the API's schemas and `db` decide.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple, TypeVar

from flask import Response, current_app, g, make_response, redirect, request, url_for
from pydantic import BaseModel, ValidationError

from db.changes import Transaction
from db.errors import DomainError
from web.api.contract import fault
from web.api.preview import foretold
from web.api.replies import Json
from web.api.schemas.common import AboutTenants
from web.auth.access import enter, rule_of
from web.problems import FieldFault, Problem, from_domain
from web.state import changing
from web.ui.differences import differences
from web.ui.frame import blueprint, render
from web.ui.sign_in import local

BOTH = ["GET", "POST"]
LONGEST = 200_000

Body = TypeVar("Body", bound=BaseModel)
Value = TypeVar("Value")
Values = Mapping[str, str]
Change = Callable[[Transaction], object]
Choice = tuple[str, str]


class Field(NamedTuple):
    """`kind`: text, number, lines, code, check, password, moment, or one of `choices` (value and words): `select`;
    `suggest` lets them be overwritten. `name` is that of the API's field, so that faults find their place. What is
    `rare` is out of the way until it is asked for, or has a value."""

    name: str
    label: str
    kind: str = "text"
    hint: str = ""
    choices: Sequence[Choice] = ()
    required: bool = False
    rare: bool = False


LABELS = Field("labels", "Labels", "lines", "One a line, like app=web.")


class Work(NamedTuple):
    """What a page offers to do. `back` is the page it belongs to, called `of`; `breaks` says what is lost by it,
    `undo` where it is taken back; `version` is that of the object which the page shows."""

    section: str
    title: str
    lead: str
    verb: str
    back: str
    of: str
    fields: Sequence[Field] = ()
    values: Values = MappingProxyType({})
    breaks: Sequence[str] = ()
    danger: bool = False
    version: int | None = None
    undo: str = ""


def carried_out(
    work: Work,
    change: Callable[[Values], Change],
    *,
    previewed: bool = True,
    onward: Callable[[Values, Json], str] | None = None,
    tells: Callable[[Json], Sequence[str]] | None = None,
    shown: Callable[[Json], str] | None = None,
    template: str = "work.html",
    more: Mapping[str, object] = MappingProxyType({}),
) -> Response | str:
    """The page of `work`, or where it leads once it is done.

    `change` reads the form; `onward` is the page of what was made, `shown` a page that is shown once instead. `tells`
    says in a preview what no comparison of who reaches whom can say. Not `previewed` is what concerns nobody's packets.
    """
    told_at_once = previewed and not work.fields
    if (opened_with := seen_version()) is not None:
        # What the form was opened with, and not what there is by now: looking at a refusal is no looking at the object.
        work = work._replace(version=opened_with)
    if request.method == "GET" and not told_at_once:
        asked = {field.name: request.args[field.name] for field in work.fields if field.name in request.args}
        return page(work, {**work.values, **asked}, template, previewed=previewed, **more)
    values = given(work.fields)
    if "again" in request.form:
        return page(work, values, template, previewed=previewed, **more)
    try:
        do = change(values)
        if previewed and request.form.get("step") != "apply":
            made: list[object] = []
            foreseen = seen_ahead(lambda tx: made.append(do(tx)))
            told = tells(_object(made[-1])) if tells else ()
            return page(work, values, template, **foreseen, told=told, previewed=True, **more)
        with changing() as tx:
            result = _object(do(tx))
        if shown:
            return shown(result)
        back = onward(values, result) if onward else work.back
        if tx.revision and previewed:
            return away(url_for("ui.change", revision=tx.revision, back=back, undo=work.undo or None))
        return away(back)
    except (Problem, DomainError) as refused:
        problem = refused if isinstance(refused, Problem) else from_domain(refused)
        return refusal(problem, work, values, template, previewed=previewed, **more)


def seen_ahead(change: Change) -> dict[str, object]:
    """What a page says of a change before it is confirmed."""
    old, new, preview = foretold(change)
    table = differences(old, new, preview["changes"])
    return {"preview": preview, "turns": together(preview["changes"]), "table": table}


def _object(made: object) -> Json:
    return made if isinstance(made, dict) else {}


def together(changes: Sequence[Json]) -> list[Json]:
    """What changes between the same two for the same reason is one line, with all services in it."""
    found: dict[tuple[str, ...], Json] = {}
    for one in changes:
        key = one["from"], one["to"], one["after"], one["reason"]
        line = found.setdefault(key, {**one, "services": []})
        line["services"] += [one["service"]] if one["service"] else []
    return list(found.values())


def page(work: Work, values: Values, template: str, **more: object) -> str:
    return render(template, work.section, **{"work": work, "values": values, "faults": {}, **more})


def refusal(problem: Problem, work: Work, values: Values, template: str, **more: object) -> Response:
    """The form as it was filled in, with what is wrong beside the field that is."""
    stale = problem.slug == "stale-version"
    facts = {"faults": faults_of(problem, work.fields), "problem": problem, "stale": stale}
    shown = page(work, values, template, **facts, now=differing(work, values) if stale else (), **more)
    # A page that says why it cannot be done has done what it was asked for.
    return make_response(shown, 200 if request.method == "GET" else problem.status)


def differing(work: Work, values: Values) -> list[tuple[str, str]]:
    """Fields by their labels that are otherwise now than they were filled in, and what they are now."""
    found = []
    for field in work.fields:
        now = work.values.get(field.name, "")
        if field.kind != "password" and now.split() != values.get(field.name, "").split():
            said = ("yes" if now else "no") if field.kind == "check" else dict(field.choices).get(now, now)
            found.append((field.label, said or "nothing"))
    return found


def faults_of(problem: Problem, fields: Sequence[Field]) -> dict[str, str]:
    """What is wrong with which field."""
    known = {field.name for field in fields}
    faults: dict[str, str] = {}
    for one in problem.errors:
        name = one.field.partition(".")[0]
        if name in known:
            faults.setdefault(name, one.message)
    return faults


def away(target: str) -> Response:
    return make_response(redirect(local(target), 303))


def given(fields: Sequence[Field]) -> dict[str, str]:
    """What was filled in; of boxes that are not ticked nothing. Other fields of the request count for nothing."""
    found: dict[str, str] = {}
    for field in fields:
        text = request.form.get(field.name, "").replace("\r\n", "\n")
        if field.kind == "code" and (file := request.files.get(f"{field.name}_file")):
            text = file.read(LONGEST + 1).decode(errors="replace") or text
        if "\0" in text or len(text) > LONGEST:
            raise Problem("invalid", f"'{field.label}' holds a NUL character or is too long; shorten it.")
        found[field.name] = text if field.kind in ("password", "code") else text.strip()
    return found


def seen_version() -> int | None:
    """The version that the form was filled in for."""
    text = request.form.get("version", "")
    return int(text) if text.isdecimal() and len(text) < 10 else None


def body(model: type[Body], **values: object) -> Body:
    """The API's body with these values, read as the API reads it; those that are None are left out."""
    said = {name: value for name, value in values.items() if value is not None}
    try:
        found = model.model_validate_json(json.dumps(said))
    except ValidationError as error:
        raise fault(error.errors(include_url=False), model) from None
    enter(found.tenants() if isinstance(found, AboutTenants) else ())
    return found


def lines(text: str) -> list[str]:
    """Things one a line, or with commas or spaces between them."""
    return text.replace(",", " ").split()


def number(text: str) -> object:
    """The number that the text is; the text where it is none, for the schema to refuse; None for nothing."""
    return None if not text else int(text) if text.removeprefix("-").isdecimal() and len(text) < 19 else text


def pairs(text: str, field: str, example: str = "app=web") -> dict[str, str]:
    """`app=web`, one a line or with spaces between them."""
    found: dict[str, str] = {}
    for one in lines(text):
        key, equals, value = one.partition("=")
        if not equals or not key or key in found:
            why = "stands there twice; leave one out" if key in found else f"has no value; write it like {example}"
            raise invalid(field, f"'{one[:80]}' {why}.")
        found[key] = value
    return found


def label_changes(text: str, there: Mapping[str, str]) -> dict[str, str | None]:
    """What makes the labels that are there to those of the text."""
    wanted = pairs(text, "labels")
    return {key: None for key in there if key not in wanted} | {
        key: value for key, value in wanted.items() if there.get(key) != value
    }


def in_lines(labels: Mapping[str, object]) -> str:
    return "\n".join(f"{key}={value}" for key, value in sorted(labels.items()))


def invalid(field: str, message: str) -> Problem:
    return Problem("invalid", message, [FieldFault(field, message)])


def unless(before: Value, after: Value) -> Value | None:
    """What is new; None where it is as it was."""
    return None if after == before else after


def ticked(flag: object) -> str:
    return "on" if flag else ""


@blueprint.app_template_global()
def may(view: str, tenant: str | None = None) -> bool:
    """Whether whoever asks is let into the page, for that tenant's sake if one is named."""
    function = current_app.view_functions.get(f"ui.{view}")
    rule = None if function is None else rule_of(function)
    principal = g.principal
    if rule is None or principal is None:
        return False
    tenants = principal.grants.tenants if tenant is None else (tenant,)
    own = {principal.role}.union(*(principal.roles_in(one) for one in tenants))
    return rule.roles is None or not own.isdisjoint(rule.roles)
