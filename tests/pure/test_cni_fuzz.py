"""Whatever arrives on the CNI socket is answered: at once, in JSON, with a sentence if it is refused; and nothing is
left of it. Calls that are nearly right, in any order, are the most of it; the rest are bytes."""

from __future__ import annotations

import errno
import json
import os
import socket
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from ovs_agent.cni import spec
from ovs_agent.cni.plugin import Unfit
from ovs_agent.ledger import Key
from ovs_agent.netlink import shape
from tests.pure.cni_world import Plugin, framed
from tests.pure.test_docker_fuzz import ANYTHING, open_files

EXAMPLES, LENGTH = 420, 25
CODES = {getattr(spec, name) for name in dir(spec) if name.isupper() and isinstance(getattr(spec, name), int)}
COMMANDS = st.sampled_from([*spec.REQUIRED, *spec.REQUIRED, *["ADD"] * 4, *["DEL"] * 4, "add", ""])
ADDRESSES = st.sampled_from(
    ["10.20.0.9", "10.20.0.10/24", "fd20::9", "10.21.0.9", "10.20.0.1", "x", "::ffff:10.20.0.9"]
)
OTHER = "other-ipam"
"""A plugin that gives the addresses it finds in its configuration."""
SCRIPT = """#!/usr/bin/python3 -IS
import json, os, sys
config = json.load(sys.stdin)
if os.environ["CNI_COMMAND"] == "ADD":
    print(json.dumps(config["ipam"].get("answer")))
sys.exit(config["ipam"].get("exit", 0))
"""
PREVIOUS = st.fixed_dictionaries(
    {},
    optional={
        "ips": st.lists(st.fixed_dictionaries({"address": ADDRESSES}), max_size=2) | ANYTHING,
        "routes": st.lists(st.fixed_dictionaries({"dst": st.just("0.0.0.0/0"), "gw": ADDRESSES}), max_size=1)
        | ANYTHING,
        "interfaces": st.just([{"name": "lo"}]) | ANYTHING,
        "dns": ANYTHING,
    },
)
BANDWIDTH = st.dictionaries(
    st.sampled_from(["ingressRate", "ingressBurst", "EgressRate", "egressBurst"]), st.integers(-1, 1 << 60) | ANYTHING
)
RUNTIME = st.fixed_dictionaries(
    {},
    optional={
        "ips": st.lists(ADDRESSES, max_size=2) | ANYTHING,
        "mac": st.sampled_from(["02:aa:00:00:00:01", "ff", ""]) | ANYTHING,
        "aliases": st.just({"net": ["front"]}) | st.lists(st.text(max_size=5), max_size=3) | ANYTHING,
        "dns": st.just({"Servers": ["192.0.2.1"], "Options": None}) | ANYTHING,
        "bandwidth": BANDWIDTH | ANYTHING,
        "deviceID": st.just("0000:04:00.5") | ANYTHING,
    },
)
RULE = st.fixed_dictionaries({"network": st.sampled_from(["acme/db", "{K8S_POD_NAMESPACE}/web", "x"])}) | ANYTHING
NETWORK = st.sampled_from(["acme/web", "acme/web", "acme/db", "acme/none", "nobody/web", "Web", "{A}/{B}"])
ANSWER = st.fixed_dictionaries({"ips": st.lists(st.fixed_dictionaries({"address": ADDRESSES}), max_size=2)}) | ANYTHING
IPAM = st.fixed_dictionaries(
    {"type": st.sampled_from([*["warren"] * 8, "no-such", "a/b", ""])},
    optional={"network": NETWORK, "rules": st.lists(RULE, max_size=2) | ANYTHING, "routes": PREVIOUS | ANYTHING},
)
BY_OTHER = st.fixed_dictionaries({"type": st.just(OTHER), "answer": ANSWER, "exit": st.sampled_from([0, 0, 1])})
CONFIG = st.fixed_dictionaries(
    {"cniVersion": st.sampled_from([*spec.SUPPORTED, *spec.SUPPORTED, "0.1.0", None, 1]), "name": st.just("net")},
    optional={
        "type": st.sampled_from(["warren", "warren", "bridge"]),
        "network": NETWORK,
        "rules": st.lists(RULE, max_size=2) | ANYTHING,
        "ports": st.just([{"name": "http", "port": 80}]) | ANYTHING,
        "args": st.just({"cni": {"labels": [{"key": "a", "value": "b"}], "name": "n"}}) | ANYTHING,
        "runtimeConfig": RUNTIME | ANYTHING,
        "prevResult": PREVIOUS | ANYTHING,
        "dns": ANYTHING,
        "bandwidth": BANDWIDTH,
        "ipam": IPAM | st.just({}),
        "cni.dev/valid-attachments": st.lists(
            st.fixed_dictionaries({"containerID": st.just("c1"), "ifname": st.just("eth0")}) | ANYTHING
        ),
    },
)
GOOD = st.fixed_dictionaries(
    {
        "cniVersion": st.just("1.1.0"),
        "name": st.just("net"),
        "type": st.sampled_from(["warren", "warren", "bridge"]),
        "network": st.just("acme/web"),
        "ipam": st.just({"type": "warren", "network": "acme/lan"}),
        "prevResult": st.just({}),
        "cni.dev/valid-attachments": st.just([{"containerID": "c1", "ifname": "eth0"}]),
    }
)
SPOILT = st.tuples(GOOD | CONFIG, st.sampled_from(["ipam", "name", "type", "network", "prevResult"]), ANYTHING)
BASE = {"cniVersion": "1.0.0", "name": "net", "type": "warren", "network": "acme/web"}
ASKS_MUCH = RUNTIME.map(lambda runtime: {**BASE, "runtimeConfig": {**runtime, "deviceID": "0000:04:00.5"}})
OVER_OTHER = BY_OTHER.map(lambda ipam: {**BASE, "ipam": ipam})
KINDS = [GOOD, GOOD, CONFIG, CONFIG, SPOILT.map(lambda three: {**three[0], three[1]: three[2]})]
RARE = [ASKS_MUCH, OVER_OTHER, ANYTHING]
CONFIGS = st.integers(0, 99).flatmap(lambda n: RARE[n] if n < len(RARE) else KINDS[n % len(KINDS)])
TEXT = st.text(max_size=30) | st.just('{"a":' * 5000)
STDIN = st.integers(0, 19).flatmap(lambda n: CONFIGS.map(json.dumps) if n else TEXT)
ARGUMENTS = st.sampled_from(
    [
        "",
        "IgnoreUnknown=1;K8S_POD_NAME=web;K8S_POD_NAMESPACE=acme",
        "IP=10.20.0.11;MAC=02:aa:00:00:00:02",
        "A",
        ";;=",
        "IP=x",
    ]
) | st.text(max_size=20)
ENVIRONMENT = st.fixed_dictionaries(
    {"CNI_COMMAND": COMMANDS},
    optional={
        "CNI_CONTAINERID": st.sampled_from(["c1", "c2", "c3", "-x", "", "a/b"]),
        "CNI_IFNAME": st.sampled_from(["eth0", "eth0", "eth1", "..", "an interface", "x" * 16]),
        "CNI_NETNS": st.sampled_from(["/run/netns/x", ""]),
        "CNI_ARGS": ARGUMENTS,
    },
)
WHOLE = {"CNI_CONTAINERID": "c1", "CNI_IFNAME": "eth0", "CNI_NETNS": "/run/netns/x"}
COMPLETED = ENVIRONMENT.map(lambda some: {**some, **WHOLE})
GOOD_CALL = COMMANDS.map(lambda command: {**WHOLE, "CNI_COMMAND": command})
ENVIRONMENTS = st.integers(0, 9).flatmap(lambda n: GOOD_CALL | COMPLETED if n else ENVIRONMENT)


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch) -> Iterator[Plugin]:
    monkeypatch.setattr(shape, "complaints", lambda endpoint: [])
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / OTHER).write_text(SCRIPT)
        (Path(folder) / OTHER).chmod(0o755)
        plugin = Plugin(Path(folder))
        yield plugin
        plugin.stop()


