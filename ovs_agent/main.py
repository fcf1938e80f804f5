"""`warren agent`: the command line of the host agent."""

from __future__ import annotations

import logging
import re
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from ovs_agent.agent import Settings

from ovs_agent.document import UNDERLAY
from ovs_agent.plan import BRIDGE_NAME_LIMIT

FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


@click.group("agent", invoke_without_command=True)
@click.option("--api", metavar="URL", envvar="WARREN_API", help="The API's address, like https://warren.example.")
@click.option(
    "--token",
    metavar="TOKEN",
    envvar="WARREN_ENROL_TOKEN",
    help="The host's one-time enrolment token, from `warren host create`; needed once.",
)
@click.option(
    "--ca-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    envvar="WARREN_CA",
    help="PEM file of the authority that signed the API's certificate; default: those that this machine trusts.",
)
@click.option(
    "--ca-pin",
    metavar="SHA256",
    envvar="WARREN_CA_PIN",
    help="Fingerprint of that authority, which is fetched from the API once; `warren host create` prints it.",
)
@click.option(
    "--state-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("/var/lib/warren"),
    show_default=True,
    help="Directory for what must survive a reboot.",
)
@click.option(
    "--run-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("/run/warren"),
    show_default=True,
    help="Directory for the CNI socket.",
)
@click.option(
    "--ovsdb",
    metavar="REMOTE",
    default="unix:/var/run/openvswitch/db.sock",
    show_default=True,
    help="Address of Open vSwitch's database.",
)
@click.option(
    "--datapath",
    type=click.Choice(["system", "netdev"]),
    default="system",
    show_default=True,
    help="Forward packets in the kernel, or in user space.",
)
@click.option("--bridge", metavar="NAME", default="warren0", show_default=True, help="The bridge to make and keep.")
@click.option(
    "--address", metavar="IP", help="Address of this host's tunnels; default: the one from which it reaches the API."
)
@click.option(
    "--physical",
    "segments",
    metavar="NAME=BRIDGE|INTERFACE",
    multiple=True,
    envvar="WARREN_PHYSICAL",
    callback=lambda context, parameter, given: read_segments(given),
    help="A physical segment of this host: its name, and the Open vSwitch bridge that is connected to it, or an "
    "interface that Warren may use alone and puts on a bridge br-NAME.",
)
@click.option(
    "--docker-plugins",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="WARREN_DOCKER_PLUGINS",
    help="Serve Docker's driver `warren` in this directory, like /run/docker/plugins; default: do not serve Docker.",
)
@click.option(
    "--docker-tenant",
    metavar="TENANT",
    envvar="WARREN_DOCKER_TENANT",
    default="",
    help="Tenant of Docker networks that name none with -o tenant=.",
)
@click.option(
    "--docker-socket",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="WARREN_DOCKER_SOCKET",
    default=Path("/run/docker.sock"),
    show_default=True,
    help="Socket of dockerd, which is asked for containers' names.",
)
@click.option(
    "--cni-conf-dir",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="WARREN_CNI_CONF_DIR",
    default=Path("/etc/cni/net.d"),
    show_default=True,
    help="Directory in which the agent makes X.conflist of each X.conflist.template while it can serve containers.",
)
@click.option(
    "--resolv-conf",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("/etc/resolv.conf"),
    show_default=True,
    help="File with the nameservers that are asked for names that are not Warren's.",
)
@click.pass_context
def cli(
    context: click.Context,
    api: str | None,
    token: str | None,
    ca_file: Path | None,
    ca_pin: str | None,
    state_dir: Path,
    run_dir: Path,
    ovsdb: str,
    datapath: str,
    bridge: str,
    address: str | None,
    segments: dict[str, str],
    docker_plugins: Path | None,
    docker_tenant: str,
    docker_socket: Path,
    cni_conf_dir: Path,
    resolv_conf: Path,
) -> None:
    """Run this host's agent, which keeps its bridge and ports, and serves the CNI plugin and Docker.

    \b
      warren agent --api https://warren.example --token "$(warren host token h1)"

    Without a command it runs until it is stopped. Containers keep their network while it is away.
    """
    if context.invoked_subcommand is not None:
        return
    if not api:
        raise click.UsageError("No API to ask: give its address with --api or WARREN_API.")
    if not 1 <= len(bridge) <= BRIDGE_NAME_LIMIT:
        raise click.UsageError(f"Bridge name '{bridge}' is too long: use at most {BRIDGE_NAME_LIMIT} characters.")
    # Imported here: `install-cni` needs none of it, and pyroute2 alone takes 150 ms.
    from ovs_agent.agent import Settings

    settings = Settings(
        api.rstrip("/"),
        bridge,
        datapath,
        ovsdb,
        run_dir,
        segments,
        resolv_conf,
        docker_plugins,
        docker_tenant,
        docker_socket,
        cni_conf_dir,
    )
    _run(settings, token or None, state_dir, address, ca_file, ca_pin or None)


