"""How much the database is asked for each page: as many statements, however much there is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flask.testing import FlaskClient
from sqlalchemy import event
from sqlalchemy.orm import Session

from db import endpoints, ipam, migrate, users
from db.changes import transaction
from db.engine import create_engine, reading
from tests import crowd
from tests.web.conftest import PASSWORD, Site, site_on
from tests.web.test_work import watched

MOST = {
    "/": 34,
    "/tenants": 7,
    "/tenants?sort=-endpoints": 7,
    "/networks?sort=-endpoints": 8,
    "/endpoints": 9,
    "/endpoints?sort=-created&label=app%3Dweb": 9,
    "/endpoints?state=down": 9,
    "/hosts": 6,
    "/tenants?look=acme": 13,
    "/networks?look=acme/web": 13,
    "/endpoints?look=acme/web0": 14,
    "/hosts?look=h01": 9,
    "/publications": 4,
    "/records": 5,
    "/new/publication": 3,
    "/new/record": 5,
    "/search?q=web": 19,
    "/tenants/acme": 19,
    "/networks/acme/web": 14,
    "/hosts/h01": 12,
    "/endpoints/acme/web0": 25,
    "/topology": 6,
    "/topology?group=network": 6,
    "/topology/boxes?q=web": 7,
    "/topology/inside?box=h01": 6,
    "/policies": 8,
    "/policies/acme/db": 9,
    "/trace": 9,
    "/addresses": 23,
    "/networks/acme/web/addresses": 10,
    "/audit": 5,
    "/audit?noun=endpoint": 5,
    "/settings": 11,
    "/new/network": 5,
    "/new/policy": 3,
    "/tenants/acme/edit": 7,
    "/tenants/acme/peer": 9,
    "/networks/acme/web/edit": 7,
    "/endpoints/acme/web0/edit": 5,
}
"""Statements, those included that begin a transaction: each page by itself."""


@contextmanager
def filled(folder: Path, hosts: int, tenants: int, endpoints: int) -> Iterator[tuple[Site, FlaskClient]]:
    folder.mkdir()
    url = f"sqlite:///{folder}/warren.db"
    engine = create_engine(url)
    migrate.upgrade(engine)
    with transaction(engine) as tx:
        users.create(tx, "admin", PASSWORD, role="admin")
    crowd.fill(engine, host_count=hosts, tenant_count=tenants, endpoint_count=endpoints)
    crowd.report(engine, down=1)
    engine.dispose()
    made = site_on(url)
    site = next(made)
    browser = site.browser()
    browser.post("/login", data={"user": "admin", "password": PASSWORD})
    try:
        yield site, browser
    finally:
        next(made, None)


def statements(site: Site, browser: FlaskClient, path: str) -> list[str]:
    assert browser.get(path).status_code == 200, path  # the first look also starts what watches
    with watched(site.state().engine) as work:
        browser.get(path)
    return work.statements


def test_a_page_takes_as_many_statements_however_much_there_is(tmp_path: Path) -> None:
    with filled(tmp_path / "few", 2, 2, 8) as few, filled(tmp_path / "many", 6, 12, 60) as many:
        for path, most in MOST.items():
            small, large = statements(*few, path), statements(*many, path)
            assert len(large) <= len(small) + 2, f"{path}: {len(small)}, then {len(large)}"
            assert len(large) <= most, f"{path}: " + "\n".join(large)


def plan(site: Site, ask: Callable[[Session], object]) -> list[str]:
    """How SQLite carries out the first statement of what is asked."""
    asked: list[tuple[str, Any]] = []

    def heard(_connection: Any, _cursor: Any, text: str, values: Any, *_rest: Any) -> None:
        asked.append((text, values))

    with reading(site.engine) as session:
        event.listen(site.engine, "before_cursor_execute", heard)
        try:
            ask(session)
        finally:
            event.remove(site.engine, "before_cursor_execute", heard)
        text, values = next(one for one in asked if not one[0].startswith("BEGIN"))
        cursor = session.connection().exec_driver_sql("EXPLAIN QUERY PLAN " + text, values)
        return [row[3] for row in cursor]


def test_a_page_is_read_off_its_indexes_and_not_sorted_out_of_everything(site: Site) -> None:
    """Without a temporary b-tree as many rows are looked at as are shown."""
    crowd.fill(site.engine, host_count=2, tenant_count=3, endpoint_count=12)
    steps = plan(site, lambda session: endpoints.find(session))
    assert "tenant" in steps[0] and not any("TEMP B-TREE" in step for step in steps), steps
    assert plan(site, lambda session: endpoints.count(session))[0].startswith("SCAN endpoint USING COVERING INDEX")
    assert any("SCAN claim USING COVERING INDEX" in step for step in plan(site, ipam._crowded))
