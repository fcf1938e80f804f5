"""dockerd's own API, which is asked which containers run, what one is called, and which one wants an address.

It decides how dockerd is reached and how its answers are read. It refuses to know networks and names of Warren's.
"""

from __future__ import annotations

import http.client
import json
import socket
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

PATIENCE = 5.0
"""Seconds; dockerd keeps who asks for a container that is starting waiting until it has started."""


class Silent(Exception):  # noqa: N818
    """dockerd does not answer, or with what is no answer."""


class Running(NamedTuple):
    id: str
    name: str
    endpoints: frozenset[str]  # ids, one for each network


class Engine:
    """`path` is the socket that the docker command speaks to."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def running(self) -> list[Running]:
        """Containers that have started. Raises Silent."""
        try:
            return [
                Running(one["Id"], one["Names"][0].lstrip("/"), frozenset(_endpoints(one)))
                for one in self._get("/containers/json") or ()
            ]
        except (KeyError, IndexError, TypeError, AttributeError):
            raise Silent("Docker's list of containers cannot be read.") from None

    def asking(self, address: str) -> list[str]:
        """Names of containers that do not run and were told to have that address. Raises Silent."""
        try:
            return [
                one["Names"][0].lstrip("/")
                for one in self._get("/containers/json?all=1") or ()
                if one.get("State") != "running" and address in _told(one)
            ]
        except (KeyError, IndexError, TypeError, AttributeError):
            raise Silent("Docker's list of containers cannot be read.") from None

    def names(self, container: str, endpoint: str) -> list[str]:
        """What the container is called on the network of that endpoint: its name, then aliases. Raises Silent."""
        said = self._get(f"/containers/{quote(container, safe='')}/json")
        if said is None:
            return []
        try:
            networks = said["NetworkSettings"]["Networks"].values()
            found = [said["Name"].lstrip("/")]
            for one in networks:
                if one["EndpointID"] == endpoint:
                    # Docker 25 and later keep what they add themselves apart.
                    found += [*(one.get("Aliases") or ()), *(one.get("DNSNames") or ())]
        except (KeyError, TypeError, AttributeError):
            raise Silent(f"What Docker says of container {container[:12]} cannot be read.") from None
        return [str(name) for name in dict.fromkeys(found)]

    def _get(self, path: str) -> Any:
        """The answer of dockerd; None if there is no such object."""
        line = _Line(self._path)
        try:
            line.request("GET", path)
            answer = line.getresponse()
            data = answer.read()
            if answer.status == 404:
                return None
            if answer.status != 200:
                raise Silent(f"Docker answers {path} with status {answer.status}.")
            return json.loads(data)
        except (OSError, http.client.HTTPException, ValueError) as fault:
            raise Silent(f"Docker does not answer at {self._path}: {fault or type(fault).__name__}.") from None
        finally:
            line.close()


class _Line(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("docker", timeout=PATIENCE)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(str(self._path))


def _networks(container: Any) -> list[Any]:
    return list(((container.get("NetworkSettings") or {}).get("Networks") or {}).values())


def _endpoints(container: Any) -> list[str]:
    return [one["EndpointID"] for one in _networks(container) if one.get("EndpointID")]


def _told(container: Any) -> set[str]:
    """Addresses of `--ip` and `--ip6`."""
    configs = [one.get("IPAMConfig") or {} for one in _networks(container)]
    return {config[key] for config in configs for key in ("IPv4Address", "IPv6Address") if config.get(key)}
