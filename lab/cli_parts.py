"""`warren lab fail`, `heal`, `restart`, `stop` and `start`: what may befall a lab's hosts and processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from client import output
from client.context import Context
from client.options import printing
from lab.options import of_lab

if TYPE_CHECKING:
    from lab.lab import Lab


@click.command()
@click.argument("host")
@printing
@of_lab
@click.pass_obj
def fail(context: Context, lab: Lab, host: str) -> None:
    """Cut a host's underlay: pull its cable.

    \b
    Example:
      warren lab fail h2
    """
    lab.set_cable(host, plugged=False)
    output.said(
        context.output,
        f"Host {host} is cut off; `warren lab heal {host}` restores it.",
        {"host": host, "underlay": "cut"},
    )


@click.command()
@click.argument("host")
@printing
@of_lab
@click.pass_obj
def heal(context: Context, lab: Lab, host: str) -> None:
    """Restore a host's underlay.

    \b
    Example:
      warren lab heal h2
    """
    lab.set_cable(host, plugged=True)
    output.said(context.output, f"Host {host} has its underlay back.", {"host": host, "underlay": "up"})


def _part(help: str, example: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A command about one process of the lab."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        command.__doc__ = f"""{help}

        PART is controller, web, responder, agent:HOST, ovs:HOST or docker:HOST.

        \b
        Example:
          {example}
        """
        killing = click.option("--kill", is_flag=True, help="With SIGKILL, as a crash would.")
        decorated: Callable[..., None] = click.argument("part", metavar="PART")(
            killing(printing(of_lab(click.pass_obj(command))))
        )
        return decorated

    return decorate


@click.command()
@_part("Stop a process of the lab and start it again.", "warren lab restart agent:h1 --kill")
def restart(context: Context, lab: Lab, part: str, kill: bool) -> None:
    lab.restart(part, kill)
    output.said(context.output, f"{part} runs again.", _running(lab, part))


@click.command()
@_part("Stop a process of the lab.", "warren lab stop controller")
def stop(context: Context, lab: Lab, part: str, kill: bool) -> None:
    lab.part(part).stop(kill)
    output.said(context.output, f"{part} is stopped; `warren lab start {part}` starts it.", _running(lab, part))


@click.command()
@click.argument("part", metavar="PART")
@printing
@of_lab
@click.pass_obj
def start(context: Context, lab: Lab, part: str) -> None:
    """Start a process of the lab that was stopped or has died.

    \b
    Example:
      warren lab start controller
    """
    lab.part(part).start()
    output.said(context.output, f"{part} runs.", _running(lab, part))


def _running(lab: Lab, part: str) -> dict[str, Any]:
    found = lab.part(part).daemon.process
    return {"name": part, "pid": found.pid if found else None}


COMMANDS = (fail, heal, restart, stop, start)
