"""`warren cluster`: what holds for all tenants."""

from __future__ import annotations

from typing import Any

import click

from client import output
from client.change import carry_out
from client.context import Context
from client.options import changing, printing

MODES = "flat", "multitenant"


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
@click.argument("setting", type=click.Choice(["isolation", "vxlan-port", "geneve-port"]))
@click.argument("value")
@changing
@click.pass_obj
def set_(context: Context, setting: str, value: str) -> None:
    """Change what holds for all tenants.

    isolation: multitenant keeps them apart unless joined, peering, or global; flat lets all reach all, but for private
    and isolated networks. vxlan-port, geneve-port: the UDP port on which hosts take that tunnel's packets.

    \b
    Examples:
      warren cluster set isolation flat --dry-run
      warren cluster set vxlan-port 8472
    """
    body: dict[str, Any]
    if setting == "isolation":
        if value not in MODES:
            raise click.BadParameter(f"{value!r} is no isolation; use {' or '.join(MODES)}.", param_hint="VALUE")
        body, said = {"isolation": value}, f"Cluster isolation is {value}"
    else:
        if not value.isdecimal():
            raise click.BadParameter(f"{value!r} is no UDP port; use 1 to 65535.", param_hint="VALUE")
        body, said = {"tunnel_ports": {setting.removesuffix("-port"): int(value)}}, f"The {setting} is {value}"
    carry_out(context, "PATCH", "/cluster", body, said)
