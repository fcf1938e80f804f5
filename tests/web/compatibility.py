"""What of an API's description may not change for those who use it: found by comparing two descriptions.

Refused are: an operation, answer, field of an answer or value that is gone; a parameter or field of a request that is
gone, has another type or has become necessary; a value that is not taken any more; roles that are not let in any more.
Anything may be added. It looks at shapes, not at the meaning of texts.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Json = dict[str, Any]
DEEPEST = 12


def breaches(old: Json, new: Json) -> Iterator[str]:
    """A sentence for each way in which `new` breaks what `old` promised."""
    for path, methods in old["paths"].items():
        for method, before in methods.items():
            what = f"{method.upper()} {path}"
            after = new["paths"].get(path, {}).get(method)
            if after is None:
                yield f"{what} is gone"
            else:
                yield from _operation(what, before, after, old, new)


def _operation(what: str, before: Json, after: Json, old: Json, new: Json) -> Iterator[str]:
    if before["operationId"] != after["operationId"]:
        yield f"{what} has another operationId"
    for role in sorted(set(before.get("x-roles", ())) - set(after.get("x-roles", ()))):
        if after.get("x-roles"):
            yield f"{what} does not let {role} in any more"
    parameters = {(one["in"], one["name"]): one for one in after.get("parameters", ())}
    for one in before.get("parameters", ()):
        now = parameters.pop((one["in"], one["name"]), None)
        if now is None:
            yield f"{what} has no parameter {one['name']} any more"
        else:
            yield from _request(f"{what}: {one['name']}", one["schema"], now["schema"], old, new)
            if now.get("required") and not one.get("required"):
                yield f"{what} needs parameter {one['name']}, and did not"
    yield from (
        f"{what} needs the new parameter {name}" for (_, name), one in parameters.items() if one.get("required")
    )
    body, now_body = (_content(one.get("requestBody", {})) for one in (before, after))
    if body is not None and now_body is not None:
        yield from _request(f"{what}: body", body, now_body, old, new)
    elif now_body is not None:
        yield from (f"{what} needs a body, and had none" for _ in _resolved(now_body, new).get("required", ())[:1])
    for status, answer in before["responses"].items():
        now = after["responses"].get(status)
        if now is None:
            if status.startswith("2"):
                yield f"{what} does not answer {status} any more"
            continue
        shape, now_shape = _content(answer), _content(now)
        if shape is not None and now_shape is not None and status.startswith("2"):
            yield from _answer(f"{what}: {status}", shape, now_shape, old, new)


def _content(message: Json) -> Json | None:
    found: Json | None = message.get("content", {}).get("application/json", {}).get("schema")
    return found


def _resolved(schema: Json, document: Json) -> Json:
    while "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema


def _shapes(schema: Json, document: Json) -> list[Json]:
    schema = _resolved(schema, document)
    return [inner for one in schema["anyOf"] for inner in _shapes(one, document)] if "anyOf" in schema else [schema]


def _types(shapes: list[Json]) -> set[str]:
    return {str(one.get("type", "any")) for one in shapes}


def _values(shapes: list[Json]) -> set[str] | None:
    """The values that are possible, when they are listed."""
    if not any("enum" in one or "const" in one for one in shapes):
        return None
    return {
        str(value) for one in shapes for value in (*one.get("enum", ()), *([one["const"]] if "const" in one else ()))
    }


def _request(what: str, before: Json, after: Json, old: Json, new: Json, depth: int = 0) -> Iterator[str]:
    """What was taken must still be taken."""
    was, now = _shapes(before, old), _shapes(after, new)
    lost = _types(was) - _types(now) - ({"integer"} if "number" in _types(now) else set())
    if lost and "any" not in _types(now):
        yield f"{what} is not taken as {' or '.join(sorted(lost))} any more"
    values, now_values = _values(was), _values(now)
    if now_values is not None and (values is None or values - now_values):
        yield f"{what} does not take {', '.join(sorted((values or {'any value'}) - now_values))} any more"
    for limit, worse in (("maximum", min), ("maxLength", min), ("maxItems", min), ("minimum", max), ("minLength", max)):
        for one, other in zip(was, now, strict=False):
            if limit in other and (limit not in one or worse(other[limit], one[limit]) != one[limit]):
                yield f"{what} has a narrower {limit}"
    if depth < DEEPEST:
        yield from _inside(what, was, now, old, new, depth, request=True)


def _answer(what: str, before: Json, after: Json, old: Json, new: Json, depth: int = 0) -> Iterator[str]:
    """What was promised must still come."""
    was, now = _shapes(before, old), _shapes(after, new)
    more = _types(now) - _types(was) - ({"integer"} if "number" in _types(was) else set())
    if more and "any" not in _types(was):
        yield f"{what} may be {' or '.join(sorted(more))}, and was not"
    if depth < DEEPEST:
        yield from _inside(what, was, now, old, new, depth, request=False)


def _inside(
    what: str, was: list[Json], now: list[Json], old: Json, new: Json, depth: int, request: bool
) -> Iterator[str]:
    look = _request if request else _answer
    objects, new_objects = ([one for one in shapes if "properties" in one] for shapes in (was, now))
    for one, other in zip(objects, new_objects, strict=False):
        for name, field in one["properties"].items():
            if name not in other["properties"]:
                yield f"{what}.{name} is gone"
            else:
                yield from look(f"{what}.{name}", field, other["properties"][name], old, new, depth + 1)
        needed, before = set(other.get("required", ())), set(one.get("required", ()))
        if request:
            yield from (f"{what}.{name} is necessary, and was not" for name in sorted(needed - before))
        else:
            yield from (f"{what}.{name} may be missing, and was not" for name in sorted(before - needed))
    for one, other in zip([one for one in was if "items" in one], [one for one in now if "items" in one], strict=False):
        yield from look(f"{what}[]", one["items"], other["items"], old, new, depth + 1)
