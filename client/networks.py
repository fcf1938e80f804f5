"""`warren network`: segments with their subnets."""

from __future__ import annotations

from typing import Any

import click

from client import change, output, traffic
from client.addresses import layout
from client.change import carry_out
from client.context import Context
from client.options import changing, label, label_changes, listing, printing, qualified, read_qualified
from client.output import column


def _subnets(network: dict[str, Any]) -> list[str]:
    return [subnet["cidr"] for subnet in network["subnets"]]


def _all_but(given: tuple[str, ...], word: str) -> list[str] | None:
    """None if the option was not given; an empty list if it was given as `word` alone, which means that."""
    return None if not given else [] if given == (word,) else list(given)


def _transport(network: dict[str, Any]) -> str:
    """`vxlan`, `vlan lan/50`."""
    if network.get("physical") is None:
        return str(network["transport"])
    return f"{network['transport']} {network['physical']}" + (f"/{network['vlan']}" if network["vlan"] else "")


COLUMNS = [
    column("NAME"),
    column("VNI"),
    column("ZONE"),
    ("SUBNETS", _subnets),
    column("ENDPOINTS"),
    ("TRANSPORT", _transport),
    column("PRIVATE"),
    column("ISOLATED"),
    column("BROADCAST"),
    column("OUTBOUND"),
    column("LABELS"),
]
OUTBOUND_HELP = "Whether its endpoints reach the outside, through their host and with its address; on by default."
BROADCAST_HELP = "Whether broadcast and multicast reach all of its endpoints; off by default."
TRANSPORT_HELP = (
    "vxlan, geneve or gre: by tunnel; host-gw: without a tunnel; vlan: on a physical segment; local: within each host."
)
PHYSICAL_HELP = "For vlan: the physical segment, one that agents were started with."
VLAN_HELP = "For vlan: the tag, 1 to 4094; 0: untagged frames."
PLANS = "Whether all hosts share each subnet's addresses, or each host has blocks of them."
the_network = qualified("name", "/networks", "TENANT/NETWORK")


@click.group()
def network() -> None:
    """A network is one segment: a VNI on the wire, and subnets of IPv4, IPv6 or both."""


network.add_command(traffic.of_network)


@network.command()
@click.argument("name", metavar="TENANT/NETWORK", callback=read_qualified)
@click.option("--subnet", "subnets", multiple=True, metavar="CIDR", help="IPv4 or IPv6; may be given several times.")
@layout
@click.option("--plan", type=click.Choice(("shared", "per-host")), default="shared", show_default=True, help=PLANS)
@click.option("--strict", is_flag=True, help="A host never takes an address from another host's block.")
@click.option("--private", is_flag=True, help="May overlap other tenants' subnets; reachable from its own zone only.")
@click.option("--isolated", is_flag=True, help="Does not talk to the tenant's other networks.")
@click.option("--broadcast/--no-broadcast", default=False, help=BROADCAST_HELP)
@click.option("--outbound/--no-outbound", default=True, help=OUTBOUND_HELP)
@click.option("--transport", default="vxlan", help=TRANSPORT_HELP)
@click.option("--physical", metavar="SEGMENT", help=PHYSICAL_HELP)
@click.option("--vlan", type=int, metavar="TAG", help=VLAN_HELP)
@click.option("--cross-subnet", is_flag=True, help="With host-gw: use a tunnel to hosts on other segments.")
@click.option("--mtu", type=click.IntRange(576, 65535), help="MTU of its endpoints; default: what the underlay leaves.")
@label
@changing
@click.pass_obj
def create(
    context: Context,
    name: str,
    subnets: tuple[str, ...],
    plan: str,
    strict: bool,
    private: bool,
    isolated: bool,
    broadcast: bool,
    outbound: bool,
    transport: str,
    physical: str | None,
    vlan: int | None,
    cross_subnet: bool,
    mtu: int | None,
    labels: dict[str, str],
    **layout: Any,
) -> None:
    """Create a network. Without --subnet it gets an IPv4 and an IPv6 subnet from the cluster's pools.

    \b
    Examples:
      warren network create acme/web --subnet 10.20.0.0/24 --subnet fd00:20::/64
      warren network create acme/office --subnet 192.0.2.0/24 --transport vlan --physical lan --vlan 50
    """
    body: dict[str, Any] = {
        "name": name,
        **layout,
        "plan": plan,
        "strict": strict,
        "private": private,
        "isolated": isolated,
        "broadcast": broadcast,
        "outbound": outbound,
        "mtu": mtu,
        "transport": transport,
        "physical": physical,
        "vlan": vlan,
        "cross_subnet": cross_subnet,
        "labels": labels,
    }
    if subnets:
        body["subnets"] = list(subnets)

    def said(reply: dict[str, Any]) -> str:
        return f"Network {name} created: {', '.join(_subnets(reply))}, VNI {reply['vni']}"

    change.create(context, "/networks", body, said)


@network.command("list")
@listing("tenant", "text", "label", orders=("name", "endpoints", "created"))
@click.pass_obj
def list_(context: Context, **asked: Any) -> None:
    """List networks.

    \b
    Example:
      warren network list --tenant acme
    """
    found = context.items("/networks", asked)
    output.listing(context.output, found, COLUMNS, "No network yet; `warren network create TENANT/NAME` makes one.")


@network.command()
@the_network
@printing
@click.pass_obj
def show(context: Context, name: str) -> None:
    """Show one network.

    \b
    Example:
      warren network show acme/web
    """
    output.thing(context.output, context.rest.get(f"/networks/{name}").body)


