"""`stats` of endpoints, networks and hosts: what they received and sent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from client import output
from client.context import Context
from client.options import named, printing, qualified

COLUMNS = [output.column(heading) for heading in ("WAY", "PACKETS", "BYTES", "DROPPED", "BYTES/S", "LAST HOUR")]
TUNNELS = [
    *(output.column(heading) for heading in ("HOST", "SENT PACKETS", "SENT BYTES")),
    *(output.column(heading) for heading in ("RECEIVED PACKETS", "RECEIVED BYTES")),
]
BARS = "▁▂▃▄▅▆▇█"
PLACES = 30


@click.command("stats")
@qualified("name", "/endpoints", "TENANT/NAME")
@printing
@click.pass_obj
def of_endpoint(context: Context, name: str) -> None:
    """Show what an endpoint received and sent.

    \b
    Example:
      warren endpoint stats acme/web1
    """
    show(context, f"/endpoints/{name}/traffic")


@click.command("stats")
@qualified("name", "/networks", "TENANT/NETWORK")
@printing
@click.pass_obj
def of_network(context: Context, name: str) -> None:
    """Show what a network's endpoints received and sent, all together.

    \b
    Example:
      warren network stats acme/web
    """
    show(context, f"/networks/{name}/traffic")


@click.command("stats")
@named("name", "/hosts", "HOST")
@printing
@click.pass_obj
def of_host(context: Context, name: str) -> None:
    """Show what a host's endpoints received and sent, and what went to and came from other hosts.

    \b
    Example:
      warren host stats h1
    """
    show(context, f"/hosts/{name}/traffic")


def show(context: Context, path: str) -> None:
    found = context.rest.get(path).body
    if context.output != "table":
        output.data(context.output, found)
        return
    if found["counted_at"] is None:
        click.echo("Nothing is known yet: hosts with endpoints report counters every few seconds.", err=True)
        return
    rows = [_row(way, found[way], found["last_hour"][way]) for way in ("received", "sent")]
    output.listing(context.output, rows, COLUMNS)
    if tunnels := found.get("tunnels"):
        click.echo()
        output.listing(context.output, tunnels, TUNNELS)


def _row(way: str, count: dict[str, int], rates: Sequence[float | None]) -> dict[str, Any]:
    last = rates[-1] if rates else None
    now = "-" if last is None else f"{last:.0f}"
    row = {key: str(value) for key, value in count.items()}
    return {"way": way, **row, "bytes/s": now, "last_hour": bars(rates)}


def bars(rates: Sequence[float | None]) -> str:
    """The newest at the right. A bar stands for one rate, or the mean of several; a gap where nothing is known."""
    each = -(-len(rates) // PLACES) or 1
    parts = [rates[first : first + each] for first in range(0, len(rates), each)]
    means = [
        sum(known) / len(known) if (known := [rate for rate in part if rate is not None]) else None for part in parts
    ]
    most = max((mean for mean in means if mean is not None), default=0.0) or 1.0
    return "".join(" " if mean is None else BARS[min(7, int(mean / most * 8))] for mean in means)
