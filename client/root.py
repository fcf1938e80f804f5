"""The `warren` command: which sub-commands there are, and where each is found when it is asked for.

Nothing below is imported before it is needed: a host has no web server, a laptop no switch, and `--help` is quick.
"""

from __future__ import annotations

import importlib
from typing import NamedTuple

import click

from client import VERSION
from client.context import Context
from client.options import OUTPUTS


class Lazy(NamedTuple):
    """A command that stands elsewhere: `module:attribute`, and its line in the help."""

    target: str
    help: str


SECTIONS: dict[str, dict[str, Lazy]] = {
    "Tenants and networks": {
        "tenant": Lazy("client.tenants:tenant", "Owners of networks, isolated from each other."),
        "network": Lazy("client.networks:network", "Segments with their subnets."),
        "ipam": Lazy("client.addresses:ipam", "How full networks are; check and repair."),
        "pool": Lazy("client.addresses:pool", "Address ranges that subnets are taken from."),
        "reservation": Lazy("client.addresses:reservation", "Addresses kept for a name."),
        "cluster": Lazy("client.cluster:cluster", "Settings for all tenants."),
        "endpoint": Lazy("client.endpoints:endpoint", "Interfaces of containers."),
        "publish": Lazy("client.publish:publish", "Publish a port of an endpoint on its host."),
        "unpublish": Lazy("client.publish:unpublish", "Stop publishing a port."),
        "published": Lazy("client.publish:published", "List published ports."),
        "dns": Lazy("client.dns:dns", "DNS records besides those of endpoints."),
        "policy": Lazy("client.policies:policy", "Which connections are allowed."),
        "apply": Lazy("client.declare:apply", "Make everything as files declare it."),
        "export": Lazy("client.declare:export", "Print everything in the form that `apply` reads."),
        "explain": Lazy("client.explain:explain", "Why a connection is allowed or denied."),
    },
    "Hosts and their state": {
        "status": Lazy("client.status:status", "One sentence and a table: is everything well?"),
        "host": Lazy("client.hosts:host", "Machines with an agent and a bridge."),
        "revision": Lazy("client.revisions:revision", "Changes, and the hosts on which they are live."),
    },
    "Attaching by hand": {
        "attach": Lazy("ovs_agent.commands:attach", "Connect a namespace, container, tap or NIC of this host."),
        "detach": Lazy("ovs_agent.commands:detach", "Disconnect it again."),
    },
    "Access": {
        "login": Lazy("client.login:login", "Remember an API and a token for later commands."),
        "user": Lazy("client.users:user", "People who log in."),
        "group": Lazy("client.users:group", "Groups of users, who share roles."),
        "role": Lazy("client.roles:role", "Who may do what."),
        "token": Lazy("client.tokens:token", "Tokens for programs."),
        "audit": Lazy("client.audit:audit", "Who changed what."),
        "completion": Lazy("client.completion:completion", "Completion for bash, zsh and fish."),
    },
    "Running Warren": {
        "db": Lazy("db.cli:cli", "The database: upgrade, check, back up, restore."),
        "web": Lazy("web.main:cli", "Run the REST API and the admin UI."),
        "controller": Lazy("controller.main:cli", "Run a controller."),
        "agent": Lazy("ovs_agent.main:cli", "Run a host's agent."),
        "lab": Lazy("lab.cli:cli", "Hosts, switches and endpoints on this machine."),
    },
}
COMMANDS = {name: lazy for section in SECTIONS.values() for name, lazy in section.items()}


class Root(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        lazy = COMMANDS.get(name)
        return None if lazy is None else load(name, lazy.target)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, commands in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(f"{name:<11}", lazy.help) for name, lazy in commands.items()])


def load(name: str, target: str) -> click.Command:
    """Import a command. A package that is not installed here is one sentence, not a traceback."""
    module, _, attribute = target.partition(":")
    try:
        command = getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as fault:
        raise click.ClickException(
            f"`warren {name}` needs the Python package '{fault.name}', which is not installed here; "
            "install the requirements of the parts that this machine runs (requirements/*.txt)."
        ) from fault
    assert isinstance(command, click.Command)
    return command


@click.group(cls=Root, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--api", envvar="WARREN_API", metavar="URL", help="Address of the API; default: from `warren login`.")
@click.option("--token", envvar="WARREN_TOKEN", metavar="TOKEN", help="API token; default: from `warren login`.")
@click.option("-o", "--output", type=click.Choice(OUTPUTS), default="table", help="Output format.")
@click.version_option(VERSION, message="warren %(version)s")
@click.pass_context
def root(ctx: click.Context, api: str | None, token: str | None, output: str) -> None:
    """Warren: a multi-tenant network for containers on many Linux hosts.

    A tenant owns networks, a network has endpoints, an endpoint is on a host. A change returns when every host
    concerned has confirmed it.

    \b
    Example:
      warren tenant create acme
      warren network create acme/web --subnet 10.20.0.0/24
      warren status
    """
    ctx.obj = Context(api, token, output)
