"""`warren login`: remember an API and a token, after the API has agreed with them."""

from __future__ import annotations

from pathlib import Path

import click

from client import output, trust
from client.context import Context, config_file, write
from client.options import printing
from client.rest import Rest


@click.command()
@click.argument("api", metavar="URL")
@click.option("--token", prompt=True, hide_input=True, help="Asked for if not given; that keeps it out of history.")
@click.option(
    "--ca-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    envvar="WARREN_CA",
    help="PEM file of the authority that signed its certificate; default: those that this machine trusts.",
)
@click.option("--ca-pin", metavar="SHA256", help="Fingerprint of that authority, which is then fetched from the API.")
@printing
@click.pass_obj
def login(context: Context, api: str, token: str, ca_file: Path | None, ca_pin: str | None) -> None:
    """Remember an API, its authority and a token for later commands.

    \b
    Example:
      warren login https://warren.example:8443 --ca-pin sha256:3f1c...
    """
    if ca_file and ca_pin:
        raise click.UsageError("--ca-file and --ca-pin say the same; leave one out.")
    ca = trust.fetch(api, ca_pin) if ca_pin else ca_file.read_text() if ca_file else None
    rest = Rest(api, token.strip(), ca=ca)
    me = rest.get("/whoami").body
    write(config_file(), rest.api, token.strip(), ca)
    roles = ", ".join([me["role"], *(f"{role} of {tenant}" for tenant, role in me["tenants"].items())])
    sentence = f"{rest.api} knows you as {me['name']} ({roles}); remembered in {config_file()}."
    output.said(context.output, sentence, {"api": rest.api, **me, "remembered_in": str(config_file())})
