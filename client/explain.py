"""`warren explain`: why a connection is allowed or denied, in a few lines for people."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any

import click

from client import output
from client.context import Context
from client.options import completes, printing, qualified, read_qualified

AGREEMENTS = {"confirmed": "agrees", "disagreement": "DISAGREES", "unconfirmed": "not confirmed"}
PATIENCE = 30.0
"""Seconds for an answer; the API itself waits a few for the hosts."""
ECHO = "echo"
_port = click.IntRange(1, 65535)


def read_message(_: click.Context, parameter: click.Parameter, given: str | None) -> dict[str, int] | None:
    """`8:0`, `8`, or an echo request."""
    if given is None or given == ECHO:
        return None if given is None else {}
    type, _colon, code = given.partition(":")
    if not all(part.isascii() and part.isdecimal() and int(part) <= 255 for part in (type, code or "0")):
        raise click.BadParameter(f"'{given}' is not TYPE or TYPE:CODE, each 0 to 255, like 8:0.", param=parameter)
    return {"type": int(type), "code": int(code or 0)}


def read_end(context: click.Context, parameter: click.Parameter, given: str) -> str:
    """`acme/db1`, or an address outside."""
    try:
        return str(ipaddress.ip_address(given))
    except ValueError:
        return read_qualified(context, parameter, given)


@click.command()
@qualified("source", "/endpoints", "SRC")
@click.argument("destination", metavar="DST", callback=read_end, shell_complete=completes("/endpoints"))
@click.option("--tcp", type=_port, metavar="PORT", help="A TCP connection to this port.")
@click.option("--udp", type=_port, metavar="PORT", help="UDP to this port.")
@click.option("--sctp", type=_port, metavar="PORT", help="An SCTP association to this port.")
@click.option(
    "--icmp",
    is_flag=False,
    flag_value=ECHO,
    callback=read_message,
    metavar="[TYPE[:CODE]]",
    help="An ICMP message of this type, ICMPv6 with -6; default: an echo request.",
)
@click.option("-4", "version", flag_value=4, type=int, help="Over IPv4.")
@click.option("-6", "version", flag_value=6, type=int, help="Over IPv6; default: the first IP version that both have.")
@printing
@click.pass_obj
def explain(
    context: Context,
    source: str,
    destination: str,
    tcp: int | None,
    udp: int | None,
    sctp: int | None,
    icmp: dict[str, int] | None,
    version: int | None,
) -> None:
    """Say why a connection is allowed or denied.

    Prints what the model decides at each stage, up to the one that denies, and what the flows that are installed on
    both hosts would do. DST is an endpoint, or an address outside of all networks. The exit code is 0 in any case.

    \b
    Example:
      warren explain acme/web1 acme/db1 --tcp 5432
      warren explain acme/web1 acme/db1 --icmp -6
      warren explain acme/web1 198.51.100.7 --tcp 443
    """
    ports = {"tcp": tcp, "udp": udp, "sctp": sctp}
    said = {protocol: port for protocol, port in ports.items() if port is not None}
    if len(said) + (icmp is not None) != 1:
        raise click.UsageError("Give one of --tcp PORT, --udp PORT, --sctp PORT and --icmp.")
    body: dict[str, Any] = {"source": source, "destination": destination}
    for protocol, port in said.items():
        body |= {"protocol": protocol, "port": port}
    if icmp is not None:
        body |= {"protocol": "icmpv6" if version == 6 else "icmp", **icmp}
    if version is not None:
        body["version"] = version
    reply = context.rest.post("/explain", body, timeout=PATIENCE).body
    if context.output != "table":
        output.data(context.output, reply)
        return
    for line in lines(reply):
        click.echo(line)


def lines(reply: Mapping[str, Any]) -> list[str]:
    ends = " -> ".join(f"{one['name']} ({one['host'] or 'outside'})" for one in (reply["source"], reply["destination"]))
    rows = [[decision["stage"], f"{decision['verdict']:<7}  {decision['reason']}"] for decision in reply["decisions"]]
    seen = "; ".join(f"{host['host']} {host['words']}" for host in reply["hosts"])
    agreement = AGREEMENTS[reply["agreement"]]
    rows += [["installed", f"{seen}: {agreement}" if seen else agreement], *(["", text] for text in reply["remarks"])]
    return [
        f"{ends}, {reply['connection']} over IPv{reply['version']}: {reply['verdict'].upper()}",
        *(f"  {line}" for line in output.aligned(rows)),
    ]
