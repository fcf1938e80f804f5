"""Endpoints that take a shared address over, on their way to the database, from where every controller takes it.

The loop passes copies on and does not wait; a thread of its own writes down who has the address now. An address changes
hands at most once in a moment: two that both claim it would otherwise be a revision for each of their packets. It makes
no flows: they follow from what is in the database then.
"""

from __future__ import annotations

import logging
import threading
import time
from contextlib import suppress
from queue import Empty, Full, Queue

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from controller.calc.announced import Takeover, takeover
from controller.model import ip_address
from controller.openflow.decode import PacketIn
from controller.world import World
from db import allowed
from db.changes import transaction
from db.errors import DomainError

log = logging.getLogger("warren.controller")

MOMENT_SECONDS = 0.5
MOST_WAITING = 1000


class Announcements:
    def __init__(self, engine: Engine, world: World) -> None:
        self._engine = engine
        self._world = world
        self._heard: Queue[tuple[int, PacketIn] | None] = Queue(MOST_WAITING)
        self._taken: dict[tuple[int, int, int, int], float] = {}  # when, by network and address
        self._thread = threading.Thread(target=self._run, name="announcements", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def follow(self, world: World) -> None:
        self._world = world

    def heard(self, host: int, packet: PacketIn) -> None:
        with suppress(Full):  # whoever means it says it again
            self._heard.put_nowait((host, packet))

    def close(self) -> None:
        self._heard.put(None)
        self._thread.join(5)

    def take(self, host: int, packet: PacketIn, now: float) -> bool:
        """Whether the address has changed hands."""
        told = takeover(self._world, host, packet.fields.get("in_port"), packet.packet)
        if told is None:
            return False
        endpoint, pair = self._world.endpoints[told.endpoint], told.pair
        place = endpoint.network, pair.version, pair.network, pair.prefix
        if now - self._taken.get(place, now - MOMENT_SECONDS) < MOMENT_SECONDS:
            return False
        self._taken = {key: at for key, at in self._taken.items() if now - at < MOMENT_SECONDS} | {place: now}
        with transaction(self._engine) as tx:
            changed = allowed.take_over(tx, endpoint.id, _cidr(told))
        if changed:
            log.info("%s takes %s over", endpoint.name, _cidr(told))
        return changed

    def _run(self) -> None:
        while True:
            try:
                heard = self._heard.get(timeout=1.0)
            except Empty:
                continue
            if heard is None:
                return
            try:
                self.take(*heard, time.monotonic())
            except (DomainError, SQLAlchemyError) as error:
                log.error("who has a shared address could not be written down (%s)", error)
            except Exception:
                log.exception("an announcement could not be read; it does not count")


def _cidr(told: Takeover) -> str:
    return f"{ip_address(told.pair.version, told.pair.network)}/{told.pair.prefix}"
