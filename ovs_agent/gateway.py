"""The host's end of the way out: the interface's addresses, forwarding, and Warren's own table of nftables.

It looks when something changed and now and then, and puts right what is not as it should be; what the rules are is
decided in `nat`. Tables of others are never touched.
"""

from __future__ import annotations

import errno
import json
import socket
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from logging import getLogger
from pathlib import Path
from typing import NamedTuple

from ovs_agent import lifeline, nat
from ovs_agent.document import Endpoint, Published
from ovs_agent.ledger import Ledger
from ovs_agent.listening import but_reserved, listeners
from ovs_agent.netlink import connections, routes, veth
from ovs_agent.netlink.look import addressed, index_of, own_addresses
from ovs_agent.netlink.rules import generation
from ovs_agent.plan import endpoints

log = getLogger(__name__)
INTERVAL = 10.0
"""Seconds between looks when nobody wakes it."""
BREATH, LONGEST_BREATH = 0.05, 1.0
"""Seconds from a change to a look: it waits until nothing was attached for one breath, but not for ever."""
NETLINK_NETFILTER, NFTABLES = 12, 7  # the protocol, and its group that tells of changed rules
_SYSCTL = Path("/proc/sys/net")
_NOT_INSTALLED = "nft is not installed here, so endpoints do not get out: install Debian's package nftables."


class Fault(Exception):  # noqa: N818
    """nft did not do what it was told."""


class Ports(NamedTuple):
    """How published ports are: as they should be at `revision`, but those that are `closed`, by id and with the reason.
    `addresses` are those by which the host is known; None while nobody has looked."""

    revision: int = 0
    closed: Mapping[str, str] = {}
    addresses: tuple[str, ...] | None = None


