"""`warren token`: how programs say who they are."""

from __future__ import annotations

from typing import Any

import click

from client import output
from client.change import carry_out, note
from client.change import create as make
from client.context import Context
from client.options import changing, completes, listing
from client.output import column

COLUMNS = [
    column("ID"),
    column("NAME"),
    column("ROLE"),
    column("TENANT"),
    column("USER"),
    column("HOST"),
    column("CREATED", "created_at"),
    column("EXPIRES", "expires_at"),
]


@click.group()
def token() -> None:
    """Tokens for programs. A token's secret is shown once and not kept."""


@token.command()
@click.argument("name")
@click.option(
    "--role",
    type=click.Choice(["admin", "operator", "viewer", "cni"]),
    default="viewer",
    show_default=True,
    help="What it may do; operator needs --tenant.",
)
@click.option("--tenant", metavar="TENANT", shell_complete=completes("/tenants"), help="Limit it to one tenant.")
@click.option("--host", metavar="HOST", shell_complete=completes("/hosts"), help="Limit it to one host.")
@click.option("--expires", metavar="TIME", help="When it ends, like 2030-01-31T12:00:00Z; default: never.")
@changing
@click.pass_obj
def create(context: Context, name: str, role: str, tenant: str | None, host: str | None, expires: str | None) -> None:
    """Create a token and print it. It belongs to you and can do no more than you can.

    \b
    Example:
      warren token create ci --role operator --tenant acme --expires 2030-01-31T12:00:00Z
    """
    body = {"name": name, "role": role, "tenant": tenant, "host": host, "expires_at": expires}
    make(context, "/tokens", body, lambda reply: str(reply["token"]), tell=note)


@token.command("list")
@click.option(
    "--role",
    type=click.Choice(["admin", "operator", "viewer", "agent", "enrol", "cni"]),
    help="Only those of this role.",
)
@listing("tenant", "host", "text", orders=("created", "name", "role"))
@click.pass_obj
def list_(context: Context, **asked: Any) -> None:
    """List tokens, without their secrets.

    \b
    Example:
      warren token list
    """
    output.listing(context.output, context.items("/tokens", asked), COLUMNS, "No token.")


@token.command()
@click.argument("id", metavar="ID", type=int, shell_complete=completes("/tokens", "id"))
@changing
@click.pass_obj
def revoke(context: Context, id: int) -> None:
    """Revoke a token; it stops working at once.

    \b
    Example:
      warren token revoke 7
    """
    carry_out(context, "DELETE", f"/tokens/{id}", None, f"Token {id} revoked.", tell=note)
