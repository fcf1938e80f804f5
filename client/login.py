"""`warren login`: remember an API and a token, after the API has agreed with them."""

from __future__ import annotations

import os

import click

from client.context import config_file, write
from client.rest import Rest


@click.command()
@click.argument("api", metavar="URL")
@click.option("--token", prompt=True, hide_input=True, help="Asked for if not given, so that it stays out of history.")
def login(api: str, token: str) -> None:
    """Remember an API and a token for later commands.

    \b
    Example:
      warren login https://warren.example:8443
    """
    rest = Rest(api, token.strip(), ca_file=os.environ.get("WARREN_CA"))
    me = rest.get("/whoami").body
    write(config_file(), rest.api, token.strip())
    click.echo(f"{rest.api} knows you as {me['name']} ({me['role']}); remembered in {config_file()}.")