def test_ten_thousand_requests(plugin: Plugin) -> None:
    asked = 0
    done: Counter[str] = Counter()
    codes: Counter[int] = Counter()

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(st.tuples(ENVIRONMENTS, STDIN), min_size=LENGTH, max_size=LENGTH))
    def run(requests: list[tuple[dict[str, str], str]]) -> None:
        nonlocal asked
        for environment, stdin in requests:
            plugin.unfit = None if asked % 2 else Unfit("The bridge is not there yet; try again.", asked % 3 == 0)
            reply = plugin.call({**environment, "CNI_PATH": str(plugin.path.parent)}, stdin)
            asked += 1
            said = environment, stdin, reply
            command = environment["CNI_COMMAND"]
            if reply.exit == 0:
                done[command] += 1
                assert (reply.text == "") == (command not in ("ADD", "VERSION")), said
            else:
                codes[reply.body["code"]] += 1
                assert reply.exit == 1 and reply.body["code"] in CODES - {spec.INTERNAL}, said
                assert reply.body["cniVersion"] in spec.SUPPORTED
                assert reply.body["msg"].endswith((".", "?")) and "Traceback" not in reply.text, said

    plugin.call({"CNI_COMMAND": "VERSION"}, "{}")
    threads, files = threading.active_count(), open_files()
    run()
    assert asked >= 10_000
    assert all(done[command] for command in spec.REQUIRED), done  # each was at times right
    assert {1, 2, 4, 5, 6, 7, 50, 51, 100, 101, 104} <= set(codes), codes
    for endpoint in plugin.attachments.known():
        *_, container = endpoint.container_id.rpartition(":")
        of_ipam = endpoint.container_id.startswith("ipam:")
        config = {"cniVersion": "1.0.0", "name": "net", "type": "bridge" if of_ipam else "warren"}
        config |= {"ipam": {"type": "warren"}} if of_ipam else {}
        environment = {**WHOLE, "CNI_COMMAND": "DEL", "CNI_CONTAINERID": container, "CNI_IFNAME": endpoint.ifname}
        assert plugin.call(environment, json.dumps(config)) == (0, "")
    assert plugin.attachments.known() == ()
    for call in tuple(plugin.server._calls):
        call.join(60)
    ended = time.monotonic() + 60  # the last call's thread may still be on its way out
    while threading.active_count() > threads and time.monotonic() < ended:
        time.sleep(0.01)
    assert threading.active_count() <= threads and open_files() <= files


