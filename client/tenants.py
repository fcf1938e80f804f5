"""`warren tenant`: who owns networks."""

from __future__ import annotations

from typing import Any

import click

from client import change, output
from client.change import carry_out
from client.context import Context
from client.isolation import COMMANDS as ISOLATION
from client.options import changing, label, label_changes, listing, named, printing
from client.output import column

COLUMNS = [
    column("NAME"),
    column("ID"),
    column("ZONE"),
    column("ISOLATION"),
    column("NETWORKS"),
    column("ENDPOINTS"),
    column("LABELS"),
]
UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}
the_tenant = named("name", "/tenants", "TENANT")


@click.group()
def tenant() -> None:
    """Tenants own networks. Endpoints of one tenant reach each other, and those of others only if they join or peer."""


for command in ISOLATION:
    tenant.add_command(command)


@tenant.command()
@click.argument("name", metavar="TENANT")
@label
@click.option("--track-all", is_flag=True, help="Track all connections, not only those that need it.")
@changing
@click.pass_obj
def create(context: Context, name: str, labels: dict[str, str], track_all: bool) -> None:
    """Create a tenant. It gets a network called TENANT/default.

    \b
    Example:
      warren tenant create acme --label team=shop
    """
    body = {"name": name, "labels": labels, "track_all": track_all}
    change.create(context, "/tenants", body, f"Tenant {name} created")


@tenant.command("list")
@listing("text", "label", orders=("name", "networks", "endpoints", "created"))
@click.pass_obj
def list_(context: Context, **asked: Any) -> None:
    """List tenants.

    \b
    Example:
      warren tenant list --label team=shop -o json
    """
    found = context.items("/tenants", asked)
    output.listing(context.output, found, COLUMNS, "No tenant yet; `warren tenant create NAME` makes one.")


@tenant.command()
@the_tenant
@printing
@click.pass_obj
def show(context: Context, name: str) -> None:
    """Show one tenant.

    \b
    Example:
      warren tenant show acme
    """
    output.thing(context.output, context.rest.get(f"/tenants/{name}").body)


@tenant.command("label")
@the_tenant
@click.argument("changes", nargs=-1, required=True, metavar="K=V|K- ...")
@changing
@click.pass_obj
def label_(context: Context, name: str, changes: tuple[str, ...]) -> None:
    """Set labels (K=V) and remove them (K-).

    \b
    Example:
      warren tenant label acme team=shop old-
    """
    body = {"labels": label_changes(changes)}
    said = lambda reply: f"Tenant {name} has labels {output.cell(reply['labels'])}"  # noqa: E731
    carry_out(context, "PATCH", f"/tenants/{name}", body, said)


@tenant.command()
@the_tenant
@click.argument("bounds", nargs=-1, required=True, metavar="NOUN=N|NOUN- ...")
@changing
@click.pass_obj
def quota(context: Context, name: str, bounds: tuple[str, ...]) -> None:
    """Limit how many networks, endpoints, addresses or policies a tenant may have (NOUN=N), or lift a limit (NOUN-).

    `bandwidth` is what each of its endpoints may send, and may receive, in bits per second, also with k, M or G.

    \b
    Example:
      warren tenant quota acme endpoints=500 bandwidth=100M policies-
    """
    wanted: dict[str, int | None] = {}
    for noun, most in label_changes(bounds).items():
        digits, unit = (most[:-1], most[-1]) if most and most[-1] in UNITS else (most, "")
        if digits is not None and not digits.isdecimal():
            raise click.UsageError(f"'{noun}={most}' has no number; write it like endpoints=500 or bandwidth=100M.")
        wanted[noun] = None if digits is None else int(digits) * UNITS[unit]
    said = lambda reply: f"Tenant {name} may have {output.cell(reply['quota'])}"  # noqa: E731
    carry_out(context, "PATCH", f"/tenants/{name}", {"quota": wanted}, said)


@tenant.command()
@the_tenant
@changing
@click.pass_obj
def delete(context: Context, name: str) -> None:
    """Delete a tenant and its empty networks.

    \b
    Example:
      warren tenant delete acme
    """
    carry_out(context, "DELETE", f"/tenants/{name}", None, f"Tenant {name} deleted")
