"""`warren attach` and `warren detach`: an interface for whatever has a network namespace on this host.

They find out which namespace is meant and ask the agent of this host over its socket; nothing else is needed on the
host, and no token. It refuses to know how an interface is made.
"""

from __future__ import annotations

import ipaddress
import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

import click

from client.change import report
from client.context import Context
from client.options import label, read_name, read_qualified, waiting
from client.rest import Reply, Rest
from ovs_agent import containers
from ovs_agent.cni.spec import dns_label
from ovs_agent.netlink import look

Command = TypeVar("Command", bound=Callable[..., Any])
IFNAME = "eth1"
"""As pipework has it: eth0 is what the container's own runtime made."""
PATIENCE = 60.0
NAMED = ("/run/netns", "/var/run/netns")


class Target(NamedTuple):
    """`container` is what the attachment is found by; `name` what the endpoint is called unless it is said."""

    container: str
    netns: str
    ifname: str
    name: str
    interface: str = ""


class Agent:
    """The agent of this host. `get` is what waiting for a revision needs of the API."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def ask(self, do: str, **more: Any) -> dict[str, Any]:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel:
                channel.settimeout(PATIENCE)
                channel.connect(str(self._path))
                request = json.dumps({"do": do, **more}).encode()
                channel.sendall(len(request).to_bytes(4, "big") + request)
                reply = b"".join(iter(lambda: channel.recv(65536), b""))
        except PermissionError:
            raise click.ClickException(f"Only root may ask the agent at {self._path}; try it with sudo.") from None
        except OSError as fault:
            raise click.ClickException(
                f"Warren's agent does not answer at {self._path} ({fault.strerror or fault}); start it, or say where "
                "its socket is with --socket."
            ) from None
        if not reply:
            raise click.ClickException(f"The agent at {self._path} went away before it had answered; try again.")
        body = json.loads(reply[1:])
        if reply[:1] != b"0":
            raise click.ClickException(body["msg"])
        return dict(body)

    def get(self, path: str, params: dict[str, Any], timeout: float) -> Reply:
        progress = self.ask("progress", revision=int(path.rsplit("/", 1)[1]), wait=params["wait"])
        return Reply(200, progress, {})


_WHICH = (
    click.option("--netns", metavar="PATH|NAME", help="A network namespace: its path, or its name for `ip netns`."),
    click.option("--pid", type=click.IntRange(min=1), help="The namespace of this process."),
    click.option("--container", metavar="ID|NAME", help="A container of Docker, Podman or containerd (nerdctl)."),
    click.option("--interface", metavar="NAME", help="An interface of this host itself: a VM's tap, a NIC."),
    click.option("--ifname", metavar="NAME", help=f"The interface's name inside; default: {IFNAME}."),
    click.option(
        "--socket",
        "path",
        type=click.Path(path_type=Path),
        default=Path("/run/warren/cni.sock"),
        envvar="WARREN_SOCKET",
        show_default=True,
        help="The agent's socket.",
    ),
)


def which(command: Command) -> Command:
    """The options that say whose interface it is."""
    for option in reversed(_WHICH):
        command = option(command)
    return command


@click.command()
@which
@click.option("--network", required=True, metavar="TENANT/NETWORK", callback=read_qualified, help="Its network.")
@click.option("--ip", "addresses", multiple=True, metavar="ADDRESS", help="Ask for this address; one of each family.")
@click.option("--mac", metavar="MAC", help="Default: made from its address. For a VM's tap: the guest's.")
@click.option(
    "--route",
    "routes",
    multiple=True,
    metavar="CIDR[,GATEWAY]",
    help="A route through the interface; default gateway: the network's.",
)
@click.option("--no-default-route", is_flag=True, help="Set no default route, even if there is none.")
@label
@click.option("--name", metavar="NAME", help="The endpoint's name; default: the container's.")
@click.option("--move", is_flag=True, help="Move the existing endpoint of this name here, with its addresses.")
@waiting
@click.pass_obj
def attach(
    context: Context,
    netns: str | None,
    pid: int | None,
    container: str | None,
    interface: str | None,
    ifname: str | None,
    path: Path,
    network: str,
    addresses: tuple[str, ...],
    mac: str | None,
    routes: tuple[str, ...],
    no_default_route: bool,
    labels: dict[str, str],
    name: str | None,
    move: bool,
) -> None:
    """Connect a namespace, container or interface of this host to a network.

    It returns when this host has the flows, and with --wait (default) when all hosts have them.

    \b
    Example:
      warren attach --container db1 --network acme/web --ip 10.20.0.9
      warren attach --netns /run/netns/db1 --network acme/backup --ifname eth2 --route 10.30.0.0/16
      warren attach --interface tap0 --mac 52:54:00:12:34:56 --network acme/web --name vm1
    """
    target = find(netns, pid, container, interface, ifname)
    if target.netns == "" and not target.interface:
        raise click.ClickException(f"Container {container} does not run; start it first.")
    if target.interface:
        if routes or no_default_route:
            raise click.UsageError("Routes are the guest's own business: leave --route and --no-default-route out.")
        mac = mac or _mac_of(target.interface)
    name = read_name(click.get_current_context(), click.Option(["--name"]), name or target.name)
    wish = {
        "network": network,
        "name": name,
        "netns": target.netns,
        "labels": labels,
        "addresses": list(addresses) or None,
        "mac": mac,
        "interface": target.interface,
        "move": move,
    }
    made = Agent(path).ask(
        "attach",
        container=target.container,
        ifname=target.ifname,
        wish=wish,
        routes=[_route(text) for text in routes],
        default_route=not no_default_route,
    )
    where = target.interface or target.ifname
    said = f"Endpoint {made['name']} is attached as {where} with {', '.join(made['addresses'])}, MAC {made['mac']}"
    report(context, said, made, rest=cast(Rest, Agent(path)))


@click.command()
@which
@waiting
@click.pass_obj
def detach(
    context: Context,
    netns: str | None,
    pid: int | None,
    container: str | None,
    interface: str | None,
    ifname: str | None,
    path: Path,
) -> None:
    """Undo `warren attach`; name the interface as you did then.

    An interface of the host itself is left as it was before.

    \b
    Example:
      warren detach --container db1
      warren detach --interface tap0
    """
    target = find(netns, pid, container, interface, ifname, must_be_there=False)
    reply = Agent(path).ask("detach", container=target.container, ifname=target.ifname)
    said = f"Interface {target.interface or target.ifname} is detached"
    if reply["revision"] is None:
        click.echo(f"{said}; the API does not answer and is told later")
        return
    report(context, said, reply, rest=cast(Rest, Agent(path)))


def find(
    netns: str | None,
    pid: int | None,
    container: str | None,
    interface: str | None,
    ifname: str | None,
    must_be_there: bool = True,
) -> Target:
    """The one thing that was named. A container that is gone is known by its full id still."""
    if sum(one is not None for one in (netns, pid, container, interface)) != 1:
        raise click.UsageError("Give one of --netns, --pid, --container and --interface: whose interface it is.")
    if interface is not None:
        if ifname is not None:
            raise click.UsageError("An interface of the host keeps its name: leave --ifname out.")
        return Target(f"interface:{interface}", "", interface, dns_label(interface), interface)
    ifname = ifname or IFNAME
    further = "" if ifname == IFNAME else f"-{dns_label(ifname)}"
    if netns is not None:
        place = Path(netns) if "/" in netns else Path(NAMED[0], netns)
        known = place.name if str(place.parent) in NAMED else str(place).strip("/").replace("/", ":")
        return Target(f"netns:{known}"[:128], str(place), ifname, dns_label(place.name) + further)
    if pid is not None:
        return Target(f"pid:{pid}", f"/proc/{pid}/ns/net", ifname, f"pid-{pid}{further}")
    assert container is not None
    try:
        found = containers.find(container)
    except containers.Unknown as fault:
        if not must_be_there:
            return Target(container, "", ifname, "")
        raise click.ClickException(str(fault)) from None
    inside = f"/proc/{found.pid}/ns/net" if found.pid else ""
    return Target(found.id, inside, ifname, dns_label(found.name) + further)


def _route(text: str) -> tuple[str, str | None]:
    cidr, _, gateway = text.partition(",")
    try:
        network = ipaddress.ip_network(cidr)
        through = ipaddress.ip_address(gateway) if gateway else None
    except ValueError as fault:
        raise click.UsageError(f"Route '{text}' is not CIDR[,GATEWAY], like 10.30.0.0/16: {fault}.") from None
    if through is not None and through.version != network.version:
        raise click.UsageError(
            f"Route '{text}' mixes IPv4 and IPv6: its network and its gateway must be of one version."
        )
    return str(network), str(through) if through else None


def _mac_of(interface: str) -> str:
    """A NIC speaks with its own MAC; behind a tap speaks the guest, with one that the host cannot know."""
    own = look.own(interface)
    if own is None:
        raise click.ClickException(f"This host has no interface {interface}; make it first.")
    if own.kind == "tun":
        raise click.UsageError(
            f"{interface} is a tap: give the MAC of the guest's interface with --mac. "
            "If it is a bridge of Open vSwitch or a port of one, it cannot be attached."
        )
    return own.mac
