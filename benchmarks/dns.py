"""How many DNS answers a second one host gives, and how long they take: Warren's agent next to dnsmasq.

Both answer the same questions about the same names to dnsperf in an endpoint of a lab of one host, whose switch carries
every packet: Warren at the network's gateway, dnsmasq in a neighbour endpoint, in turns. First as many as they can with
100 questions under way, then 10,000 a second, each answer's time noted: half, 99 and 99.9 of 100 were faster than
that. What was lost counts against who lost it. Unless `--lab` names one that is running, a lab is made and taken away.

    python -m benchmarks.dns [--rounds 3] [--seconds 10] [--names 200] [--lab NAME] [--host h1]
"""

from __future__ import annotations

import argparse
import os
import re
import secrets
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median
from typing import NamedTuple

from client.rest import Problem
from lab import netns
from lab.endpoint import Wanted
from lab.lab import Lab
from lab.process import Process
from lab.state import Placed

TENANT, NETWORK = "dns-bench", "dns-bench/default"
DOMAIN = f"default.{TENANT}.warren.internal"
TARGET = 10_000
UNDER_WAY = 100


class Flood(NamedTuple):
    """As many as can be: answers a second, and how many of the questions went unanswered."""

    rate: float
    lost: int


class Pace(NamedTuple):
    """At TARGET questions a second: milliseconds that half, 99 %, 99.9 % and all of the answers took at most."""

    rate: float
    lost: int
    half: float
    most: float
    nearly_all: float
    worst: float


class Side(NamedTuple):
    name: str
    address: str
    questions: Path


def flood(asker: Placed, side: Side, seconds: int) -> Flood:
    said = _dnsperf(asker, side, "-l", str(seconds), "-q", str(UNDER_WAY))
    return Flood(_number(said, "Queries per second"), int(_number(said, "Queries lost")))


def pace(asker: Placed, side: Side, seconds: int) -> Pace:
    said = _dnsperf(asker, side, "-l", str(seconds), "-q", "1000", "-Q", str(TARGET), "-v")
    took = sorted(float(found[1]) * 1000 for found in re.finditer(r"^> \S+ \S+ \S+ (\d+\.\d+)$", said, re.MULTILINE))
    assert len(took) > 100, f"dnsperf did not tell how long answers took:\n{said[-2000:]}"
    rank = [took[min(int(len(took) * share), len(took) - 1)] for share in (0.5, 0.99, 0.999)]
    return Pace(_number(said, "Queries per second"), int(_number(said, "Queries lost")), *rank, took[-1])


def _dnsperf(asker: Placed, side: Side, *more: str) -> str:
    with netns.inside(asker.netns):
        command = ["dnsperf", "-s", side.address, "-d", str(side.questions), "-c", "4", "-t", "2", *more]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _number(said: str, what: str) -> float:
    found = re.search(rf"{what}:\s+([\d.]+)", said)
    assert found is not None, f"dnsperf did not say '{what}':\n{said[-2000:]}"
    return float(found[1])


@contextmanager
def dnsmasq(placed: Placed, addresses: dict[str, str], folder: Path) -> Iterator[None]:
    """It answers from a hosts file and asks nobody."""
    hosts = folder / "hosts"
    hosts.write_text("".join(f"{address} {name}.{DOMAIN}\n" for name, address in addresses.items()))
    command = ["dnsmasq", "-k", "-R", "-h", f"--addn-hosts={hosts}", "--local-ttl=1", "--conf-file=/dev/null"]
    with netns.inside(placed.netns):
        child = subprocess.Popen([*command, "--pid-file=", "--user=root", "--local=/warren.internal/"])
    try:
        time.sleep(0.5)
        assert child.poll() is None, "dnsmasq did not start"
        yield
    finally:
        child.terminate()
        child.wait(10)


