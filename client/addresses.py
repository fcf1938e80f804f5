"""`warren ipam`, `pool` and `reservation`: how addresses are given out, to whom they are kept, what does not agree."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import click

from client import output
from client.change import carry_out, note, report
from client.change import create as make
from client.context import Context
from client.options import changing, listing, named, printing, qualified, read_pairs
from client.output import column

Command = TypeVar("Command", bound=Callable[..., Any])
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}

POOL_COLUMNS = [
    *(column("NAME"), column("RANGE", "cidr"), column("PREFIX"), column("STATE")),
    ("USED", lambda pool: f"{pool['used']}/{pool['size']}"),
]
RESERVATION_COLUMNS = [column("NETWORK"), column("NAME"), column("ADDRESSES"), column("EXPIRES", "expires_at")]
DIFFERENCE_COLUMNS = [column("KIND"), column("DIFFERENCE", "sentence"), column("REPAIR")]
USAGE_COLUMNS = [
    *(column("NETWORK"), column("PLAN"), column("SUBNET", "cidr"), column("HOST"), column("SIZE"), column("USED")),
    *(column("RESTING"), column("RESERVED")),
]
the_pool = named("name", "/pools", "POOL")
the_network = qualified("network", "/networks", "TENANT/NETWORK")


def layout(command: Command) -> Command:
    """The options that say how a subnet's addresses are given out."""
    for option in reversed(
        (
            click.option(
                "--gateway",
                "gateways",
                multiple=True,
                metavar="ADDRESS",
                help="Gateway of the subnet that has it; default: the first usable address. "
                "With vlan: a router outside; default: none.",
            ),
            click.option(
                *("--ip-range", "ip_ranges"),
                multiple=True,
                metavar="CIDR",
                help="Choose addresses in this range only; others of the subnet can still be requested.",
            ),
            click.option(
                *("--exclude", "excludes"),
                multiple=True,
                metavar="ADDRESSES",
                help="Addresses that no endpoint gets: one address, a CIDR or FIRST-LAST.",
            ),
            click.option(
                *("--aux-address", "aux_addresses"),
                multiple=True,
                metavar="NAME=ADDRESS",
                callback=read_pairs,
                help="An address that is in use by something else; no endpoint gets it.",
            ),
            click.option(
                *("--block-size", "block_sizes"),
                multiple=True,
                type=click.IntRange(1, 128),
                metavar="LENGTH",
                help="Prefix length of each host's block, one per IP version; default: 26 and 122.",
            ),
        )
    ):
        command = option(command)
    return command


@click.group()
def pool() -> None:
    """A pool is a range of addresses. Networks that are created without a subnet get one from a pool."""


@pool.command()
@click.argument("name", metavar="POOL")
@click.argument("cidr", metavar="CIDR")
@click.option("--prefix", type=click.IntRange(1, 128), help="Prefix length of its subnets; default: 24 or 64.")
@changing
@click.pass_obj
def create(context: Context, name: str, cidr: str, prefix: int | None) -> None:
    """Create a pool. It is used when all older pools of its IP version are full.

    \b
    Example:
      warren pool create second 10.132.0.0/14
    """
    said = lambda reply: f"Pool {name} created: {reply['size']} subnets of /{reply['prefix']}"  # noqa: E731
    make(context, "/pools", {"name": name, "cidr": cidr, "prefix": prefix}, said, tell=note)


@pool.command("list")
@click.option("--family", type=click.Choice(["4", "6"]), help="Only those of this IP version.")
@click.option("--state", type=click.Choice(["enabled", "disabled", "draining"]), help="Only those in this state.")
@listing("text", orders=("name", "created"))
@click.pass_obj
def list_pools(context: Context, **asked: Any) -> None:
    """List pools.

    \b
    Example:
      warren pool list
    """
    output.listing(context.output, context.items("/pools", asked), POOL_COLUMNS)


@pool.command()
@the_pool
@printing
@click.pass_obj
def show(context: Context, name: str) -> None:
    """Show one pool.

    \b
    Example:
      warren pool show default
    """
    output.thing(context.output, context.rest.get(f"/pools/{name}").body)


def _to_state(state: str, verb: str, help: str) -> None:
    @changing
    @click.pass_obj
    def change(context: Context, name: str) -> None:
        carry_out(context, "PATCH", f"/pools/{name}", {"state": state}, f"Pool {name} is {state}", tell=note)

    change.__doc__ = f"{help}\n\n\b\nExample:\n  warren pool {verb} second"
    pool.command(verb)(the_pool(change))


_to_state("enabled", "enable", "Let networks get subnets of a pool again.")
_to_state("disabled", "disable", "Give out no more subnets of a pool; its existing subnets stay in use.")
_to_state("draining", "drain", "Give out no more subnets of a pool, and no more addresses of its existing subnets.")


@pool.command()
@the_pool
@changing
@click.pass_obj
def delete(context: Context, name: str) -> None:
    """Delete a pool. Refused while a network has a subnet from it.

    \b
    Example:
      warren pool delete second
    """
    carry_out(context, "DELETE", f"/pools/{name}", None, f"Pool {name} deleted", tell=note)


