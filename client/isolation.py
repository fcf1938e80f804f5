"""`warren tenant join|isolate|global|peer|unpeer|deny`: they print where a change is live, or what it would do."""

from __future__ import annotations

from typing import Any

import click

from client.change import carry_out
from client.context import Context
from client.options import changing, named

the_tenant = named("name", "/tenants", "TENANT")
the_other = named("other", "/tenants", "OTHER")


@click.command()
@the_tenant
@the_other
@changing
@click.pass_obj
def join(context: Context, name: str, other: str) -> None:
    """Join a tenant to the zone of another: their networks reach each other, except isolated ones.

    \b
    Example:
      warren tenant join acme beta --dry-run
    """
    carry_out(context, "POST", f"/tenants/{name}/join", {"to": other}, _standing)


@click.command()
@the_tenant
@changing
@click.pass_obj
def isolate(context: Context, name: str) -> None:
    """Give a tenant a zone of its own: it leaves the tenants that it was joined with, and is not global any more.

    While the cluster is flat, the routed networks of all tenants still reach each other.

    \b
    Example:
      warren tenant isolate acme
    """
    carry_out(context, "POST", f"/tenants/{name}/isolate", None, _standing)


@click.command("global")
@the_tenant
@changing
@click.pass_obj
def make_global(context: Context, name: str) -> None:
    """Let every tenant reach this one, and this one every tenant.

    \b
    Example:
      warren tenant global monitoring
    """
    carry_out(context, "POST", f"/tenants/{name}/global", None, _standing)


@click.command()
@the_tenant
@the_other
@changing
@click.pass_obj
def peer(context: Context, name: str, other: str) -> None:
    """Let two tenants reach each other. It opens nothing to any other tenant.

    \b
    Example:
      warren tenant peer acme beta
    """
    carry_out(context, "POST", f"/tenants/{name}/peer", {"with": other}, _standing)


@click.command()
@the_tenant
@the_other
@changing
@click.pass_obj
def unpeer(context: Context, name: str, other: str) -> None:
    """End a peering.

    \b
    Example:
      warren tenant unpeer acme beta
    """
    carry_out(context, "DELETE", f"/tenants/{name}/peers/{other}", None, _standing)


@click.command()
@the_tenant
@click.option("--ingress/--no-ingress", default=None, help="Whether connections to its endpoints are denied.")
@click.option("--egress/--no-egress", default=None, help="Whether connections from its endpoints are denied.")
@changing
@click.pass_obj
def deny(context: Context, name: str, ingress: bool | None, egress: bool | None) -> None:
    """Set whether connections that no policy of the tenant accepts are denied by default.

    \b
    Example:
      warren tenant deny acme --ingress --no-egress
    """
    from client.rest import if_match  # urllib3 takes longer to load than `--help` takes

    wanted = {"ingress": ingress, "egress": egress}
    if ingress is None and egress is None:
        raise click.UsageError("Give --ingress, --egress, --no-ingress or --no-egress.")
    tenant = context.rest.get(f"/tenants/{name}").body
    now = [
        direction
        for direction, wish in wanted.items()
        if (wish if wish is not None else direction in tenant["default_deny"])
    ]
    # A change of the direction that is not named, by somebody else and meanwhile, is not to be undone.
    seen = if_match(tenant["version"])
    carry_out(context, "PATCH", f"/tenants/{name}", {"default_deny": now}, _denied, headers=seen)


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