RAW = [
    b"",
    b"\n",
    b"\0\0",
    framed(b""),
    framed(b"{}"),
    framed(b"[]"),
    framed(b"null"),
    framed(b"7"),
    framed(b"\0\0"),
    framed(b"\0\0{}"),
    framed(b"CNI_COMMAND\0\0{}"),
    framed(b"CNI_COMMAND=ADD\0{}"),
    framed(b"CNI_COMMAND=ADD\0\x007"),
    framed(b"CNI_COMMAND=ADD\0\0{}")[:-1],
    framed(b'{"do": "attach"}'),
    framed(b'{"do": "dance"}'),
    framed(b'{"do": {}}'),
    framed(b'{"do": "attach", "container": "c", "ifname": "e", "wish": 7, "routes": [], "default_route": true}'),
    framed(b"\xff\xfe"),
    framed(b"[" * 200_000),
    framed(b"x" * 2_000_000),
]


@pytest.mark.parametrize("raw", RAW, ids=range(len(RAW)))
def test_what_no_shim_says(plugin: Plugin, raw: bytes) -> None:
    said = plugin.hang_up_after(raw)
    assert b"Traceback" not in said
    assert not said or json.loads(said[1:])["msg"]
    assert plugin.call({"CNI_COMMAND": "VERSION"}, "{}").exit == 0


@settings(max_examples=300, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(raw=st.binary(max_size=200), whole=st.booleans())
def test_bytes(plugin: Plugin, raw: bytes, whole: bool) -> None:
    plugin.hang_up_after(framed(raw) if whole else raw)
    assert plugin.call({"CNI_COMMAND": "VERSION"}, "{}").exit == 0


def test_slow_adds_hold_no_others_up(plugin: Plugin) -> None:
    """Twenty ADDs that wait, twenty callers that say nothing, and one that is served."""
    released, waiting = threading.Event(), threading.Semaphore(0)

    def gate(key: Key) -> None:
        if key[0].startswith("slow"):
            waiting.release()
            assert released.wait(120)

    def add(container: str) -> Any:
        config = {"cniVersion": "1.0.0", "name": "net", "type": "warren", "network": "acme/web"}
        return plugin.call({**WHOLE, "CNI_COMMAND": "ADD", "CNI_CONTAINERID": container}, json.dumps(config))

    plugin.attachments.gate = gate
    replies: list[Any] = []
    slow = [threading.Thread(target=lambda n=n: replies.append(add(f"slow{n}"))) for n in range(20)]  # type: ignore[misc]
    silent = [plugin.connect() for _ in range(20)]
    for thread in slow:
        thread.start()
    for _ in slow:
        assert waiting.acquire(timeout=60)
    assert add("quick").exit == 0 and replies == []
    released.set()
    for thread in slow:
        thread.join(60)
    assert [reply.exit for reply in replies] == [0] * 20
    for line in silent:
        line.close()


def test_a_call_that_cannot_be_taken_is_not_the_last(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The process has no file descriptor left for a moment."""
    failures = [OSError(errno.EMFILE, os.strerror(errno.EMFILE)), OSError(errno.ECONNABORTED, "gone")]
    accept = socket.socket.accept

    def crowded(listener: socket.socket) -> Any:
        if failures:
            raise failures.pop()
        return accept(listener)

    monkeypatch.setattr(socket.socket, "accept", crowded)
    plugin = Plugin(tmp_path)
    try:
        with plugin.connect() as line:
            line.settimeout(10)
            line.sendall(framed(b'CNI_COMMAND=VERSION\0\0{"cniVersion": "1.0.0"}'))
            assert line.recv(1) == b"0"
    finally:
        plugin.stop()
    assert not failures
