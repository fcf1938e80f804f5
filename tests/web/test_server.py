"""The server process starts on the sockets it is given, answers many at once, and ends quickly however many wait."""

from __future__ import annotations

import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import urllib3

from db.engine import create_engine
from tests.agent.site import until
from tests.web.conftest import bootstrap
from tests.web.servers import COMMAND, START_SECONDS, Server, gone, serving
from web.main import without_delay

SOON_SECONDS = 40.0


@pytest.fixture
def tokens(sqlite_url: str) -> tuple[str, str]:
    engine = create_engine(sqlite_url)
    made = bootstrap(engine)
    engine.dispose()
    return made


@pytest.fixture
def server(sqlite_url: str, tmp_path: Path, tokens: tuple[str, str]) -> Iterator[Server]:
    with serving(sqlite_url, tmp_path) as running:
        yield running


def asked(server: Server) -> int:
    """Connections of which something has come to the server, which has read all of it (ss(8))."""
    own = ("state", "established", "sport", "=", f":{server.listener.getsockname()[1]}")
    said = subprocess.run(["ss", "-tniHO", *own], check=True, capture_output=True, text=True).stdout
    return sum(line.split()[0] == "0" and "bytes_received:" in line for line in said.splitlines())


def test_it_ends_at_once_though_many_wait(server: Server, tokens: tuple[str, str]) -> None:
    rest = server.rest(tokens[0])
    enrolled = server.rest(rest.post("/hosts", {"name": "h1"}).body["enrol_token"]).post("/enrol", {}).body
    agent = server.rest(enrolled["token"])
    known = rest.get("/revisions").body["revision"]
    with ThreadPoolExecutor(24) as pool:
        waits = [
            pool.submit(agent.get, "/hosts/h1/wanted", params={"after": known, "wait": 50}, timeout=60)
            for _ in range(20)
        ]
        stream = urllib3.PoolManager().request(
            "GET",
            f"{server.url}/api/v1/events",
            headers={"Authorization": f"Bearer {tokens[1]}"},
            preload_content=False,
        )
        assert stream.status == 200
        until(lambda: asked(server) >= 20, "all of them have arrived")
        assert rest.get("/whoami").body["name"] == "boss"
        worker = server.worker()
        assert server.stop() < SOON_SECONDS
        assert gone(worker)
        for wait in waits:
            assert wait.result(SOON_SECONDS).status == 204
        stream.close()


def test_a_request_that_comes_while_it_restarts_is_answered(server: Server, tokens: tuple[str, str]) -> None:
    """The socket belongs to who started the server; what arrives meanwhile waits there."""
    server.stop()
    answers: list[int] = []
    rest = server.rest(tokens[0])
    asking = threading.Thread(target=lambda: answers.append(rest.get("/whoami", timeout=2 * START_SECONDS).status))
    asking.start()
    server.restart()
    asking.join(SOON_SECONDS)
    assert answers == [200]


def test_killed_it_leaves_no_worker_behind(server: Server, tokens: tuple[str, str]) -> None:
    worker = server.worker()
    server.stop(signal.SIGKILL)
    deadline = time.monotonic() + SOON_SECONDS
    while not gone(worker):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    server.restart()
    assert server.rest(tokens[0]).get("/whoami").status == 200


def test_connections_are_kept(server: Server, tokens: tuple[str, str]) -> None:
    pool = urllib3.HTTPConnectionPool("127.0.0.1", server.listener.getsockname()[1], maxsize=1)
    for _ in range(5):
        assert pool.request("GET", "/healthz").status == 200
    assert pool.num_connections == 1


def test_it_answers_though_all_waiting_places_are_taken(
    sqlite_url: str, tmp_path: Path, tokens: tuple[str, str]
) -> None:
    with serving(sqlite_url, tmp_path, "--threads", "20") as server, ThreadPoolExecutor(40) as pool:
        path = f"{server.url}/api/v1/events"
        head = {"Authorization": f"Bearer {tokens[1]}"}
        http = urllib3.PoolManager(maxsize=40)

        def listen(_: int) -> urllib3.BaseHTTPResponse:
            return http.request("GET", path, headers=head, preload_content=False, timeout=SOON_SECONDS, retries=False)

        streams = list(pool.map(listen, range(8)))
        assert sorted(stream.status for stream in streams) == [200] * 4 + [503] * 4
        assert server.rest(tokens[0]).get("/whoami").status == 200
        for stream in streams:
            stream.close()


def test_a_database_that_is_not_there_is_said_in_a_sentence(tmp_path: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "--db", f"sqlite:///{tmp_path}/new.db", "--bind", "127.0.0.1:0"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode != 0
    assert "warren db upgrade" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_connection_that_came_while_nobody_served_is_answered_without_delay() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()):
        connection, _ = listener.accept()
        with connection:
            assert not connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            without_delay(connection)
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    here, there = socket.socketpair()
    with here, there:
        without_delay(here)  # a Unix socket has no such thing
