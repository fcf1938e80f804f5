"""The control plane of a lab: database, web and controller, in the fabric's namespace.

Agents reach the API over the underlay; people reach it on a loopback socket that is made in the root namespace and
handed to the web process, so the root namespace gets no device and no route. What the programs do is their business.
"""

from __future__ import annotations

import errno
import json
import socket
import sys
import time
from pathlib import Path

from client.rest import Problem, Rest, Unreachable
from lab import netns, state
from lab.names import FABRIC_ADDRESS, OPENFLOW_PORT, WEB_PORT, LabError, fabric_netns
from lab.process import Daemon, environment

ADMIN = "admin"


def database(lab_dir: Path) -> str:
    return f"sqlite:///{lab_dir}/warren.db"


def warren(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "client", *arguments]


def address(port: int) -> str:
    """The API and the UI, for people."""
    return f"http://127.0.0.1:{port}"


def daemon(lab_dir: Path, name: str) -> Daemon:
    return Daemon(lab_dir, name)


def prepare(lab_dir: Path, port: int) -> None:
    """The database with its schema and an administrator, and the file that points `warren` at this lab."""
    if (lab_dir / "client.json").exists():
        return
    password, token = lab_dir / "admin.password", lab_dir / "admin.token"
    url, env = database(lab_dir), environment(lab_dir)
    netns.run(*warren("db", "upgrade", "--db", url), env=env)
    credentials = ("--user", ADMIN, "--password-file", str(password), "--token-file", str(token))
    netns.run(*warren("db", "init-admin", "--db", url, *credentials), env=env)
    state.write(lab_dir / "client.json", {"api": address(port), "token": token.read_text().strip()})


def start_web(lab: str, port: int, held: socket.socket | None = None) -> None:
    """`held`: what listens there for people already."""
    lab_dir = state.folder(lab)
    web = daemon(lab_dir, "web")
    if web.process:
        return
    # Both as inherited sockets: gunicorn makes none itself once it is given one.
    with held or _listen("127.0.0.1", port) as people, netns.inside(fabric_netns(lab)):
        with _listen(FABRIC_ADDRESS, WEB_PORT) as agents:
            fds = (people.fileno(), agents.fileno())
            binds = [part for fd in fds for part in ("--bind", f"fd://{fd}")]
            web.start(warren("web", "--insecure-http", "--db", database(lab_dir), *binds), lab_dir, fds=fds)


def start_controller(lab: str) -> None:
    lab_dir = state.folder(lab)
    controller = daemon(lab_dir, "controller")
    if controller.process:
        return
    where = ("--insecure-tcp", "--listen", f"{FABRIC_ADDRESS}:{OPENFLOW_PORT}")
    with netns.inside(fabric_netns(lab)):
        controller.start(warren("controller", "--db", database(lab_dir), *where, "--name", "ctl1"), lab_dir)


def wait_for_web(lab: str) -> None:
    lab_dir = state.folder(lab)
    rest = session(lab)

    def answers() -> bool:
        try:
            rest.get("/whoami", timeout=2)
        except (Unreachable, Problem):
            return False
        return True

    daemon(lab_dir, "web").wait_until(answers, "The web process")


def wait_for_controller(lab: str) -> None:
    def listens() -> bool:
        with netns.inside(fabric_netns(lab)), socket.socket() as line:
            return line.connect_ex((FABRIC_ADDRESS, OPENFLOW_PORT)) == 0

    daemon(state.folder(lab), "controller").wait_until(listens, "The controller")


def session(lab: str) -> Rest:
    """The lab's API, as its administrator."""
    try:
        said = json.loads((state.folder(lab) / "client.json").read_text())
    except FileNotFoundError:
        raise LabError(f"Lab '{lab}' is not up; `warren lab up` starts it.") from None
    return Rest(said["api"], said["token"])


def listen(wanted: int = 0) -> socket.socket:
    """Where people find a new lab: at `wanted` if nobody listens there, else where the kernel says. It is held from now
    on, as another lab may start at the same moment."""
    for port in (wanted, 0):
        try:
            return socket.create_server(("127.0.0.1", port), backlog=128)
        except OSError:
            continue
    raise LabError("No port is free on 127.0.0.1.")


def _listen(address: str, port: int, seconds: float = 60.0) -> socket.socket:
    """The worker of a web process that was killed keeps its sockets for a moment longer."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return socket.create_server((address, port), backlog=128)
        except OSError as fault:
            if fault.errno != errno.EADDRINUSE or time.monotonic() > deadline:
                raise LabError(
                    f"Cannot listen on {address}:{port} ({fault.strerror}); what holds it? `ss -ltnp`"
                ) from fault
            time.sleep(0.02)
