"""`warren endpoint`: interfaces of containers. They are made by a container runtime (CNI) or `warren lab run`."""

from __future__ import annotations

import click

from client import output
from client.change import report
from client.context import Context
from client.options import changing, completes, label_changes, printing, qualified, with_label
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


@endpoint.command("list")
@click.option("--tenant", metavar="TENANT", shell_complete=completes("/tenants"), help="Only this tenant's.")
@click.option("--network", metavar="TENANT/NETWORK", shell_complete=completes("/networks"), help="Only this network's.")
@click.option("--host", metavar="HOST", shell_complete=completes("/hosts"), help="Only those on this host.")
@with_label
@printing
@click.pass_obj
def list_(
    context: Context, tenant: str | None, network: str | None, host: str | None, with_labels: tuple[str, ...]
) -> None:
    """List endpoints.

    \b
    Example:
      warren endpoint list --host h1 --label app=web -o json
    """
    query = {"tenant": tenant, "network": network, "host": host, "label": list(with_labels)}
    output.listing(context.output, context.rest.items("/endpoints", query), COLUMNS, "No endpoint.")


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
    reply = context.rest.patch(f"/endpoints/{name}", {"labels": label_changes(changes)}).body
    report(context, f"Endpoint {name} has labels {output.cell(reply['labels'])}", reply)


@endpoint.command()
@the_endpoint
@changing
@click.pass_obj
def delete(context: Context, name: str) -> None:
    """Delete an endpoint whose container is gone without a word; its addresses are freed.

    \b
    Example:
      warren endpoint delete acme/web1
    """
    report(context, f"Endpoint {name} deleted", context.rest.delete(f"/endpoints/{name}").body)
