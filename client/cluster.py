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
    """Settings for all tenants: whether tenants are isolated from each other, and the UDP ports of tunnels."""


@cluster.command()
@printing
@click.pass_obj
def show(context: Context) -> None:
    """Show the settings for all tenants.

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
    """Change a setting for all tenants.

    isolation: multitenant isolates tenants unless they are joined, peer, or one is global; flat lets all tenants reach
    each other, except private and isolated networks. vxlan-port, geneve-port: the UDP port of that tunnel.

    \b
    Examples:
      warren cluster set isolation flat --dry-run
      warren cluster set vxlan-port 8472
    """
    body: dict[str, Any]
    if setting == "isolation":
        if value not in MODES:
            wrong = f"{value!r} is not an isolation mode; use {' or '.join(MODES)}."
            raise click.BadParameter(wrong, param_hint="VALUE")
        body, said = {"isolation": value}, f"Cluster isolation is {value}"
    else:
        if not value.isdecimal():
            raise click.BadParameter(f"{value!r} is not a UDP port; use 1 to 65535.", param_hint="VALUE")
        body, said = {"tunnel_ports": {setting.removesuffix("-port"): int(value)}}, f"The {setting} is {value}"
    carry_out(context, "PATCH", "/cluster", body, said)
