"""`warren tenant join|isolate|global|peer|unpeer|deny`: they print where a change is live, or what it would do."""

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
    headers: Mapping[str, str] | None = None,
) -> None:
    """Ask for a change and report it in the words of `said`, or print what it would do."""
    sent = None if body is None else dict(body)
    params = {"dry_run": "true"} if preview else None
    reply = context.rest.request(method, path, sent, params=params, headers=headers).body
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


@click.command()
@the_tenant
@click.option("--ingress/--no-ingress", default=None, help="Whether connections to its endpoints are denied.")
@click.option("--egress/--no-egress", default=None, help="Whether connections from its endpoints are denied.")
@dry_run
@changing
@click.pass_obj
def deny(context: Context, name: str, ingress: bool | None, egress: bool | None, dry_run: bool) -> None:
    """Deny a tenant's endpoints by default what no policy of the tenant accepts; or not any more.

    \b
    Example:
      warren tenant deny acme --ingress --no-egress
    """
    wanted = {"ingress": ingress, "egress": egress}
    if ingress is None and egress is None:
        raise click.UsageError("Say --ingress, --egress, --no-ingress or --no-egress.")
    tenant = context.rest.get(f"/tenants/{name}").body
    now = [
        direction
        for direction, wish in wanted.items()
        if (wish if wish is not None else direction in tenant["default_deny"])
    ]
    # Of the direction that is not named nobody else's change is undone.
    seen = {"If-Match": f'"{tenant["version"]}"'}
    carry_out(context, "PATCH", f"/tenants/{name}", {"default_deny": now}, dry_run, _denied, seen)


def _denied(tenant: dict[str, Any]) -> str:
    return f"Tenant {tenant['name']} denies {' and '.join(tenant['default_deny']) or 'nothing'} by default"


def _standing(tenant: dict[str, Any]) -> str:
    """How a tenant stands now, in a sentence."""
    stands = {
        "own": "is in a zone of its own",
        "joined": f"is joined with {', '.join(tenant['joined']) or 'others'}",
        "global": "is global",
    }[tenant["isolation"]]
    peers = f", peers with {', '.join(tenant['peers'])}" if tenant["peers"] else ""
    return f"Tenant {tenant['name']} {stands}{peers}"


COMMANDS = (join, isolate, make_global, peer, unpeer, deny)
