"""What Warren's pipeline costs a packet on each transport, next to an Open vSwitch that does nothing but NORMAL.

Pairs of hosts stand on one underlay and have the same data path, in user space, and the same veths and MTU: Warren's
without a policy; Warren's with policies about both ends, so that both hosts look every packet up in conntrack; and
`plain`, a learning bridge with the same tunnel. They take short turns, forwards and backwards, and a ratio is the
median of single rounds' ratios: whatever else the machine does then weighs on all alike. `work` is the same of the
processor time that the switches took for a bit or a transaction. Two equal bridges differ by up to a tenth for as long
as they stand, by where their memory and queues came to lie: so every pair is built anew several times. `bare` is a
plain bridge without the two idle interfaces that Warren's has. `kernel` is what Docker's overlay and Flannel have, the
kernel's own VXLAN and bridge: there a packet is 64 kB long until it leaves the host.

    python -m benchmarks.transports [--builds 5] [--rounds 7] [--only vxlan,local]
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from statistics import median
from typing import NamedTuple

from benchmarks.sides.pairs import Machines, Pair, kernel, machines, plain, switch_pids
from client import change
from lab import netns
from lab.endpoint import Wanted
from lab.lab import Lab
from lab.process import Process

TRANSPORTS = ("vxlan", "geneve", "gre", "host-gw", "vlan", "local")
IPERF_PORT, PORT = 5201, 7000
AMOUNT, SECONDS = "24M", 0.25
"""A turn of iperf3, and one of transactions: short, so that many share what else happens."""
URGENT = -15
"""Priority of all that is measured."""
TRIES = 5
VERSUS = "to vxlan"
PROCESSORS = sorted(os.sched_getaffinity(0))
WAIT = 30.0


class Side(NamedTuple):
    name: str
    pair: Pair


class Turn(NamedTuple):
    """Bits or transactions a second, and nanoseconds that the switches worked for each."""

    rate: float
    work: float


class Measure(NamedTuple):
    """`once` takes a turn; `asked` are the least ratios to the plain side."""

    name: str
    unit: float
    decimals: int
    once: Callable[[Pair], Turn]
    asked: Mapping[str, float]


def throughput(pair: Pair) -> Turn:
    command = ["iperf3", "-c", pair.address, "-p", str(IPERF_PORT), "-n", AMOUNT, "-J"]
    for _ in range(TRIES):  # a server that has not done with the last turn refuses the next
        with netns.inside(pair.client), worked(pair) as work:
            said = json.loads(subprocess.run(command, capture_output=True, text=True, timeout=WAIT).stdout)
            if "error" not in said:
                received = said["end"]["sum_received"]
                return Turn(received["bits_per_second"], work() / received["bytes"] / 8)
        time.sleep(0.3)
    raise SystemExit(f"iperf3 in {pair.client} to {pair.address}: {said['error']}")


def transactions(pair: Pair) -> Turn:
    """One byte there and one back, over and over on one connection. This thread is both ends, which never work at the
    same time."""
    with netns.inside(pair.server):
        listening = socket.create_server((pair.address, PORT))
    with listening, netns.inside(pair.client), socket.create_connection((pair.address, PORT)) as asking:
        answering, _ = listening.accept()
        with answering, worked(pair) as work:
            for one in (asking, answering):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            count, start = 0, time.perf_counter()
            while (spent := time.perf_counter() - start) < SECONDS:
                for says, hears in ((asking, answering), (answering, asking)):
                    says.send(b"x")
                    hears.recv(1)
                count += 1
            return Turn(count / spent, work() / count)


@contextmanager
def worked(pair: Pair) -> Iterator[Callable[[], int]]:
    """Nanoseconds that the pair's switches have been on a processor since."""

    def now() -> int:
        tasks = [task for pid in pair.switches for task in Path(f"/proc/{pid}/task").glob("*/schedstat")]
        return sum(int(task.read_text().split()[0]) for task in tasks)

    before = now()
    yield lambda: now() - before


MEASURES = (
    Measure("Gbit/s", 1e9, 3, throughput, {"no policy": 0.97, "policies": 0.92, VERSUS: 1.0}),
    Measure("transactions/s", 1, 0, transactions, {"no policy": 0.95, "policies": 0.90}),
)


