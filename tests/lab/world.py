"""What a lab test makes and says: tenants, networks and endpoints that go with it, and who is expected to hear whom."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from client import change
from client.rest import Problem
from lab.endpoint import Wanted
from lab.lab import Lab
from lab.probe import Answer
from lab.state import Placed
from tests.lab import caches

SECONDS = 50.0
"""In which every change is live: a minute is the most that the API waits."""


class World:
    """Names are made unique per test, so that what one leaves to rest does not disturb the next."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.rest = lab.rest
        self._tenants: list[str] = []
        self._endpoints: list[str] = []

    def tenant(self, name: str, **more: Any) -> str:
        unique = f"{name}-{secrets.token_hex(3)}"
        self.rest.post("/tenants", {"name": unique, **more})
        self._tenants.append(unique)
        return unique

    def adopt(self, tenant: str) -> None:
        """A tenant that comes into being in another way goes with the others."""
        self._tenants.append(tenant)

    def network(self, tenant: str, name: str, *subnets: str, **more: Any) -> str:
        body = {"name": f"{tenant}/{name}", **({"subnets": list(subnets)} if subnets else {}), **more}
        return str(self.rest.post("/networks", body).body["name"])

    def endpoint(self, network: str, host: str, name: str | None = None, **more: Any) -> Placed:
        tenant = network.split("/")[0]
        name = name or f"{tenant[:20]}-{secrets.token_hex(3)}"
        placed = self.lab.run(host, Wanted(name, network, **more))
        self._endpoints.append(name)
        return placed

    def endpoints(self, network: str, hosts: Sequence[str] = ("h1", "h2", "h3"), per_host: int = 2) -> list[Placed]:
        with ThreadPoolExecutor(4) as pool:
            return list(
                pool.map(lambda host: self.endpoint(network, host), [h for h in hosts for _ in range(per_host)])
            )

    def remove(self, placed: Placed) -> None:
        self.lab.remove(placed.name)
        self._endpoints.remove(placed.name)

    def settle(self) -> None:
        """Until everything that was changed is live on every host."""
        change.wait(self.rest, self.rest.get("/revisions", params={"limit": 1}).body["revision"], SECONDS)

    def probe(self, *placed: Placed, **more: Any) -> list[Answer]:
        """Everybody of `placed` (all of this world if none) asks everybody else of them, once all is settled, also in
        the switches' caches."""
        self.settle()
        caches.follow(self.lab)
        names = [one.name for one in placed] or list(self._endpoints)
        return self.lab.probe(sources=names, targets=names, **more)

    def clear(self) -> None:
        for policy in list(self.rest.items("/policies")):
            if policy["tenant"] is None:
                self.rest.delete(f"/policies/{policy['name']}")
        for name in self._endpoints:
            self.lab.remove(name)
        for tenant in self._tenants:
            for network in list(self.rest.items("/networks", {"tenant": tenant})):
                self.rest.delete(f"/networks/{network['name']}")
            try:
                self.rest.delete(f"/tenants/{tenant}")
            except Problem as problem:
                if problem.status != 404:
                    raise


def wrong(answers: Sequence[Answer]) -> list[str]:
    """Answers that contradict isolation, in words; empty when tenants are apart and whole."""
    return [
        f"{a.ask.source.name} -> {a.ask.target.name} by {a.ask.proto} over IPv{a.ask.family}: "
        + ("heard across tenants" if a.ok else "not heard within the tenant")
        for a in answers
        if a.ok is not None and a.ok != (a.ask.source.tenant == a.ask.target.tenant)
    ]
