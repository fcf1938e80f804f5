"""Addresses for Docker: claimed when dockerd asks, before there is an endpoint, and given back however it ends.

A claim is an attachment without an interface. It is in the database at once, so no other host gives the address away;
its flows are made while dockerd prepares the container; and it has an owner, this host, so it cannot leak: whatever of
this host's is claimed and has no interface in a container for a minute is released by `sweep`.

Docker names the endpoint's MAC address with each request, so the requests for both families find the same claim. It
decides what is asked of the attacher and when a claim is dead. It refuses to know Docker's networks and pools.
"""

from __future__ import annotations

import hashlib
import ipaddress
import secrets
import threading
from collections.abc import Callable, Mapping
from logging import getLogger
from typing import Any, NamedTuple

from client.rest import Problem
from ovs_agent.attach import Attacher
from ovs_agent.docker.fields import Refused
from ovs_agent.document import Endpoint
from ovs_agent.ledger import Key

log = getLogger(__name__)
OURS = "docker-"
PATIENCE = 8.0
"""Seconds that the API may take to answer; dockerd has no limit of its own."""
GRACE = 60.0
"""Seconds from a claim, or from the loss of its interface, to its release."""


class Claim(NamedTuple):
    endpoint: Endpoint
    revision: int
    wish: Mapping[str, Any]


