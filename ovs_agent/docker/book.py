"""What is remembered for dockerd, on disk: it tells of a network and of a pool once, and never again.

It decides names and formats of the files, and that memory and disk agree. It refuses to know what follows from them.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping
from logging import getLogger
from pathlib import Path
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from ovs_agent.state import read_json, write_json

log = getLogger(__name__)


class Pool(NamedTuple):
    """A subnet of one Docker network. `docker_network` and, often, `network` are "" until CreateNetwork names them."""

    id: str
    subnet: str
    range: str  # the part of it that is given to who asks for none, "" for all
    network: str  # Warren's, TENANT/NETWORK
    docker_network: str
    gateway: str
    asked_at: float  # seconds since the epoch


class Net(NamedTuple):
    """A Docker network. `own`: made for it alone, and removed with it. `mesh`: all hosts publish the ports of its
    containers. `ended`: Docker has removed it, and Warren's is still there."""

    id: str
    network: str
    internal: bool
    own: bool
    mesh: bool = False
    ended: bool = False


class Joint(NamedTuple):
    """A Docker endpoint. `ports` are what was published; `way_in` says that they would be this endpoint's."""

    id: str
    net: str
    container_id: str
    ifname: str
    wish: Mapping[str, Any]
    addresses: tuple[str, ...]
    ports: tuple[tuple[Any, ...], ...] = ()
    way_in: bool = False
    mesh: bool = False  # all hosts publish them

    @property
    def key(self) -> tuple[str, str]:
        """As `Endpoint.key`."""
        return self.container_id, self.ifname


class Row(Protocol):
    @property
    def id(self) -> str: ...

    @property
    def _fields(self) -> tuple[str, ...]: ...

    def _asdict(self) -> dict[str, Any]: ...


R = TypeVar("R", bound=Row)


class Shelf(Generic[R]):
    """Rows of one kind, each in a file of its own. Safe to share between threads. Fields that an older agent wrote and
    this one does not know are left out."""

    def __init__(self, folder: Path, kind: type[R], force: bool) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder = folder
        self._force = force
        self._lock = threading.Lock()
        self._rows: dict[str, R] = {}
        for path in folder.glob("*.json"):
            try:
                said = read_json(path) or {}
                row = kind(**{key: _plain(value) for key, value in said.items() if key in kind._fields})
            except TypeError:
                log.warning("%s cannot be read and is left out", path)
                continue
            self._rows[row.id] = row

    def get(self, id: str) -> R | None:
        return self._rows.get(id)

    def all(self) -> list[R]:
        with self._lock:
            return list(self._rows.values())

    def put(self, row: R) -> None:
        with self._lock:
            self._rows[row.id] = row
            write_json(self._file(row.id), row._asdict(), force=self._force)

    def drop(self, id: str) -> R | None:
        with self._lock:
            row = self._rows.pop(id, None)
            self._file(id).unlink(missing_ok=True)
            return row

    def _file(self, id: str) -> Path:
        return self._folder / f"{hashlib.sha256(id.encode()).hexdigest()[:32]}.json"


class Book:
    """Endpoints end with a power cut, and may be forgotten then: they are not forced to the disk."""

    def __init__(self, folder: Path) -> None:
        self.pools = Shelf(folder / "pools", Pool, force=True)
        self.nets = Shelf(folder / "networks", Net, force=True)
        self.joints = Shelf(folder / "endpoints", Joint, force=False)


def _plain(value: Any) -> Any:
    """A value read from JSON, as it was before it was written: lists become tuples again."""
    return tuple(value) if isinstance(value, list) else value
