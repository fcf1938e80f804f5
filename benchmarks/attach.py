"""How long a container waits for its network: Warren's CNI ADD next to the reference plugins bridge and host-local.

Both are called in turns as a runtime calls them, as a process, with a fresh namespace each time; the clock runs from
starting the plugin to its exit. Warren's time includes the API, the database, the controller and the switch: when it
ends, the endpoint's flows are confirmed. The reference plugins ask nobody. Then both are called for many containers,
eight at a time. Unless `--lab` names one that is running, a lab of one host is made and taken away.

    python -m benchmarks.attach [--rounds 100] [--burst 100] [--lab NAME] [--host h1]
"""

from __future__ import annotations

import argparse
import json
import os
import re
import secrets
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from typing import Any, NamedTuple

from client.rest import Problem
from lab import host as hosts
from lab import netns
from lab.lab import Lab
from lab.process import Process

REFERENCE = Path("/usr/lib/cni")
NETWORK = "bench/default"
TARGET = 2.0
AT_ONCE = 8
WARM_UP = 5
SETTLE = 0.25
"""Seconds after each round: the kernel takes a namespace down in the background, holding the lock that both need."""


class Plugin(NamedTuple):
    """A CNI plugin, its configuration, and the namespace of the host on which it is called."""

    name: str
    path: Path
    host: str
    config: Mapping[str, Any]

    def call(self, command: str, container: str) -> float:
        """Milliseconds. Fails with what the plugin said."""
        environment = {
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": container,
            "CNI_NETNS": str(netns.path(container)),
            "CNI_IFNAME": "eth0",
            "CNI_PATH": str(self.path.parent),
            "PATH": os.environ["PATH"],
        }
        text = json.dumps(self.config).encode()
        with netns.inside(self.host):
            start = time.perf_counter()
            done = subprocess.run([self.path], input=text, env=environment, capture_output=True, timeout=60)
            spent = (time.perf_counter() - start) * 1000
        if done.returncode:
            raise SystemExit(f"{self.name}: {command} failed: {(done.stdout or done.stderr).decode()}")
        return spent


def warren(lab: Lab, host: str) -> Plugin:
    """As installed on a host of the lab."""
    at = lab.host(host)
    conflist = json.loads(min(hosts.conf_dir(at).glob("*.conflist")).read_text())
    config = {"cniVersion": conflist["cniVersion"], "name": conflist["name"], **conflist["plugins"][0]}
    return Plugin("Warren", hosts.plugin(at), at.netns, {**config, "network": NETWORK})


def reference(host: str, folder: Path) -> Plugin:
    ipam = {
        "type": "host-local",
        "dataDir": str(folder),
        "ranges": [[{"subnet": "198.19.0.0/16"}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    config = {"cniVersion": "1.0.0", "name": "reference", "type": "bridge", "bridge": "br0", "isGateway": True}
    return Plugin("bridge + host-local", REFERENCE / "bridge", host, {**config, "ipam": ipam})


@contextmanager
def measured_lab(name: str | None) -> Iterator[Lab]:
    lab = Lab(name or f"bench{secrets.token_hex(3)}")
    if name is None:
        lab.up(1, owner=Process.of(os.getpid()))
    try:
        with suppress(Problem):  # 409: there from an earlier run
            lab.rest.post("/tenants", {"name": NETWORK.split("/")[0]})
        yield lab
    finally:
        if name is None:
            lab.down()


@contextmanager
def scratch_host() -> Iterator[str]:
    name = f"bench-{secrets.token_hex(4)}"
    netns.create(name)
    try:
        yield name
    finally:
        netns.delete(name)


def one_round(plugin: Plugin) -> tuple[float, float]:
    """Milliseconds of ADD and of DEL."""
    container = f"bench-{secrets.token_hex(6)}"
    netns.create(container)
    try:
        spent = plugin.call("ADD", container)
        return spent, plugin.call("DEL", container)
    finally:
        netns.delete(container)
        time.sleep(SETTLE)


def burst(plugin: Plugin, count: int) -> dict[str, tuple[float, list[float]]]:
    """ADD, then DEL, of `count` containers, some at a time: seconds of all, and milliseconds of each."""
    containers = [f"bench-{secrets.token_hex(6)}" for _ in range(count)]
    for container in containers:
        netns.create(container)
    took = {}
    try:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for command in ("ADD", "DEL"):
                start = time.perf_counter()
                each = list(pool.map(partial(plugin.call, command), containers))
                took[command] = time.perf_counter() - start, each
    finally:
        for container in containers:
            netns.delete(container)
    return took


def parts(log: Path, skip: int) -> dict[str, list[float]]:
    """What the agent says of each attach since byte `skip` of its log."""
    text = log.read_bytes()[skip:].decode(errors="replace")
    found = re.findall(r"API ([\d.]+) ms, then port ([\d.]+) ms beside flows ([\d.]+) ms", text)
    names = ("API", "then port", "beside flows")
    return {name: [float(values[place]) for values in found] for place, name in enumerate(names)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--burst", type=int, default=100)
    parser.add_argument("--lab", help="a running lab; left out: one is made")
    parser.add_argument("--host", default="h1")
    options = parser.parse_args()
    with measured_lab(options.lab) as lab, scratch_host() as host, tempfile.TemporaryDirectory() as folder:
        ours, theirs = warren(lab, options.host), reference(host, Path(folder))
        log = hosts.agent(lab.host(options.host)).log
        for _ in range(WARM_UP):
            one_round(ours), one_round(theirs)
        size = log.stat().st_size
        figures: dict[str, list[tuple[float, float]]] = {ours.name: [], theirs.name: []}
        for _ in range(options.rounds):
            for plugin in (ours, theirs):
                figures[plugin.name].append(one_round(plugin))
        inner = parts(log, size)
        bursts = {plugin.name: burst(plugin, options.burst) for plugin in (ours, theirs)}
    print(f"CNI, milliseconds, {options.rounds} alternating rounds")
    print(f"{'':28} {'p50':>7} {'p95':>7} {'best':>7}")
    for place, command in enumerate(("ADD", "DEL")):
        for name, rounds in figures.items():
            show(f"{command} {name}", [one[place] for one in rounds])
        if command == "ADD":
            for part, values in inner.items():
                show(f"  agent: {part}", values)
        ratio = median(one[place] for one in figures[ours.name]) / median(one[place] for one in figures[theirs.name])
        print(f"ratio of {command}: {ratio:.2f} (target at most {TARGET:.1f})")
    print(f"\n{options.burst} at once, {AT_ONCE} at a time: seconds for all, milliseconds of each")
    for command in ("ADD", "DEL"):
        for name, one in bursts.items():
            seconds, each = one[command]
            print(f"{command} {name:24} {seconds:7.2f} s {median(each):7.1f} p50 {quantiles(each, n=20)[18]:7.1f} p95")
        print(f"ratio of {command}: {bursts[ours.name][command][0] / bursts[theirs.name][command][0]:.2f}")


def show(what: str, values: list[float]) -> None:
    print(f"{what:28} {median(values):7.1f} {quantiles(values, n=20)[18]:7.1f} {min(values):7.1f}")


if __name__ == "__main__":
    main()
