"""`warren lab run`, `rm`, `exec` and `probe`: what happens in endpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from client import output
from client.context import Context
from client.options import label, printing, read_qualified, waiting
from lab.options import complete_endpoints, of_lab

if TYPE_CHECKING:
    from lab.lab import Lab


@click.command()
@click.argument("name")
@click.option("--network", required=True, metavar="TENANT/NETWORK", callback=read_qualified, help="Its network.")
@click.option("--host", metavar="HOST", help="Its host; default: the host with the fewest endpoints.")
@label
@click.option("--ip", "addresses", multiple=True, metavar="ADDRESS", help="Ask for this address.")
@click.option("--port", "ports", multiple=True, metavar="NAME=PORT/PROTO", help="A named port, like http=80/tcp.")
@click.option("--mac", metavar="MAC", help="Ask for this MAC address.")
@click.option("--alias", "aliases", multiple=True, metavar="NAME", help="Another name for it; several may share one.")
@waiting
@of_lab
@click.pass_obj
def run(
    context: Context,
    lab: Lab,
    name: str,
    network: str,
    host: str | None,
    labels: dict[str, str],
    addresses: tuple[str, ...],
    ports: tuple[str, ...],
    mac: str | None,
    aliases: tuple[str, ...],
) -> None:
    """Start an endpoint as a container runtime does.

    That is: a network namespace, and a call of the CNI plugin. It answers TCP and UDP on ports 80 and 81 with its name.

    \b
    Example:
      warren lab run web1 --host h1 --network acme/web --label app=web --port http=80/tcp
    """
    from client import change
    from lab.endpoint import Wanted

    wanted = Wanted(name, network, labels, addresses, [_read_port(port) for port in ports], mac, aliases)
    placed = lab.run(host or lab.emptiest(), wanted)
    path = f"/endpoints/{placed.tenant}/{placed.name}"
    made = lab.rest.get(path).body
    progress = change.wait(lab.rest, made["revision"], context.timeout) if context.wait else None
    if context.output != "table":
        output.data(context.output, {**lab.rest.get(path).body, "revision": made["revision"]})
        return
    live = f", {change.where(progress)}" if progress else ""
    where = ", ".join(placed.addresses)
    click.echo(f"Endpoint {name} runs on {placed.host} with {where} (revision {made['revision']}{live})")


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...", shell_complete=complete_endpoints)
@waiting
@of_lab
@click.pass_obj
def rm(context: Context, lab: Lab, names: tuple[str, ...]) -> None:
    """Remove endpoints as a container runtime does.

    \b
    Example:
      warren lab rm web1 web2
    """
    from client import change

    for name in names:
        lab.remove(name)
    revision = lab.rest.get("/revisions", params={"limit": 1}).body["revision"]
    change.report(context, f"Removed {', '.join(names)}", {"revision": revision}, rest=lab.rest)


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("name", shell_complete=complete_endpoints)
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@of_lab
def exec(lab: Lab, name: str, command: tuple[str, ...]) -> None:
    """Run a command in an endpoint's namespace.

    NAME may also be a host (h1), where Open vSwitch's tools speak to that host's switch, or the control plane
    (fabric). Output and exit code are the command's.

    \b
    Example:
      warren lab exec web1 -- ping -c1 -W1 10.20.0.10
      warren lab exec h1 -- ovs-vsctl show
    """
    lab.exec(name, command[1:] if command[0] == "--" else command)


@click.command()
@click.option("--icmp", is_flag=True, help="Ask by ICMP echo.")
@click.option("--tcp", "tcp", multiple=True, type=click.IntRange(1, 65535), metavar="PORT", help="Ask by TCP.")
@click.option("--udp", "udp", multiple=True, type=click.IntRange(1, 65535), metavar="PORT", help="Ask by UDP.")
@click.option("--from", "sources", multiple=True, metavar="NAME", shell_complete=complete_endpoints, help="Who asks.")
@click.option("--to", "targets", multiple=True, metavar="NAME", shell_complete=complete_endpoints, help="Who is asked.")
@click.option("--family", type=click.Choice(["4", "6"]), help="Only IPv4 or IPv6; default: both.")
@printing
@of_lab
@click.pass_obj
def probe(
    context: Context,
    lab: Lab,
    icmp: bool,
    tcp: tuple[int, ...],
    udp: tuple[int, ...],
    sources: tuple[str, ...],
    targets: tuple[str, ...],
    family: str | None,
) -> None:
    """Print who reaches whom.

    Every endpoint asks every other for its name, and reaches it if the answer comes within a second.
    Without --icmp, --tcp and --udp it asks by all three, on port 80. An ICMP answer does not say who sent it: where two
    tenants use the same addresses it counts as neither.

    \b
    Example:
      warren lab probe --tcp 80 --from web1
      warren lab probe -o json
    """
    from lab import matrix

    protos: list[tuple[str, int | None]] = [("icmp", None)] if icmp else []
    protos += [("tcp", port) for port in tcp] + [("udp", port) for port in udp]
    answers = lab.probe(
        protos=protos or [("icmp", None), ("tcp", 80), ("udp", 80)],
        families=[int(family)] if family else [4, 6],
        sources=sources,
        targets=targets,
    )
    if context.output != "table":
        output.data(context.output, {"pairs": [answer.as_json() for answer in answers]})
    elif not answers:
        click.echo("Nobody to ask: a probe needs two endpoints; `warren lab run` starts one.", err=True)
    else:
        for line in [*matrix.render(answers), "", matrix.LEGEND, matrix.verdict(answers)]:
            click.echo(line)


def _read_port(text: str) -> dict[str, Any]:
    name, equals, rest = text.partition("=")
    number, _, protocol = rest.partition("/")
    if not (equals and name and number.isdigit()):
        raise click.UsageError(f"'{text}' is not NAME=PORT/PROTO, like http=80/tcp")
    return {"name": name, "port": int(number), "protocol": protocol or "tcp"}


COMMANDS = (run, rm, exec, probe)
