"""Coming and going 500 times leaves the hosts and the database as they were."""

from __future__ import annotations

import json
import os
import random
import secrets
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from lab import host as hosts
from lab import netns, ovs
from lab.lab import Lab
from tests.lab.world import World, wrong

CYCLES = 500


def holdings(lab: Lab, network: str) -> dict[str, Any]:
    """Everything that an endpoint could leave behind."""
    found: dict[str, Any] = {
        "endpoints": [one["name"] for one in lab.rest.items("/endpoints")],
        "used": [subnet["used"] for subnet in lab.rest.get(f"/networks/{network}").body["subnets"]],
        "namespaces": netns.names(lab.name),
    }
    for host in lab.hosts:
        with netns.inside(host.netns):
            run = {"env": ovs.settings(host), "check": True, "capture_output": True, "text": True}
            links = subprocess.run(["ip", "-o", "link"], **run).stdout
            flows = subprocess.run(
                ["ovs-ofctl", "-O", "OpenFlow14", "--no-stats", "dump-flows", "warren0"], **run
            ).stdout
            ports = subprocess.run(["ovs-vsctl", "list-ports", "warren0"], **run).stdout
        found[host.name] = {
            "links": sorted(line.split(": ")[1].split("@")[0] for line in links.splitlines()),
            "flows": sorted(line.split("cookie=")[1].split(",")[0] for line in flows.splitlines() if "cookie=" in line),
            "ports": sorted(ports.split()),
        }
    return found


def killed_half_way(lab: Lab, network: str, host_name: str, seconds: float) -> None:
    """ADD whose process is killed; then DEL, as every runtime does."""
    host, id = lab.host(host_name), secrets.token_hex(8)
    space = f"{host.netns}.k{id[:6]}"
    netns.create(space)
    conflist = json.loads(min(hosts.conf_dir(host).glob("*.conflist")).read_text())
    config = conflist["plugins"][0] | {"cniVersion": "1.0.0", "name": conflist["name"], "network": network}

    def plugin(command: str) -> subprocess.Popen[bytes]:
        environment = os.environ | {
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": id,
            "CNI_NETNS": str(netns.path(space)),
            "CNI_IFNAME": "eth0",
            "CNI_PATH": str(hosts.bin_dir(host)),
        }
        with netns.inside(host.netns):
            return subprocess.Popen(
                [hosts.plugin(host)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
            )

    try:
        add = plugin("ADD")
        assert add.stdin is not None
        add.stdin.write(json.dumps(config).encode())
        add.stdin.close()
        time.sleep(seconds)
        add.kill()
        add.wait()
        assert add.stdout is not None
        add.stdout.close()
        delete = plugin("DEL")
        said = delete.communicate(json.dumps(config).encode(), timeout=60)[0]
        assert delete.returncode == 0, said
    finally:
        netns.delete(space)


def descriptors(lab: Lab) -> dict[str, int]:
    pids = {part.name: part.daemon.process for part in lab.parts() if part.name != "responder"}
    return {name: len(list(Path(f"/proc/{process.pid}/fd").iterdir())) for name, process in pids.items() if process}


def test_attach_and_detach_500_times_some_killed_half_way(lab: Lab, world: World) -> None:
    chance = random.Random(3)
    network = world.network(world.tenant("red"), "net", "10.52.0.0/16", "fd00:52::/64")
    stay = world.endpoints(network, per_host=1)
    killed = {n for n in range(CYCLES) if n % 10 == 0}

    def cycle(number: int) -> None:
        host = f"h{number % 3 + 1}"
        if number in killed:
            killed_half_way(lab, network, host, chance.uniform(0.005, 0.05))
        else:
            world.remove(world.endpoint(network, host))

    def several(numbers: range) -> None:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(cycle, numbers))
        world.settle()

    several(range(30))  # pools fill up
    before, open_before = holdings(lab, network), descriptors(lab)
    several(range(CYCLES))
    for _ in range(60):  # what the API could not be told at once it is told a little later
        after, open_after = holdings(lab, network), descriptors(lab)
        grown = {n: (open_before[n], count) for n, count in open_after.items() if count > open_before[n] + 8}
        if after == before and not grown:
            break
        time.sleep(1)
    assert after == before
    assert not grown
    assert wrong(world.probe(*stay)) == []
