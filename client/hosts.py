"""`warren host`: machines with an agent and a bridge."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from client import output, traffic
from client.change import carry_out, note
from client.change import create as make
from client.context import Context
from client.options import changing, label, label_changes, listing, named, printing
from client.output import column

if TYPE_CHECKING:
    from client.rest import Rest

COLUMNS = [
    column("NAME"),
    column("ADDRESS"),
    column("STATE"),
    column("CONNECTED"),
    column("ENDPOINTS"),
    column("FLOWS"),
    column("DATAPATH", "datapath_type"),
    column("LABELS"),
]
the_host = named("name", "/hosts", "HOST")


def _enrolment(rest: Rest, name: str, token: str) -> list[str]:
    from client import trust

    pin = f" --ca-pin {trust.pin(rest.ca)}" if rest.ca else ""
    return ["", f"On {name} (the token works once):", f"  warren agent --api {rest.api}{pin} --token {token}"]


@click.group()
def host() -> None:
    """A host is a machine with an agent and a bridge of its own."""


host.add_command(traffic.of_host)


@host.command()
@click.argument("name", metavar="HOST")
@click.option("--address", metavar="ADDRESS", help="Address of its tunnels; default: what its agent reports.")
@click.option("--mtu", type=click.IntRange(1350, 65535), help="MTU of its underlay; default: what its agent finds.")
@label
@changing
@click.pass_obj
def create(context: Context, name: str, address: str | None, mtu: int | None, labels: dict[str, str]) -> None:
    """Create a host and print the token with which its agent enrols.

    \b
    Example:
      warren host create h1 --address 192.0.2.11
    """
    body = {"name": name, "address": address, "mtu": mtu, "labels": labels}
    more = lambda reply: _enrolment(context.rest, name, reply["enrol_token"])  # noqa: E731
    make(context, "/hosts", body, f"Host {name} created", more)


@host.command("list")
@listing("text", "label", orders=("name", "endpoints", "flows", "created"))
@click.pass_obj
def list_(context: Context, **asked: Any) -> None:
    """List hosts and their state.

    \b
    Example:
      warren host list --sort=-flows -o yaml
    """
    found = context.items("/hosts", asked)
    output.listing(context.output, found, COLUMNS, "No host yet; `warren host create NAME` makes one.")


@host.command()
@the_host
@printing
@click.pass_obj
def show(context: Context, name: str) -> None:
    """Show one host, what its agent reports and what its bridge dropped.

    \b
    Example:
      warren host show h1
    """
    output.thing(context.output, context.rest.get(f"/hosts/{name}").body)


@host.command()
@the_host
@changing
@click.pass_obj
def token(context: Context, name: str) -> None:
    """Print a new enrolment token; earlier ones no longer work.

    \b
    Example:
      warren agent --api https://warren.example --token "$(warren host token h1)"
    """
    said = lambda reply: str(reply["enrol_token"])  # noqa: E731
    carry_out(context, "POST", f"/hosts/{name}/token", {}, said, tell=note)


@host.command("label")
@the_host
@click.argument("changes", nargs=-1, required=True, metavar="K=V|K- ...")
@changing
@click.pass_obj
def label_(context: Context, name: str, changes: tuple[str, ...]) -> None:
    """Set labels (K=V) and remove them (K-).

    \b
    Example:
      warren host label h1 rack=12 old-
    """
    body = {"labels": label_changes(changes)}
    said = lambda reply: f"Host {name} has labels {output.cell(reply['labels'])}"  # noqa: E731
    carry_out(context, "PATCH", f"/hosts/{name}", body, said)


@host.command()
@the_host
@click.option("--force", is_flag=True, help="Delete its endpoints too, and free their addresses.")
@changing
@click.pass_obj
def delete(context: Context, name: str, force: bool) -> None:
    """Delete a host.

    \b
    Example:
      warren host delete h1
    """
    query = {"force": "true"} if force else None
    carry_out(context, "DELETE", f"/hosts/{name}", None, f"Host {name} deleted", params=query)
