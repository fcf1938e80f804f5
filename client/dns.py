"""`warren dns`: names that no endpoint has, and the domain that full names end in."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import click

from client import output
from client.change import carry_out
from client.context import Context
from client.options import changing, listing, read_name, read_policy
from client.output import column

COLUMNS = [column("NAME"), column("SCOPE"), column("ADDRESSES"), column("FULL NAME", "full_name")]
the_scope = click.argument("scope", metavar="TENANT[/NETWORK]", callback=read_policy)
the_name = click.argument("name", callback=read_name)


@click.group()
def dns() -> None:
    """DNS records besides those of endpoints. Names of endpoints need no record: every network's gateway answers them.

    An endpoint is found as NAME in its own network and tenant, as NAME.NETWORK, and as NAME.NETWORK.TENANT.DOMAIN.
    """


@dns.command()
@the_scope
@the_name
@click.argument("addresses", nargs=-1, required=True, metavar="ADDRESS...")
@changing
@click.pass_obj
def add(context: Context, scope: str, name: str, addresses: tuple[str, ...]) -> None:
    """Create a DNS record in a tenant or in one of its networks, or replace the addresses of the one that exists.

    \b
    Example:
      warren dns add acme db 10.20.0.200 fd00:20::200
      warren dns add acme/web printer 10.20.0.201
    """
    said = lambda reply: f"{reply['full_name']} is {', '.join(reply['addresses'])}"  # noqa: E731
    carry_out(context, "PUT", _path(scope, name), {"addresses": list(addresses)}, said, tell=_report)


@dns.command()
@the_scope
@the_name
@changing
@click.pass_obj
def remove(context: Context, scope: str, name: str) -> None:
    """Remove a DNS record.

    \b
    Example:
      warren dns remove acme db
    """
    carry_out(context, "DELETE", _path(scope, name), None, f"DNS record {name} in {scope} removed", tell=_report)


@dns.command("list")
@listing("tenant", "text", orders=("created", "name", "scope"))
@click.pass_obj
def list_(context: Context, **asked: Any) -> None:
    """List DNS records.

    \b
    Example:
      warren dns list --tenant acme
    """
    found = context.items("/dns/records", asked)
    output.listing(context.output, found, COLUMNS, "No DNS record; `warren dns add` makes one.")


@dns.command()
@click.argument("name", required=False, metavar="[DOMAIN]")
@changing
@click.pass_obj
def domain(context: Context, name: str | None) -> None:
    """Show or change the domain in which all full names end.

    Running containers keep the search domains with which they were started.

    \b
    Example:
      warren dns domain cluster.example.net
    """
    if name is None:
        output.thing(context.output, context.rest.get("/dns").body)
        return
    said = lambda reply: f"Full names end in {reply['domain']}"  # noqa: E731
    carry_out(context, "PATCH", "/dns", {"domain": name}, said, tell=_report)


def _path(scope: str, name: str) -> str:
    return f"/dns/records/{scope}/{name}"


def _report(context: Context, said: str, reply: Mapping[str, Any], _: Sequence[str] = ()) -> None:
    """Names need no flows: what is waited for is that every host's resolver answers from them."""
    revision = reply["revision"]
    if context.wait:
        _wait(context, revision)
    if context.output != "table":
        output.data(context.output, dict(reply))
        return
    click.echo(f"{said} (revision {revision}{', known on every host concerned' if context.wait else ''})")


def _wait(context: Context, revision: int) -> None:
    deadline = time.monotonic() + context.timeout
    while True:
        rest = max(0.0, min(5.0, deadline - time.monotonic()))
        known = context.rest.get(f"/revisions/{revision}/names", params={"wait": round(rest, 3)}, timeout=rest + 10)
        if not known.body["waiting"]:
            return
        if not rest:
            raise click.ClickException(
                f"Revision {revision} is stored, but not known yet on {', '.join(known.body['waiting'])} after "
                f"{context.timeout:g} s; those hosts' agents take it up as soon as they answer."
            )