@contextmanager
def scene(lab: Lab, host: str, count: int) -> Iterator[tuple[Placed, Placed, dict[str, str]]]:
    """Who asks, where dnsmasq lives, and the names: records of Warren's, looked up as endpoints' are."""
    rest = lab.rest
    with suppress(Problem):
        rest.post("/tenants", {"name": TENANT})
    placed: list[Placed] = []
    try:
        for name in ("asker", "other"):
            placed.append(lab.run(host, Wanted(f"dns-bench-{name}", NETWORK)))
        addresses = {f"name{n}": f"10.250.{n // 250}.{n % 250 + 1}" for n in range(count)}
        revision = 0
        for name, address in addresses.items():
            revision = rest.put(f"/dns/records/{NETWORK}/{name}", {"addresses": [address]}).body["revision"]
        assert rest.get(f"/revisions/{revision}/names", params={"wait": 30}).body["waiting"] == []
        yield placed[0], placed[1], addresses
    finally:
        for one in placed:
            lab.remove(one.name)
        rest.delete(f"/networks/{NETWORK}")
        rest.delete(f"/tenants/{TENANT}")


@contextmanager
def laboratory(name: str | None) -> Iterator[Lab]:
    if name is not None:
        yield Lab(name)
        return
    lab = Lab(f"b{secrets.token_hex(3)}")
    try:
        lab.up(1, owner=Process.of(os.getpid()))
        yield lab
    finally:
        lab.down()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--names", type=int, default=200)
    parser.add_argument("--lab", help="one that is running")
    parser.add_argument("--host", default="h1")
    given = parser.parse_args()
    with (
        laboratory(given.lab) as lab,
        scene(lab, given.host, given.names) as (asker, other, addresses),
        tempfile.TemporaryDirectory() as folder,
    ):
        questions = Path(folder) / "questions"
        questions.write_text("".join(f"{name}.{DOMAIN} {kind}\n" for name in addresses for kind in ("A", "A", "AAAA")))
        gateway = next(ip["gateway"] for ip in (asker.result or {})["ips"] if ":" not in ip["address"])
        neighbour = next(a.split("/")[0] for a in other.addresses if ":" not in a)
        sides = [Side("warren", gateway, questions), Side("dnsmasq", neighbour, questions)]
        floods: dict[str, list[Flood]] = {side.name: [] for side in sides}
        paces: dict[str, list[Pace]] = {side.name: [] for side in sides}
        with dnsmasq(other, addresses, Path(folder)):
            for side in sides:
                flood(asker, side, 1)
            for _ in range(given.rounds):
                for side in sides:
                    floods[side.name].append(flood(asker, side, given.seconds))
                for side in sides:
                    paces[side.name].append(pace(asker, side, given.seconds))
    report(floods, paces)


def report(floods: dict[str, list[Flood]], paces: dict[str, list[Pace]]) -> None:
    print(f"{'':10}{'at most':>24}{'':4}{f'at {TARGET} questions a second':>52}")
    head = f"{'50 %':>8}{'99 %':>8}{'99.9 %':>9}{'worst':>9}"
    print(f"{'':10}{'answers/s':>14}{'lost':>10}{'answers/s':>16}{'lost':>8}{head}")
    for name in floods:
        most, paced = floods[name], paces[name]
        times = [median(getattr(one, field) for one in paced) for field in ("half", "most", "nearly_all", "worst")]
        print(
            f"{name:10}{median(one.rate for one in most):14.0f}{sum(one.lost for one in most):10}"
            f"{median(one.rate for one in paced):16.0f}{sum(one.lost for one in paced):8}"
            f"{times[0]:8.2f}{times[1]:8.2f}{times[2]:9.2f}{times[3]:9.2f}  (ms)"
        )
    reached = median(one.rate for one in floods["warren"])
    verdict = "reached" if reached >= TARGET else "not reached"
    print(f"ratio warren : dnsmasq {reached / median(one.rate for one in floods['dnsmasq']):.2f}")
    print(f"target {TARGET} answers/s from one agent: {verdict} ({reached:.0f})")


if __name__ == "__main__":
    main()
