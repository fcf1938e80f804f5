"""Two lab hosts with a dockerd each, the docker command as people type it, and what a test made with it."""

from __future__ import annotations

import json
import secrets
import subprocess
from typing import Any

from client.rest import Problem
from lab import docker, image
from lab.lab import Lab
from lab.names import LabError
from tests.lab.waiting import BOUND, SOON, until

WARREN = ("--driver", "warren", "--ipam-driver", "warren")


class Site:
    """The lab, and tenants whose networks hosts may make."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.rest = lab.rest
        self._containers: list[tuple[str, str]] = []
        self._networks: list[tuple[str, str]] = []
        self.tenants = [f"t{secrets.token_hex(3)}" for _ in range(2)]
        for tenant in self.tenants:
            self.rest.post("/tenants", {"name": tenant, "labels": {"warren/engine-networks": "create"}})

    def docker(self, host: str, *arguments: str) -> str:
        return docker.run(self.lab.host(host), self.lab.folder, *arguments).strip()

    def fails(self, host: str, *arguments: str) -> str:
        """What it says, on stderr."""
        at = self.lab.host(host)
        command = [docker.program(), *arguments]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=BOUND, env=docker.settings(at, self.lab.folder)
        )
        assert done.returncode, done.stdout
        return done.stderr

    def network(self, host: str, name: str, *arguments: str) -> str:
        self.docker(host, "network", "create", *WARREN, *arguments, name)
        self._networks.append((host, name))
        return name

    def run(self, host: str, name: str, network: str, *more: str, command: str = "httpd -f -h /www") -> str:
        self._containers.append((host, name))
        self.docker(host, "run", "-d", "--name", name, "--network", network, *more, docker.IMAGE, *command.split())
        return self.address(host, name, network)

    def address(self, host: str, container: str, network: str) -> str:
        return str(self.inspect(host, container)["NetworkSettings"]["Networks"][network]["IPAddress"])

    def inspect(self, host: str, container: str) -> Any:
        return json.loads(self.docker(host, "inspect", container))[0]

    def remove(self, host: str, container: str) -> None:
        self.docker(host, "rm", "-f", container)
        self._containers.remove((host, container))

    def hears(self, host: str, container: str, target: str, seconds: int = SOON) -> bool:
        """Whether the web page there is heard."""
        try:
            return image.PAGE.strip() in self.docker(
                host, "exec", container, "timeout", str(seconds), "wget", "-qO-", f"http://{target}/"
            )
        except LabError:
            return False

    def endpoints(self, tenant: str) -> list[dict[str, Any]]:
        return list(self.rest.items("/endpoints", {"tenant": tenant}))

    def clear(self) -> None:
        for host, container in reversed(self._containers):
            self.docker(host, "rm", "-f", container)
        for host, network in self._networks:
            self.docker(host, "network", "rm", network)
        for tenant in self.tenants:
            until(lambda tenant=tenant: not self.endpoints(tenant), "their endpoints are gone")
            for network in list(self.rest.items("/networks", {"tenant": tenant})):
                self.rest.delete(f"/networks/{network['name']}")
            try:
                self.rest.delete(f"/tenants/{tenant}")
            except Problem as problem:
                if problem.status != 404:
                    raise
