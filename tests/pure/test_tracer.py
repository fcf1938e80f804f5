"""The agent's answers reach the API, or are forgotten where nobody waits for them."""

from __future__ import annotations

import json
import socket
import threading
from pathlib import Path

import pytest

from client.rest import Problem, Rest
from ovs_agent.tracer import Tracer
from ovs_agent.unixctl import ask
from tests.pure.scripted_api import Answer, Asked, ScriptedApi


def tracer(api: ScriptedApi, folder: Path) -> Tracer:
    return Tracer(Rest(api.url, "wrn_1_x"), "h1", "warren0", f"unix:{folder}/db.sock")


def test_without_a_switch_the_answer_says_so(tmp_path: Path) -> None:
    with ScriptedApi(lambda asked: (200, {"revision": 1})) as api:
        tracer(api, tmp_path).answer([{"id": 7, "packet": "in_port=100"}])
        (put,) = api.asked
    assert (put.method, put.path) == ("PUT", "/api/v1/hosts/h1/traces/7")
    assert (put.body["table"], put.body["outputs"]) == (None, [])
    assert put.body["trouble"].startswith("ovs-vswitchd does not answer: ")


def test_the_next_question_is_answered_though_nobody_waits_for_the_first(tmp_path: Path) -> None:
    def answer(asked: Asked) -> Answer:
        return (404, {"detail": "There is no question 7."}) if asked.path.endswith("/7") else (200, {"revision": 1})

    with ScriptedApi(answer) as api:
        tracer(api, tmp_path).answer([{"id": 7, "packet": ""}, {"id": 8, "packet": ""}])
        assert [asked.path.rpartition("/")[2] for asked in api.asked] == ["7", "8"]


def test_an_api_that_fails_is_not_taken_for_one_that_has_forgotten(tmp_path: Path) -> None:
    with ScriptedApi(lambda asked: (500, {"detail": "Warren failed."})) as api, pytest.raises(Problem):
        tracer(api, tmp_path).answer([{"id": 7, "packet": ""}])


@pytest.mark.parametrize(
    ("pieces", "text"),
    [
        (['{"error":null,"id":0,"result":"{a}'], None),
        (['{"error":null,"id":0,"result":"{a}', '{b} c"}'], "{a}{b} c"),
        (['{"error":"no such bridge","id":0,"result":null}'], "no such bridge"),
    ],
)
def test_an_answer_in_pieces_is_put_together(tmp_path: Path, pieces: list[str], text: str | None) -> None:
    path = tmp_path / "switch.ctl"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()

        def serve() -> None:
            channel, _ = listening.accept()
            with channel:
                assert json.loads(channel.recv(4096)) == {"id": 0, "method": "ofproto/trace", "params": ["br"]}
                for piece in pieces:
                    channel.sendall(piece.encode())

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            if text is None:
                with pytest.raises(OSError, match="closed in the middle"):
                    ask(path, "ofproto/trace", ["br"])
            else:
                assert ask(path, "ofproto/trace", ["br"]) == text
        finally:
            thread.join()
