"""`warren tenant join|isolate|global|peer|unpeer` and what they print: where a change is live, or what it would do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

from client import output
from client.change import report
from client.context import Context
from client.options import changing, named
from client.output import column

Command = TypeVar("Command", bound=Callable[..., Any])

HOSTS = [column("HOST"), column("GAINS", "gained"), column("LOSES", "lost")]
the_tenant = named("name", "/tenants", "TENANT")
the_other = named("other", "/tenants", "OTHER")

dry_run = click.option("--dry-run", is_flag=True, help="Change nothing; print what would change.")


def carry_out(
    context: Context,
    method: str,
    path: str,
    body: Mapping[str, Any] | None,
    preview: bool,
    said: Callable[[dict[str, Any]], str],
) -> None:
    """Ask for a change and report it in the words of `said`, or print what it would do."""
    sent = None if body is None else dict(body)
    reply = context.rest.request(method, path, sent, params={"dry_run": "true"} if preview else None).body
    if preview:
        foretell(context, reply)
    else:
        report(context, said(reply), reply)


def foretell(context: Context, reply: Mapping[str, Any]) -> None:
    if context.output != "table":
        output.data(context.output, dict(reply))
        return
    for line in reply["words"]:
        click.echo(line)
    if reply["more"]:
        click.echo("... and more.")
    if reply["hosts"]:
        click.echo()
        output.listing("table", reply["hosts"], HOSTS)
        click.echo()
    click.echo("Nothing was changed.")


@click.command()
@the_tenant
@the_other
@dry_run
@changing
@click.pass_obj
def join(context: Context, name: str, other: str, dry_run: bool) -> None:
    """Let a tenant share the zone of another: all of their networks that are not isolated talk.

    \b
    Example:
      warren tenant join acme beta --dry-run
    """
    carry_out(context, "POST", f"/tenants/{name}/join", {"to": other}, dry_run, _standing)


@click.command()
@the_tenant
@dry_run
@changing
@click.pass_obj
def isolate(context: Context, name: str, dry_run: bool) -> None:
    """Give a tenant a zone of its own; it parts from whom it was joined with and is not global any more.

    \b
    Example:
      warren tenant isolate acme
    """
    carry_out(context, "POST", f"/tenants/{name}/isolate", None, dry_run, _standing)


@click.command("global")
@the_tenant
@dry_run
@changing
@click.pass_obj
def make_global(context: Context, name: str, dry_run: bool) -> None:
    """Let every tenant reach this one, and this one every tenant.

    \b
    Example:
      warren tenant global monitoring
    """
    carry_out(context, "POST", f"/tenants/{name}/global", None, dry_run, _standing)


@click.command()
@the_tenant
@the_other
@dry_run
@changing
@click.pass_obj
def peer(context: Context, name: str, other: str, dry_run: bool) -> None:
    """Let two tenants reach each other; nobody else gains anything by it.

    \b
    Example:
      warren tenant peer acme beta
    """
    carry_out(context, "POST", f"/tenants/{name}/peer", {"with": other}, dry_run, _standing)


@click.command()
@the_tenant
@the_other
@dry_run
@changing
@click.pass_obj
def unpeer(context: Context, name: str, other: str, dry_run: bool) -> None:
    """End a peering.

    \b
    Example:
      warren tenant unpeer acme beta
    """
    carry_out(context, "DELETE", f"/tenants/{name}/peers/{other}", None, dry_run, _standing)


def _standing(tenant: dict[str, Any]) -> str:
    """How a tenant stands now, in a sentence."""
    stands = {
        "own": "is in a zone of its own",
        "joined": f"is joined with {', '.join(tenant['joined'])}",
        "global": "is global",
    }[tenant["isolation"]]
    peers = f", peers with {', '.join(tenant['peers'])}" if tenant["peers"] else ""
    return f"Tenant {tenant['name']} {stands}{peers}"


COMMANDS = (join, isolate, make_global, peer, unpeer)
