"""`warren lab`: what a person types. It reads options and prints; what a lab does stands in `lab.lab` and beside it."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from client import output
from client.context import Context
from client.options import changing, label, printing, read_qualified
from client.output import column
from lab.names import MAX_HOSTS, LabError

if TYPE_CHECKING:
    from lab.lab import Lab

Command = TypeVar("Command", bound=Callable[..., Any])
DEFAULT = "demo"
DEFAULT_PORT = 8080
_CHOSEN = "warren.lab"


@click.group()
@click.option("-l", "--name", envvar="WARREN_LAB", default=DEFAULT, show_default=True, help="Which lab.")
@click.pass_context
def cli(ctx: click.Context, name: str) -> None:
    """Hosts, switches and containers' namespaces on this machine, to try Warren and to test it. Needs root.

    \b
    Example:
      warren lab up --hosts 3
      warren lab run web1 --host h1 --network acme/web
      warren lab probe
    """
    ctx.meta[_CHOSEN] = name


def of_lab(command: Command) -> Command:
    """Gives a command its lab, by `--name` before or after the command's own name."""

    @click.option("-l", "--name", "lab_name", metavar="LAB", help="Which lab; else WARREN_LAB, else demo.")
    @functools.wraps(command)
    def with_lab(*args: Any, lab_name: str | None, **options: Any) -> Any:
        from lab.lab import Lab

        name = lab_name or click.get_current_context().meta.get(_CHOSEN, DEFAULT)
        if os.geteuid() != 0:
            raise LabError("A lab makes network namespaces, which needs root; try `sudo ./warren lab ...`.")
        return command(*args, lab=Lab(name), **options)

    return with_lab  # type: ignore[return-value]


def complete_endpoints(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    from lab import state

    name = ctx.params.get("lab_name") or (ctx.parent and ctx.parent.params.get("name")) or DEFAULT
    return [one.name for one in state.endpoints(name) if one.name.startswith(incomplete)]


@cli.command()
@click.option("--hosts", type=click.IntRange(1, MAX_HOSTS), help="How many hosts; 3 if not given.")
@click.option(
    "--port", default=DEFAULT_PORT, show_default=True, help="Where people find the API on 127.0.0.1, if free."
)
@of_lab
def up(lab: Lab, hosts: int | None, port: int) -> None:
    """Start a lab, or what is missing of it. A second time is quick and harmless.

    \b
    Example:
      warren lab up --hosts 5
    """
    started = lab.up(hosts, port)
    click.echo(f"Lab {lab.name} is up with {started.hosts} hosts.")
    _say_login(lab)


@cli.command()
@of_lab
def down(lab: Lab) -> None:
    """End a lab: no process, namespace, device or socket of it remains.

    \b
    Example:
      warren lab down
    """
    click.echo(f"Lab {lab.name} is gone." if lab.down() else f"There was no lab {lab.name}.")


@cli.command()
@click.option("--hosts", type=click.IntRange(1, MAX_HOSTS), help="How many hosts; 3 if not given.")
@click.option(
    "--port", default=DEFAULT_PORT, show_default=True, help="Where people find the API on 127.0.0.1, if free."
)
@of_lab
def demo(lab: Lab, hosts: int | None, port: int) -> None:
    """Start a lab with two tenants that have endpoints on every host, and prove with packets that they are apart.

    \b
    Example:
      warren lab demo
    """
    from lab import demo, matrix

    answers = demo.run(lab, hosts, port)
    for line in ["", *matrix.render(answers), "", matrix.LEGEND, "", matrix.verdict(answers)]:
        click.echo(line)
    if not matrix.isolated(answers):
        raise LabError("The tenants are NOT apart, or endpoints of one tenant do not reach each other; see the matrix.")
    click.echo("Isolation holds: everything answers within a tenant, nothing between tenants.\n")
    _say_login(lab)


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
    from lab import state

    found = [
        {
            "name": name,
            "hosts": known.hosts,
            "endpoints": len(state.endpoints(name)),
            "api": f"http://127.0.0.1:{known.port}",
            "state": "up" if known.ready else "unfinished",
        }
        for name in state.labs()
        if (known := state.load(name))
    ]
    columns = [column("NAME"), column("HOSTS"), column("ENDPOINTS"), column("API"), column("STATE")]
    output.listing(context.output, found, columns, "No lab; `warren lab up` starts one.")


@cli.command()
@click.argument("name")
@click.option("--network", required=True, metavar="TENANT/NETWORK", callback=read_qualified, help="Its network.")
@click.option("--host", metavar="HOST", help="Where it runs; else the host with the fewest endpoints.")
@label
@click.option("--ip", "addresses", multiple=True, metavar="ADDRESS", help="Ask for this address.")
@click.option("--port", "ports", multiple=True, metavar="NAME=PORT/PROTO", help="A named port, like http=80/tcp.")
@click.option("--mac", metavar="MAC", help="Ask for this MAC address.")
@changing
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
) -> None:
    """Start an endpoint as a container runtime does: a namespace, and a call of the CNI plugin.

    It answers TCP and UDP on ports 80 and 81 with its name.

    \b
    Example:
      warren lab run web1 --host h1 --network acme/web --label app=web --port http=80/tcp
    """
    from client import change
    from lab.endpoint import Wanted

    wanted = Wanted(name, network, labels, addresses, [_read_port(port) for port in ports], mac)
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


