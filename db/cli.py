"""`warren db`: the commands of whoever runs the database. They open it themselves; no process needs to be up."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from db import backup as backups
from db import bindings, migrate, tokens, users
from db.audit import Actor
from db.authority import DEFAULT_FOLDER
from db.changes import transaction
from db.engine import create_engine, reading
from db.errors import DomainError, Unauthenticated
from db.tables import utcnow


def database(command: Callable[..., None]) -> Callable[..., None]:
    option = click.option(
        "--db",
        "url",
        metavar="URL",
        envvar="WARREN_DB",
        required=True,
        help="Database: sqlite:////path/warren.db or postgresql://user@host/name.",
        show_envvar=True,
    )
    return option(command)


tls_dir = click.option(
    "--tls-dir", "folder", envvar="WARREN_TLS_DIR", default=DEFAULT_FOLDER, show_default=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Directory of Warren's own certificate authority and this machine's certificates; made if it is missing.",
)  # fmt: skip


@click.group(help="The database: create, check, back up, restore.")
def cli() -> None:
    pass


@cli.command()
@database
def upgrade(url: str) -> None:
    """Create the tables, or upgrade them to this version.

    Safe to repeat. If it fails, nothing is changed.
    """
    with opened(url) as engine:
        migrate.upgrade(engine)
        click.echo(f"The database is at schema {migrate.head()}.")


@cli.command()
@database
def check(url: str) -> None:
    """Check that the tables are those of this version."""
    with opened(url) as engine:
        migrate.check(engine)
        click.echo(f"The database is at schema {migrate.head()}, as this version needs it.")


@cli.command()
@database
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def backup(url: str, file: Path) -> None:
    """Write everything to FILE, from which either kind of database can be restored.

    Warren may be running. The file holds password hashes: only its owner can read it.
    """
    part = file.with_name(file.name + ".part")
    with opened(url) as engine:
        try:
            with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as out:
                rows = backups.backup(engine, out)
                out.flush()
                os.fsync(out.fileno())
            part.replace(file)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        click.echo(f"{rows} rows are in {file}.")


@cli.command()
@database
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option("--force", is_flag=True, help="Replace everything in a database that is not empty.")
def restore(url: str, file: Path, force: bool) -> None:
    """Fill an empty database from FILE.

    Running controllers and agents follow the restored state by themselves.
    """
    with opened(url) as engine:
        rows = backups.restore(engine, file, force=force)
        click.echo(f"{rows} rows are restored from {file}.")


@cli.command("init-admin")
@database
@click.option("--user", "name", default="admin", show_default=True, help="Name of the administrator.")
@click.option(
    "--password-file",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="File with the password; made with a random one if it is missing.",
)
@click.option(
    "--token-file",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="File for an API token; a valid token in it is kept.",
)
def init_admin(url: str, name: str, password_file: Path, token_file: Path) -> None:
    """Make the first administrator and an API token.

    Safe to repeat: the administrator then has the password in the file, and a valid token stays.
    """
    with opened(url) as engine:
        password = _password(password_file)
        with reading(engine) as session:
            knows_password = users.authenticate(session, name, password) is not None
            has_token = token_file.exists() and _opens(session, token_file.read_text().strip())
        with transaction(engine, actor=Actor("local", "init-admin")) as tx:
            user = users.find_one(tx.session, name)
            if user is None:
                user = users.create(tx, name, password, role="admin")
            elif not knows_password:
                users.set_password(tx, user, password)
            if bindings.grants_of(tx.session, user.id).cluster != "admin":
                bindings.grant(tx, "admin", user=name)
            if not has_token:
                text = tokens.create(tx, "admin", name=f"first of {name}", user_id=user.id)[1]
                # Before the commit: a token that nobody can read would be of no use.
                _write_secret(token_file, text)
        click.echo(f"Administrator {name}: password in {password_file}, API token in {token_file}.")


@contextmanager
def opened(url: str) -> Iterator[Engine]:
    """The database, with every refusal as one sentence and exit code 1."""
    try:
        engine = create_engine(url)
        try:
            yield engine
        finally:
            engine.dispose()
    except DomainError as error:
        raise click.ClickException(str(error)) from error
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        raise click.ClickException(
            f"the database cannot be used: {reason}; check --db, or run `warren db upgrade`"
        ) from error
    except OSError as error:
        raise click.ClickException(f"{error.filename}: {error.strerror}") from error


def _opens(session: Any, text: str) -> bool:
    try:
        return tokens.verify(session, text, utcnow()).role == "admin"
    except Unauthenticated:
        return False


def _password(file: Path) -> str:
    if not file.exists():
        _write_secret(file, secrets.token_urlsafe(12))
    return file.read_text().strip()


def _write_secret(file: Path, text: str) -> None:
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
        out.write(text + "\n")
