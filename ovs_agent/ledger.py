"""What the agent knows at this moment, shared between its threads.

The last wanted document, the endpoints attached since it was written, and which interfaces somebody is working on.
It decides who waits for whom; it does no input or output, and never says what is to be done.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from ovs_agent.document import Endpoint, Wanted
from ovs_agent.plan import Local, Ssl, endpoints

Key = tuple[str, str]
"""Container and interface name."""


class Busy(Exception):  # noqa: N818
    """Somebody else works on the same interface, and has not finished in time."""


class Ledger:
    def __init__(self, bridge: str, datapath_type: str, physical: Mapping[str, str]) -> None:
        self._bridge = bridge
        self._datapath_type = datapath_type
        self._physical = physical
        self._lock = threading.Condition()
        self._wanted: Wanted | None = None
        self._fresh = False
        self._attached: dict[int, tuple[int, Endpoint]] = {}
        self._detached: set[int] = set()  # ids that the document may still have
        self._working: dict[Key, set[str]] = {}  # with the port names concerned
        self._touched: set[str] = set()
        self.ssl: Ssl | None = None

    def received(self, wanted: Wanted, fresh: bool) -> None:
        """A document from the API, or (not `fresh`) the last one of an earlier run, read from disk."""
        with self._lock:
            if self._fresh and not fresh:
                return
            self._wanted, self._fresh = wanted, fresh
            self._detached &= {endpoint.id for endpoint in wanted.endpoints}
            for id, (revision, _) in tuple(self._attached.items()):
                if fresh and revision <= wanted.revision:
                    del self._attached[id]

    @property
    def revision(self) -> int | None:
        """The document's revision, if the API sent it in this run."""
        with self._lock:
            return self._wanted.revision if self._wanted is not None and self._fresh else None

    def begin_look(self) -> None:
        """Call before looking at the host. Whatever is worked on until `knowledge` counts as busy: what was seen of
        it may be half of a change."""
        with self._lock:
            self._touched = {name for names in self._working.values() for name in names}

    def knowledge(self) -> tuple[Wanted | None, Local]:
        """The document without what was detached since it was written, and what it does not say."""
        with self._lock:
            local = Local(
                self._bridge,
                self._datapath_type,
                self._fresh,
                tuple(self._attached.values()),
                frozenset(self._touched),
                self._physical,
                self.ssl,
            )
            wanted = self._wanted
            if wanted is not None and self._detached:
                kept = tuple(endpoint for endpoint in wanted.endpoints if endpoint.id not in self._detached)
                wanted = wanted._replace(endpoints=kept)
            return wanted, local

    @contextmanager
    def working(self, key: Key, seconds: float) -> Iterator[None]:
        """One at a time per interface. Raises Busy."""
        with self._lock:
            if not self._lock.wait_for(lambda: key not in self._working, seconds):
                raise Busy(f"Interface {key[1]} of container {key[0]} is being worked on; try again.")
            self._working[key] = set()
            self._lock.notify_all()
        try:
            yield
        finally:
            with self._lock:
                del self._working[key]
                self._lock.notify_all()

    def touch(self, key: Key, port_name: str) -> None:
        """Within `working`: from now on this port is nobody else's business."""
        with self._lock:
            self._working[key].add(port_name)
            self._touched.add(port_name)

    def attached(self, endpoint: Endpoint, revision: int) -> None:
        with self._lock:
            self._detached.discard(endpoint.id)
            if not self._fresh or self._wanted is None or revision > self._wanted.revision:
                self._attached[endpoint.id] = (revision, endpoint)

    def forget(self, endpoint: Endpoint) -> None:
        with self._lock:
            self._attached.pop(endpoint.id, None)
            self._detached.add(endpoint.id)

    def endpoints(self) -> tuple[Endpoint, ...]:
        """The endpoints of the document, however old it is, and those attached since."""
        wanted, local = self.knowledge()
        return endpoints(wanted, local) if wanted is not None else tuple(e for _, e in local.attached)

    def find(self, key: Key) -> Endpoint | None:
        # The newest: an interface that was detached and attached again may still be in the document as it was.
        return max((endpoint for endpoint in self.endpoints() if endpoint.key == key), key=lambda e: e.id, default=None)

    def quiet(self, seconds: float, longest: float) -> None:
        """Return when nothing was worked on for `seconds`, or after `longest`."""
        deadline = time.monotonic() + longest
        with self._lock:
            while (rest := deadline - time.monotonic()) > 0:
                if self._working:
                    self._lock.wait(rest)
                elif not self._lock.wait(min(seconds, rest)):
                    return
