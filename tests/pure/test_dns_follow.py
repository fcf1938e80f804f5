"""What a host did itself is answered before the API tells it, and what the API tells stays right."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any, cast

import pytest

from client.rest import Reply, Rest, Unreachable
from ovs_agent.dns.follow import Follower
from ovs_agent.dns.names import Names
from ovs_agent.document import Endpoint
from ovs_agent.state import State
from tests.pure.test_dns_names import DOCUMENT


class Api:
    """Answers what is put in `replies`, in that order, and remembers with what it was asked."""

    def __init__(self, *replies: dict[str, Any]) -> None:
        self.replies = list(replies)
        self.asked: list[dict[str, Any]] = []

    def get(self, path: str, params: dict[str, Any], timeout: float) -> Reply:
        assert path == "/hosts/h1/names"
        self.asked.append(params)
        if not self.replies:
            raise Unreachable("The API is away.")
        return Reply(200, self.replies.pop(0), {})


class Host:
    def __init__(self, folder: Path, *replies: dict[str, Any]) -> None:
        self.api = Api(deepcopy(DOCUMENT), *replies)
        self.told: list[Names] = []
        self.follower = Follower(cast(Rest, self.api), "h1", State(folder), self.told.append)

    def hear(self) -> None:
        """One round of the poll."""
        self.follower._ask()

    def find(self, name: str, network: int = 1) -> tuple[str, ...] | None:
        view = self.told[-1].view(network)
        return None if view is None else self.told[-1].find(view, name.split("."))


def endpoint(id: int, name: str, address: str, network: str = "acme/web") -> Endpoint:
    own = (f"wrn{id}", "", (f"{address}/24",), ())
    return Endpoint(id, name, network, 100 + id, *own, 1450, 1450, f"c{id}", "eth0", "")


def news(revision: int, new: tuple[int, ...] = (), **names: Any) -> dict[str, Any]:
    return {**deepcopy(DOCUMENT), "revision": revision, "whole": False, "new": list(new), "names": names}


def entry(name: str, address: str, tenant: str = "acme", network: int = 1) -> dict[str, Any]:
    return {"tenant": tenant, "network": network, "labels": [name], "addresses": [address]}


def test_an_attached_endpoint_has_its_names_at_once_and_a_detached_one_has_none(tmp_path: Path) -> None:
    host = Host(tmp_path)
    host.hear()
    nine = endpoint(9, "acme/web9", "10.20.0.19")
    assert host.find("front") == ("10.20.0.9", "fd00:20::9", "10.20.0.10")
    assert host.follower.attached(nine, ("front", "web9"), 12)
    assert host.find("web9") == ("10.20.0.19",) and "10.20.0.19" in (host.find("front") or ())
    assert host.told[-1].askers[109] == 1, "it may ask itself"
    view = host.told[-1].view(1)
    assert view is not None and host.told[-1].pointer(view, "10.20.0.19") == "web9.web.acme.warren.internal"
    assert host.follower.detached(nine, 13)
    assert host.find("web9") != ("10.20.0.19",) and "10.20.0.19" not in (host.find("front") or ())
    assert host.follower.detached(endpoint(1, "acme/web1", "10.20.0.9"), 14)
    assert host.find("web1") is None and host.find("web2") == ("10.20.0.10",)
    assert len(host.api.asked) == 1, "the API was not asked for any of it"


def test_names_that_the_api_tells_late_do_not_undo_what_is_newer(tmp_path: Path) -> None:
    host = Host(
        tmp_path,
        news(11, **{"endpoint/7": entry("web7", "10.20.0.17")}),
        news(13, **{"endpoint/9": entry("web9", "10.20.0.19")}),
        news(15, **{"endpoint/9": None, "endpoint/8": entry("web8", "10.20.0.18")}),
    )
    host.hear()
    eight, nine = endpoint(8, "acme/web8", "10.20.0.18"), endpoint(9, "acme/web9", "10.20.0.19")
    host.follower.attached(nine, (), 12)
    host.follower.detached(nine, 14)
    host.follower.attached(eight, (), 15)
    for _ in range(3):
        assert host.find("web9.web") is None and host.find("web8") == ("10.20.0.18",)
        host.hear()
    assert host.find("web9.web") is None and host.find("web8") == ("10.20.0.18",) and host.find("web7") is not None
    assert host.told[-1].revision == 15
    host.follower.attached(nine, (), 12)
    assert host.find("web9.web") is None, "told too late: it is gone since"


def test_an_attach_that_is_told_after_its_detach_leaves_nothing(tmp_path: Path) -> None:
    host = Host(tmp_path)
    host.hear()
    nine = endpoint(9, "acme/web9", "10.20.0.19")
    host.follower.detached(nine, 13)
    host.follower.attached(nine, (), 12)
    assert host.find("web9.web") is None


def test_the_first_of_a_network_asks_for_what_that_may_see(tmp_path: Path) -> None:
    change = news(12, new=(5,), **{"endpoint/9": entry("b9", "10.50.0.9", "beta", 5)})
    change["networks"]["5"] = {"name": "net", "tenant": "beta", "subnets": ["10.50.0.0/24"]}
    change["seen"]["5"], change["askers"]["109"] = [], 5
    host = Host(tmp_path, change)
    host.hear()
    nine = endpoint(9, "beta/b9", "10.50.0.9", "beta/net")
    assert host.follower.attached(nine, (), 12)
    assert host.api.asked[-1] == {"after": 9} and host.find("b9", 5) == ("10.50.0.9",)
    assert host.find("b9", 1) is None
    assert host.follower.attached(nine, (), 12) and len(host.api.asked) == 2, "known by now"
    assert not host.follower.attached(endpoint(10, "red/r", "10.20.0.8", "red/other"), (), 13), "the API is away"


def test_before_the_api_has_answered_nothing_is_known(tmp_path: Path) -> None:
    host = Host(tmp_path)
    nine = endpoint(9, "acme/web9", "10.20.0.19")
    assert not host.follower.attached(nine, (), 12) and not host.follower.detached(nine, 13)
    State(tmp_path).save_names(DOCUMENT)
    host.follower.recall()
    assert host.find("web1") is not None
    assert not host.follower.attached(nine, (), 12) and not host.follower.detached(nine, 13), "it may be old"


@pytest.mark.parametrize("answered", [8, 9])
def test_an_answer_that_is_not_newer_changes_nothing(tmp_path: Path, answered: int) -> None:
    host = Host(tmp_path, news(answered, **{"endpoint/1": None}))
    host.hear(), host.hear()
    assert host.find("web1") is not None and host.told[-1].revision == 9


def test_an_end_that_the_api_has_yet_to_hear_of_has_no_names_here(tmp_path: Path) -> None:
    """The API is away when a container ends; when it is back, its names still have the endpoint for a while."""
    web1 = endpoint(1, "acme/web1", "10.20.0.9")._replace(ofport=150)
    again = deepcopy(DOCUMENT["names"]["endpoint/1"])
    replies = news(11), news(12, **{"endpoint/1": again}), news(13, **{"endpoint/1": None})
    for reply in replies[:2]:
        reply["askers"] = {**reply["askers"], str(web1.ofport): 1}
    host = Host(tmp_path, *replies)
    host.hear()
    assert host.find("web1.web") is not None
    assert host.follower.detached(web1, None)
    for _ in range(3):
        assert host.find("web1.web") is None and host.find("web2.web") is not None
        host.hear()
    assert host.find("web1.web") is None and not host.follower._own


def test_an_endpoint_that_lives_on_elsewhere_has_its_names_when_the_api_has_heard(tmp_path: Path) -> None:
    """It moved while this host was cut off, which then ended what it had of it."""
    web1 = endpoint(1, "acme/web1", "10.20.0.9")._replace(ofport=150)
    before = news(11)
    before["askers"] = {**before["askers"], str(web1.ofport): 1}
    host = Host(tmp_path, before, news(12))
    host.hear()
    host.follower.detached(web1, None)
    host.hear()
    assert host.find("web1.web") is None
    host.hear()
    assert host.find("web1.web") is not None


def test_an_agent_that_starts_while_the_api_is_away_forgets_names_too(tmp_path: Path) -> None:
    host = Host(tmp_path)
    State(tmp_path).save_names(DOCUMENT)
    host.follower.recall()
    assert host.find("web1.web") is not None
    assert host.follower.detached(endpoint(1, "acme/web1", "10.20.0.9"), None)
    assert host.find("web1.web") is None
    host.hear()
    assert host.find("web1.web") is None, "the API has not been told"