class Row(NamedTuple):
    """What a side did, and what plain did in the same rounds, measure for measure."""

    transport: str
    side: str
    turns: Sequence[list[Turn]]
    base: Sequence[list[Turn]]


class Site:
    """A tenant of Warren's with a network for each transport in turn."""

    def __init__(self, lab: Lab) -> None:
        self._lab, self._rest, self._tenant = lab, lab.rest, "bench"
        self._rest.post("/tenants", {"name": self._tenant})

    @contextmanager
    def pair(self, transport: str) -> Iterator[tuple[Pair, int]]:
        """Two endpoints, and their MTU."""
        segment = {"physical": "lan", "vlan": 78} if transport == "vlan" else {}
        network = f"{self._tenant}/{transport}"
        subnet = f"198.19.{100 + TRANSPORTS.index(transport)}.0/24"
        body = {"name": network, "subnets": [subnet], "transport": transport, **segment}
        mtu = int(self._rest.post("/networks", body).body["mtu"])
        hosts = [self._lab.host("h1"), self._lab.host("h1" if transport == "local" else "h2")]
        with ExitStack() as stack:
            stack.callback(self._rest.delete, f"/networks/{network}")
            placed = []
            for host, name in zip(hosts, ("client", "server"), strict=True):
                placed.append(self._lab.run(host.name, Wanted(f"{name}-{secrets.token_hex(3)}", network)))
                stack.callback(self._lab.remove, placed[-1].name)
            self._settle()
            address = placed[1].addresses[0].partition("/")[0]
            yield Pair(placed[0].netns, placed[1].netns, address, switch_pids(*hosts)), mtu

    @contextmanager
    def judging(self) -> Iterator[None]:
        """With a policy about everybody's connections, both ways, so at both ends."""
        ports = [{"port": IPERF_PORT}, {"port": PORT}]
        neighbours = [{"podSelector": {}}]
        ways = {"ingress": [{"from": neighbours, "ports": ports}], "egress": [{"to": neighbours, "ports": ports}]}
        spec = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"], **ways}
        metadata = {"name": "all", "namespace": self._tenant}
        document = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata, "spec": spec}
        self._rest.post("/policies", {"documents": [document]})
        self._settle()
        yield
        self._rest.delete(f"/policies/{self._tenant}/all")
        self._settle()

    def _settle(self) -> None:
        change.wait(self._rest, self._rest.get("/revisions", params={"limit": 1}).body["revision"], WAIT)


Turns = dict[str, list[Turn]]
"""By side, round for round."""


def compare(sides: Sequence[Side], measure: Measure, rounds: int) -> Turns:
    found: Turns = {side.name: [] for side in sides}
    for number in range(rounds + 1):
        for side in sides if number % 2 else reversed(sides):
            turn = measure.once(side.pair)
            if number:  # the first fills caches and learns addresses
                found[side.name].append(turn)
    return found


@contextmanager
def serving(pairs: Sequence[Pair]) -> Iterator[None]:
    """iperf3 waits at the server's end of each."""
    with ExitStack() as stack:
        for pair in pairs:
            with netns.inside(pair.server):
                quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
                child = subprocess.Popen(["iperf3", "-s", "-p", str(IPERF_PORT)], **quiet)
            stack.callback(child.wait)
            stack.callback(child.terminate)
        time.sleep(0.5)
        yield


def of_transport(site: Site, like: Machines, bare: Machines, transport: str, rounds: int) -> Iterator[Row]:
    """Plain takes its turns anew when the policy is there."""
    with (
        site.pair(transport) as (ours, mtu),
        plain(like, transport, mtu, idle=True) as theirs,
        plain(bare, transport, mtu) as alone,
        serving([ours, theirs, alone]),
    ):
        first(*theirs.switches, *alone.switches, *ours.switches)
        base, open_, judged = Side("plain", theirs), Side("no policy", ours), Side("policies", ours)
        found = [compare([base, open_, Side("bare", alone)], measure, rounds) for measure in MEASURES]
        for side in ("plain", "bare", "no policy"):
            yield Row(transport, side, [turns[side] for turns in found], [turns["plain"] for turns in found])
        with site.judging():
            found = [compare([base, judged], measure, rounds) for measure in MEASURES]
        yield Row(transport, judged.name, [turns[judged.name] for turns in found], [turns["plain"] for turns in found])