@click.group()
def reservation() -> None:
    """A reservation keeps addresses of a network for an endpoint with a certain name."""


def _expiry(_: click.Context, parameter: click.Parameter, given: str | None) -> str | None:
    """`7d`, or a moment, as a moment."""
    if given is None:
        return None
    if found := re.fullmatch(r"(\d{1,6})([smhd])", given):
        return (datetime.now(UTC) + timedelta(**{_UNITS[found[2]]: int(found[1])})).isoformat()
    try:
        return datetime.fromisoformat(given).astimezone(UTC).isoformat()
    except ValueError:
        wrong = f"'{given}' is not a time; write 30m, 12h, 7d or 2027-01-31T12:00Z."
        raise click.BadParameter(wrong, param=parameter) from None


@reservation.command("create")
@the_network
@click.argument("name", metavar="NAME")
@click.option(
    "--ip", "addresses", multiple=True, metavar="ADDRESS", help="One per IP version; default: the next free ones."
)
@click.option(
    "--expires",
    metavar="TIME",
    callback=_expiry,
    help="30m, 12h, 7d or a time such as 2027-01-31T12:00Z; default: never.",
)
@changing
@click.pass_obj
def reserve(context: Context, network: str, name: str, addresses: tuple[str, ...], expires: str | None) -> None:
    """Keep addresses for the endpoint called NAME, or for one that asks for the reservation NAME.

    \b
    Example:
      warren reservation create acme/web db1 --ip 10.20.0.50 --expires 7d
    """
    body = {"name": name, "addresses": list(addresses), "expires_at": expires}
    said = lambda reply: f"Reserved for {name}: {', '.join(reply['addresses'])}"  # noqa: E731
    make(context, f"/networks/{network}/reservations", body, said, tell=note)


@reservation.command("list")
@the_network
@listing("text", orders=("name",))
@click.pass_obj
def list_reservations(context: Context, network: str, **asked: Any) -> None:
    """List the reservations of a network.

    \b
    Example:
      warren reservation list acme/web
    """
    found = context.items(f"/networks/{network}/reservations", asked)
    output.listing(context.output, found, RESERVATION_COLUMNS, "No reservation.")


@reservation.command("delete")
@the_network
@click.argument("name", metavar="NAME")
@changing
@click.pass_obj
def unreserve(context: Context, network: str, name: str) -> None:
    """Delete a reservation. An endpoint that uses its addresses keeps them.

    \b
    Example:
      warren reservation delete acme/web db1
    """
    path = f"/networks/{network}/reservations/{name}"
    carry_out(context, "DELETE", path, None, f"Reservation for {name} deleted", tell=note)


@click.group()
def ipam() -> None:
    """How full networks are; find and repair differences between the database and the hosts."""


@ipam.command("show")
@listing("tenant", "text", orders=("name", "endpoints", "created"))
@click.pass_obj
def usage(context: Context, **asked: Any) -> None:
    """Show how full each subnet is, and which blocks of it each host has.

    \b
    Example:
      warren ipam show --tenant acme
    """
    found = list(context.items("/ipam", asked))
    if context.output != "table":
        output.data(context.output, {"items": found})
        return
    output.listing("table", [row for one in found for row in _rows(one)], USAGE_COLUMNS, "No network yet.")
    for sentence in context.rest.get("/ipam/warnings").body["warnings"]:
        click.echo(f"Nearly full: {sentence}.")


def _rows(network: dict[str, Any]) -> list[dict[str, Any]]:
    """A line for each subnet and below it one for each of its blocks."""
    rows: list[dict[str, Any]] = []
    for subnet in network["subnets"]:
        rows.append({**network, **subnet, "reserved": len(network["reservations"])})
        rows += [{**block, "cidr": f"  {block['cidr']}"} for block in subnet["blocks"]]
    return rows


@ipam.command()
@printing
@click.pass_obj
def check(context: Context) -> int:
    """Compare the database, Open vSwitch and containers, and list every difference. Exit code 1 if there is one.

    \b
    Example:
      warren ipam check
    """
    found = context.rest.get("/ipam/check").body["items"]
    output.listing(context.output, found, DIFFERENCE_COLUMNS, "Everything agrees.")
    return 1 if found else 0


@ipam.command()
@changing
@click.pass_obj
def gc(context: Context) -> None:
    """Repair the differences for which `check` lists a repair, and print what was done.

    Frees addresses, port numbers and blocks that nobody uses, deletes expired reservations, and removes endpoints whose
    container is gone.

    \b
    Example:
      warren ipam gc --dry-run
    """
    reply = context.rest.post("/ipam/gc", params={"dry_run": "true"} if context.dry_run else None).body
    repaired = [one for one in reply["items"] if one["repair"]]
    if context.output == "table":
        for one in reply["items"]:
            click.echo(f"{one['sentence']}: {one['repair'] or 'left as it is'}")
    said = f"{len(repaired)} of {len(reply['items'])} differences"
    if context.dry_run:
        output.said(context.output, f"Would repair {said}; nothing was changed.", reply)
    else:
        report(context, f"Repaired {said}", reply)