@network.command("label")
@the_network
@click.argument("changes", nargs=-1, required=True, metavar="K=V|K- ...")
@changing
@click.pass_obj
def label_(context: Context, name: str, changes: tuple[str, ...]) -> None:
    """Set labels (K=V) and remove them (K-).

    \b
    Example:
      warren network label acme/web tier=front old-
    """
    body = {"labels": label_changes(changes)}
    said = lambda reply: f"Network {name} has labels {output.cell(reply['labels'])}"  # noqa: E731
    carry_out(context, "PATCH", f"/networks/{name}", body, said)


@network.command()
@the_network
@click.option("--isolated/--routed", default=None, help="Give it a zone of its own, or the tenant's.")
@click.option("--broadcast/--no-broadcast", default=None, help="Whether broadcasts reach all of its endpoints.")
@click.option("--outbound/--no-outbound", default=None, help="Whether its endpoints reach the outside.")
@click.option("--transport", help=TRANSPORT_HELP)
@click.option("--physical", metavar="SEGMENT", help=PHYSICAL_HELP)
@click.option("--vlan", type=int, metavar="TAG", help=VLAN_HELP)
@click.option(
    "--cross-subnet/--no-cross-subnet", default=None, help="With host-gw: use a tunnel to hosts on other segments."
)
@click.option(
    *("--ip-range", "ip_ranges"),
    multiple=True,
    metavar="CIDR|all",
    help="Choose addresses in this range from now on; addresses in use stay.",
)
@click.option(
    *("--exclude", "excludes"),
    multiple=True,
    metavar="ADDRESSES|none",
    help="All addresses that no endpoint gets from now on: an address, a CIDR or FIRST-LAST.",
)
@click.option("--strict/--borrowing", default=None, help="Whether a host may take addresses from others' blocks.")
@changing
@click.pass_obj
def update(
    context: Context,
    name: str,
    isolated: bool | None,
    broadcast: bool | None,
    outbound: bool | None,
    transport: str | None,
    physical: str | None,
    vlan: int | None,
    cross_subnet: bool | None,
    ip_ranges: tuple[str, ...],
    excludes: tuple[str, ...],
    strict: bool | None,
) -> None:
    """Change a network: whether it is isolated, whether its endpoints may broadcast and reach the outside, what carries
    it, and how its addresses are given out.

    \b
    Examples:
      warren network update acme/web --isolated
      warren network update acme/web --broadcast --transport geneve
      warren network update acme/web --no-outbound
      warren network update acme/web --ip-range 10.20.0.128/25 --exclude none
    """
    body = {
        "isolated": isolated,
        "broadcast": broadcast,
        "outbound": outbound,
        "transport": transport,
        "physical": physical,
        "vlan": vlan,
        "cross_subnet": cross_subnet,
        "ip_ranges": _all_but(ip_ranges, "all"),
        "excludes": _all_but(excludes, "none"),
        "strict": strict,
    }
    if all(value is None for value in body.values()):
        raise click.UsageError("Nothing to change: give at least one option.")
    said = []
    if isolated is not None:
        said.append("isolated" if isolated else "routed")
    if broadcast is not None:
        said.append("open to broadcasts" if broadcast else "closed to broadcasts")
    if outbound is not None:
        said.append("open to the outside" if outbound else "closed to the outside")
    if transport is not None:
        said.append(f"carried by {transport}")
    if physical is not None:
        said.append(f"on {physical}")
    if vlan is not None:
        said.append(f"tagged {vlan}" if vlan else "untagged")
    if cross_subnet is not None:
        said.append("tunnelled between segments" if cross_subnet else "not tunnelled")
    if ip_ranges:
        said.append(f"given out from {' and '.join(ip_ranges)}")
    if excludes:
        said.append(f"without {', '.join(excludes)}" if excludes != ("none",) else "whole")
    if strict is not None:
        said.append("strict" if strict else "borrowing")
    carry_out(
        context,
        "PATCH",
        f"/networks/{name}",
        {field: value for field, value in body.items() if value is not None},
        f"Network {name} is {' and '.join(said)}",
    )


@network.command()
@the_network
@changing
@click.pass_obj
def delete(context: Context, name: str) -> None:
    """Delete a network. Refused while it has endpoints.

    \b
    Example:
      warren network delete acme/web
    """
    carry_out(context, "DELETE", f"/networks/{name}", None, f"Network {name} deleted")


@network.group()
def subnet() -> None:
    """Subnets of a network, which is one segment, however many subnets it has."""


@subnet.command()
@the_network
@click.argument("subnet", metavar="[CIDR]", required=False)
@click.option("--ipv6", is_flag=True, help="Without CIDR: take an IPv6 subnet from the pools, not an IPv4 one.")
@layout
@changing
@click.pass_obj
def add(context: Context, name: str, subnet: str | None, ipv6: bool, **layout: Any) -> None:
    """Add a subnet to a network; without CIDR one from the cluster's pools.

    \b
    Example:
      warren network subnet add acme/web 10.21.0.0/24
    """
    body = {"subnet": subnet, "family": 6 if ipv6 else 4, **layout}
    said = lambda reply: f"Network {name} has {', '.join(_subnets(reply))}"  # noqa: E731
    change.create(context, f"/networks/{name}/subnets", body, said)


@subnet.command()
@the_network
@click.argument("subnet", metavar="CIDR")
@changing
@click.pass_obj
def remove(context: Context, name: str, subnet: str) -> None:
    """Remove a subnet. Refused while an endpoint has an address in it, or declares one.

    \b
    Example:
      warren network subnet remove acme/web 10.21.0.0/24
    """
    if "/" not in subnet:
        raise click.UsageError(f"'{subnet}' has no prefix length: write it like 10.21.0.0/24.")
    said = f"Network {name} has no subnet {subnet} any more"
    carry_out(context, "DELETE", f"/networks/{name}/subnets/{subnet}", None, said)
