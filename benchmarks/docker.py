"""How long `docker run` takes on a Warren network, next to Docker's own bridges on the same engine.

All are typed in turns; the clock runs from the command's start to its end, for `docker run -d` of a container that
sleeps. On Warren's side it ends when the endpoint's flows are confirmed by the host's bridge. On every network but the
default `bridge` dockerd also sets up its name server inside the container, by a row of iptables commands, whoever the
driver is; so a bridge that a user made is measured, too. Unless `--lab` names one that is running with Docker, a lab of
one host is made and taken away.

    python -m benchmarks.docker [--rounds 30] [--lab NAME] [--host h1]
"""

from __future__ import annotations

import argparse
import os
import secrets
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from statistics import median, quantiles

from lab import docker
from lab.lab import Lab
from lab.process import Process

TARGET = 1.1
WARM_UP = 3
SETTLE = 0.5
"""Seconds after each round: what clears up in the background must not slow the next one down."""
NAMES = {docker.NETWORK: "Warren", "bridge": "bridge", "mine": "a user's bridge"}


def timed(env: Mapping[str, str], *arguments: str) -> float:
    """Milliseconds. Fails with what docker said."""
    start = time.perf_counter()
    done = subprocess.run([docker.program(), *arguments], env=dict(env), capture_output=True, text=True, timeout=60)
    spent = (time.perf_counter() - start) * 1000
    if done.returncode:
        raise SystemExit(f"docker {' '.join(arguments)} failed: {done.stderr.strip()}")
    return spent


def one_round(env: Mapping[str, str], network: str) -> tuple[float, float]:
    """How long `docker run` and `docker rm -f` take."""
    name = f"bench-{secrets.token_hex(6)}"
    run = timed(env, "run", "-d", "--name", name, "--network", network, docker.IMAGE, "sleep", "1000")
    removal = timed(env, "rm", "-f", name)
    time.sleep(SETTLE)
    return run, removal


@contextmanager
def measured_lab(name: str | None) -> Iterator[Lab]:
    lab = Lab(name or f"bench{secrets.token_hex(3)}")
    if name is None:
        lab.up(1, owner=Process.of(os.getpid()), engines=True)
    try:
        yield lab
    finally:
        if name is None:
            lab.down()


@contextmanager
def a_users_bridge(env: Mapping[str, str]) -> Iterator[None]:
    timed(env, "network", "create", "mine")
    try:
        yield
    finally:
        timed(env, "network", "rm", "mine")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--lab", help="a running lab with Docker; left out: one is made")
    parser.add_argument("--host", default="h1")
    options = parser.parse_args()
    figures: dict[str, list[tuple[float, float]]] = {network: [] for network in NAMES}
    with measured_lab(options.lab) as lab:
        env = docker.settings(lab.host(options.host), lab.folder)
        with a_users_bridge(env):
            for number in range(WARM_UP + options.rounds):
                for network in NAMES if number % 2 else reversed(NAMES):
                    spent = one_round(env, network)
                    if number >= WARM_UP:
                        figures[network].append(spent)
    print(f"docker run -d and docker rm -f, milliseconds, {options.rounds} alternating rounds")
    print(f"{'':16} {'run p50':>9} {'p95':>7} {'best':>7} {'rm p50':>9}")
    for network, rounds in figures.items():
        run, rm = [one for one, _ in rounds], [one for _, one in rounds]
        p95 = quantiles(run, n=20)[-1]
        print(f"{NAMES[network]:16} {median(run):9.0f} {p95:7.0f} {min(run):7.0f} {median(rm):9.0f}")
    ours, default, own = (median(one for one, _ in figures[network]) for network in NAMES)
    print(f"\nratio Warren/a user's bridge of the medians: {ours / own:.2f}")
    print(f"ratio Warren/bridge of the medians: {ours / default:.2f} (target: at most {TARGET})")


if __name__ == "__main__":
    main()
