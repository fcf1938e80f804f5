"""`warren revision`: where a change is live."""

from __future__ import annotations

from typing import Any

import click

from client import change, output
from client.context import Context
from client.options import completes, patient, printing
from client.output import column

COLUMNS = [column("HOST"), column("STATE"), column("ERROR")]


@click.group()
def revision() -> None:
    """Each change has a revision; hosts confirm revisions."""


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
