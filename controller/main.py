"""`warren controller`: opens the database, listens for switches, and runs the loop until it is told to stop."""

from __future__ import annotations

import gc
import logging
import signal
import socket
import sys
from pathlib import Path
from queue import SimpleQueue

import click

from controller.account import Account
from controller.announcements import Announcements
from controller.loop import Changed, Event, Loop, Stop
from controller.model import Change
from controller.resolver import Resolver
from controller.status import HostProgress, Recorder
from controller.switch.app import Switches, Tls
from controller.watch import Watcher, first_world
from controller.world import World
from db import controllers, convergence, counters, denials, migrate, traffic
from db.authority import Authority, own_names
from db.cli import tls_dir
from db.engine import create_engine, writing
from db.errors import DomainError

log = logging.getLogger("warren.controller")


@click.command(name="controller")
@click.option(
    "--db", "database", envvar="WARREN_DB", required=True, help="Database URL: sqlite:////path or postgresql://."
)
@click.option("--listen", default="127.0.0.1:6653", show_default=True, help="ADDRESS:PORT that bridges connect to.")
@click.option("--name", default=socket.gethostname, show_default="this machine's name", help="This controller's name.")
@click.option("--audit-seconds", default=15.0, show_default=True, help="How often each bridge's flows are read back.")
@tls_dir
@click.option("--insecure-tcp", is_flag=True, help="OpenFlow without TLS: for labs.")
@click.option("--tls-key", type=click.Path(exists=True, path_type=Path), help="Private key, instead of --tls-dir's.")
@click.option("--tls-cert", type=click.Path(exists=True, path_type=Path), help="Certificate of this controller.")
@click.option("--tls-ca", type=click.Path(exists=True, path_type=Path), help="Authority of the bridges' certificates.")
@click.option("--verbose", is_flag=True, help="Log every revision.")
def cli(
    database: str,
    listen: str,
    name: str,
    audit_seconds: float,
    tls_key: Path | None,
    tls_cert: Path | None,
    tls_ca: Path | None,
    verbose: bool,
    folder: Path,
    insecure_tcp: bool,
) -> None:
    """Compile the database into flows and keep every host's bridge at them.

    Bridges connect by TLS and show certificates that the API signed for their hosts. The authority is in --tls-dir,
    which the API and the controller share; where they run on two machines, copy it.

    Example: warren controller --db sqlite:////var/lib/warren/warren.db --listen 192.0.2.10:6653
    """
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.INFO,
        format="%(asctime)s %(levelname)s %(message)s",
        stream=sys.stderr,
    )
    logging.getLogger("os_ken").setLevel(logging.WARNING)
    given = _tls(tls_key, tls_cert, tls_ca)
    if given and insecure_tcp:
        raise click.UsageError("--insecure-tcp and --tls-key exclude each other; leave one out")
    address, port = _listen(listen)
    try:
        tls = None if insecure_tcp else given or _own_tls(folder, listen)
        run(database, address, port, name, audit_seconds, tls)
    except (DomainError, OSError) as error:
        raise click.ClickException(str(error)) from error


def run(database: str, address: str, port: int, name: str, audit_seconds: float, tls: Tls | None) -> None:
    engine = create_engine(database)
    migrate.require(engine)
    with writing(engine) as session:
        controllers.started(session, name)
        account = Account(counters.load(session))
    target = f"{'ssl' if tls else 'tcp'}:{_bracketed(address)}:{port}"
    spare_collector()
    world = first_world(engine)
    mailbox: SimpleQueue[Event] = SimpleQueue()

    def write(revision: int, hosts: dict[int, HostProgress]) -> None:
        with account.noted() as (counts, decisions, carried), writing(engine) as session:
            convergence.record(session, name, target, revision, hosts)
            counters.record(session, counts)
            denials.record(session, decisions)
            traffic.carry(session, carried)

    switches = Switches(address, port, mailbox.put, tls)
    recorder = Recorder(write)
    resolver = Resolver(engine, world)
    announcements = Announcements(engine, world)

    def post(world: World, changes: list[Change]) -> None:
        resolver.follow(world)
        announcements.follow(world)
        mailbox.put(Changed(world, changes))

    watcher = Watcher(engine, world, post)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: mailbox.put(Stop()))
    switches.start()
    watcher.start()
    resolver.start()
    announcements.start()
    log.info("controller %s listens at %s; world at revision %d", name, target, world.revision)
    try:
        Loop(*(world, mailbox, switches, recorder, account, resolver.heard, announcements.heard, audit_seconds)).run()
    finally:
        watcher.stop()
        resolver.close()
        announcements.close()
        recorder.close()
        switches.stop()
    log.info("controller %s stopped; the bridges go on with the flows they have", name)


def spare_collector() -> None:
    """Worlds and programs are values without cycles: to look for some in all of them, time and again as they are made,
    is a third of a cold start."""
    gc.set_threshold(200_000)


def _listen(text: str) -> tuple[str, int]:
    address, _, port = text.rpartition(":")
    if not address or not port.isdigit() or not 0 < int(port) < 65536:
        raise click.BadParameter(
            f"{text!r} is not ADDRESS:PORT; write for example 192.0.2.10:6653", param_hint="--listen"
        )
    return address.strip("[]"), int(port)


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _own_tls(folder: Path, listen: str) -> Tls:
    authority = Authority(folder)
    files = authority.for_this_machine("controller", own_names([listen]))
    return Tls(files.key, files.certificate, authority.files.certificate)


def _tls(key: Path | None, certificate: Path | None, authority: Path | None) -> Tls | None:
    given = [path for path in (key, certificate, authority) if path is not None]
    if not given:
        return None
    if key is None or certificate is None or authority is None:
        raise click.UsageError("TLS needs all three of --tls-key, --tls-cert and --tls-ca")
    return Tls(key, certificate, authority)