@cli.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...", shell_complete=complete_endpoints)
@changing
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


@cli.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("name", shell_complete=complete_endpoints)
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@of_lab
def exec(lab: Lab, name: str, command: tuple[str, ...]) -> None:
    """Run a command in an endpoint's namespace; in a host's (h1) or the control plane's (fabric) too.

    Its output and its exit code are the command's. In a host Open vSwitch's tools speak to that host's switch.

    \b
    Example:
      warren lab exec web1 -- ping -c1 -W1 10.20.0.10
      warren lab exec h1 -- ovs-vsctl show
    """
    lab.exec(name, command[1:] if command[0] == "--" else command)


@cli.command()
@click.option("--icmp", is_flag=True, help="Ask by ICMP echo.")
@click.option("--tcp", "tcp", multiple=True, type=click.IntRange(1, 65535), metavar="PORT", help="Ask by TCP.")
@click.option("--udp", "udp", multiple=True, type=click.IntRange(1, 65535), metavar="PORT", help="Ask by UDP.")
@click.option("--from", "sources", multiple=True, metavar="NAME", shell_complete=complete_endpoints, help="Only from.")
@click.option("--to", "targets", multiple=True, metavar="NAME", shell_complete=complete_endpoints, help="Only to.")
@click.option("--family", type=click.Choice(["4", "6"]), help="Only IPv4 or IPv6; else both where there are both.")
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
    """Let every endpoint ask every other for its name, and print who heard it within a second.

    Without --icmp, --tcp and --udp it asks by all three, on port 80. An ICMP answer from a tenant that uses the same
    addresses proves nothing and counts as neither.

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


@cli.command()
@click.argument("host")
@of_lab
def fail(lab: Lab, host: str) -> None:
    """Cut a host's underlay: pull its cable.

    \b
    Example:
      warren lab fail h2
    """
    lab.set_cable(host, plugged=False)
    click.echo(f"Host {host} is cut off; `warren lab heal {host}` restores it.")


@cli.command()
@click.argument("host")
@of_lab
def heal(lab: Lab, host: str) -> None:
    """Restore a host's underlay.

    \b
    Example:
      warren lab heal h2
    """
    lab.set_cable(host, plugged=True)
    click.echo(f"Host {host} has its underlay back.")


def _part(help: str, example: str) -> Callable[[Command], Command]:
    """A command about one process of the lab."""

    def decorate(command: Command) -> Command:
        command.__doc__ = f"""{help}

        PART is controller, web, responder, agent:HOST or ovs:HOST.

        \b
        Example:
          {example}
        """
        killing = click.option("--kill", is_flag=True, help="With SIGKILL, as a crash would.")
        return click.argument("part", metavar="PART")(killing(of_lab(command)))

    return decorate


@cli.command()
@_part("Stop a process of the lab and start it again.", "warren lab restart agent:h1 --kill")
def restart(lab: Lab, part: str, kill: bool) -> None:
    lab.restart(part, kill)
    click.echo(f"{part} runs again.")


@cli.command()
@_part("Stop a process of the lab.", "warren lab stop controller")
def stop(lab: Lab, part: str, kill: bool) -> None:
    lab.part(part).daemon.stop(kill=kill)
    click.echo(f"{part} is stopped; `warren lab start {part}` starts it.")


@cli.command()
@click.argument("part", metavar="PART")
@of_lab
def start(lab: Lab, part: str) -> None:
    """Start a process of the lab that was stopped or has died.

    \b
    Example:
      warren lab start controller
    """
    lab.part(part).start()
    click.echo(f"{part} runs.")


def _read_port(text: str) -> dict[str, Any]:
    name, equals, rest = text.partition("=")
    number, _, protocol = rest.partition("/")
    if not (equals and name and number.isdigit()):
        raise click.UsageError(f"'{text}' is not NAME=PORT/PROTO, like http=80/tcp")
    return {"name": name, "port": int(number), "protocol": protocol or "tcp"}


def _say_login(lab: Lab) -> None:
    from lab.lab import login

    address, user, password = login(lab)
    click.echo(f"UI and API:  {address}")
    click.echo(f"Log in as:   {user} with password {password}")
    named = "" if lab.name == DEFAULT else f"WARREN_LAB={lab.name} "
    click.echo(f"Command:     {named}./warren status")