class Addresses:
    """`taken` says whether an endpoint of Docker's has a claim already."""

    def __init__(self, attacher: Attacher, taken: Callable[[Key], bool]) -> None:
        self._attacher = attacher
        self._taken = taken
        self._lock = threading.Lock()
        self._claims: dict[Key, Claim] = {}
        self._idle: dict[Key, float] = {}
        self._gone: set[int] = set()  # endpoints that the last document from the API still has

    def request(self, network: str, version: int, address: str, mac: str, reservation: str = "") -> str:
        """An address with its prefix length; `address` "" is any. Asked again with the same MAC it is the same.
        `reservation` is the name for which it may be kept. Raises Refused, Problem, Unreachable."""
        held = self._held(self._key(network, mac)) if mac else None
        others: list[str] = []
        if held is not None:
            if self._taken(held.key):
                raise Refused(f"MAC {mac} of network {network} is endpoint {held.name}'s; choose another.")
            mine = [one for one in held.addresses if ipaddress.ip_interface(one).version == version]
            if mine and (not address or _bare(mine[0]) == address):
                return mine[0]
            others = [_bare(one) for one in held.addresses if one not in mine]
            reservation = reservation or self._reservation(held.key)
            self.release(held.key)
        claim = self.claim(network, [*others, address] if address else others, mac, reservation=reservation)
        for one in claim.endpoint.addresses:
            if ipaddress.ip_interface(one).version == version:
                return one
        self.release(claim.endpoint.key)
        raise Refused(f"Network {network} has no IPv{version} subnet.")

    def claim(
        self,
        network: str,
        addresses: list[str],
        mac: str,
        name: str = "",
        labels: Mapping[str, str] | None = None,
        reservation: str = "",
    ) -> Claim:
        key = self._key(network, mac or secrets.token_hex(6))
        wish = {
            "network": network,
            "name": name or f"{key[0]}-{key[1]}",
            "netns": "",  # Docker makes it when everything else is there
            "addresses": addresses,
            "mac": mac or None,
            "labels": dict(labels or {}),
            **({"reservation": reservation} if reservation else {}),
        }
        return self.renew(key, wish)

    def renew(self, key: Key, wish: Mapping[str, Any]) -> Claim:
        """Claim it, or find that it is claimed."""
        try:
            endpoint, revision = self._attacher.claim(key, wish, PATIENCE)
        except Problem as problem:
            if problem.status != 409:
                raise
            # What is in the way may be gone, and the API be told of it only now.
            self._attacher.retry_releases()
            endpoint, revision = self._attacher.claim(key, wish, PATIENCE)
        claim = Claim(endpoint, revision, wish)
        with self._lock:
            self._claims[key] = claim
            self._idle.pop(key, None)
        return claim

    def current(self, key: Key, wish: Mapping[str, Any]) -> Claim:
        """The claim as this run of the agent knows it, or claimed anew."""
        return self._claims.get(key) or self.renew(key, wish)

    def settle(self, network: str, addresses: list[str], mac: str, name: str, labels: Mapping[str, str]) -> Claim:
        """The one claim of an endpoint, whose `addresses`, MAC, name and labels are known now. Usually it is the one
        that its addresses were claimed with; else that gives way to one with the same addresses, which nobody gets in
        between because freed addresses rest."""
        held = {one.key: one for address in addresses if (one := self.holder(network, address)) is not None}
        if any(self._taken(key) for key in held):
            raise Refused(f"Address {' or '.join(addresses)} of network {network} is another endpoint's.")
        known = [claim for key in held if (claim := self._claims.get(key)) is not None]
        if len(held) == len(known) == 1 and not name and not labels:
            endpoint = known[0].endpoint
            if set(addresses) <= set(endpoint.addresses) and mac in ("", endpoint.mac):
                return known[0]
        wanted = {_bare(one) for one in addresses}
        if len(held) == 1:  # the other family's, too
            wanted |= {_bare(one) for endpoint in held.values() for one in endpoint.addresses}
        reservation = next((kept for key in held if (kept := self._reservation(key))), "")
        for key in held:
            self.release(key)
        return self.claim(network, sorted(wanted), mac, name, labels, reservation)

    def release_address(self, network: str, address: str) -> None:
        holder = self.holder(network, address)
        if holder is not None:
            self.release(holder.key)

    def release(self, key: Key) -> None:
        """Succeeds for what is not claimed, and while the API is away."""
        known = self._attacher.known()
        with self._lock:
            self._claims.pop(key, None)
            self._idle.pop(key, None)
            self._gone &= {one.id for one in known}
            self._gone |= {one.id for one in known if one.key == key}
        self._attacher.detach(key)

    def holder(self, network: str, address: str) -> Endpoint | None:
        """Who of this host has the address, `10.0.0.9` or `10.0.0.9/24`, through Docker."""
        found = [one for one in self._known() if one.network == network and _bare(address) in map(_bare, one.addresses)]
        return max(found, key=lambda one: one.id, default=None)

    def sweep(self, now: float) -> list[Key]:
        """Release claims that have been without an interface for too long. Whatever dockerd could not tell is made up
        for here."""
        placed = self._attacher.placed(peer_of)
        dead = []
        for endpoint in self._known():
            if endpoint.key in placed:  # Docker puts an interface back where it was when it takes it out of a container
                self._idle.pop(endpoint.key, None)
            elif now - self._idle.setdefault(endpoint.key, now) >= GRACE:
                dead.append(endpoint.key)
        for key in dead:
            log.info("released %s: no container has had its interface for %g s", key[0], GRACE)
            self.release(key)
        return dead

    def _reservation(self, key: Key) -> str:
        claim = self._claims.get(key)
        return str(claim.wish.get("reservation", "")) if claim else ""

    def _known(self) -> list[Endpoint]:
        known = self._attacher.known()
        return [one for one in known if one.container_id.startswith(OURS) and one.id not in self._gone]

    def _held(self, key: Key) -> Endpoint | None:
        return max((one for one in self._known() if one.key == key), key=lambda one: one.id, default=None)

    def _key(self, network: str, mac: str) -> Key:
        return OURS + mac.replace(":", ""), _short(network)


def peer_of(endpoint: Endpoint) -> str:
    """What the container's end is called until Docker moves it."""
    return f"{endpoint.port_name}c"


def _bare(address: str) -> str:
    """An address without its prefix length, written as Docker and the API write it."""
    return str(ipaddress.ip_interface(address).ip)


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]
