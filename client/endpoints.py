"""`warren endpoint`: interfaces of containers. They are made by a container runtime (CNI) or `warren lab run`."""

from __future__ import annotations

from typing import Any

import click

from client import output, traffic
from client.change import carry_out
from client.context import Context
from client.options import changing, completes, label_changes, listing, printing, qualified
from client.output import column

COLUMNS = [
    column("NAME"),
    column("NETWORK"),
    column("HOST"),
    column("STATE"),
    column("ADDRESSES"),
    column("MAC"),
    column("LABELS"),
]
the_endpoint = qualified("name", "/endpoints", "TENANT/NAME")


@click.group()
def endpoint() -> None:
    """An endpoint is one interface of a container, on one network and one host."""


endpoint.add_command(traffic.of_endpoint)


@endpoint.command("list")
@click.option("--state", type=click.Choice(["pending", "up", "down"]), help="Only those in this state.")
@listing("tenant", "network", "host", "text", "label", orders=("name", "host", "network", "created"))
@click.pass_obj
def list_(context: Context, **asked: Any) -> None:
    """List endpoints.

    \b
    Example:
      warren endpoint list --host h1 --label app=web -o json
    """
    output.listing(context.output, context.items("/endpoints", asked), COLUMNS, "No endpoint.")


@endpoint.command()
@the_endpoint
@printing
@click.pass_obj
def show(context: Context, name: str) -> None:
    """Show one endpoint.

    \b
    Example:
      warren endpoint show acme/web1
    """
    output.thing(context.output, context.rest.get(f"/endpoints/{name}").body)


@endpoint.command("label")
@the_endpoint
@click.argument("changes", nargs=-1, required=True, metavar="K=V|K- ...")
@changing
@click.pass_obj
def label_(context: Context, name: str, changes: tuple[str, ...]) -> None:
    """Set labels (K=V) and remove them (K-).

    \b
    Example:
      warren endpoint label acme/web1 app=web old-
    """
    body = {"labels": label_changes(changes)}
    said = lambda reply: f"Endpoint {name} has labels {output.cell(reply['labels'])}"  # noqa: E731
    carry_out(context, "PATCH", f"/endpoints/{name}", body, said)


@endpoint.command()
@the_endpoint
@click.option("--to", "host", metavar="HOST", shell_complete=completes("/hosts"), help="The host that may take it.")
@click.option("--nowhere", is_flag=True, help="Withdraw that: no host may take it over.")
@changing
@click.pass_obj
def move(context: Context, name: str, host: str | None, nowhere: bool) -> None:
    """Allow a host to take over an endpoint, once; `warren attach --move` on that host then moves it.

    \b
    Example:
      warren endpoint move acme/db1 --to node2
    """
    if (host is None) != nowhere:
        raise click.UsageError("Give --to or --nowhere.")
    said = f"Host {host} may take endpoint {name}" if host else f"No host may take endpoint {name}"
    carry_out(context, "PATCH", f"/endpoints/{name}", {"move_to": host or ""}, said)


@endpoint.command("set")
@the_endpoint
@click.option(
    "--allow",
    multiple=True,
    metavar="ADDRESS[/LEN][,MAC]",
    help="An address or range that it may use besides its own; may be given several times. Replaces all earlier ones.",
)
@click.option("--allow-none", is_flag=True, help="It may use its own addresses only.")
@click.option("--active", multiple=True, metavar="ADDRESS[/LEN]", help="Take this address over from who has it now.")
@changing
@click.pass_obj
def set_(context: Context, name: str, allow: tuple[str, ...], allow_none: bool, active: tuple[str, ...]) -> None:
    """Say which addresses an endpoint may use besides its own.

    It may send from them and is reached at them. Several endpoints of a network may share an address. Only one has it
    at a time: the first, until another announces it (gratuitous ARP, unsolicited neighbour advertisement) or is made
    --active.

    \b
    Example:
      warren endpoint set acme/lb1 --allow 10.20.0.100 --allow 10.20.0.96/28,06:00:00:00:00:01
      warren endpoint set acme/lb2 --active 10.20.0.100
    """
    if not (allow or allow_none or active):
        raise click.UsageError("Nothing to change: give --allow, --allow-none or --active.")
    if allow and allow_none:
        raise click.UsageError("--allow and --allow-none contradict each other: give one of them.")
    path = f"/endpoints/{name}"
    if allow or allow_none:
        pairs = {text.partition(",")[0]: text.partition(",")[2] or None for text in allow}
    else:
        pairs = {pair["address"]: pair["mac"] for pair in context.rest.get(path).body["allowed"]}
    if unknown := [address for address in active if address not in pairs]:
        raise click.UsageError(f"{name} may not use {', '.join(unknown)}; declare it with --allow.")
    body = [{"address": address, "mac": mac, "active": address in active} for address, mac in pairs.items()]

    def said(reply: dict[str, Any]) -> str:
        pairs = [pair["address"] + ("" if pair["active"] else " (not active)") for pair in reply["allowed"]]
        return f"Endpoint {name} may also use {', '.join(pairs) or 'nothing'}"

    carry_out(context, "PATCH", path, {"allowed": body}, said)


@endpoint.command()
@the_endpoint
@changing
@click.pass_obj
def delete(context: Context, name: str) -> None:
    """Delete an endpoint whose container is gone without having been detached. Its addresses are freed.

    \b
    Example:
      warren endpoint delete acme/web1
    """
    carry_out(context, "DELETE", f"/endpoints/{name}", None, f"Endpoint {name} deleted")
