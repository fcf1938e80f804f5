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
from collections.abc import Callable
from logging import getLogger
from pathlib import Path

from ovs_agent import nat
from ovs_agent.netlink import veth
from ovs_agent.netlink.look import index_of

log = getLogger(__name__)
INTERVAL = 10.0
"""Seconds between looks when nobody wakes it."""
BREATH = 0.1
"""Seconds from a change to a look: others' tables change by many rules at once."""
NETLINK_NETFILTER, NFTABLES = 12, 7  # the protocol, and its group that tells of changed rules
_SYSCTL = Path("/proc/sys/net")
_NOT_INSTALLED = "nft is not installed here, so endpoints do not get out: install Debian's package nftables."


class Fault(Exception):  # noqa: N818
    """nft did not do what it was told."""


class Gateway:
    """`told` gets what is wrong and cannot be put right, a sentence each, when that changes."""

    def __init__(self, bridge: str, told: Callable[[tuple[str, ...]], None]) -> None:
        self._name = nat.gateway_port(bridge)
        self._told = told
        self._woken = threading.Event()
        self._stopping = False
        self._loaded: tuple[str, str] | None = None  # the rules, and how the kernel lists them
        self._problems: tuple[str, ...] = ()
        self._others = ""

    def wake(self) -> None:
        self._woken.set()

    def start(self) -> None:
        for name, work in (("gateway", self._run), ("rules", self._listen)):
            threading.Thread(target=work, name=name, daemon=True).start()

    def stop(self) -> None:
        """What is set up stays, as containers keep their network."""
        self._stopping = True
        self.wake()

    def _run(self) -> None:
        while not self._stopping:
            self._woken.clear()
            try:
                problems = self._look()
            except (Fault, OSError) as fault:
                problems = (str(fault),)
            except Exception:
                log.exception("a look at the way out failed")
                problems = ()
            if problems != self._problems:
                self._problems = problems
                self._told(problems)
            if self._woken.wait(INTERVAL) and not self._stopping:
                threading.Event().wait(BREATH)

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
                self.wake()

    def _look(self) -> tuple[str, ...]:
        if index_of(self._name) is None:
            return ()  # the bridge is being made
        self._set_up()
        self._load(nat.ruleset(self._name))
        listed = json.loads(_nft("-j", "list", "ruleset"))["nftables"]
        return nat.obstacles(listed, self._name)

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

    def _load(self, rules: str) -> None:
        """Unless they are loaded and as they were then."""
        if self._loaded is not None and self._loaded == (rules, self._listed()):
            return
        if self._loaded is not None and self._loaded[0] == rules:
            log.warning("table %s of nftables was changed by somebody, and is put right", nat.TABLE)
        _nft("-f", "-", stdin=rules)
        self._loaded = rules, self._listed()

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
