"""How often an attach asks whether it is live, and for whom it waits."""

from __future__ import annotations

from typing import Any, cast

import pytest

from client.rest import Reply, Rest
from ovs_agent import confirm
from ovs_agent.confirm import Confirmation, FlowsFailed


class Api:
    """Answers questions in the order of `replies` and remembers them."""

    def __init__(self, *replies: dict[str, Any]) -> None:
        self.replies = list(replies)
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def get(self, path: str, params: dict[str, Any], timeout: float) -> Reply:
        self.asked.append((path, {key: value for key, value in params.items() if key != "wait" and value is not None}))
        return Reply(200, self.replies.pop(0), {})


def progress(h1: str, h2: str, *unaware: str) -> dict[str, Any]:
    states = {"h1": h1, "h2": h2}
    state = "applied" if set(states.values()) == {"applied"} else "pending"
    hosts = [{"host": host, "state": one, "error": "no" if one == "failed" else ""} for host, one in states.items()]
    return {"revision": 7, "state": state, "hosts": hosts, "unaware": list(unaware)}


def confirmation(api: Api) -> Confirmation:
    return Confirmation(cast(Rest, api), "h1", "warren0")


def test_flows_and_names_are_one_question() -> None:
    api = Api(progress("applied", "applied"))
    confirmation(api).flows(7, lambda: False, named=True)
    assert api.asked == [("/revisions/7", {"names_but": "h1"})]


def test_who_does_not_know_the_names_yet_is_waited_for() -> None:
    api = Api(progress("applied", "applied", "h2"), {"waiting": ["h2"]}, {"waiting": []})
    confirmation(api).flows(7, lambda: False, named=True)
    assert [path for path, _ in api.asked] == ["/revisions/7", "/revisions/7/names", "/revisions/7/names"]
    assert api.asked[1][1] == {"but": "h1"}


def test_names_are_waited_for_after_flows_that_came_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second question is for this host's flows alone; names that were known with the first are not asked again."""
    monkeypatch.setattr(confirm, "PEERS_PATIENCE", 0.01)
    for unaware, more in (("h2", ["/revisions/7/names"]), ("", [])):
        pending = progress("pending", "pending", *filter(None, [unaware]))
        api = Api(pending, progress("applied", "pending"), {"waiting": []})
        api.replies[1]["hosts"] = api.replies[1]["hosts"][:1]
        confirmation(api).flows(7, lambda: False, named=True)
        assert [path for path, _ in api.asked] == ["/revisions/7", "/revisions/7", *more]
        assert api.asked[1][1] == {"host": "h1"}


def test_a_host_that_does_not_answer_for_its_names_holds_nobody_up_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confirm, "NAMES_PATIENCE", 0.000_001)
    api = Api(progress("applied", "applied", "h2"), {"waiting": ["h2"]}, progress("applied", "applied"))
    waits = confirmation(api)
    waits.flows(7, lambda: False, named=True)
    waits.flows(7, lambda: False, named=True)
    asked = ("/revisions/7", {"names_but": "h1"}), ("/revisions/7/names", {"but": "h1"}), ("/revisions/7", {})
    assert api.asked == list(asked)


def test_who_asks_for_flows_alone_gets_them(monkeypatch: pytest.MonkeyPatch) -> None:
    api = Api(progress("applied", "applied"), progress("failed", "applied"))
    waits = confirmation(api)
    waits.flows(7, lambda: False)
    assert api.asked == [("/revisions/7", {})]
    with pytest.raises(FlowsFailed, match="revision 7: no"):
        waits.flows(7, lambda: False)
