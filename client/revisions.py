"""`warren revision`: where a change is live."""

from __future__ import annotations

from typing import Any

import click

from client import change, output
from client.context import Context
from client.options import completes, patient, printing
from client.output import column

CHANGES = [column("REVISION"), column("DID", "op"), column("WHAT", "noun"), column("ID")]
COLUMNS = [column("HOST"), column("STATE"), column("ERROR")]


@click.group()
def revision() -> None:
    """Each change has a revision, which each host concerned confirms when it has the change."""


@revision.command("list")
@click.option("--after", type=click.IntRange(min=0), metavar="REVISION", help="Only what came after this one.")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True, help="How many at most.")
@printing
@click.pass_obj
def list_(context: Context, **asked: Any) -> None:
    """List the latest changes, or with --after those that came after a revision; the oldest first.

    \b
    Example:
      warren revision list --after 40
    """
    found = context.rest.get("/revisions", params=asked).body["items"]
    output.listing(context.output, found, CHANGES, "Nothing has changed since.")


@revision.command()
@click.argument("number", type=click.IntRange(min=0), required=False, metavar="[REVISION]")
@printing
@click.pass_obj
def show(context: Context, number: int | None) -> None:
    """Show which hosts have confirmed a revision; without a number the latest.

    \b
    Example:
      warren revision show 42
    """
    _print(context, context.rest.get(f"/revisions/{_latest(context) if number is None else number}").body)


@revision.command()
@click.argument("number", type=click.IntRange(min=0), required=False, metavar="[REVISION]")
@click.option("--host", metavar="HOST", shell_complete=completes("/hosts"), help="Wait for this host only.")
@patient
@click.pass_obj
def wait(context: Context, number: int | None, host: str | None) -> None:
    """Return when every host concerned has confirmed a revision; without a number the latest.

    \b
    Example:
      warren revision wait 42 --timeout 5
    """
    wanted = _latest(context) if number is None else number
    _print(context, change.wait(context.rest, wanted, context.timeout, host))


def _latest(context: Context) -> int:
    return int(context.rest.get("/revisions", params={"limit": 1}).body["revision"])


def _print(context: Context, progress: dict[str, Any]) -> None:
    if context.output != "table":
        output.data(context.output, progress)
        return
    click.echo(f"Revision {progress['revision']} is {progress['state']}.")
    if progress["hosts"]:
        output.listing("table", progress["hosts"], COLUMNS)
