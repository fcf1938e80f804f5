"""What containers are called: read from an engine's API that answers rightly, late, wrongly or not at all."""

from __future__ import annotations

import http.server
import json
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from client.rest import Problem, Rest, Unreachable
from ovs_agent.docker.book import Joint, Shelf
from ovs_agent.docker.engine import Engine, Silent
from ovs_agent.docker.naming import Naming, labels

CONTAINER, FIRST, SECOND = "c0" * 32, "e1" * 32, "e2" * 32


class Dockerd(socketserver.ThreadingUnixStreamServer):
    """Says what it is told to, by path; texts as they are."""

    daemon_threads = True

    def __init__(self, path: Path) -> None:
        self.says: dict[str, Any] = {}
        self.asked: list[str] = []
        super().__init__(str(path), Asked)

    def run(self, name: str, **endpoints: str) -> None:
        networks = {network: {"EndpointID": id} for network, id in endpoints.items()}
        self.says["/containers/json"] = [
            {"Id": CONTAINER, "Names": [f"/{name}"], "NetworkSettings": {"Networks": networks}}
        ]
        for network in networks:
            networks[network] = {"EndpointID": endpoints[network], "Aliases": [f"{network}-alias", "C0FFEE"]}
        self.says[f"/containers/{CONTAINER}/json"] = {"Name": f"/{name}", "NetworkSettings": {"Networks": networks}}


class Asked(http.server.BaseHTTPRequestHandler):
    server: Dockerd

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        said = self.server.says.get(self.path)
        data = said.encode() if isinstance(said, str) else json.dumps(said).encode()
        self.send_response(404 if said is None else 200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def address_string(self) -> str:
        return "unix"

    def log_message(self, format: str, *args: Any) -> None:
        pass


class Api:
    """Remembers the aliases that were put; `fault` is raised instead."""

    def __init__(self) -> None:
        self.put_so_far: list[tuple[str, list[str]]] = []
        self.fault: Exception | None = None

    def put(self, path: str, json: Any, **_: Any) -> None:
        if self.fault is not None:
            raise self.fault
        self.put_so_far.append((path, json["aliases"]))


class Case:
    def __init__(self, folder: Path) -> None:
        self.socket = folder / "docker.sock"
        self.dockerd = Dockerd(self.socket)
        threading.Thread(target=self.dockerd.serve_forever, args=(0.02,), daemon=True).start()
        self.api = Api()
        self.joints = Shelf(folder / "joints", Joint, force=False)
        self.engine = Engine(self.socket)
        self.naming = Naming(self.engine, self.joints, cast(Rest, self.api), "h1")

    def join(self, id: str, container_id: str = "docker-02") -> None:
        self.joints.put(Joint(id, "net", container_id, "x1", {}, ()))

    def stop(self) -> None:
        self.dockerd.shutdown()
        self.dockerd.server_close()


@pytest.fixture
def case(tmp_path: Path) -> Iterator[Case]:
    case = Case(tmp_path)
    yield case
    case.stop()


def test_a_container_is_named_once_on_each_of_its_networks_and_again_when_it_is_renamed(case: Case) -> None:
    assert case.naming.look() and not case.dockerd.asked, "nobody is asked for nothing"
    case.join(FIRST, "docker-02")
    case.join(SECOND, "docker-03")
    case.dockerd.says["/containers/json"] = []
    assert not case.naming.look(), "it has not started yet"
    case.dockerd.run("Web1", web=FIRST, side=SECOND, bridge="ab" * 32)
    for _ in range(2):
        assert case.naming.look()
    assert sorted(case.api.put_so_far) == [
        ("/hosts/h1/attachments/docker-02/x1/aliases", ["web1", "web-alias", "c0ffee"]),
        ("/hosts/h1/attachments/docker-03/x1/aliases", ["web1", "side-alias", "c0ffee"]),
    ]
    case.dockerd.run("web2", web=FIRST)
    assert case.naming.look()
    assert case.api.put_so_far[2:] == [("/hosts/h1/attachments/docker-02/x1/aliases", ["web2", "web-alias", "c0ffee"])]


@pytest.mark.parametrize(
    "said",
    ["", "x", "{}", "[7]", '[{"Id": 1}]', '[{"Id": "a", "Names": []}]', '{"message": "no"}', '[{"Names": null}]'],
)
def test_an_answer_that_cannot_be_read_is_no_name_and_no_harm(case: Case, said: str) -> None:
    case.join(FIRST)
    case.dockerd.says["/containers/json"] = said
    if said != "{}":
        with pytest.raises(Silent):
            case.engine.running()
    assert not case.naming.look() and not case.api.put_so_far
    case.dockerd.run("web1", web=FIRST)
    case.dockerd.says[f"/containers/{CONTAINER}/json"] = said
    assert not case.naming.look() or said == "null"
    case.dockerd.run("web1", web=FIRST)
    assert case.naming.look() and len(case.api.put_so_far) == 1


def test_who_was_told_to_have_an_address_is_found_before_it_runs(case: Case) -> None:
    told = {
        "web": {"IPAMConfig": {"IPv4Address": "10.0.0.9", "IPv6Address": "fd00::9"}},
        "bridge": {"IPAMConfig": None},
    }
    one = {"Names": ["/db"], "NetworkSettings": {"Networks": told}}
    case.dockerd.says["/containers/json?all=1"] = [
        {**one, "State": "created"},
        {**one, "State": "running", "Names": ["/other"]},
        {"Names": ["/x"], "State": "exited", "NetworkSettings": None},
    ]
    assert case.engine.asking("10.0.0.9") == case.engine.asking("fd00::9") == ["db"]
    assert case.engine.asking("10.0.0.8") == []
    case.dockerd.says["/containers/json?all=1"] = [{"State": "created"}, 7]
    with pytest.raises(Silent):
        case.engine.asking("10.0.0.9")


def test_what_cannot_be_told_is_told_later_and_what_is_refused_is_not(case: Case) -> None:
    case.join(FIRST)
    case.dockerd.run("web1", web=FIRST)
    for fault in (Unreachable("gone"), Problem(503, "Unavailable", "later")):
        case.api.fault = fault
        assert not case.naming.look()
    case.api.fault = Problem(422, "Invalid", "no such name")
    assert case.naming.look()
    case.api.fault = None
    assert case.naming.look() and not case.api.put_so_far


def test_docker_that_is_away_is_said_once(case: Case, caplog: pytest.LogCaptureFixture) -> None:
    case.join(FIRST)
    case.stop()
    case.socket.unlink()
    for _ in range(3):
        assert not case.naming.look()
    assert sum("containers have no names" in record.message for record in caplog.records) == 1


def test_names_that_dns_cannot_say_are_left_out() -> None:
    assert labels(["Web1", "web1", "a_b", "x.y", "", "-", "b" * 64, "ok"]) == ["web1", "ok"]
    assert len(labels(f"n{n}" for n in range(30))) == 16


def test_a_join_wakes_who_looks(case: Case) -> None:
    done = threading.Event()
    look = case.naming.look

    def looked() -> bool:
        found = look()
        if case.api.put_so_far:
            done.set()
        return found

    case.naming.look = looked  # type: ignore[method-assign]
    case.naming.start()
    case.join(FIRST)
    case.dockerd.run("web1", web=FIRST)
    case.naming.joined()
    assert done.wait(60)
    case.naming.stop()
