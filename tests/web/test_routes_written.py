"""docs/api.md has every route of the description, with who may call it and what it takes beside what all take."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from tests.web.conftest import Json, Site
from tests.web.test_sorted import NOT_SORTED

PAGE = Path(__file__).parents[2] / "docs" / "api.md"
ROW = re.compile(r"^\| ([A-Z]+) \| `(/[^`]*)` \| [^|]+ \| ([^|]+) \|([^|]*)\|$", re.MULTILINE)
OF_LISTS = {"sort", "text", "limit", "cursor"}
OF_WRITES = {"wait", "dry_run"}


def routes(document: Json) -> Iterator[tuple[tuple[str, str], str, set[str]]]:
    """Method and path, roles, and parameters that the page has to name."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            short = path.removeprefix("/api/v1")
            takes = {one["name"] for one in operation.get("parameters", []) if one["in"] != "path"}
            is_list = method == "get" and short not in NOT_SORTED and "cursor" in takes
            takes -= OF_LISTS if is_list else OF_WRITES if method != "get" else set()
            yield (method.upper(), short), ", ".join(operation.get("x-roles", ["everybody"])), takes


def test_every_route_is_written_down_once_and_none_that_is_not_there(any_site: Site) -> None:
    document = any_site.browser().get("/openapi.json").get_json()
    rows = ROW.findall(PAGE.read_text())
    written = {(method, path): (roles, set(re.findall(r"[\w-]+", takes))) for method, path, roles, takes in rows}
    assert len(written) == len(rows) > 90
    described = {route: (roles, takes) for route, roles, takes in routes(document)}
    assert described["POST", "/publications"][1] == {"Idempotency-Key"}
    beside = {("GET", "/openapi.json"): ("everybody", set())}  # the description does not describe itself
    assert written == described | beside
