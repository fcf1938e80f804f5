"""The options of `warren web` that say where else people log in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from web.auth.oidc import Settings

HELP = {
    "issuer": "Issuer URL of an OpenID Connect provider at which people may log in, exactly as the provider writes it.",
    "client_id": "The client ID that the provider gave Warren.",
    "secret_file": "File with the client secret; default: none, as for a public client.",
    "public_url": "Address of Warren in browsers, like https://warren.example; the provider sends them back there.",
    "scopes": "Scopes to ask for.",
    "name_claim": "Claim of the ID token with the user's name; of a mail address the part before the @ is used.",
    "groups_claim": "Claim of the ID token with the names of groups.",
    "label": "Text of the link on the log-in page.",
    "ca_file": "Authority that signed the provider's certificate; default: those that this machine trusts.",
}
FILES = ("secret_file", "ca_file")


def options(command: Callable[..., Any]) -> Callable[..., Any]:
    for name, help in reversed(HELP.items()):
        flag = f"--oidc-{name.replace('_', '-')}"
        kind: Any = click.Path(exists=True, dir_okay=False, path_type=Path) if name in FILES else str
        default = Settings._field_defaults.get(name) or None
        more = {"type": kind, "default": default, "envvar": f"WARREN_OIDC_{name.upper()}", "help": help}
        command = click.option(flag, f"oidc_{name}", **more)(command)
    return command


def chosen(**given: Any) -> Settings | None:
    """From `oidc_issuer` and its like; None when nobody else logs people in."""
    said = {name.removeprefix("oidc_"): value for name, value in given.items()}
    if not said["issuer"]:
        return None
    for name in ("client_id", "public_url"):
        if not said[name]:
            raise click.UsageError(f"--oidc-issuer needs --oidc-{name.replace('_', '-')}, too.")
    for name in ("issuer", "public_url"):
        parts = urlsplit(said[name])
        loopback = parts.hostname in ("127.0.0.1", "::1", "localhost")
        if not parts.hostname or (parts.scheme != "https" and not (parts.scheme == "http" and loopback)):
            raise click.UsageError(f"--oidc-{name.replace('_', '-')} is '{said[name]}'; write an address with https://")
    secret_file, ca_file = said.pop("secret_file"), said.pop("ca_file")
    secret = secret_file.read_text().strip() if secret_file else ""
    return Settings(**said, secret=secret, ca_file=str(ca_file) if ca_file else None)