def read_segments(given: tuple[str, ...]) -> dict[str, str]:
    """`lan=eth1` by the name."""
    found: dict[str, str] = {}
    for text in given:
        name, _, device = text.partition("=")
        if not re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,10}[a-z0-9])?", name) or not re.fullmatch(r"[^\s/]{1,15}", device):
            raise click.BadParameter(
                f"'{text}' names no physical segment: write NAME=INTERFACE, like lan=eth1, the name of at most 12 "
                "lower-case letters, digits and dashes."
            )
        if name == UNDERLAY:
            raise click.BadParameter(
                f"'{text}': {name} is the segment of the host's address already; use another name."
            )
        if name in found or device in found.values():
            raise click.BadParameter(f"'{text}': that segment or interface is given twice.")
        found[name] = device
    return found


def read_network_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,57}", name):
        raise click.BadParameter(
            f"'{name}' names no network: use at most 58 letters, digits, '.', '_' and '-', the first a letter or digit."
        )
    return name


def _run(
    settings: Settings,
    token: str | None,
    state_dir: Path,
    address: str | None,
    ca_file: Path | None,
    ca_pin: str | None,
) -> None:
    from client.rest import Unreachable
    from ovs_agent import enrol
    from ovs_agent.agent import Agent, AlreadyRunning
    from ovs_agent.state import State

    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format=FORMAT)
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # what it has to say, Unreachable says better
    try:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        state = State(state_dir)
        settings = settings._replace(ca=enrol.authority(settings.api, state, ca_file, ca_pin, time.sleep))
        identity = enrol.identify(settings.api, state, token, address, settings.datapath, time.sleep, settings.ca)
        agent = Agent(settings, identity, state)
    except (enrol.NotEnrolled, AlreadyRunning, Unreachable) as fault:
        raise click.ClickException(str(fault)) from None
    except KeyboardInterrupt:
        return
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: agent.stop())
    agent.run()


@cli.command("install-cni")
@click.option(
    "--bin-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("/opt/cni/bin"),
    show_default=True,
    help="Where the runtime looks for plugins.",
)
@click.option(
    "--conf-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("/etc/cni/net.d"),
    show_default=True,
    help="Where the runtime looks for network configurations.",
)
@click.option(
    "--socket",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("/run/warren/cni.sock"),
    show_default=True,
    help="The agent's socket.",
)
@click.option(
    "--network", metavar="TENANT/NETWORK", help="Network of all containers; default: what the pod's namespace says."
)
@click.option(
    "--name",
    metavar="NAME",
    default="warren",
    show_default=True,
    callback=lambda context, parameter, name: read_network_name(name),
    help="The runtime's name for the network; the file is 10-NAME.conflist.",
)
@click.option("--static", is_flag=True, help="Install the configuration for good, as Podman needs it.")
def install_cni(bin_dir: Path, conf_dir: Path, socket: Path, network: str | None, name: str, static: bool) -> None:
    """Install the CNI plugin and a configuration for it.

    The configuration is a template. The agent makes the real file of it while it can serve containers, and removes that
    while it cannot. An existing configuration is not changed.

    \b
    Example:
      warren agent install-cni
      warren agent install-cni --static --name web --network acme/web
    """
    from ovs_agent.cni.install import install

    for path in install(bin_dir, conf_dir, socket, network, name, static):
        click.echo(f"installed {path}")