def without_a_tunnel(site: Site, rounds: int) -> Row:
    """Warren's host-gw next to its own vxlan."""
    with site.pair("vxlan") as (slow, _), site.pair("host-gw") as (fast, _), serving([slow, fast]):
        first(*slow.switches)
        sides = [Side("vxlan", slow), Side("host-gw", fast)]
        found = [compare(sides, measure, rounds) for measure in MEASURES]
    return Row("host-gw", VERSUS, [turns["host-gw"] for turns in found], [turns["vxlan"] for turns in found])


def joined(builds: Iterable[Row]) -> Row:
    """The same side's turns of all the times it was built."""
    rows = list(builds)

    def all_of(measures: Iterable[Sequence[list[Turn]]]) -> list[list[Turn]]:
        return [[turn for turns in built for turn in turns] for built in zip(*measures, strict=True)]

    return Row(rows[0].transport, rows[0].side, all_of(r.turns for r in rows), all_of(r.base for r in rows))


def first(*pids: int, cpu: int = -1) -> None:
    """What else the machine does has to wait for these and their children, as far as the kernel lets it. The switches
    have the last processor and all else that is measured the first: where the kernel moves them about, a turn takes
    twice as long as the next."""
    for pid in pids:
        os.setpriority(os.PRIO_PROCESS, pid, URGENT)
        os.sched_setaffinity(pid, {PROCESSORS[cpu]})
        with suppress(FileNotFoundError):  # sched(7): where there are autogroups, sessions compete and not processes
            Path(f"/proc/{pid}/autogroup").write_text(str(URGENT))


def heading(builds: int, rounds: int) -> None:
    print(f"Medians of {builds} builds, {rounds} rounds each (least to most); ratios to plain of the same transport")
    print(" " * 20 + "".join(f"{f'{one.name:>24}':28}{'ratio':>7}{'asked':>8}{'work':>6}" for one in MEASURES))


def report(row: Row) -> None:
    line = f"{row.transport:9}{row.side:11}"
    for measure, turns, base in zip(MEASURES, row.turns, row.base, strict=True):
        rates = [turn.rate / measure.unit for turn in turns]
        middle, least, most = (f"{f(rates):.{measure.decimals}f}" for f in (median, min, max))
        line += f"{middle:>8} {f'({least} to {most})':19}"
        if base == turns:
            line += " " * 21
            continue
        pairs = list(zip(turns, base, strict=True))
        rate, work = median(a.rate / b.rate for a, b in pairs), median(a.work / b.work for a, b in pairs)
        asked = f">= {measure.asked[row.side]:.2f}" if row.side in measure.asked else ""
        line += f"{rate:7.2f}{asked:>8}{work:6.2f}"
    print(line.rstrip(), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--builds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", default=",".join(TRANSPORTS), help="transports, with commas between them")
    options = parser.parse_args()
    chosen = options.only.split(",")
    lab = Lab(f"bench{secrets.token_hex(3)}")
    try:
        lab.up(2, owner=Process.of(os.getpid()))
        like, bare, site = machines(lab, 3), machines(lab, 5), Site(lab)
        first(os.getpid(), cpu=0)
        builds = range(options.builds)
        heading(options.builds, options.rounds)
        for transport in chosen:
            built = [list(of_transport(site, like, bare, transport, options.rounds)) for _ in builds]
            for rows in zip(*built, strict=True):
                report(joined(rows))
        if {"host-gw", "vxlan"} <= set(chosen):
            report(joined(without_a_tunnel(site, options.rounds) for _ in builds))
        pair = kernel(lab, 7)
        with serving([pair]):
            turns = [compare([Side("kernel", pair)], measure, options.rounds)["kernel"] for measure in MEASURES]
        report(Row("vxlan", "kernel", turns, turns))
    finally:
        lab.down()


if __name__ == "__main__":
    main()
