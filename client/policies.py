"""`warren policy`: documents that say which connections are allowed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from client import output
from client.context import Context
from client.isolation import carry_out, dry_run
from client.options import changing, completes, printing, read_name, read_policy
from client.output import column

COLUMNS = [
    column("NAME"),
    column("KIND"),
    column("TIER"),
    column("PRIORITY"),
    column("INGRESS"),
    column("EGRESS"),
    column("SUBJECT"),
]
EMPTY = "No policy yet; `warren policy apply -f FILE` makes some."

files = click.option(
    *("-f", "--file", "files"),
    multiple=True,
    required=True,
    metavar="FILE",
    help="YAML or JSON with documents; - is standard input. May be given several times.",
)
default_tenant = click.option(
    *("-n", "--tenant"),
    metavar="TENANT",
    callback=lambda ctx, parameter, given: None if given is None else read_name(ctx, parameter, given),
    shell_complete=completes("/tenants"),
    help="The tenant of documents without a namespace.",
)
of_tenant = click.option("--tenant", metavar="TENANT", shell_complete=completes("/tenants"), help="Only this tenant's.")


@click.group()
def policy() -> None:
    """A policy says which connections are allowed: a document of Kubernetes or OpenShift, its namespace a tenant."""


@policy.command()
@files
@default_tenant
@dry_run
@changing
@click.pass_obj
def apply(context: Context, files: tuple[str, ...], tenant: str | None, dry_run: bool) -> None:
    """Create or replace the policies of some files: all of them, or none.

    \b
    Example:
      warren policy apply -f db.yaml -f admin.yaml
      kubectl get networkpolicy -n acme -o yaml | warren policy apply -f - --dry-run
    """
    _apply(context, files, tenant, dry_run)


@policy.command()
@files
@default_tenant
@printing
@click.pass_obj
def diff(context: Context, files: tuple[str, ...], tenant: str | None) -> None:
    """Print what applying some files would change, and change nothing.

    \b
    Example:
      warren policy diff -f db.yaml
    """
    _apply(context, files, tenant, preview=True)


@policy.command("list")
@of_tenant
@printing
@click.pass_obj
def list_(context: Context, tenant: str | None) -> None:
    """List policies, the cluster's first.

    \b
    Example:
      warren policy list --tenant acme
    """
    output.listing(context.output, context.rest.items("/policies", {"tenant": tenant}), COLUMNS, EMPTY)


@policy.command()
@click.argument(
    "name",
    required=False,
    metavar="[TENANT/NAME|NAME]",
    callback=read_policy,
    shell_complete=completes("/policies"),
)
@of_tenant
@printing
@click.pass_obj
def get(context: Context, name: str | None, tenant: str | None) -> None:
    """Show one policy, or list all.

    As yaml or json it is the document as it was given, or a list of all of them: fit to be applied again.

    \b
    Example:
      warren policy get acme/db-lockdown -o yaml
    """
    if name is None:
        found = context.rest.items("/policies", {"tenant": tenant})
        if context.output == "table":
            output.listing("table", found, COLUMNS, EMPTY)
        else:
            documents = [item["document"] for item in found]
            output.data(context.output, {"apiVersion": "v1", "kind": "List", "items": documents})
        return
    if tenant is not None:
        raise click.UsageError("Say --tenant only without a name.")
    item: dict[str, Any] = context.rest.get(f"/policies/{name}").body
    document = item.pop("document")
    if context.output == "table":
        output.thing("table", item)
        click.echo()
        output.data("yaml", document)
    else:
        output.data(context.output, document)


@policy.command()
@click.argument("name", metavar="TENANT/NAME|NAME", callback=read_policy, shell_complete=completes("/policies"))
@dry_run
@changing
@click.pass_obj
def delete(context: Context, name: str, dry_run: bool) -> None:
    """Delete a policy.

    \b
    Example:
      warren policy delete acme/db-lockdown --dry-run
    """
    carry_out(context, "DELETE", f"/policies/{name}", None, dry_run, lambda _: f"Policy {name} deleted")


def _apply(context: Context, files: tuple[str, ...], tenant: str | None, preview: bool) -> None:
    from client import manifests  # PyYAML takes longer to load than `--help` takes

    documents = manifests.read(files, tenant)
    carry_out(context, "POST", "/policies", {"documents": documents}, preview, _applied)


def _applied(reply: Mapping[str, Any]) -> str:
    names = [item["name"] for item in reply["policies"]]
    if len(names) == 1:
        return f"Policy {names[0]} applied"
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"{len(names)} policies applied: {', '.join(names[:5])}{more}"
