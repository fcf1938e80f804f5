"""`warren completion`: the shell code that makes the tab key work."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print completion code for a shell. Names of tenants, networks and hosts are completed too.

    \b
    Example:
      source <(warren completion bash)
    """
    completer = get_completion_class(shell)
    assert completer is not None
    click.echo(completer(ctx.find_root().command, {}, "warren", "_WARREN_COMPLETE").source())
