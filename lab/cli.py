"""`warren lab`: a lab as a whole. It reads options and prints; what a lab does stands in `lab.lab` and beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from client import output
from client.context import Context
from client.options import printing
from client.output import column
from lab import cli_endpoints, cli_hosts, cli_parts
from lab.names import MAX_HOSTS, LabError
from lab.options import CHOSEN, DEFAULT, of_lab

if TYPE_CHECKING:
    from lab.lab import Lab

how_many = click.option("--hosts", type=click.IntRange(1, MAX_HOSTS), help="Number of hosts; default: 3.")
at_port = click.option("--port", default=8080, show_default=True, help="Port of the API on 127.0.0.1, if it is free.")


@click.group()
@click.option("-l", "--name", envvar="WARREN_LAB", default=DEFAULT, show_default=True, help="Name of the lab.")
@click.pass_context
def cli(ctx: click.Context, name: str) -> None:
    """Hosts, switches and containers' namespaces on this machine, to try Warren and to test it. Needs root.

    \b
    Example:
      warren lab up --hosts 3
      warren lab run web1 --host h1 --network acme/web
      warren lab probe
    """
    ctx.meta[CHOSEN] = name


@cli.command()
@how_many
@at_port
@click.option("--docker", is_flag=True, help="Also a Docker engine for each host.")
@click.option("--podman", is_flag=True, help="Also a Podman for each host.")
@printing
@of_lab
@click.pass_obj
def up(context: Context, lab: Lab, hosts: int | None, port: int, docker: bool, podman: bool) -> None:
    """Start a lab, or what is missing of it.

    Doing it again is quick and harmless. The number of hosts can be raised later, but not lowered.

    \b
    Example:
      warren lab up --hosts 5
      warren lab up --docker
      warren lab up --podman
    """
    started = lab.up(hosts, port, engines=docker, podmans=podman)
    sentence = f"Lab {lab.name} is up with {started.hosts} hosts.\n\n" + "\n".join(_login(lab))
    output.said(context.output, sentence, {"name": lab.name, "hosts": started.hosts, **lab.login()})


@cli.command()
@printing
@of_lab
@click.pass_obj
def down(context: Context, lab: Lab) -> None:
    """End a lab. No process, namespace, device or socket of it is left.

    \b
    Example:
      warren lab down
    """
    there = lab.down()
    sentence = f"Lab {lab.name} is gone." if there else f"There was no lab {lab.name}."
    output.said(context.output, sentence, {"name": lab.name, "removed": there})


@cli.command()
@how_many
@at_port
@printing
@of_lab
@click.pass_obj
def demo(context: Context, lab: Lab, hosts: int | None, port: int) -> None:
    """Start a lab with two tenants and prove that they are isolated.

    Both have endpoints on every host, and every endpoint asks every other by ICMP, TCP and UDP.

    \b
    Example:
      warren lab demo
    """
    from lab import demo, matrix

    answers = demo.run(lab, hosts, port)
    apart = matrix.isolated(answers)
    if context.output != "table":
        pairs = [answer.as_json() for answer in answers]
        output.data(context.output, {"name": lab.name, "isolated": apart, **lab.login(), "pairs": pairs})
    else:
        for line in ["", *matrix.render(answers), "", matrix.LEGEND, "", matrix.verdict(answers)]:
            click.echo(line)
    if not apart:
        raise LabError("The tenants are NOT apart, or endpoints of one tenant do not reach each other; see above.")
    if context.output == "table":
        click.echo("Isolation holds: everything answers within a tenant, nothing between tenants.\n")
        click.echo("\n".join(_login(lab)))


@cli.command()
@printing
@of_lab
@click.pass_obj
def status(context: Context, lab: Lab) -> None:
    """Show a lab's processes, hosts and endpoints.

    \b
    Example:
      warren lab status
    """
    from lab.lab import status

    said = status(lab)
    if context.output != "table":
        output.data(context.output, said)
        return
    dead = [one["name"] for one in said["processes"] if one["pid"] is None]
    well = f"{', '.join(dead)} not running; `warren lab up` starts what is missing" if dead else "everything runs"
    click.echo(f"Lab {lab.name}: {well}. API at {said['api']}.\n")
    columns = [column("HOST", "name"), column("ADDRESS"), column("UNDERLAY"), column("STATE"), column("CONNECTED")]
    output.listing("table", said["hosts"], columns)
    click.echo()
    columns = [column("ENDPOINT", "name"), column("NETWORK"), column("HOST"), column("ADDRESSES")]
    output.listing("table", said["endpoints"], columns, "No endpoint; `warren lab run NAME --network TENANT/NETWORK`.")


@cli.command("list")
@printing
@click.pass_obj
def list_(context: Context) -> None:
    """List the labs of this machine.

    \b
    Example:
      warren lab list
    """
    from lab import server, state

    found = [
        {
            "name": name,
            "hosts": known.hosts,
            "endpoints": len(state.endpoints(name)),
            "api": server.address(known.port),
            "state": "up" if known.ready else "unfinished",
        }
        for name in state.labs()
        if (known := state.load(name))
    ]
    columns = [column("NAME"), column("HOSTS"), column("ENDPOINTS"), column("API"), column("STATE")]
    output.listing(context.output, found, columns, "No lab; `warren lab up` starts one.")


def _login(lab: Lab) -> list[str]:
    """Where a person goes from here."""
    login = lab.login()
    named = "" if lab.name == DEFAULT else f"WARREN_LAB={lab.name} "
    return [
        f"UI and API:  {login['api']}/",
        f"Log in as:   {login['user']} with password {login['password']}",
        f"Command:     {named}./warren status",
    ]


for command in (*cli_endpoints.COMMANDS, *cli_hosts.COMMANDS, *cli_parts.COMMANDS):
    cli.add_command(command)
