"""A backup is the whole database, whichever kind it comes from and goes to; a restore happens whole or not at all."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from sqlalchemy import Engine, func, select

from db import backup, migrate, policies, tenants, tokens, users
from db.changes import changes_since, current_revision, transaction
from db.engine import create_engine, reading
from db.errors import Conflict, Invalid
from db.snapshot import snapshot
from db.tables import Base, Claim, utcnow
from tests.databases import PostgresDatabase, SqliteTemplate
from tests.db import steps


def fill(engine: Engine) -> str:
    """A world with a past, and a token that opens it."""
    h1 = steps.host(engine)
    steps.tenant(engine, labels={"a": "1"})
    steps.network(engine, "acme/web", "10.20.0.0/24", "fd00:20::/64", private=True)
    for number in range(5):
        steps.attach(engine, h1, f"web{number}", labels={"n": str(number)})
    steps.detach(engine, h1, "web4")
    steps.do(engine, tenants.update, "acme", default_deny=["egress"])
    for name in ("kept", "gone"):
        metadata = {"name": name, "namespace": "acme", "annotations": {"a": "b"}}
        document = {"kind": "NetworkPolicy", "apiVersion": "networking.k8s.io/v1", "metadata": metadata}
        steps.do(engine, policies.apply, [document])
    steps.do(engine, policies.delete, "acme/gone")
    with transaction(engine) as tx:
        users.create(tx, "ada", "correct horse")
        return tokens.create(tx, "admin", name="ci")[1]


def written(engine: Engine, folder: Path) -> Path:
    path = folder / "warren.backup"
    with path.open("w") as file:
        backup.backup(engine, file)
    return path


def rows(engine: Engine) -> dict[str, int]:
    with reading(engine) as session:
        return {
            table.name: session.execute(select(func.count()).select_from(table)).scalar_one()
            for table in Base.metadata.sorted_tables
        }


@pytest.fixture(params=["sqlite", "postgresql"])
def target(request: pytest.FixtureRequest, sqlite_template: SqliteTemplate, tmp_path: Path) -> Engine:
    """Another database: on SQLite with tables, on PostgreSQL without."""
    if request.param == "sqlite":
        folder = tmp_path / "target"
        folder.mkdir()
        engine = create_engine(sqlite_template.fresh(folder))
    else:
        database: PostgresDatabase = request.getfixturevalue("postgres_database")
        engine = create_engine(database.other())
    request.addfinalizer(engine.dispose)
    return engine


def test_what_is_restored_is_what_was_backed_up(engine: Engine, target: Engine, tmp_path: Path) -> None:
    token = fill(engine)
    restored = backup.restore(target, written(engine, tmp_path))
    assert rows(target) == rows(engine) and restored == sum(rows(engine).values())
    with reading(engine) as one, reading(target) as other:
        assert snapshot(one) == snapshot(other)
        assert one.execute(select(Claim.__table__)).all() == other.execute(select(Claim.__table__)).all()
        assert tokens.verify(other, token, utcnow()).name == "ci"
        assert users.authenticate(other, "ada", "correct horse")


def test_a_restored_database_goes_on_where_the_other_stopped(engine: Engine, target: Engine, tmp_path: Path) -> None:
    fill(engine)
    backup.restore(target, written(engine, tmp_path))
    with reading(target) as session:
        h1 = session.get_one(steps.Host, 1)
    here, there = (steps.attach(database, h1, "new") for database in (engine, target))
    assert here == there, "ids, addresses and ofports that were given are not given again"
    assert there.addresses[0] == "10.20.0.7/24"
    steps.host(target, "h2", "198.18.0.12")
    steps.tenant(target, "beta")


def test_a_database_in_use_is_replaced_only_by_force(engine: Engine, target: Engine, tmp_path: Path) -> None:
    fill(engine)
    file = written(engine, tmp_path)
    migrate.upgrade(target)
    for number in range(30):
        steps.tenant(target, f"t{number}")
    before = steps.revision(target)
    with pytest.raises(Conflict, match="is not empty; use --force to replace all of it"):
        backup.restore(target, file)
    with reading(target) as session:
        assert len(tenants.find(session).items) == 30
    backup.restore(target, file, force=True)
    with reading(engine) as one, reading(target) as other:
        assert snapshot(one)[1] == snapshot(other)[1]
        assert current_revision(other) > before
        assert changes_since(other, before) is None, "who followed the old one must take a snapshot"


def test_a_damaged_backup_is_refused_and_changes_nothing(engine: Engine, tmp_path: Path) -> None:
    fill(engine)
    whole = written(engine, tmp_path).read_text().splitlines(keepends=True)
    stranger = json.dumps({"table": "host", "row": {"surprise": 1}}) + "\n"
    spoiled = {
        "cut off": "".join(whole[:-1]),
        "cut off in a line": "".join(whole)[:-10],
        "rows missing": "".join(whole[:3] + whole[4:]),
        "no backup": '{"hello": 1}\n',
        "empty": "",
        "unknown column": "".join([whole[0], stranger, json.dumps({"rows": 1})]),
        "not text": "\0\1",
    }
    before = rows(engine)
    for what, content in spoiled.items():
        path = tmp_path / "spoiled"
        path.write_text(content)
        with pytest.raises(Invalid):
            backup.restore(engine, path, force=True)
        assert rows(engine) == before, what


def test_a_backup_taken_while_others_write_is_of_one_moment(engine: Engine, target: Engine, tmp_path: Path) -> None:
    fill(engine)

    class Slow(io.StringIO):
        """Somebody commits after each of the first few lines."""

        number = 0

        def write(self, line: str) -> int:
            if self.number < 5:
                self.number += 1
                steps.tenant(engine, f"t{self.number}")
            return super().write(line)

    file, revision = Slow(), steps.revision(engine)
    backup.backup(engine, file)
    path = tmp_path / "moment"
    path.write_text(file.getvalue())
    backup.restore(target, path)
    with reading(target) as session:
        assert [tenant.name for tenant in tenants.find(session).items] == ["acme"]
        assert current_revision(session) == revision
