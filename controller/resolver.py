"""What endpoints are told by DNS, on its way to the database, from where every controller takes it.

The loop passes copied answers on and does not wait; a thread of its own reads them, keeps what some policy's names
mean, and writes down what is news: answers that follow each other within a moment together. Now and then it takes away
what has lapsed or what no policy means any more. It makes no flows: they follow from what is in the database then.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from queue import Empty, Full, Queue

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from controller import dns
from controller.calc.answers import is_believed, is_from_resolver, is_passed_on, messages
from controller.calc.names import IpAddress, Lifetime, Told
from controller.model import DomainName
from controller.openflow.decode import PacketIn
from controller.world import World
from db import resolved
from db.changes import Transaction, transaction
from db.engine import reading
from db.errors import DomainError

log = logging.getLogger("warren.controller")

GATHER_SECONDS = 0.02
"""How long an answer waits for others, A for AAAA most of all, so that they are one revision."""
SWEEP_SECONDS = 5.0
RETRY_SECONDS = 1.0
MOST_WAITING = 10_000
MOST_ADDRESSES = 1000
"""Addresses of a name as rules say it, and names below `*.example.org`, whose owner may answer without end."""

_LIFETIME = Lifetime()


class Resolver:
    def __init__(
        self, engine: Engine, world: World, lifetime: Lifetime = _LIFETIME, clock: Callable[[], float] = time.time
    ) -> None:
        self._engine = engine
        self._world = world
        self._lifetime = lifetime
        self._clock = clock
        self._heard: Queue[PacketIn | None] = Queue(MOST_WAITING)
        self._until: dict[tuple[str, IpAddress], float] = {}  # as the database has it, or earlier
        self._unmeant: dict[str, float] = {}  # since when no policy means the name
        self._full: set[DomainName] = set()
        self._thread = threading.Thread(target=self._run, name="resolver", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def follow(self, world: World) -> None:
        self._world = world

    def heard(self, packet: PacketIn) -> None:
        """A copy of what may be an answer to an endpoint."""
        try:
            self._heard.put_nowait(packet)
        except Full:
            log.warning("DNS answers come faster than they are read; one of them does not count")

    def close(self) -> None:
        self._heard.put(None)
        self._thread.join(5)

    def learn(self, packets: list[PacketIn]) -> None:
        """Writes down what these answers say that is news."""
        if news := self._news([told for packet in packets for told in self._told(packet)]):
            with self._transaction() as tx:
                known = resolved.learn(tx, news, self._lifetime)
            for one in news:
                self._until[one.name, one.address] = known[one.name][one.address]

    def sweep(self) -> None:
        """Takes away what has lapsed, and names that nobody has meant for a while."""
        now = self._clock()
        unused = self._unused(now)
        with reading(self._engine) as session:
            lapsed = resolved.has_lapsed(session, self._lifetime, datetime.fromtimestamp(now, UTC))
        if lapsed or unused:
            with self._transaction() as tx:
                resolved.lapse(tx, self._lifetime)
                resolved.forget(tx, unused)
        end = self._lifetime.lapsed_before(now)
        self._until = {key: until for key, until in self._until.items() if until > end}

    def _transaction(self) -> AbstractContextManager[Transaction]:
        return transaction(self._engine, datetime.fromtimestamp(self._clock(), UTC))

    def _told(self, packet: PacketIn) -> list[Told]:
        if not is_believed(self._world, packet.fields):
            return []
        told = messages(packet.packet)
        if is_from_resolver(packet.fields):
            told = [message for message in told if is_passed_on(message)]
        chains = filter(None, map(dns.read, told))
        return [told for chain in chains for told in chain.told()]

    def _news(self, told: list[Told]) -> list[Told]:
        world, now, news = self._world, self._clock(), []
        for one in told:
            domains = world.domains_meaning(one.name)
            is_known = one.address in world.addresses_of(DomainName(one.name))
            until = self._until.get((one.name, one.address)) if is_known else None
            if not domains or not self._lifetime.is_news(until, one, now):
                continue
            if is_known or self._has_room(domains, one.name):
                news.append(one)
        return news

    def _has_room(self, domains: list[DomainName], name: str) -> bool:
        names = self._world.names_of_domain
        if any(
            (name in names or len(names.get(domain.name, ())) < MOST_ADDRESSES)
            and len(self._world.addresses_of(domain)) < MOST_ADDRESSES
            for domain in domains
        ):
            self._full.difference_update(domains)
            return True
        if not self._full.issuperset(domains):
            self._full.update(domains)
            text = "%s has %d addresses or names already; more, as of %s, do not count: name fewer in the policy"
            log.warning(text, domains[0].name, MOST_ADDRESSES, name)
        return False

    def _unused(self, now: float) -> list[str]:
        """A policy that is deleted and soon made again finds what was known."""
        unmeant = [name.name for name in self._world.names.values() if not self._world.domains_meaning(name.name)]
        self._unmeant = {name: self._unmeant.get(name, now) for name in unmeant}
        return [name for name, since in self._unmeant.items() if now - since >= self._lifetime.grace]

    # The thread.

    def _run(self) -> None:
        waiting: list[PacketIn] = []
        next_sweep = time.monotonic() + SWEEP_SECONDS
        closing = False
        while not closing:
            closing = self._gather(waiting, next_sweep)
            try:
                self.learn(waiting)
                waiting.clear()
                if not closing and time.monotonic() >= next_sweep:
                    next_sweep = time.monotonic() + SWEEP_SECONDS
                    self.sweep()
            except (DomainError, SQLAlchemyError) as error:
                log.error("DNS answers cannot be written down (%s); trying again", error)
                del waiting[:-MOST_WAITING]
                time.sleep(RETRY_SECONDS)
            except Exception:
                log.exception("%d DNS answers could not be read; they do not count", len(waiting))
                waiting.clear()

    def _gather(self, waiting: list[PacketIn], next_sweep: float) -> bool:
        """Into `waiting`, until a moment after the first; True when nothing more will come."""
        end = next_sweep if not waiting else time.monotonic()
        while True:
            try:
                packet = self._heard.get(timeout=max(0.0, end - time.monotonic()))
            except Empty:
                return False
            if packet is None:
                return True
            if not waiting:
                end = time.monotonic() + GATHER_SECONDS
            waiting.append(packet)
