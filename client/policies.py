"""`warren policy`: documents that say which connections are allowed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from client import output
from client.change import carry_out
from client.context import Context
from client.options import FILTERS, changing, completes, listing, printing, read_name, read_policy, read_qualified
from client.output import column, moment

COLUMNS = [
    column("NAME"),
    column("KIND"),
    column("TIER"),
    column("PRIORITY"),
    column("INGRESS"),
    column("EGRESS"),
    column("SUBJECT"),
]
RULES = [
    column("POLICY"),
    column("DIRECTION"),
    column("RULE", "number"),
    column("NAME"),
    column("ACTION"),
    column("PACKETS"),
    column("BYTES"),
    column("OPEN", "connections"),
    ("LAST HIT", lambda rule: moment(rule["last_hit"])),
]
NAMES = [
    column("NAME"),
    ("ADDRESSES", lambda name: [one["address"] for one in name["addresses"]]),
    ("UNTIL", lambda name: moment(max(one["until"] for one in name["addresses"]))),
    column("POLICIES"),
]
DENIED = [
    ("LAST", lambda denial: moment(denial["last_at"])),
    ("FROM", lambda denial: denial["source"] or denial["source_address"]),
    ("TO", lambda denial: denial["destination"] or denial["destination_address"]),
    ("SERVICE", lambda denial: _service(denial)),
    column("HOST"),
    column("DIRECTION"),
    column("POLICY", "policies"),
    ("RULE", lambda denial: " ".join(str(part) for part in (denial["rule"], denial["rule_name"]) if part)),
    column("TIMES", "count"),
]
KINDS = "NetworkPolicy", "ClusterNetworkPolicy", "EgressNetworkPolicy", "EgressFirewall"
EMPTY = "No policy yet; `warren policy apply -f FILE` makes some."

files = click.option(
    *("-f", "--file", "files"),
    multiple=True,
    required=True,
    metavar="FILE",
    help="A file of YAML or JSON documents, or - for standard input. May be given several times.",
)
default_tenant = click.option(
    *("-n", "--tenant"),
    metavar="TENANT",
    callback=lambda ctx, parameter, given: None if given is None else read_name(ctx, parameter, given),
    shell_complete=completes("/tenants"),
    help="The tenant of documents that name no namespace.",
)


@click.group()
def policy() -> None:
    """A policy says which connections are allowed: a document of Kubernetes or OpenShift. A namespace is a tenant."""


@policy.command()
@files
@default_tenant
@changing
@click.pass_obj
def apply(context: Context, files: tuple[str, ...], tenant: str | None) -> None:
    """Create or replace the policies in files: all of them, or none.

    \b
    Example:
      warren policy apply -f db.yaml -f admin.yaml
      kubectl get networkpolicy -n acme -o yaml | warren policy apply -f - --dry-run
    """
    _apply(context, files, tenant)


@policy.command()
@files
@default_tenant
@printing
@click.pass_obj
def diff(context: Context, files: tuple[str, ...], tenant: str | None) -> None:
    """Print what applying files would change. Nothing is changed.

    \b
    Example:
      warren policy diff -f db.yaml
    """
    context.dry_run = True
    _apply(context, files, tenant)


@policy.command("list")
@click.option("--kind", type=click.Choice(KINDS), help="Only documents of this kind.")
@listing("tenant", "text", orders=("name", "kind", "created"))
@click.pass_obj
def list_(context: Context, **asked: Any) -> None:
    """List policies, the cluster's first.

    \b
    Example:
      warren policy list --tenant acme
    """
    output.listing(context.output, context.items("/policies", asked), COLUMNS, EMPTY)


@policy.command()
@click.argument(
    "name",
    required=False,
    metavar="[TENANT/NAME|NAME]",
    callback=read_policy,
    shell_complete=completes("/policies"),
)
@FILTERS["tenant"]
@printing
@click.pass_obj
def get(context: Context, name: str | None, tenant: str | None) -> None:
    """Show one policy, or list all.

    With -o yaml or json it prints the documents as they were given, so that they can be applied again.

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
        raise click.UsageError("Give --tenant only without a name.")
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
@changing
@click.pass_obj
def delete(context: Context, name: str) -> None:
    """Delete a policy.

    \b
    Example:
      warren policy delete acme/db-lockdown --dry-run
    """
    carry_out(context, "DELETE", f"/policies/{name}", None, f"Policy {name} deleted")


