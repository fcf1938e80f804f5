"""How long `docker run` takes on a Warren network, next to Docker's own bridge on the same engine.

Both are typed in turns; the clock runs from the command's start to its end, for `docker run -d` of a container that
sleeps. On Warren's side it ends when the endpoint's flows are confirmed by the host's bridge. Unless `--lab` names one
that is running with Docker, a lab of one host is made and taken away.

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
    return run, timed(env, "rm", "-f", name)


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--lab", help="a running lab with Docker; left out: one is made")
    parser.add_argument("--host", default="h1")
    options = parser.parse_args()
    names = {docker.NETWORK: "Warren", "bridge": "bridge"}
    figures: dict[str, list[tuple[float, float]]] = {network: [] for network in names}
    with measured_lab(options.lab) as lab:
        env = docker.settings(lab.host(options.host), lab.folder)
        for number in range(WARM_UP + options.rounds):
            for network in names if number % 2 else reversed(names):
                spent = one_round(env, network)
                if number >= WARM_UP:
                    figures[network].append(spent)
    print(f"docker run -d and docker rm -f, milliseconds, {options.rounds} alternating rounds")
    print(f"{'':10} {'run p50':>9} {'p95':>7} {'best':>7} {'rm p50':>9}")
    for network, spent in figures.items():
        run, rm = [one for one, _ in spent], [one for _, one in spent]
        p95 = quantiles(run, n=20)[-1]
        print(f"{names[network]:10} {median(run):9.0f} {p95:7.0f} {min(run):7.0f} {median(rm):9.0f}")
    ratio = median(one for one, _ in figures[docker.NETWORK]) / median(one for one, _ in figures["bridge"])
    print(f"\nratio Warren/bridge of the medians: {ratio:.2f} (target: at most {TARGET})")


if __name__ == "__main__":
    main()
