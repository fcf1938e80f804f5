"""The plugin as a process: what it hands to the agent, and what a runtime gets back."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ovs_agent.cni import spec
from ovs_agent.cni.install import SHIM, install
from tests.pure.cni_world import Plugin

WHOLE = {"cniVersion": "1.0.0", "name": "net", "type": "warren", "network": "acme/web"}
CALL = {"CNI_COMMAND": "ADD", "CNI_CONTAINERID": "c1", "CNI_IFNAME": "eth0", "CNI_NETNS": "/run/netns/x"}
CONFIG = json.dumps({"cniVersion": "1.0.0", "name": 'ünïcode "quoted" \n', "type": "warren"})


class Agent(threading.Thread):
    """Answers one call with what it is told to, and keeps what it was asked."""

    def __init__(self, path: Path, reply: bytes) -> None:
        super().__init__(daemon=True)
        self.asked = b""
        self.reply = reply
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen()

    def run(self) -> None:
        connection, _ = self.listener.accept()
        with connection:
            size = int.from_bytes(connection.recv(4, socket.MSG_WAITALL), "big")
            self.asked = connection.recv(size, socket.MSG_WAITALL)
            connection.sendall(self.reply)


@pytest.fixture
def socket_path(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "cni.sock"


@pytest.fixture
def plugin(tmp_path: Path, socket_path: Path) -> Path:
    return install(tmp_path / "bin", tmp_path / "net.d", socket_path, None)[0]


@pytest.fixture
def agent(socket_path: Path) -> Iterator[Plugin]:
    """The real one's end of the socket."""
    served = Plugin(socket_path.parent)
    assert served.path == socket_path
    yield served
    served.stop()


def run(plugin: Path, stdin: str = CONFIG, **environment: str) -> tuple[int, str]:
    done = subprocess.run([plugin], input=stdin.encode(), capture_output=True, env=environment, timeout=60)
    return done.returncode, done.stdout.decode()


def test_the_call_arrives_whole_and_the_answer_goes_back(plugin: Path, socket_path: Path) -> None:
    big = json.dumps({"ips": ["10.0.0.1"] * 20_000})
    agent = Agent(socket_path, b"0" + big.encode())
    agent.start()
    code, out = run(plugin, CNI_COMMAND="ADD", CNI_ARGS='a="\\;b=ü', HOME="/root", CNI_IFNAME="eth0")
    agent.join(10)
    assert (code, out) == (0, big)
    variables, _, stdin = agent.asked.decode().partition("\0\0")
    assert stdin == CONFIG
    assert variables.split("\0") == ['CNI_ARGS=a="\\;b=ü', "CNI_COMMAND=ADD", "CNI_IFNAME=eth0"]


def test_an_error_of_the_agent_is_an_exit_code(plugin: Path, socket_path: Path) -> None:
    Agent(socket_path, b'1{"code":7}').start()
    assert run(plugin, CNI_COMMAND="ADD") == (1, '{"code":7}')


def test_success_without_words_prints_nothing(plugin: Path, socket_path: Path) -> None:
    Agent(socket_path, b"0").start()
    assert run(plugin, CNI_COMMAND="DEL") == (0, "")


