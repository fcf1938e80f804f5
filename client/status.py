"""`warren status`: is everything well? One sentence, then the hosts."""

from __future__ import annotations

from collections import Counter
from typing import Any

import click

from client import output
from client.context import Context
from client.hosts import COLUMNS
from client.options import printing


@click.command()
@printing
@click.pass_obj
def status(context: Context) -> None:
    """Print in one sentence whether everything is well, and list the hosts.

    \b
    Example:
      warren status
    """
    rest = context.rest
    latest = rest.get("/revisions", params={"limit": 1}).body["revision"]
    progress = rest.get(f"/revisions/{latest}").body
    hosts = list(rest.items("/hosts"))
    tenants = list(rest.items("/tenants"))
    full = rest.get("/ipam/warnings").body["warnings"]
    if context.output != "table":
        counts = {
            "tenants": len(tenants),
            "networks": sum(tenant["networks"] for tenant in tenants),
            "endpoints": sum(tenant["endpoints"] for tenant in tenants),
        }
        output.data(
            context.output,
            {
                "sentence": _sentence(progress, hosts),
                "revision": progress,
                **counts,
                "hosts": hosts,
                "nearly_full": full,
            },
        )
        return
    click.echo(_sentence(progress, hosts))
    for sentence in full:
        click.echo(f"Nearly full: {sentence}.")
    if hosts:
        click.echo()
        output.listing("table", hosts, COLUMNS)


def _sentence(progress: dict[str, Any], hosts: list[dict[str, Any]]) -> str:
    """What a person wants to know first: does something need attention?"""
    revision = progress["revision"]
    if not hosts:
        return f"Revision {revision}; no host yet: `warren host create NAME`."
    states = Counter(host["state"] for host in hosts)
    unwell = [host["name"] for host in hosts if host["state"] != "up" or not host["connected"]]
    lacking = [one["host"] for one in progress["hosts"] if one["state"] != "applied"]
    if not unwell and progress["state"] == "applied":
        return f"All is well: {len(hosts)} hosts are up and have revision {revision}."
    said = []
    if unwell:
        counts = ", ".join(f"{count} {state}" for state, count in states.items())
        said.append(f"look at {', '.join(unwell[:5])} ({counts} of {len(hosts)})")
    if progress["state"] != "applied":
        said.append(
            f"revision {revision} is {progress['state']}" + (f" on {', '.join(lacking[:5])}" if lacking else "")
        )
    return f"Not all is well: {'; '.join(said)}."
