"""How a request is read against the schemas: content type, size, JSON, fields; and the sentence for each fault.

Takes the place of APIFlask's own reader for pydantic models, which accepts any content type and drops repeated
query parameters. Importing this module registers it, so every blueprint imports from here.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from typing import Any, get_args, get_origin

from apiflask.schema_adapters import registry
from apiflask.schema_adapters.pydantic import PydanticAdapter
from flask import Request
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from web.api.schemas.common import AboutTenants, Schema
from web.auth.access import enter
from web.problems import FieldFault, Problem

JSON_TYPES = ("application/json", "application/merge-patch+json")
SHOWN_FAULTS = 3
SECRET = re.compile("password|token|secret")
"""A field with one of these words in its name is secret: no answer repeats its value."""
NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


class ContractAdapter(PydanticAdapter):
    """Reads bodies and query strings strictly; describes models with plain names."""

    def validate_input(self, request: Request, location: str, **kwargs: Any) -> BaseModel:
        try:
            if location == "json":
                body = self.model_class.model_validate_json(body_bytes(request))
                enter(body.tenants() if isinstance(body, AboutTenants) else ())
                return body
            return self.model_class.model_validate(query_values(request, self.model_class))
        except ValidationError as error:
            raise fault(error.errors(include_url=False), self.model_class) from None

    def get_openapi_schema(self, **kwargs: Any) -> dict[str, Any]:
        return self.model_class.model_json_schema(ref_template="#/components/schemas/{model}", schema_generator=Schema)


registry.register("pydantic", ContractAdapter)


def body_bytes(request: Request) -> bytes:
    kind = request.mimetype
    data = request.get_data()
    if kind not in JSON_TYPES and (data or kind):
        raise Problem(
            "unsupported-media-type",
            f"The body is '{kind or 'of no declared type'}'; send it as application/json.",
            headers={"Accept": "application/json"},
        )
    if NUL.search(data):
        # Valid JSON, but no name, label or path has one, and PostgreSQL keeps none.
        raise Problem("invalid", "The body holds a NUL character (\\u0000); leave it out.")
    # No body at all is the empty object: POST without one is how a shell makes a new token.
    return data or b"{}"


def query_values(request: Request, model: type[BaseModel]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, given in request.args.to_dict(flat=False).items():
        field = model.model_fields.get(name)
        if field is not None and _is_list(field.annotation):
            values[name] = given
        elif len(given) > 1:
            message = f"'{name}' is given {len(given)} times; give it once."
            raise Problem("invalid", message, [FieldFault(name, message)])
        else:
            values[name] = given[0]
    return values


def _is_list(annotation: Any) -> bool:
    return get_origin(annotation) is list or any(get_origin(part) is list for part in get_args(annotation))


def fault(errors: Sequence[ErrorDetails], model: type[BaseModel]) -> Problem:
    """One problem for all that is wrong; its detail is the first few sentences."""
    for error in errors:
        if error["type"] == "json_invalid":
            reason = str(error.get("ctx", {}).get("error", error["msg"]))
            return Problem("malformed", f"The body is not JSON: {reason}; send one JSON object.")
    faults = [
        FieldFault(".".join(map(str, error["loc"])) or "body", sentence(error, model)) for error in _of_fields(errors)
    ]
    shown = " ".join(fault.message for fault in faults[:SHOWN_FAULTS])
    more = f" And {len(faults) - SHOWN_FAULTS} more, see errors." if len(faults) > SHOWN_FAULTS else ""
    return Problem("invalid", shown + more, faults)


def _of_fields(errors: Sequence[ErrorDetails]) -> list[ErrorDetails]:
    """By the fields' names alone. What may be left out is, to pydantic, a choice between what it should be and nothing,
    and each has an error with a word of its own in the place; so has a key of an object."""
    choices = {error["loc"][:-1] for error in errors if error["type"] == "none_required"}
    found = []
    for error in errors:
        place = error["loc"]
        if place[:-1] in choices and error["type"] == "none_required":
            continue
        place = place[:-1] if place[:-1] in choices else place
        found.append({**error, "loc": tuple(part for part in place if part != "[key]")})
    return found  # type: ignore[return-value]


def sentence(error: ErrorDetails, model: type[BaseModel]) -> str:
    """What is wrong with which field, with which value unless that is secret, and what to do."""
    field = ".".join(map(str, error["loc"])) or "the body"
    value = "not acceptable" if _is_secret(error, model) else quoted(error["input"])
    context = error.get("ctx", {})
    match error["type"]:
        case "missing":
            return f"'{field}' is missing; add it."
        case "extra_forbidden":
            known = sorted(field.alias or name for name, field in model.model_fields.items())
            near = difflib.get_close_matches(str(error["loc"][-1]), known, 1)
            remedy = f"did you mean '{near[0]}'?" if near else f"known are {', '.join(known)}."
            return f"'{field}' is not known here; {remedy}"
        case "model_type" | "model_attributes_type" | "dict_type":
            return f"'{field}' is {value}; it must be a JSON object."
        case "string_too_long":
            return f"'{field}' is longer than {context['max_length']} characters; shorten it."
        case "too_long":
            return (
                f"'{field}' has {context.get('actual_length', 'more')} entries; send at most {context['max_length']}."
            )
        case "literal_error":
            return f"'{field}' is {value}; it must be {context['expected']}."
        case kind if kind.endswith(("_type", "_parsing")):
            wanted = kind.removesuffix("_type").removesuffix("_parsing").replace("_", " ")
            return f"'{field}' is {value}; it must be {WORDS.get(wanted, wanted)}."
        case "greater_than_equal" | "greater_than":
            return f"'{field}' is {value}; it must be at least {context.get('ge', context.get('gt'))}."
        case "less_than_equal" | "less_than":
            return f"'{field}' is {value}; it must be at most {context.get('le', context.get('lt'))}."
        case "value_error":
            return f"'{field}' {error['msg'].removeprefix('Value error, ')}."
    return f"'{field}' is {value}: {error['msg'][:1].lower()}{error['msg'][1:]}."


def _is_secret(error: ErrorDetails, model: type[BaseModel]) -> bool:
    """Whether it is the value of a password or token, or holds one: answers are read aloud, logged and pasted."""
    within = [*map(str, error["loc"])] or [*model.model_fields]
    given = error["input"]
    return any(map(SECRET.search, within)) or (not isinstance(given, str) and bool(SECRET.search(repr(given))))


WORDS = {
    "string": "a string",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "list": "a list",
    "datetime from date": "a date and time such as 2026-12-31T12:00:00Z",
    "datetime": "a date and time such as 2026-12-31T12:00:00Z",
}


def quoted(value: object) -> str:
    """A value in a sentence: quoted, and cut when long."""
    text = repr(value) if not isinstance(value, bool | None) else {True: "true", False: "false", None: "null"}[value]
    return text if len(text) <= 80 else f"{text[:77]}..."
