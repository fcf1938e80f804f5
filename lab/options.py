"""The option that every command of `warren lab` has, which lab, and the completion of its endpoints' names."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any, TypeVar

import click

from lab.names import LabError

Command = TypeVar("Command", bound=Callable[..., Any])
DEFAULT = "demo"
CHOSEN = "warren.lab"
"""Where the name given before the sub-command is kept."""


def of_lab(command: Command) -> Command:
    """Gives a command its lab, by `--name` before or after the command's own name."""

    @click.option("-l", "--name", "lab_name", metavar="LAB", help="Name of the lab; default: WARREN_LAB, or demo.")
    @functools.wraps(command)
    def with_lab(*args: Any, lab_name: str | None, **options: Any) -> Any:
        from lab.lab import Lab

        name = lab_name or click.get_current_context().meta.get(CHOSEN, DEFAULT)
        if os.geteuid() != 0:
            raise LabError("A lab makes network namespaces, which needs root; try `sudo ./warren lab ...`.")
        return command(*args, lab=Lab(name), **options)

    return with_lab  # type: ignore[return-value]


def complete_endpoints(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    from lab import state

    name = ctx.params.get("lab_name") or (ctx.parent and ctx.parent.params.get("name")) or DEFAULT
    return [one.name for one in state.endpoints(name) if one.name.startswith(incomplete)]
