"""What a lab remembers in `/run/warren/NAME`: its size, its API's port, who owns it, and one file per endpoint.

Files are written whole and renamed, so a reader never sees half of one. Processes remember themselves (lab.process).
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from lab.names import RUN, HostName, LabError
from lab.process import Process


class State(NamedTuple):
    """`ready` is set once the lab came up whole; `owner` is the process whose death makes the lab a remnant."""

    hosts: int
    port: int
    owner: Process | None = None
    ready: bool = False
    docker: bool = False
    podman: bool = False


class Placed(NamedTuple):
    """An endpoint of the lab, with what its removal needs: the configuration and result of its CNI ADD."""

    name: str
    tenant: str
    network: str
    host: str
    netns: str
    container_id: str
    addresses: tuple[str, ...] = ()
    mac: str = ""
    config: dict[str, Any] = {}  # noqa: RUF012 - never changed
    args: str = ""
    result: dict[str, Any] = {}  # noqa: RUF012


def folder(lab: str) -> Path:
    return RUN / lab


def load(lab: str) -> State | None:
    said = _read(folder(lab) / "lab.json")
    if said is None:
        return None
    owner = said.get("owner")
    return State(**{**said, "owner": Process(*owner) if owner else None})


def save(lab: str, state: State) -> None:
    folder(lab).mkdir(parents=True, exist_ok=True)
    folder(lab).chmod(0o700)
    write(folder(lab) / "lab.json", state._asdict())


def running(lab: str) -> State:
    """The state of a lab that is up."""
    state = load(lab)
    if state is None or not state.ready:
        raise LabError(f"Lab '{lab}' is not up; `warren lab up` starts it (other labs: `warren lab list`).")
    return state


def labs() -> list[str]:
    return sorted(entry.parent.name for entry in RUN.glob("*/lab.json"))


def place(lab: str, endpoint: Placed) -> None:
    """Remember a new endpoint. Its name must be free: the file is its claim."""
    target = _endpoint_file(lab, endpoint.name)
    target.parent.mkdir(exist_ok=True)
    fresh = target.with_name(f".{endpoint.name}.{os.getpid()}")
    fresh.write_text(json.dumps(endpoint._asdict()))
    try:
        os.link(fresh, target)
    except FileExistsError:
        raise LabError(
            f"Lab '{lab}' has an endpoint '{endpoint.name}'; choose another name or `warren lab rm {endpoint.name}`."
        ) from None
    finally:
        fresh.unlink()


def update(lab: str, endpoint: Placed) -> None:
    write(_endpoint_file(lab, endpoint.name), endpoint._asdict())


def forget(lab: str, name: str) -> None:
    _endpoint_file(lab, name).unlink(missing_ok=True)


def endpoint(lab: str, name: str) -> Placed:
    said = _read(_endpoint_file(lab, name))
    if said is None:
        known = ", ".join(one.name for one in endpoints(lab)) or "none yet"
        raise LabError(f"No endpoint '{name}' in lab '{lab}' (there are: {known}).")
    return _placed(said)


def endpoints(lab: str) -> list[Placed]:
    files = sorted((folder(lab) / "endpoints").glob("[!.]*.json"))
    return [_placed(said) for said in map(_read, files) if said is not None]


def hosts(lab: str, count: int) -> list[HostName]:
    return [HostName(lab, n) for n in range(1, count + 1)]


@contextmanager
def locked(lab: str) -> Iterator[None]:
    """One at a time may build or take down a lab. The lock's file goes with the lab."""
    RUN.mkdir(parents=True, exist_ok=True)
    target = RUN / f".{lab}.lock"
    while True:
        fd = os.open(target, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(fd, fcntl.LOCK_EX)
        if target.exists() and os.fstat(fd).st_ino == target.stat().st_ino:
            break
        os.close(fd)
    try:
        yield
    finally:
        if not folder(lab).exists():
            target.unlink(missing_ok=True)
        os.close(fd)


def write(target: Path, said: Any) -> None:
    fresh = target.with_name(f".{target.name}.{os.getpid()}")
    fresh.write_text(json.dumps(said, indent=1))
    fresh.chmod(0o600)
    fresh.replace(target)


def _endpoint_file(lab: str, name: str) -> Path:
    return folder(lab) / "endpoints" / f"{name}.json"


def _placed(said: dict[str, Any]) -> Placed:
    return Placed(**{**said, "addresses": tuple(said["addresses"])})


def _read(source: Path) -> Any:
    try:
        return json.loads(source.read_text())
    except (FileNotFoundError, NotADirectoryError):
        return None
