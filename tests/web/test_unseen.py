"""What is another tenant's answers as what is not there at all: the same bytes, after the same statements.

As many statements of the same text take the same time but for what the database itself needs, which is no more for a
row that is sorted out than for none. Computed from the description: a new route with a tenant in its path, its body or
its parameters is in here by itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from sqlalchemy import select

from db.engine import reading
from db.tables import Publication, RoleBinding, Token
from tests.web.conftest import Caller, Site
from tests.web.test_matrix import (  # noqa: F401 - the fixture
    BODIES,
    NOWHERE,
    OPERATIONS,
    OTHER,
    OWN,
    TENANT_ROLES,
    Cast,
    Operation,
    call,
    cast,
    role_of_caller,
)
from tests.web.test_work import watched

PEOPLE = (*TENANT_ROLES, "nothing")
OF_TENANTS = ("tenant", "network", "endpoint", "policy", "text")
"""Parameters of lists that name what is a tenant's."""
MISSING = 10**6
IN_SIGHT = {
    "tokens_delete": ("/tokens/{}", Token),
    "people_revoke": ("/role-bindings/{}", RoleBinding),
    "publications_delete": ("/publications/acme/secret/{}", Publication),
}
"""Calls that name a thing by a number, which does not say whose it is."""


class Told(NamedTuple):
    status: int
    text: str
    headers: dict[str, str]
    statements: list[str]


def asked(site: Site, caller: Caller, method: str, path: str, body: Any = None) -> Told:
    with watched(site.state().engine) as work:
        answer = caller(method, path, body, headers={"If-Match": '"999999"', "Accept-Encoding": "identity"})
    headers = {name: value for name, value in answer.headers.items() if name != "Content-Length"}
    return Told(answer.status_code, answer.text, headers, work.statements)


def same(there: Told, not_there: Told, other: str = OTHER, nowhere: str = NOWHERE) -> None:
    assert re.sub(rf"\b{other}\b", nowhere, there.text) == not_there.text
    assert there._replace(text="") == not_there._replace(text="")


NAMED = [one for one in OPERATIONS if "{tenant}" in one.path or one.by == "body"]


@pytest.mark.parametrize("role", PEOPLE)
@pytest.mark.parametrize("operation", NAMED, ids=lambda one: one.id)
def test_a_tenant_in_the_path_or_in_the_body(cast: Cast, operation: Operation, role: str) -> None:  # noqa: F811
    """As somebody who may do this in a tenant of his own."""

    def told(tenant: str) -> Told:
        body = BODIES[operation.id](tenant) if operation.by == "body" else {"nobody": "knows"}
        writes = operation.method not in ("GET", "DELETE")
        return asked(cast.site, cast.callers[role], operation.method, operation.at(tenant), body if writes else None)

    there, not_there = told(OTHER), told(NOWHERE)
    same(there, not_there)
    assert there.status in (403, 404)


def lists() -> Iterator[tuple[Operation, str]]:
    for operation in OPERATIONS:
        if operation.method == "GET" and operation.by == "sight" and "{" not in operation.path:
            for name in sorted(operation.parameters & set(OF_TENANTS)):
                yield operation, name


LISTS = list(lists())


@pytest.mark.parametrize("role", PEOPLE)
@pytest.mark.parametrize(("operation", "name"), LISTS, ids=lambda one: one if isinstance(one, str) else one.id)
def test_a_tenant_in_a_parameter(cast: Cast, operation: Operation, name: str, role: str) -> None:  # noqa: F811
    def told(tenant: str) -> Told:
        value = tenant if name in ("tenant", "text") else f"{tenant}/secret"
        return asked(cast.site, cast.callers[role], "GET", f"{operation.path}?{name}={value}")

    there, not_there = told(OTHER), told(NOWHERE)
    same(there, not_there)
    if role_of_caller(role) in operation.roles or role in operation.roles:
        assert there.status == 200 and f'"{OTHER}' not in there.text


@pytest.mark.parametrize("role", PEOPLE)
@pytest.mark.parametrize("id", IN_SIGHT)
def test_a_number_of_what_is_anothers(cast: Cast, id: str, role: str) -> None:  # noqa: F811
    path, table = IN_SIGHT[id]
    with reading(cast.site.engine) as session:
        rows: Any = session.execute(select(table)).scalars()
        numbers = [row.id for row in rows if _owner(row) == OTHER]
    assert numbers, "the other tenant has one"
    for number in numbers:
        there, not_there = (
            asked(cast.site, cast.callers[role], "DELETE", path.format(one)) for one in (number, MISSING)
        )
        same(there, not_there, str(number), str(MISSING))
        assert there.status in (403, 404)


def _owner(row: Any) -> str | None:
    tenant = row.endpoint.tenant if isinstance(row, Publication) else row.tenant
    return tenant.name if tenant else None


def test_every_number_is_tried() -> None:
    """Of what is some tenant's. Agents' questions are their hosts', revisions are everybody's."""
    numbered = {one.id for one in OPERATIONS if re.search("{(token|binding|publication)}", one.path)}
    assert numbered == IN_SIGHT.keys()


def test_the_same_is_seen_by_whose_it_is(cast: Cast) -> None:  # noqa: F811
    """So that the tests above do not pass on answers that are always the same."""
    boss = cast.callers["tenant-admin"]
    mine = asked(cast.site, boss, "GET", f"/endpoints/{OWN}/secret")
    assert mine.status == 200 and mine.statements != asked(cast.site, boss, "GET", f"/endpoints/{OTHER}/x").statements
    assert call(boss, next(one for one in OPERATIONS if one.id == "tokens_delete"), OWN).status_code == 404