@policy.command()
@click.argument("name", metavar="TENANT/NAME|NAME", callback=read_policy, shell_complete=completes("/policies"))
@printing
@click.pass_obj
def rules(context: Context, name: str) -> None:
    """Show what each rule of a policy has decided.

    On all hosts, since the policy was last changed. Packets are counted in both directions of a connection. OPEN is the
    number of connections that the rule admitted and that are still open.

    \b
    Example:
      warren policy rules acme/db-lockdown
    """
    found = list(context.rest.items("/rules", {"policy": name}))
    if not found:
        _there(context, ("policies", name))
    output.listing(context.output, found, RULES[1:], f"Policy {name} has no rules.")


@policy.command()
@listing("text", orders=("name",))
@click.pass_obj
def names(context: Context, **asked: Any) -> None:
    """List the DNS names in policies, and the addresses that they stand for.

    Learnt from DNS answers of Warren's resolver and of global tenants. An address counts a minute longer than its TTL.

    \b
    Example:
      warren policy names
    """
    output.listing(context.output, context.items("/names", asked), NAMES, "No endpoint was told an address yet.")


@policy.command()
@listing("tenant")
@click.pass_obj
def unused(context: Context, tenant: str | None, limit: int | None) -> None:
    """List the rules that never matched.

    \b
    Example:
      warren policy unused --tenant acme
    """
    found = list(context.items("/rules", {"tenant": tenant, "unused": "true", "limit": limit}))
    if not found:
        _there(context, ("tenants", tenant))
    output.listing(context.output, found, RULES[:5], "Every rule has matched.")


@policy.command()
@click.option("--tenant", metavar="TENANT", shell_complete=completes("/tenants"), help="From or to this tenant.")
@click.option(
    "--endpoint",
    metavar="TENANT/NAME",
    callback=read_qualified,
    shell_complete=completes("/endpoints"),
    help="From or to this endpoint.",
)
@click.option(
    "--policy",
    "by",
    metavar="TENANT/NAME|NAME",
    callback=read_policy,
    shell_complete=completes("/policies"),
    help="Only what this policy denied.",
)
@click.option("--action", type=click.Choice(["deny", "accept", "pass"]), help="What was decided; default: deny.")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True, help="How many at most.")
@printing
@click.pass_obj
def denied(
    context: Context, tenant: str | None, endpoint: str | None, by: str | None, action: str | None, limit: int
) -> None:
    """List what policies denied, the newest first; with --action what they accepted or passed, for rules that log it.

    A host reports at most a hundred packets per second. If no rule is shown, it was denied because no rule accepts it.

    \b
    Example:
      warren policy denied --endpoint acme/db1
    """
    query = {"tenant": tenant, "endpoint": endpoint, "policy": by, "action": action, "limit": limit}
    found = list(context.rest.items("/denials", query))
    if not found:  # what is gone may still have been denied something
        _there(context, ("tenants", tenant), ("endpoints", endpoint), ("policies", by))
    output.listing(context.output, found, DENIED, "Nothing was denied.")


def _there(context: Context, *asked: tuple[str, str | None]) -> None:
    """Raises if one of them does not exist: a list of what was misspelt would be empty."""
    for noun, name in asked:
        if name is not None:
            context.rest.get(f"/{noun}/{name}")


def _service(denial: Mapping[str, Any]) -> str:
    """`tcp/81`, `tcp/81 over IPv6`: what an endpoint was denied over both is two lines."""
    over = " over IPv6" if ":" in denial["source_address"] else ""
    if denial["port"] is not None:
        return f"{denial['protocol']}/{denial['port']}{over}"
    if denial["icmp_type"] is not None:
        return f"{denial['protocol']} type {denial['icmp_type']} code {denial['icmp_code']}"
    return f"{denial['protocol']}{over}"


def _apply(context: Context, files: tuple[str, ...], tenant: str | None) -> None:
    from client import manifests  # PyYAML takes longer to load than `--help` takes

    documents = manifests.read(files, tenant)
    carry_out(context, "POST", "/policies", {"documents": documents}, _applied)


def _applied(reply: Mapping[str, Any]) -> str:
    names = [item["name"] for item in reply["policies"]]
    if len(names) == 1:
        return f"Policy {names[0]} applied"
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"{len(names)} policies applied: {', '.join(names[:5])}{more}"
