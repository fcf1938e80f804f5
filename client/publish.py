"""`warren publish`, `unpublish` and `published`: ports of hosts that lead to endpoints."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import click

from client import output
from client.change import carry_out
from client.change import create as make
from client.context import Context
from client.options import changing, listing, qualified
from client.output import column

_PORTS = re.compile(r"(?:(\d{1,5})(?:-(\d{1,5}))?:)?(\d{1,5})(?:-(\d{1,5}))?(?:/(tcp|udp|sctp))?")


class Ports(NamedTuple):
    """`host_port` 0: any."""

    host_port: int
    port: int
    count: int
    protocol: str


def read_ports(_: click.Context, parameter: click.Parameter, given: str) -> Ports:
    """`8080:80/tcp`, `8000-8010:80-90/udp`, or `80` for any of the host's ports."""
    found = _PORTS.fullmatch(given.lower())
    wrong = f"'{given}' is not HOSTPORT:PORT, like 8080:80, 53:53/udp or 8000-8010:80-90/tcp."
    if found is None:
        raise click.BadParameter(wrong, param=parameter)
    host_first, host_last, first, last = (int(text) if text else None for text in found.groups()[:4])
    assert first is not None
    count = (last if last is not None else first) - first + 1
    if host_first is not None and (host_last if host_last is not None else host_first) - host_first + 1 != count:
        raise click.BadParameter(f"'{given}' has a different number of ports on each side.", param=parameter)
    if count < 1:
        raise click.BadParameter(wrong, param=parameter)
    return Ports(host_first or 0, first, count, found[5] or "tcp")


def _span(first: int, count: int) -> str:
    return str(first) if count == 1 else f"{first}-{first + count - 1}"


def _host_side(one: dict[str, Any]) -> str:
    """`any:8080`, `192.0.2.11:8080`, `[2001:db8::1]:8080`."""
    ip = one["host_ip"] or "any"
    return f"{f'[{ip}]' if ':' in ip else ip}:{_span(one['host_port'], one['count'])}"


def _who(one: dict[str, Any]) -> str:
    return "all hosts lead" if one["mesh"] else f"{one['host']} leads"


def _target(one: dict[str, Any]) -> str:
    return f"{_span(one['port'], one['count'])}/{one['protocol']}"


COLUMNS = [
    ("HOST", lambda one: "all" if one["mesh"] else one["host"]),
    ("ADDRESS:PORT", _host_side),
    ("TO", _target),
    column("ENDPOINT"),
    ("BY", lambda one: "runtime" if one["by_runtime"] else "hand"),
    ("PROBLEM", lambda one: "; ".join(one["problems"]) or "-"),
]


@click.command()
@qualified("endpoint", "/endpoints", "TENANT/ENDPOINT")
@click.argument("ports", metavar="[HOSTPORT:]PORT[/PROTOCOL]", callback=read_ports)
@click.option("--host-ip", metavar="IP", help="Only at this address of the host; 0.0.0.0 or ::: any of IPv4 or IPv6.")
@click.option("--mesh", is_flag=True, help="On all hosts, wherever the endpoint is.")
@changing
@click.pass_obj
def publish(context: Context, endpoint: str, ports: Ports, host_ip: str | None, mesh: bool) -> None:
    """Publish a port of an endpoint on its host, or with --mesh on all hosts.

    The endpoint sees the client's own address, and its policies apply to that. Without HOSTPORT a free port is chosen.
    The port is unpublished when the endpoint ends, as when its container stops or restarts.

    \b
    Examples:
      warren publish acme/web1 8080:80
      warren publish acme/dns 53:53/udp --host-ip 192.0.2.11
      warren publish acme/ftp 8000-8010:8000-8010
      warren publish acme/web1 80:80 --mesh
    """
    body = {"endpoint": endpoint, **ports._asdict(), "host_ip": host_ip, "mesh": mesh}
    said = lambda reply: f"{_who(reply)} by {_host_side(reply)} to {_target(reply)} of {endpoint}"  # noqa: E731
    make(context, "/publications", body, said)


@click.command()
@qualified("endpoint", "/endpoints", "TENANT/ENDPOINT")
@click.argument("ports", metavar="HOSTPORT[/PROTOCOL]", callback=read_ports)
@changing
@click.pass_obj
def unpublish(context: Context, endpoint: str, ports: Ports) -> None:
    """Unpublish a port of an endpoint. Open connections through it end.

    \b
    Example:
      warren unpublish acme/web1 8080
    """
    tenant = endpoint.partition("/")[0]
    wanted = (endpoint, ports.host_port or ports.port, ports.protocol)
    found = [
        one
        for one in context.rest.items("/publications", {"tenant": tenant})
        if (one["endpoint"], one["host_port"], one["protocol"]) == wanted
    ]
    if not found:
        raise click.ClickException(
            f"No port {ports.protocol}/{wanted[1]} is published for {endpoint}; `warren published` lists what is."
        )
    for one in found:
        said = f"{_who(one)} by {_host_side(one)} to {endpoint} no more"
        carry_out(context, "DELETE", f"/publications/{endpoint}/{one['id']}", None, said)


@click.command()
@listing("tenant", "host", "text", orders=("created", "endpoint", "host", "host_port"))
@click.pass_obj
def published(context: Context, **asked: Any) -> None:
    """List published ports, and the endpoints that they lead to.

    \b
    Example:
      warren published --tenant acme
    """
    found = context.items("/publications", asked)
    output.listing(context.output, found, COLUMNS, "Nothing is published; `warren publish TENANT/ENDPOINT PORT` does.")
