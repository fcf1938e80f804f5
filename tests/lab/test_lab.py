"""The lab itself: it comes up whatever happened before, its parts come back, and it leaves nothing behind."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import netns, process, state
from lab.lab import Lab
from lab.names import RUN, LabError
from tests.lab.world import World, wrong

ROOT = Path(__file__).resolve().parents[2]


def warren(lab: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ROOT / "warren", *words], env={**os.environ, "WARREN_LAB": lab}, capture_output=True, text=True, timeout=240
    )


@pytest.fixture
def second() -> Iterator[str]:
    """The name of another lab, which is gone afterwards."""
    name = f"t{secrets.token_hex(3)}"
    yield name
    Lab(name).down()


def remains(name: str) -> list[str]:
    """Whatever still bears the name of a lab."""
    found = [f"process {one.pid}" for one in process.of_lab(state.folder(name))]
    found += [f"namespace {space}" for space in netns.names(name)]
    found += [f"file {path}" for path in RUN.glob(f"*{name}*")]
    sockets = Path("/proc/net/unix").read_text()
    return found + ([f"sockets of {name}"] if f"/{name}/" in sockets else [])


def test_a_lab_whose_start_was_killed_comes_up_beside_another_and_leaves_nothing(world: World, second: str) -> None:
    ours = world.endpoints(f"{world.tenant('red')}/default", hosts=("h1", "h2"), per_host=1)
    begun = [state.folder(second) / name for name in ("lab.json", "web.process", "h1/agent.process")]
    for sign in begun:
        starting = subprocess.Popen(
            [sys.executable, "-m", "client", "lab", "-l", second, "up", "--hosts", "2"], cwd=ROOT
        )
        deadline = time.monotonic() + 120
        while not sign.exists() and time.monotonic() < deadline:
            time.sleep(0.005)
        starting.kill()
        starting.wait()
        assert sign.exists()
    done = warren(second, "lab", "demo", "--hosts", "2", "--port", "0")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Isolation holds" in done.stdout
    assert wrong(world.probe(*ours)) == [], "two labs disturb each other"
    assert warren(second, "lab", "down").returncode == 0
    assert remains(second) == []
    assert wrong(world.probe(*ours)) == []


def test_coming_up_again_starts_what_is_missing_and_nothing_else(lab: Lab) -> None:
    before = {part.name: part.daemon.process for part in lab.parts()}
    for name in ("agent:h1", "responder", "controller"):
        lab.part(name).daemon.stop(kill=True)
    lab.up()
    after = {part.name: part.daemon.process for part in lab.parts()}
    assert {name for name in after if after[name] != before[name]} == {"agent:h1", "responder", "controller"}
    assert all(one and one.alive for one in after.values())


def test_a_lab_does_not_shrink(lab: Lab) -> None:
    with pytest.raises(LabError, match="has 3 hosts and does not shrink to 2"):
        lab.up(2)


def test_what_runs_in_an_endpoint_speaks_through_exec(lab: Lab, world: World) -> None:
    placed = world.endpoint(f"{world.tenant('red')}/default", "h1")
    command = "ip -br -4 addr show eth0; echo oops >&2; exit 7"
    done = warren(lab.name, "lab", "exec", placed.name, "--", "sh", "-c", command)
    assert done.returncode == 7
    assert placed.addresses[0] in done.stdout
    assert done.stderr == "oops\n"


def test_the_switchs_tools_speak_to_the_host_they_run_in(lab: Lab) -> None:
    done = warren(
        lab.name, "lab", "exec", "h2", "--", "ovs-vsctl", "get", "Open_vSwitch", ".", "external_ids:system-id"
    )
    assert done.stdout.strip().strip('"') == "h2"


def test_what_is_attached_by_hand_as_a_host_comes_to_that_host(lab: Lab, world: World) -> None:
    network, space = f"{world.tenant('red')}/default", f"{lab.name}-h2.byhand"
    netns.create(space)
    try:
        words = ("--netns", space, "--network", network)
        done = warren(lab.name, "lab", "host", "h2", "--", str(ROOT / "warren"), "attach", *words)
        assert done.returncode == 0 and "is attached as eth1" in done.stdout, done.stderr
        (made,) = world.rest.get("/endpoints", params={"network": network}).body["items"]
        assert made["host"] == "h2"
        assert warren(lab.name, "lab", "host", "h2", "--", str(ROOT / "warren"), "detach", *words[:2]).returncode == 0
    finally:
        netns.delete(space)


def test_a_name_is_unique_in_a_lab(lab: Lab, world: World) -> None:
    network = f"{world.tenant('red')}/default"
    placed = world.endpoint(network, "h1")
    with pytest.raises(LabError, match=f"has an endpoint '{placed.name}'"):
        world.endpoint(network, "h2", placed.name)
    assert state.endpoint(lab.name, placed.name) == placed


def test_an_endpoint_that_cannot_be_attached_leaves_nothing(lab: Lab) -> None:
    before = netns.names(lab.name)
    done = warren(lab.name, "lab", "run", "lost", "--host", "h1", "--network", "nobody/nowhere")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "nobody" in done.stderr
    assert netns.names(lab.name) == before
    assert "lost" not in [one.name for one in lab.endpoints()]
    assert "lost" not in [one["name"].split("/")[1] for one in lab.rest.items("/endpoints")]


def test_run_probe_and_rm_speak_json(lab: Lab, world: World) -> None:
    tenant = world.tenant("red")
    run = ("lab", "run", "json1", "--network", f"{tenant}/default", "--label", "app=web", "--port", "http=80/tcp")
    made = json.loads(warren(lab.name, *run, "-o", "json").stdout)
    assert made["name"] == f"{tenant}/json1"
    assert made["labels"] == {"app": "web"}
    assert made["ports"] == [{"name": "http", "port": 80, "protocol": "tcp"}]
    try:
        other = world.endpoint(f"{tenant}/default", "h2")
        world.settle()
        asked = ("lab", "probe", "--tcp", "81", "--family", "4", "--from", "json1", "--to", other.name, "-o", "json")
        pairs = json.loads(warren(lab.name, *asked).stdout)["pairs"]
        assert len(pairs) == 1
        assert pairs[0].pop("ms") > 0
        expected = {"from": "json1", "to": other.name, "proto": "tcp", "family": 4, "port": 81, "ok": True}
        assert pairs[0] == expected
    finally:
        removed = json.loads(warren(lab.name, "lab", "rm", "json1", "-o", "json").stdout)
    assert removed["revision"] > made["revision"]


def test_a_host_that_is_cut_off_comes_back_when_healed(lab: Lab, world: World) -> None:
    placed = world.endpoints(f"{world.tenant('red')}/default", hosts=("h1", "h1", "h2"), per_host=1)
    assert wrong(world.probe(*placed)) == []
    names = [one.name for one in placed]
    lab.set_cable("h2", plugged=False)
    try:
        for answer in lab.probe(sources=names, targets=names, protos=[("tcp", 80)]):
            on_h2 = names[2] in (answer.ask.source.name, answer.ask.target.name)
            assert answer.ok == (not on_h2), answer.ask
    finally:
        lab.set_cable("h2", plugged=True)
    assert wrong(world.probe(*placed)) == []


@pytest.mark.parametrize("part", ["responder", "agent:h1", "web", "controller", "ovs:h1"])
@pytest.mark.parametrize("kill", [False, True], ids=["stopped", "killed"])
def test_endpoints_answer_after_any_part_was_restarted(lab: Lab, world: World, part: str, kill: bool) -> None:
    placed = world.endpoints(f"{world.tenant('red')}/default", hosts=("h1", "h2"), per_host=1)
    lab.restart(part, kill=kill)
    deadline = time.monotonic() + 60
    while found := wrong(world.probe(*placed)):
        assert time.monotonic() < deadline, found
