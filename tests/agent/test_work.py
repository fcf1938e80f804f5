"""What an attach costs the API, Open vSwitch and the packet filter, counted instead of timed; alone and in a crowd."""

from __future__ import annotations

import re
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import NamedTuple

import pytest

from db import networks
from db.changes import transaction
from ovs_agent.confirm import SLICE
from ovs_agent.dns.follow import BREATH
from ovs_agent.gateway import NETLINK_NETFILTER, NFTABLES
from ovs_agent.netlink.wire import messages
from ovs_agent.report import HEARTBEAT
from ovs_agent.wanted import POLL
from tests.agent.conftest import Host, Site
from tests.agent.site import Container, inside, until

NewContainer = Callable[..., Container]
ALONE, CROWD, AT_ONCE = 4, 24, 8
NEW_GENERATION = 10 << 8 | 15  # NFT_MSG_NEWGEN
REQUEST = re.compile(r'"(GET|PUT|DELETE) /api/v1(/\S*) HTTP')
KINDS = {
    "attachment": r"PUT /hosts/{host}/attachments/[^/]+/[^/]+",
    "detachment": r"DELETE /hosts/{host}/attachments/[^/]+/[^/]+",
    "confirmation": r"GET /revisions/\d+\?.*",
    "names of others": r"GET /revisions/\d+/names\?.*",
    "wanted": r"GET /hosts/{host}/wanted.*",
    "names": r"GET /hosts/{host}/names.*",
    "report": r"PUT /hosts/{host}/report",
}
EVERY = {"wanted": POLL, "names": BREATH, "report": HEARTBEAT, "confirmation": SLICE}
"""Seconds after which each is sent again without a reason: a slow machine takes longer, and is not charged for that."""


def requests(host: Host) -> Counter[str]:
    """What the API was asked so far, by kind; of other hosts nothing but confirmations."""
    found = Counter[str]()
    for method, path in REQUEST.findall(host.site.api.said):
        for kind, pattern in KINDS.items():
            found[kind] += bool(re.fullmatch(pattern.format(host=host.name), f"{method} {path}"))
    return found


def port_changes(host: Host) -> int:
    """Transactions of Open vSwitch's database that made or removed ports."""
    shown = subprocess.run(
        ["ovsdb-tool", "-mm", "show-log", str(host.site.ovs.folder / "db.db")],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    changed = re.compile(rf'table Bridge row "{host.bridge}" \(\w+\) diff:\n    ports=')
    return sum(bool(changed.search(record)) for record in shown.split("\nrecord "))


class Reloads:
    """Of the host's packet filter: changes that the kernel tells, each of which it does as a whole."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self.count = 0

    def read(self) -> int:
        with suppress(BlockingIOError):
            while True:
                for kind, *_ in messages(self._channel.recv(1 << 18)):
                    self.count += kind == NEW_GENERATION
        return self.count


@contextmanager
def listening_for_rules(host: Host) -> Iterator[Reloads]:
    kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK
    with inside(host.site.netns), socket.socket(socket.AF_NETLINK, kind, NETLINK_NETFILTER) as channel:
        channel.bind((0, 1 << NFTABLES - 1))
        yield Reloads(channel)


class Work(NamedTuple):
    requests: Counter[str]
    ports: int
    reloads: int
    seconds: float

    def most(self, kind: str, number: int) -> bool:
        """Whether there were no more requests of a kind than so many, and those that come by themselves."""
        return self.requests[kind] <= number + self.seconds // EVERY[kind]


class Counting:
    """`work` is what was done within `counted`."""

    work: Work


@contextmanager
def counted(host: Host) -> Iterator[Counting]:
    counting, asked, ports, began = Counting(), requests(host), port_changes(host), time.monotonic()
    with listening_for_rules(host) as reloads:
        yield counting
        seconds = time.monotonic() - began
        counting.work = Work(requests(host) - asked, port_changes(host) - ports, reloads.read(), seconds)


def settled(host: Host, count: int) -> None:
    """What follows in the background is over: the API has heard of `count` ports."""
    until(lambda: len(host.report().get("ports", {})) == count, "the agent has reported its ports")


@pytest.fixture(scope="module")
def own_network(site: Site) -> str:
    """Others may have the same addresses, so the host reaches nobody in it by them."""
    with transaction(site.engine) as tx:
        networks.create(tx, "acme/own", subnets=["10.23.0.0/24"], private=True)
    return "acme/own"


def occupied(host: Host, first: Container, network: str) -> int:
    """How many endpoints there are, with the first of its network, which costs more: what it may see is asked for."""
    first.add(network=network)
    there = len(host.ports())
    settled(host, there)
    return there


def test_an_attach_is_two_requests_and_one_transaction(host: Host, container: NewContainer, own_network: str) -> None:
    there = occupied(host, container(), own_network)
    boxes = [container() for _ in range(ALONE)]
    with counted(host) as counting:
        for box in boxes:
            box.add(network=own_network)
        settled(host, there + ALONE)
    work = counting.work
    assert work.requests["attachment"] == ALONE <= work.requests["confirmation"]
    assert work.most("confirmation", 2 * ALONE)  # again, where other hosts are slow
    assert all(work.most(kind, ALONE + 1) for kind in ("wanted", "names", "report")), work
    assert (work.ports, work.reloads) == (ALONE, 0)
    with counted(host) as counting:
        for box in boxes:
            box.delete()
        settled(host, there)
    work, asked = counting.work, counting.work.requests
    assert asked["detachment"] == ALONE and asked["confirmation"] == 0 and asked["names of others"] <= ALONE
    assert all(work.most(kind, ALONE + 1) for kind in ("wanted", "names", "report")), work
    assert (work.ports, work.reloads) == (ALONE, 0)


def test_a_crowd_costs_no_more_each(host: Host, container: NewContainer) -> None:
    """In a network whose endpoints the host reaches by their own addresses, by a rule of the packet filter."""
    there = occupied(host, container(), "acme/web")
    boxes = [container() for _ in range(CROWD)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        with counted(host) as counting:
            list(pool.map(lambda box: box.add(), boxes))
            settled(host, there + CROWD)
        work = counting.work
        assert work.requests["attachment"] == CROWD <= work.requests["confirmation"]
        assert work.most("confirmation", 3 * CROWD)
        assert all(work.most(kind, CROWD) for kind in ("wanted", "names", "report")), work
        assert work.ports <= CROWD and work.reloads <= CROWD
        with counted(host) as counting:
            list(pool.map(lambda box: box.delete(), boxes))
            settled(host, there)
        work = counting.work
        assert work.requests["detachment"] == CROWD and work.requests["confirmation"] == 0
        assert all(work.most(kind, CROWD) for kind in ("wanted", "names", "report")), work
        assert work.ports <= CROWD and work.reloads <= CROWD
