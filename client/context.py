"""Where the API is and who asks: from options, the environment, or the file that `warren login` and the lab write."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from client.rest import Rest


class Context:
    """What one run of the command line was told. The connection is made when the first request needs it."""

    def __init__(self, api: str | None = None, token: str | None = None, output: str = "table") -> None:
        self.output = output
        self.wait = True
        self.insists = False  # --wait was said, and is not only what holds by default
        self.dry_run = False
        self.timeout = 30.0
        self._api = api
        self._token = token
        self._rest: Rest | None = None

    @property
    def rest(self) -> Rest:
        if self._rest is None:
            from client.rest import Rest  # urllib3 takes longer to load than `--help` takes

            api, token, ca = self._api, self._token, None
            if api is None or token is None:
                said = read(config_file())
                ca = said.get("ca") if api is None or api == said.get("api") else None
                # A token belongs to its API: one from the file never goes to an address from elsewhere.
                if api is None or api == said.get("api"):
                    token = token or said.get("token")
                api = api or said.get("api")
            if not api:
                raise click.ClickException(
                    "No API is known: start a lab with `make up`, run `warren login URL`, or give --api and --token."
                )
            self._rest = Rest(api, token, timeout=self.timeout, ca=os.environ.get("WARREN_CA") or ca)
        return self._rest

    def items(self, path: str, asked: Mapping[str, Any]) -> Iterator[Any]:
        """The items of a list, page after page, as options ask for them; `limit` is how many at most."""
        limit = asked.get("limit")
        query = {key: value for key, value in asked.items() if key != "limit" or value is not None}
        return islice(self.rest.items(path, query | ({} if limit is None else {"limit": min(limit, 1000)})), limit)


def config_file() -> Path:
    named = os.environ.get("WARREN_CONFIG")
    if named:
        return Path(named)
    base = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(base).expanduser() / "warren" / "client.json"


def read(source: Path) -> dict[str, str]:
    try:
        said = json.loads(source.read_text())
    except FileNotFoundError:
        return {}
    except PermissionError:
        raise click.ClickException(
            f"{source} may not be read by this user; run as root or `warren login URL`."
        ) from None
    except ValueError:
        raise click.ClickException(f"{source} is not JSON; write it again with `warren login URL`.") from None
    if not isinstance(said, dict):
        raise click.ClickException(f"{source} holds no object; write it again with `warren login URL`.")
    return said


def write(target: Path, api: str, token: str, ca: str | None = None) -> None:
    """`ca`: its authority, in PEM."""
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_name(f".{target.name}.{os.getpid()}")
    fresh.touch(mode=0o600)
    fresh.write_text(json.dumps({"api": api, "token": token} | ({"ca": ca} if ca else {}), indent=1) + "\n")
    fresh.replace(target)
