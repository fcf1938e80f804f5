"""The API keeps what the last release promised: its description beside the one in docs/openapi/.

A release writes its own: `python -m tests.web.test_compatibility` (docs/api.md says when).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import pytest

from client import VERSION
from tests.web.compatibility import Json, breaches
from web.app import create_app

FOLDER = Path(__file__).parents[2] / "docs" / "openapi"


def described() -> Json:
    return json.loads(json.dumps(create_app("sqlite:////nowhere/warren.db").spec))  # type: ignore[no-any-return]


def released() -> Path:
    """The newest one."""
    return max(FOLDER.glob("*.json"), key=lambda path: tuple(int(part) for part in path.stem.split(".")))


def test_nothing_that_was_released_is_broken() -> None:
    assert list(breaches(json.loads(released().read_text()), described())) == []


def at(document: Json, path: str, method: str) -> Json:
    found: Json = document["paths"][f"/api/v1{path}"][method]
    return found


def schema(document: Json, name: str) -> Json:
    found: Json = document["components"]["schemas"][name]
    return found


BREAKS: dict[str, tuple[Callable[[Json], object], str]] = {
    "a route": (lambda new: new["paths"].pop("/api/v1/rules"), "GET /api/v1/rules is gone"),
    "a parameter": (lambda new: at(new, "/tenants", "get")["parameters"].clear(), "no parameter limit any more"),
    "a field of an answer": (lambda new: schema(new, "Network")["properties"].pop("vni"), ".vni is gone"),
    "a field of a request": (lambda new: schema(new, "NetworkCreate")["properties"].pop("mtu"), "body.mtu is gone"),
    "a field that is needed": (
        lambda new: schema(new, "NetworkCreate")["required"].append("mtu"),
        "body.mtu is necessary, and was not",
    ),
    "a field that may be missing": (
        lambda new: schema(new, "Network")["required"].remove("vni"),
        ".vni may be missing, and was not",
    ),
    "another type": (
        lambda new: schema(new, "Network")["properties"]["vni"].update(type="string"),
        ".vni may be string, and was not",
    ),
    "a value": (
        lambda new: schema(new, "TokenCreate")["properties"]["role"]["enum"].remove("cni"),
        "body.role does not take cni any more",
    ),
    "a limit": (lambda new: schema(new, "TokenCreate")["properties"]["name"].update(maxLength=8), "narrower maxLength"),
    "a role": (lambda new: at(new, "/tenants", "get")["x-roles"].remove("viewer"), "does not let viewer in any more"),
    "an answer": (lambda new: at(new, "/tenants", "post")["responses"].pop("201"), "does not answer 201 any more"),
}


@pytest.mark.parametrize("name", BREAKS)
def test_what_breaks_somebody_is_found(name: str) -> None:
    spoil, said = BREAKS[name]
    old = described()
    new = deepcopy(old)
    spoil(new)
    assert any(said in sentence for sentence in breaches(old, new)), list(breaches(old, new))


def test_what_is_added_breaks_nobody() -> None:
    old = described()
    new = deepcopy(old)
    new["paths"]["/api/v1/new"] = at(new, "/tenants", "get")
    schema(new, "Network")["properties"]["colour"] = {"type": "string"}
    schema(new, "NetworkCreate")["properties"]["colour"] = {"type": "string"}
    at(new, "/tenants", "get")["x-roles"].append("enrol")
    assert list(breaches(old, new)) == []


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"{VERSION}.json").write_text(json.dumps(described(), indent=1, sort_keys=True) + "\n")
