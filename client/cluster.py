"""`warren cluster`: what holds for all tenants."""

from __future__ import annotations

import click

from client import output
from client.context import Context
from client.isolation import carry_out, dry_run
from client.options import changing, printing

SETTINGS = {"isolation": ("flat", "multitenant")}


@click.group()
def cluster() -> None:
    """What holds for all tenants: whether they are apart until somebody joins them, or reach each other."""


@cluster.command()
@printing
@click.pass_obj
def show(context: Context) -> None:
    """Show what holds for all tenants.

    \b
    Example:
      warren cluster show
    """
    output.thing(context.output, context.rest.get("/cluster").body)


@cluster.command("set")
@click.argument("setting", type=click.Choice(list(SETTINGS)))
@click.argument("value", type=click.Choice(SETTINGS["isolation"]))
@dry_run
@changing
@click.pass_obj
def set_(context: Context, setting: str, value: str, dry_run: bool) -> None:
    """Change what holds for all tenants.

    multitenant: they are apart unless joined, peering, or global. flat: all reach all, but for private and isolated
    networks.

    \b
    Example:
      warren cluster set isolation flat --dry-run
    """
    carry_out(
        context, "PATCH", "/cluster", {setting: value}, dry_run, lambda reply: f"Cluster isolation is {reply[setting]}"
    )