def test_the_configuration_may_name_another_socket(plugin: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.sock"
    Agent(other, b"0").start()
    assert run(plugin, json.dumps({"socket": str(other)}), CNI_COMMAND="DEL") == (0, "")


@pytest.mark.parametrize(("command", "code"), [("ADD", 11), ("DEL", 11), ("CHECK", 11), ("STATUS", 50)])
def test_an_absent_agent_is_told_with_its_socket(plugin: Path, socket_path: Path, command: str, code: int) -> None:
    exit_code, out = run(plugin, CNI_COMMAND=command)
    error = json.loads(out)
    assert exit_code == 1 and error["code"] == code and str(socket_path) in error["msg"] and error["cniVersion"]


def test_an_agent_that_dies_before_it_answers_is_no_success(plugin: Path, socket_path: Path) -> None:
    Agent(socket_path, b"").start()
    exit_code, out = run(plugin, CNI_COMMAND="ADD")
    assert exit_code == 1 and json.loads(out)["code"] == 11


@pytest.mark.parametrize("served", [True, False])
def test_version_is_answered_also_alone(plugin: Path, served: bool, request: pytest.FixtureRequest) -> None:
    if served:
        request.getfixturevalue("agent")
    for stdin, version in (('{"cniVersion": "0.4.0"}', "0.4.0"), ("", "1.1.0"), ("{}", "1.1.0")):
        exit_code, out = run(plugin, stdin, CNI_COMMAND="VERSION")
        assert exit_code == 0
        assert json.loads(out) == {"cniVersion": version, "supportedVersions": list(spec.SUPPORTED)}


def test_version_of_nonsense_cannot_be_decoded(plugin: Path, agent: Plugin) -> None:
    for stdin in ("{", "[]", "7", '{"a": 1,}', '{"a": [}', '{"a": "\n"}', "{} x", '{"a": 01}', '{"fault": 1'):
        exit_code, out = run(plugin, stdin, CNI_COMMAND="VERSION")
        assert exit_code == 1 and json.loads(out)["code"] == 6


def test_it_starts_for_every_container_so_it_loads_no_module() -> None:
    loaded = "BEGIN { *CORE::GLOBAL::exit = sub { print join ' ', sort keys %INC; CORE::exit(0) } } do $ARGV[0]"
    done = subprocess.run(["/usr/bin/perl", "-e", loaded, SHIM], input="", capture_output=True, text=True, check=True)
    assert {Path(name).name for name in done.stdout.split("}")[-1].split()} == {"strict.pm", SHIM.name}


@pytest.mark.parametrize(
    "config",
    [
        {"cniVersion": "0.4.0", "a": [1, -2.5e3, {"b": '}"', "c": []}, {}, True, None], "socket": "/nowhere"},
        {"é": "ü\u2028", "cniVersion": "0.4.0", "prevResult": {"cniVersion": "1.0.0", "socket": 7}},
        {"cniVersion": "0.4.0", "fault": True},
    ],
)
@pytest.mark.parametrize("ascii", [True, False])
def test_any_json_is_understood(plugin: Path, config: Any, ascii: bool) -> None:
    for indent in (None, 2):
        exit_code, out = run(plugin, json.dumps(config, ensure_ascii=ascii, indent=indent), CNI_COMMAND="VERSION")
        assert exit_code == 0 and json.loads(out)["cniVersion"] == "0.4.0"


@pytest.mark.parametrize("name", ["cni\" $x @y'.sock", "sökt.sock", "back\\slash.sock"])
@pytest.mark.parametrize("given", [True, False])
def test_a_socket_may_have_any_name(tmp_path: Path, name: str, given: bool) -> None:
    path = tmp_path / name
    plugin = install(tmp_path / "bin", tmp_path / "net.d", tmp_path / "other" if given else path, None)[0]
    for ascii in (True, False):
        Agent(path, b"0").start()
        stdin = json.dumps({"socket": str(path)}, ensure_ascii=ascii) if given else CONFIG
        assert run(plugin, stdin, CNI_COMMAND="DEL") == (0, "")
        path.unlink()


@pytest.mark.parametrize("said", [7, ["/x"], {"socket": 7}])
def test_a_socket_that_is_no_path_is_refused(plugin: Path, agent: Plugin, said: Any) -> None:
    exit_code, out = run(plugin, json.dumps({**WHOLE, "socket": said}), **CALL)
    assert exit_code == 1 and json.loads(out)["code"] == 7 and "'socket'" in json.loads(out)["msg"]


@pytest.mark.parametrize("said", [None, ""])
def test_no_socket_is_the_installed_one(plugin: Path, said: Any) -> None:
    exit_code, out = run(plugin, json.dumps({"socket": said}), CNI_COMMAND="ADD")
    assert exit_code == 1 and json.loads(out)["code"] == 11


def test_calls_reach_the_real_server(plugin: Path, agent: Plugin) -> None:
    exit_code, out = run(plugin, json.dumps(WHOLE), **CALL)
    assert exit_code == 0 and json.loads(out)["ips"][0]["address"] == "10.20.0.2/24"
    assert run(plugin, json.dumps(WHOLE), **{**CALL, "CNI_COMMAND": "DEL"}) == (0, "")
    assert agent.attachments.known() == ()
