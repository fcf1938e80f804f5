"""Migrations go up and down, keep data, and end in the tables that the program works with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, inspect, text

from controller.model import Cluster, Peering
from db import isolation, migrate
from db.engine import create_engine, reading, writing
from db.migrate import WrongSchema
from db.snapshot import snapshot
from db.tables import Base
from tests.db import steps
from tests.postgres import Postgres

ALL = {table.name for table in Base.metadata.sorted_tables} | {"alembic_version"}


@pytest.fixture(params=["sqlite", "postgresql"])
def blank(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """A database without a single table."""
    if request.param == "sqlite":
        made = create_engine(f"sqlite:///{tmp_path}/blank.db")
        yield made
        made.dispose()
        return
    server: Postgres = request.getfixturevalue("postgres_server")
    made = create_engine(server.create("blank"))
    yield made
    made.dispose()
    server.drop("blank")


def tables(engine: Engine) -> set[str]:
    return set(inspect(engine).get_table_names())


def test_up_down_and_up_again(blank: Engine) -> None:
    migrate.upgrade(blank)
    assert tables(blank) == ALL
    migrate.check(blank)
    migrate.downgrade(blank, "base")
    assert tables(blank) == {"alembic_version"}
    migrate.upgrade(blank)
    migrate.check(blank)


def test_every_single_migration_goes_up_and_down(blank: Engine) -> None:
    scripts = migrate.scripts()
    for script in reversed(scripts):
        migrate.upgrade(blank, script.revision)
        migrate.downgrade(blank, str(script.down_revision or "base"))
        migrate.upgrade(blank, script.revision)
    assert scripts[0].revision == migrate.head()


def test_upgrading_twice_changes_nothing_and_keeps_data(blank: Engine) -> None:
    migrate.upgrade(blank)
    h1 = steps.host(blank)
    steps.tenant(blank)
    steps.attach(blank, h1, "web1", "acme/default")
    with reading(blank) as session:
        before = snapshot(session)
    migrate.upgrade(blank)
    with reading(blank) as session:
        assert snapshot(session) == before
    migrate.check(blank)


def test_a_database_without_tables_is_told_to_upgrade(blank: Engine) -> None:
    with pytest.raises(WrongSchema, match=r"the database is at schema none, .* run `warren db upgrade`"):
        migrate.check(blank)


def test_a_table_that_somebody_changed_is_noticed(blank: Engine) -> None:
    migrate.upgrade(blank)
    with writing(blank) as session:
        session.execute(text("ALTER TABLE host ADD COLUMN surprise INTEGER"))
    with pytest.raises(WrongSchema, match="surprise"):
        migrate.check(blank)


def test_a_database_of_a_later_version_is_left_alone(blank: Engine) -> None:
    migrate.upgrade(blank)
    with writing(blank) as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    for act in (migrate.check, migrate.upgrade):
        with pytest.raises(WrongSchema):
            act(blank)
    assert tables(blank) == ALL


def test_a_migration_that_would_orphan_rows_is_undone(sqlite_url: str) -> None:
    engine = create_engine(sqlite_url)
    steps.tenant(engine)
    with pytest.raises(WrongSchema, match="would break 1 references"), migrate.changing(engine) as connection:
        connection.execute(text("DELETE FROM tenant"))
    with reading(engine) as session:
        assert session.execute(text("SELECT count(*) FROM tenant")).scalar() == 1
    engine.dispose()


OLD_ROWS = (
    "INSERT INTO tenant (id, name, zone, labels, track_all, version, created_at, updated_at) "
    "VALUES (7, 'acme', 7, '{}', FALSE, 1, '2026-01-01', '2026-01-01')",
    "INSERT INTO network (id, tenant_id, name, vni, zone, private, isolated, labels, version, created_at, updated_at) "
    "VALUES (3, 7, 'web', 30, 7, FALSE, FALSE, '{}', 1, '2026-01-01', '2026-01-01')",
)


def test_tenants_from_before_peering_stand_as_they_stood_and_may_peer(blank: Engine) -> None:
    migrate.upgrade(blank, "0001")
    with writing(blank) as session:
        for row in OLD_ROWS:
            session.execute(text(row))
    migrate.upgrade(blank)
    steps.tenant(blank, "beta")
    steps.do(blank, isolation.peer, "acme", "beta")
    with reading(blank) as session:
        found = {(change.noun, change.id): change.value for change in snapshot(session)[1]}
    assert found["tenant", 7].zone == found["network", 3].zone == 7
    assert found["cluster", 1] == Cluster(1, flat=False)
    assert found["tenant", 7].default_deny == frozenset()
    assert found["peering", 1] == Peering(1, (1, 7))
    migrate.downgrade(blank, "0001")
    with reading(blank) as session:
        assert session.execute(text("SELECT name FROM tenant ORDER BY name")).scalars().all() == ["acme", "beta"]
    migrate.upgrade(blank)
    migrate.check(blank)


def test_pools_of_hosts_from_before_mesh_keep_their_numbers(blank: Engine) -> None:
    migrate.upgrade(blank, "0020")
    columns = "kind, first, last, next, gaps, rest_seconds"
    insert = text(f"INSERT INTO pool ({columns}) VALUES ('ofport', 1, 9, 1, FALSE, 300) RETURNING id")
    with writing(blank) as session:
        made = [session.execute(insert).scalar_one() for _ in range(20)]
    migrate.upgrade(blank)
    with reading(blank) as session:
        found = session.execute(text("SELECT id FROM pool WHERE kind = 'ofport' ORDER BY id")).scalars().all()
        assert session.execute(text("SELECT kind FROM pool WHERE id = 0")).scalar() == "mesh"
    assert found == made


def test_ids_that_are_never_used_again_stay_so(sqlite_url: str) -> None:
    """What copies a table on SQLite easily forgets it, and a controller would take the new object for the old one."""
    engine = create_engine(sqlite_url)
    migrate.upgrade(engine)
    with reading(engine) as session:
        found = session.execute(text("SELECT name FROM sqlite_master WHERE sql LIKE '%AUTOINCREMENT%'")).scalars().all()
    engine.dispose()
    said = {table.name for table in Base.metadata.sorted_tables if table.dialect_options["sqlite"]["autoincrement"]}
    assert set(found) >= said