class Gateway:
    """`told` gets what is wrong and cannot be put right, a sentence each, when that changes; `ports_changed` is called
    when others are open than before."""

    def __init__(
        self,
        bridge: str,
        api: str,
        ledger: Ledger,
        told: Callable[[tuple[str, ...]], None],
        ports_changed: Callable[[], None],
    ) -> None:
        self._name = nat.gateway_port(bridge)
        self._api = api
        self._api_addresses: frozenset[str] = frozenset()
        self._ledger = ledger
        self._told = told
        self._ports_changed = ports_changed
        self._woken = threading.Event()
        self._stopping = False
        self._disturbed = True  # something may be other than it was left
        self._index: int | None = None
        self._loaded: tuple[str, str | None] | None = None  # the rules, and how the kernel lists them, if that is known
        self._open: tuple[nat.Ways, Mapping[str, str]] | None = None  # what connections were compared with
        self._problems: tuple[str, ...] = ()
        self._done = threading.Condition()
        self.ports = Ports()
        self._published: Sequence[Published] = ()  # that were looked after last
        self._opened: set[int] | None = None  # ids of those that lead to their endpoints; None before the first look
        self._readdressed = True  # the host may have other addresses than before
        self._own: frozenset[str] = frozenset()
        self._interfaces: Sequence[tuple[str, str]] = ()  # others than the bridge's, each with an address
        self._others: tuple[str, ...] = ()  # what is wrong with what others do

    def wake(self) -> None:
        self._woken.set()

    def readdressed(self) -> None:
        self._readdressed = True
        self.wake()

    def start(self) -> None:
        for name, work in (("gateway", self._run), ("rules", self._listen)):
            threading.Thread(target=work, name=name, daemon=True).start()

    def stop(self) -> None:
        """What is set up stays, as containers keep their network."""
        self._stopping = True
        self.wake()

    def settled(self, revision: int, seconds: float) -> Ports | None:
        """How published ports are as soon as those of a revision were opened; None: not after `seconds` either."""
        with self._done:
            there = self._done.wait_for(lambda: self.ports.revision >= revision, seconds)
            return self.ports if there else None

    def _run(self) -> None:
        while not self._stopping:
            self._woken.clear()
            whole, self._disturbed = self._disturbed, False
            try:
                problems = self._look(whole)
            except (Fault, OSError) as fault:
                problems, self._disturbed = (str(fault),), True
                self._not_opened(str(fault).rstrip("."))
            except Exception:
                log.exception("a look at the way out failed")
                problems, self._disturbed = (), True
            if problems != self._problems:
                self._problems = problems
                self._told(problems)
            if self._woken.wait(INTERVAL):
                self._ledger.quiet(BREATH, LONGEST_BREATH)
            else:
                self._disturbed = True

    def _listen(self) -> None:
        """Wakes it after every change of a rule in this namespace, whoever made it."""
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER) as channel:
            channel.settimeout(1.0)
            channel.bind((0, 1 << NFTABLES - 1))
            while not self._stopping:
                try:
                    channel.recv(65536)
                except TimeoutError:
                    continue
                except OSError as fault:
                    if fault.errno != errno.ENOBUFS:  # more changes than fit: that is a change, too
                        raise
                self._disturbed = True
                self.wake()

    def _look(self, whole: bool) -> tuple[str, ...]:
        """What is wanted, and with `whole` also whether it is still there: an attach is not to wait for that."""
        index = index_of(self._name)
        if index is None:
            return ()  # the bridge is being made
        if whole or index != self._index:
            self._set_up()
            self._index, whole = index, True
        wanted, local = self._ledger.knowledge()
        published = wanted.published if wanted else ()
        here: Sequence[Endpoint] = list(endpoints(wanted, local)) if wanted else ()
        number = wanted.number if wanted else 0
        if self._readdressed or whole:
            self._readdressed = False
            self._own = frozenset(own_addresses())
            self._interfaces = [one for one in addressed() if one[0] != self._name]
            self._api_addresses = self._api_addresses or lifeline.addresses_of(self._api)
        spared: tuple[str, ...] = ()
        if wanted is not None:
            lines = lifeline.lifelines(wanted, self._api_addresses, self._interfaces)
            here, spared = lifeline.spare(here, lines)
        occupied = self._occupied(published) if wanted else {}
        open_ones = [one for one in published if one not in occupied]
        rules = nat.ruleset(self._name, open_ones, here, number)
        if whole or self._loaded is None or self._loaded[0] != rules:
            routes.keep(self._name, nat.networks(open_ones, here))
            self._load(rules)
        if wanted is not None:
            self._opened = {one.id for one in open_ones}
        closed = occupied | nat.closed(open_ones, number, self._own)
        if wanted is not None and local.fresh:
            self._end_astray(nat.ways(open_ones, number), nat.reached(here))
            self._tell(wanted.revision, published, {str(one.id): why for one, why in closed.items()})
        if whole:
            listed = json.loads(_nft("-j", "list", "ruleset"))["nftables"]
            programs = but_reserved(listeners(), nat.host_ports(open_ones))
            self._others = *nat.obstacles(listed, self._name), *nat.unheard(open_ones, programs)
        return *self._others, *nat.not_open(closed), *spared

    def _occupied(self, published: Sequence[Published]) -> dict[Published, str]:
        """Those that were not open before and at which a program listens: it was there first. What was open when the
        agent started stays so."""
        if self._opened is None:
            return {}
        new = [one for one in published if one.id not in self._opened]
        return nat.occupied(new, but_reserved(listeners(), nat.host_ports(new))) if new else {}

    def _not_opened(self, why: str) -> None:
        wanted, local = self._ledger.knowledge()
        if wanted is not None and local.fresh:
            new = (one for one in wanted.published if one.id not in (self._opened or ()))
            self._tell(wanted.revision, wanted.published, {str(one.id): why for one in new})

    def _tell(self, revision: int, published: Sequence[Published], closed: Mapping[str, str]) -> None:
        before, self._published = (self._published, *self.ports[1:]), published
        with self._done:
            self.ports = Ports(revision, closed, nat.own(self._own))
            self._done.notify_all()
        if before != (published, *self.ports[1:]):
            self._ports_changed()

    def _end_astray(self, ways: nat.Ways, reached: Mapping[str, str]) -> None:
        """Connections that go where the rules led before; in the first look also those from before this run. A way that
        is new can only matter to what comes without a beginning."""
        before, self._open = self._open, (ways, reached)
        if before is not None:
            gone = not (before[0].items() <= ways.items() and before[1].items() <= reached.items())
            if not gone and not any(way.protocol != "tcp" for way in ways.keys() - before[0].keys()):
                return
        try:
            found = nat.astray(connections.listed(), ways, reached, own_addresses())
            connections.end(found)
        except OSError as fault:
            log.warning("connections go on that lead elsewhere than published ports do now: %s", fault)
            self._open = before
            return
        if found:
            log.info("ended %d connections that led elsewhere than published ports do now", len(found))

    def _set_up(self) -> None:
        veth.host_end(self._name, nat.host_addresses())
        # Only by this interface: so that connections from the host's loopback address come back.
        _switch(f"ipv4/conf/{self._name}/route_localnet", "0", "1")
        _switch("ipv4/ip_forward", "0", "1")
        if not (_SYSCTL / "ipv6").exists():
            return
        if _read("ipv6/conf/all/forwarding") == "0":
            # A kernel that forwards forgets the routes of routers' advertisements, unless it is told to heed them.
            for folder in (_SYSCTL / "ipv6/conf").iterdir():
                _switch(f"ipv6/conf/{folder.name}/accept_ra", "1", "2")
            _switch("ipv6/conf/all/forwarding", "0", "1")
        routes.loopback(self._name)

    def _load(self, rules: str) -> None:
        """Unless they are loaded and as they were then."""
        if self._loaded is not None and self._loaded == (rules, self._listed()):
            return
        if self._loaded is not None and self._loaded[0] == rules and self._loaded[1] is not None:
            log.warning("table %s of nftables was changed by somebody, and is put right", nat.TABLE)
        before = generation()
        _nft("-f", "-", stdin=rules)
        listed = self._listed()
        # What somebody may have changed since is not how it ought to be.
        self._loaded = rules, listed if generation() == before + 1 else None

    def _listed(self) -> str:
        try:
            return _nft("-s", "list", "table", "inet", nat.TABLE)
        except Fault:
            return ""  # there is none


def _nft(*arguments: str, stdin: str | None = None) -> str:
    try:
        done = subprocess.run(["nft", *arguments], input=stdin, capture_output=True, text=True, timeout=30)
    except FileNotFoundError:
        raise Fault(_NOT_INSTALLED) from None
    except subprocess.TimeoutExpired:
        raise Fault("nft does not end, so endpoints may not get out: `nft list ruleset` may show why.") from None
    if done.returncode:
        said = " ".join(done.stderr.split())[:300]
        raise Fault(f"nft does not take the rules for the way out: {said}.")
    return done.stdout


def _read(name: str) -> str:
    try:
        return (_SYSCTL / name).read_text().strip()
    except OSError:
        return ""


def _switch(name: str, one: str, other: str) -> None:
    if _read(name) == one:
        (_SYSCTL / name).write_text(f"{other}\n")
        log.info("set %s to %s", name.replace("/", "."), other)
