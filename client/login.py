"""`warren login`: remember an API and a token, after the API has agreed with them."""

from __future__ import annotations

import os

import click

from client import output
from client.context import Context, config_file, write
from client.options import printing
from client.rest import Rest


@click.command()
@click.argument("api", metavar="URL")
@click.option("--token", prompt=True, hide_input=True, help="Asked for if not given, so that it stays out of history.")
@printing
@click.pass_obj
def login(context: Context, api: str, token: str) -> None:
    """Remember an API and a token for later commands.

    \b
    Example:
      warren login https://warren.example:8443
    """
    rest = Rest(api, token.strip(), ca_file=os.environ.get("WARREN_CA"))
    me = rest.get("/whoami").body
    write(config_file(), rest.api, token.strip())
    roles = ", ".join([me["role"], *(f"{role} of {tenant}" for tenant, role in me["tenants"].items())])
    sentence = f"{rest.api} knows you as {me['name']} ({roles}); remembered in {config_file()}."
    output.said(context.output, sentence, {"api": rest.api, **me, "remembered_in": str(config_file())})
