"""`warren db`: what an operator types, what it prints, and what is in the files afterwards."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Engine

from db import bindings, tokens, users
from db.cli import cli
from db.engine import reading
from db.tables import utcnow
from tests.db import steps


def run(*arguments: object, url: str | None = None) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments], env={"WARREN_DB": url})


def test_upgrade_makes_a_database_that_check_likes(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/new.db"
    refused = run("check", url=url)
    assert refused.exit_code == 1 and "run `warren db upgrade`" in refused.stderr
    (tmp_path / "new.db").unlink()
    assert run("upgrade", "--db", url).exit_code == 0
    assert run("check", url=url).exit_code == 0
    assert stat.S_IMODE((tmp_path / "new.db").stat().st_mode) == 0o600


def test_init_admin_makes_an_admin_and_a_token_and_may_be_repeated(
    engine: Engine, database_url: str, tmp_path: Path
) -> None:
    password, token = tmp_path / "password", tmp_path / "token"

    def init() -> tuple[str, str]:
        done = run("init-admin", "--password-file", password, "--token-file", token, url=database_url)
        assert done.exit_code == 0, done.output
        return password.read_text().strip(), token.read_text().strip()

    first = init()
    assert init() == first
    with reading(engine) as session:
        assert (admin := users.authenticate(session, "admin", first[0])) and bindings.grants_of(
            session, admin.id
        ).cluster == "admin"
        assert tokens.verify(session, first[1], utcnow()).role == "admin"
        assert len(tokens.find(session).items) == 1
    assert [stat.S_IMODE(path.stat().st_mode) for path in (password, token)] == [0o600, 0o600]
    password.write_text("a new password\n")
    token.unlink()
    second = init()
    with reading(engine) as session:
        assert users.authenticate(session, "admin", "a new password")
        assert users.authenticate(session, "admin", first[0]) is None
        assert tokens.verify(session, second[1], utcnow()).role == "admin"


def test_backup_and_restore(engine: Engine, database_url: str, tmp_path: Path) -> None:
    steps.tenant(engine)
    file = tmp_path / "warren.backup"
    done = run("backup", file, url=database_url)
    assert done.exit_code == 0 and f"rows are in {file}" in done.output
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir() if "backup" in path.name] == ["warren.backup"]
    refused = run("restore", file, url=database_url)
    assert refused.exit_code == 1 and "is not empty; use --force" in refused.stderr
    assert run("restore", file, "--force", url=database_url).exit_code == 0
    steps.tenant(engine, "beta")


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("rubbish", "'rubbish' is not a database URL; write sqlite:////path/warren.db or postgresql://"),
        ("mysql://x/y", "database 'mysql' is not supported"),
        ("sqlite://", "an SQLite database in memory cannot be shared"),
        ("sqlite:////no/such/folder/warren.db", "the database cannot be used: unable to open database file"),
        ("postgresql://nobody@/none?host=/no/such/folder", "the database cannot be used"),
    ],
)
def test_a_database_that_cannot_be_used_is_one_sentence(url: str, sentence: str) -> None:
    refused = run("check", url=url)
    assert refused.exit_code == 1
    assert sentence in refused.stderr and "Traceback" not in refused.output


def test_a_backup_that_cannot_be_written_leaves_no_file(database_url: str, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    refused = run("backup", folder / "none" / "file", url=database_url)
    assert refused.exit_code == 1 and "No such file or directory" in refused.stderr
    assert list(folder.iterdir()) == []
