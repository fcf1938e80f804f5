"""`warren role`: who may do what, in one tenant or in the whole cluster."""

from __future__ import annotations

from typing import Any

import click

from client import output
from client.change import carry_out, note
from client.change import create as make
from client.context import Context
from client.options import changing, completes, listing
from client.output import column

COLUMNS = [column("ID"), column("ROLE"), column("TENANT"), column("USER"), column("GROUP")]
ROLES = click.Choice(["admin", "operator", "viewer"])
of_user = click.option("--user", metavar="USER", shell_complete=completes("/users"), help="The user.")
of_group = click.option("--group", metavar="GROUP", shell_complete=completes("/groups"), help="The group.")
in_tenant = click.option(
    "--tenant", metavar="TENANT", shell_complete=completes("/tenants"), help="In this tenant; default: in the cluster."
)


@click.group()
def role() -> None:
    """Roles: admin, operator (in a tenant) and viewer, given to users and groups."""


@role.command()
@click.argument("name", metavar="ROLE", type=ROLES)
@of_user
@of_group
@in_tenant
@changing
@click.pass_obj
def grant(context: Context, name: str, user: str | None, group: str | None, tenant: str | None) -> None:
    """Give a user or a group a role, in place of the one it has in that tenant or in the cluster.

    \b
    Example:
      warren role grant operator --user ada --tenant acme
      warren role grant viewer --group auditors
    """
    body = {"role": name, "user": user, "group": group, "tenant": tenant}
    make(context, "/role-bindings", body, lambda reply: f"{_who(reply)} is {name} {_where(reply)}.", tell=note)


@role.command("list")
@of_user
@of_group
@in_tenant
@click.option("--role", type=ROLES, help="Only those that give this role.")
@listing(orders=("created", "role"))
@click.pass_obj
def list_(context: Context, **asked: Any) -> None:
    """List who may do what.

    \b
    Example:
      warren role list --tenant acme
    """
    output.listing(context.output, context.items("/role-bindings", asked), COLUMNS, "No role was given.")


@role.command()
@of_user
@of_group
@in_tenant
@changing
@click.pass_obj
def revoke(context: Context, user: str | None, group: str | None, tenant: str | None) -> None:
    """Take the role of a user or a group away.

    \b
    Example:
      warren role revoke --user ada --tenant acme
    """
    if (user is None) == (group is None):
        raise click.UsageError("Give --user or --group.")
    found = context.rest.items("/role-bindings", {"user": user, "group": group, "tenant": tenant})
    binding = next((one for one in found if one["tenant"] == tenant), None)
    if binding is None:
        where = f"in tenant {tenant}" if tenant else "in the cluster"
        raise click.ClickException(f"{user or group} has no role {where}; `warren role list` tells who has.")
    said = f"{_who(binding)} is not {binding['role']} {_where(binding)} any more."
    carry_out(context, "DELETE", f"/role-bindings/{binding['id']}", None, said, tell=note)


def _who(binding: dict[str, Any]) -> str:
    return f"User {binding['user']}" if binding["user"] else f"Group {binding['group']}"


def _where(binding: dict[str, Any]) -> str:
    return f"in tenant {binding['tenant']}" if binding["tenant"] else "in the cluster"
