"""`warren audit`: who changed what, and whether the log of it is as it was written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import click

from client import output
from client.context import Context
from client.options import completes, printing
from client.output import column, moment

COLUMNS = [
    column("NUMBER"),
    ("WHEN", lambda entry: moment(entry["at"])),
    ("WHO", lambda entry: f"{entry['actor']['kind']} {entry['actor']['name']}"),
    column("FROM", "address"),
    column("DID", "op"),
    ("WHAT", lambda entry: f"{entry['noun']} {entry['name']}"),
    ("CHANGED", lambda entry: _changed(entry)),
]


@click.group()
def audit() -> None:
    """The audit log. Entries are only added, and each holds the hash of the one before."""


@audit.command("list")
@click.option("--tenant", metavar="TENANT", shell_complete=completes("/tenants"), help="Only changes in this tenant.")
@click.option("--actor", metavar="WHO", help="Only by this user or token, like 'user ada' or 'token ci'.")
@click.option("--noun", metavar="NOUN", help="Only of this kind of object, like network or binding.")
@click.option("--since", metavar="TIME", help="From this time on, like 2030-01-31T12:00:00Z.")
@click.option("--until", metavar="TIME", help="Before this time.")
@click.option("--sort", type=click.Choice(["created", "-created"]), help="created: oldest first; else newest first.")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="How many at most.")
@printing
@click.pass_obj
def list_(context: Context, **asked: Any) -> None:
    """List who changed what, the newest first.

    \b
    Example:
      warren audit list --tenant acme --since 2030-01-31T00:00:00Z
    """
    output.listing(context.output, context.items("/audit", asked), COLUMNS, "Nothing was changed.")


@audit.command()
@click.pass_obj
def export(context: Context) -> None:
    """Print the whole log, the oldest entry first, one JSON object per line.

    \b
    Example:
      warren audit export > audit.jsonl
    """
    for entry in context.rest.items("/audit", {"oldest_first": "true"}):
        click.echo(json.dumps(entry, ensure_ascii=False, sort_keys=True))


@audit.command()
@printing
@click.pass_obj
def verify(context: Context) -> None:
    """Check that no entry of the log was changed, removed or moved. Exit code 1 if one was.

    Keep the hash that is printed: in a log that somebody has rewritten, that entry has a different hash.

    \b
    Example:
      warren audit verify
    """
    found = context.rest.get("/audit/verification", timeout=600).body
    entries = f"{found['entries']} entries, the last with hash {found['hash']}"
    output.said(context.output, entries + ("." if found["intact"] else f"; then {found['problem']}."), found)
    if not found["intact"]:
        click.get_current_context().exit(1)


def _changed(entry: Mapping[str, Any]) -> str:
    if entry["op"] in ("login", "logout", "refuse"):
        return "; ".join(f"{key}: {_short(value)}" for key, value in sorted(entry["after"].items()))
    if entry["op"] != "update":
        return ""
    before, after = entry["before"] or {}, entry["after"] or {}
    said = [f"{key}: {_short(before.get(key))} -> {_short(after[key])}" for key in sorted(after) if key != "version"]
    return "; ".join(said)


def _short(value: Any) -> str:
    text = output.cell(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
