"""`warren lab host`, `warren lab docker` and `warren lab podman`: commands that run as one of the lab's hosts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from lab.options import of_lab

if TYPE_CHECKING:
    from lab.lab import Lab

AS_IT_IS = {"ignore_unknown_options": True, "allow_interspersed_args": False}


@click.command(context_settings=AS_IT_IS)
@click.argument("host")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@of_lab
def host(lab: Lab, host: str, command: tuple[str, ...]) -> None:
    """Run a command as a host.

    It has the host's network and, in a lab with Docker, its mounts; Open vSwitch's tools, `warren attach` and the
    docker command speak to that host's. Output and exit code are the command's.

    \b
    Example:
      warren lab host h1 -- ip addr
    """
    lab.become(host, command[1:] if command[0] == "--" else command)


@click.command(context_settings=AS_IT_IS)
@click.argument("host")
@click.argument("arguments", nargs=-1, required=True, type=click.UNPROCESSED)
@of_lab
def docker(lab: Lab, host: str, arguments: tuple[str, ...]) -> None:
    """Run the docker command on a host of a lab with Docker.

    There is an image `img` (busybox, with a web page under /www) and a network `web`, the same on all hosts.

    \b
    Example:
      warren lab docker h1 -- run -d --name c1 --network web img httpd -f -h /www
    """
    lab.docker(host, arguments[1:] if arguments[0] == "--" else arguments)


@click.command(context_settings=AS_IT_IS)
@click.argument("host")
@click.argument("arguments", nargs=-1, required=True, type=click.UNPROCESSED)
@of_lab
def podman(lab: Lab, host: str, arguments: tuple[str, ...]) -> None:
    """Run the podman command on a host of a lab with Podman.

    There is an image `img` (busybox, with a web page under /www) and a network `web`, the same on all hosts.

    \b
    Example:
      warren lab podman h1 -- run -d --name c1 --network web img httpd -f -h /www
    """
    lab.podman(host, arguments[1:] if arguments[0] == "--" else arguments)


COMMANDS = (host, docker, podman)
