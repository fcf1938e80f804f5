"""Whoever waits for a change hears of it at once, and of nothing else; whoever lost the connection misses nothing."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from typing import Any, NamedTuple
from unittest.mock import patch

import pytest
from werkzeug.test import TestResponse

from db import convergence
from db.engine import writing
from tests.web.conftest import Caller, Json, Site
from tests.web.test_bad_input import assert_problem
from web.live import CROWDED_SECONDS

LONG, SOON_SECONDS = 58, 45.0
"""Seconds that a question may wait, and in which it is answered at once."""


class Progress(NamedTuple):
    """What a controller says of a host."""

    connected: bool = True
    wanted: int = 0
    confirmed: int = 0
    error: str = ""
    flows: int = 0
    drops: Json = {}  # noqa: RUF012
    repaired: int = 0


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as made:
        yield made


@pytest.fixture
def agents(any_site: Site) -> tuple[Caller, Caller]:
    """Of hosts h1 and h2; tenant acme has networks web and db; h1 has an endpoint in web."""
    any_site.admin.made("/tenants", {"name": "acme"})
    for network in ("acme/web", "acme/db"):
        any_site.admin.made("/networks", {"name": network})
    first, second = any_site.enrolled("h1", "198.18.0.11"), any_site.enrolled("h2", "198.18.0.12")
    attach(first, "h1", "web1")
    return first, second


def attach(agent: Caller, host: str, name: str, network: str = "acme/web") -> TestResponse:
    body = {"network": network, "name": name, "netns": f"/run/netns/{name}"}
    answer = agent.put(f"/hosts/{host}/attachments/{name}/eth0", body)
    assert answer.status_code == 201, answer.text
    return answer


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SOON_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def waiting(site: Site, pool: ThreadPoolExecutor, get: Callable[[], TestResponse]) -> Future[TestResponse]:
    """A request that waits by now."""
    before = site.state().live.waiting()
    future = pool.submit(get)
    until(lambda: site.state().live.waiting() > before or future.done())
    assert not future.done(), future.result().text
    return future


def confirm(site: Site, revision: int, **hosts: Progress) -> None:
    """A controller has computed up to `revision` and says this of the hosts."""
    ids = {"h1": 1, "h2": 2}
    with writing(site.engine) as session:
        said = {ids[name]: progress for name, progress in hosts.items()}
        convergence.record(session, "ctl1", "tcp:198.18.0.1:6653", revision, said, now=datetime.now(UTC))


# -- wanted --


def test_an_agent_reads_all_that_its_host_should_have(any_site: Site, agents: tuple[Caller, Caller]) -> None:
    confirm(any_site, any_site.revision())
    wanted = agents[0].get("/hosts/h1/wanted").get_json()
    assert wanted["revision"] == any_site.revision()
    assert wanted["host"]["name"] == "h1"
    assert wanted["host"]["address"] == "198.18.0.11"
    assert wanted["host"]["datapath_id"] == "7761000000000001"
    assert wanted["controllers"] == ["tcp:198.18.0.1:6653"]
    assert wanted["tunnels"] == [{"type": "vxlan", "suffix": "tun", "port": 4789, "ofport": 1}]
    assert wanted["gateway"] == {"ofport": 2, "mac": "02:77:61:72:72:6e"}
    assert [endpoint["name"] for endpoint in wanted["endpoints"]] == ["acme/web1"]
    assert agents[1].get("/hosts/h2/wanted").get_json()["endpoints"] == []


def test_an_agent_that_knows_everything_hears_nothing(any_site: Site, agents: tuple[Caller, Caller]) -> None:
    known = any_site.revision()
    assert agents[0].get(f"/hosts/h1/wanted?after={known}").status_code == 204
    attach(agents[1], "h2", "web2")
    assert agents[0].get(f"/hosts/h1/wanted?after={known}").status_code == 204
    assert agents[1].get(f"/hosts/h2/wanted?after={known}").status_code == 200


def test_an_agent_that_knows_of_the_future_gets_everything(any_site: Site, agents: tuple[Caller, Caller]) -> None:
    """A backup was restored: the agent's revision is none of this database."""
    answer = agents[0].get(f"/hosts/h1/wanted?after={any_site.revision() + 100}&wait={LONG}")
    assert answer.status_code == 200


def test_a_waiting_agent_hears_at_once_of_its_own_host(
    any_site: Site, agents: tuple[Caller, Caller], pool: ThreadPoolExecutor
) -> None:
    known = any_site.revision()
    first = waiting(any_site, pool, lambda: agents[0].get(f"/hosts/h1/wanted?after={known}&wait={LONG}"))
    second = waiting(any_site, pool, lambda: agents[1].get(f"/hosts/h2/wanted?after={known}&wait={LONG}"))
    revision = attach(any_site.caller(str(agents[0].token)), "h1", "web2").get_json()["revision"]
    heard = first.result(SOON_SECONDS)
    assert heard.status_code == 200
    assert heard.get_json()["revision"] >= revision
    assert "acme/web2" in [endpoint["name"] for endpoint in heard.get_json()["endpoints"]]
    assert not second.done()
    any_site.admin.patch("/hosts/h2", {"address": "198.18.0.13"})
    assert second.result(SOON_SECONDS).get_json()["host"]["address"] == "198.18.0.13"


def test_every_hosts_agent_hears_of_each_port_that_all_hosts_publish(
    any_site: Site, agents: tuple[Caller, Caller], pool: ThreadPoolExecutor
) -> None:
    def told(change: Callable[[], TestResponse]) -> list[int]:
        path = f"/hosts/h2/wanted?after={any_site.revision()}&wait={LONG}"
        heard = waiting(any_site, pool, lambda: agents[1].get(path))
        assert change().status_code in (200, 201)
        return [one["host_port"] for one in heard.result(SOON_SECONDS).get_json()["published"]]

    wish = {"endpoint": "acme/web1", "port": 80, "mesh": True}
    for number, expected in ((8080, [8080]), (8081, [8080, 8081])):
        assert told(partial(any_site.admin.post, "/publications", wish | {"host_port": number})) == expected
    first = any_site.admin.get("/publications").get_json()["items"][0]["id"]
    assert told(partial(any_site.admin.delete, f"/publications/acme/web1/{first}")) == [8081]


def test_a_waiting_agent_hears_of_its_endpoints_networks_only(
    any_site: Site, agents: tuple[Caller, Caller], pool: ThreadPoolExecutor
) -> None:
    known = any_site.revision()
    first = waiting(any_site, pool, lambda: agents[0].get(f"/hosts/h1/wanted?after={known}&wait={LONG}"))
    any_site.admin.patch("/networks/acme/db", {"mtu": 1400})
    any_site.admin.made("/tenants", {"name": "globex"})
    any_site.admin.patch("/networks/acme/web", {"mtu": 1400})
    heard = first.result(SOON_SECONDS).get_json()
    assert heard["endpoints"][0]["mtu"] == 1400
    assert heard["revision"] == any_site.revision()


def test_a_waiting_agent_whose_time_is_over_hears_nothing(any_site: Site, agents: tuple[Caller, Caller]) -> None:
    start = time.monotonic()
    answer = agents[0].get(f"/hosts/h1/wanted?after={any_site.revision()}&wait=0.2")
    assert answer.status_code == 204
    assert answer.data == b""
    assert time.monotonic() - start >= 0.2


def test_waiting_longer_than_a_minute_is_refused(site: Site) -> None:
    agent = site.enrolled("h1")
    assert_problem(agent.get("/hosts/h1/wanted?wait=3600"), 422, "'wait' is '3600'", "60")


def test_when_too_many_wait_the_next_is_answered_soon_but_not_in_circles(site: Site, pool: ThreadPoolExecutor) -> None:
    agent = site.enrolled("h1")
    live = site.state().live
    with live.slot() as free:
        assert free
        taken = 0
        while live._slots.acquire(blocking=False):
            taken += 1
        try:
            start = time.monotonic()
            answer = agent.get(f"/hosts/h1/wanted?after={site.revision()}&wait={LONG}")
            assert answer.status_code == 204
            assert CROWDED_SECONDS <= time.monotonic() - start < SOON_SECONDS
            assert_problem(site.admin.get("/events"), 503, "Too many listeners")
        finally:
            live._slots.release(taken)


# -- revisions --


def test_a_revision_is_applied_when_every_host_concerned_has_confirmed(
    any_site: Site, agents: tuple[Caller, Caller], pool: ThreadPoolExecutor
) -> None:
    revision = any_site.revision()
    path = f"/revisions/{revision}?wait={LONG}"
    waits = waiting(any_site, pool, lambda: any_site.admin.get(path))
    done, behind = Progress(wanted=revision, confirmed=revision), Progress(wanted=revision)
    confirm(any_site, revision, h1=done, h2=behind)
    until(lambda: any_site.state().live.waiting() == 1)
    assert not waits.done()
    confirm(any_site, revision, h2=done)
    assert waits.result(SOON_SECONDS).get_json() == {
        "revision": revision,
        "state": "applied",
        "hosts": [{"host": name, "state": "applied", "error": ""} for name in ("h1", "h2")],
        "unaware": [],
    }


def test_an_agent_waits_for_its_own_host_only(
    any_site: Site, agents: tuple[Caller, Caller], pool: ThreadPoolExecutor
) -> None:
    revision = any_site.revision()
    path = f"/revisions/{revision}?host=h1&wait={LONG}"
    waits = waiting(any_site, pool, lambda: agents[0].get(path))
    confirm(any_site, revision, h1=Progress(wanted=revision, confirmed=revision), h2=Progress(wanted=revision))
    body = waits.result(SOON_SECONDS).get_json()
    assert (body["state"], [host["host"] for host in body["hosts"]]) == ("applied", ["h1"])


def test_a_refused_revision_says_which_host_refused_and_why(
    any_site: Site, agents: tuple[Caller, Caller], pool: ThreadPoolExecutor
) -> None:
    revision = any_site.revision()
    waits = waiting(any_site, pool, lambda: any_site.admin.get(f"/revisions/{revision}?wait={LONG}"))
    confirm(any_site, revision, h1=Progress(wanted=revision, error="OFPBFC_MSG_FAILED: table is full"))
    body = waits.result(SOON_SECONDS).get_json()
    assert body["state"] == "failed"
    assert {"host": "h1", "state": "failed", "error": "OFPBFC_MSG_FAILED: table is full"} in body["hosts"]


def test_a_revision_that_nobody_computed_is_pending(any_site: Site, agents: tuple[Caller, Caller]) -> None:
    body = any_site.admin.get(f"/revisions/{any_site.revision()}?wait=0.1").get_json()
    assert body["state"] == "pending"
    assert_problem(any_site.admin.get(f"/revisions/{any_site.revision()}?host=h9"), 404, "h9")


# -- events --


class Event(NamedTuple):
    name: str
    data: Any
    id: str | None


def events(answer: TestResponse) -> Iterator[Event]:
    """Reads a stream as a browser does."""
    assert answer.mimetype == "text/event-stream"
    name, data, id = "message", "", None
    buffer = ""
    for chunk in answer.iter_encoded():
        buffer += chunk.decode()
        *lines, buffer = buffer.split("\n")
        for line in lines:
            field, _, value = line.partition(": ")
            if field == "event":
                name = value
            elif field == "data":
                data = value
            elif field == "id":
                id = value
            elif not line and data:
                yield Event(name, json.loads(data), id)
                name, data, id = "message", "", None


def test_events_tell_of_each_revision_as_it_happens(any_site: Site, pool: ThreadPoolExecutor) -> None:
    stream = any_site.viewer.get("/events", buffered=False)
    heard = events(stream)
    first = pool.submit(next, heard)
    until(lambda: any_site.state().live.waiting() == 1)
    revision = any_site.admin.made("/tenants", {"name": "acme"})["revision"]
    event = first.result(SOON_SECONDS)
    assert (event.name, event.id, event.data["revision"]) == ("revision", str(revision), revision)
    assert {(change["noun"], change["op"]) for change in event.data["changes"]} == {
        ("tenant", "create"),
        ("network", "create"),
    }
    stream.close()
    assert any_site.state().live.waiting() == 0


def test_a_reader_who_comes_back_misses_nothing(any_site: Site) -> None:
    any_site.state().live.seen()
    any_site.admin.made("/tenants", {"name": "t0"})
    known = any_site.revision()
    made = [any_site.admin.made("/tenants", {"name": f"t{number}"})["revision"] for number in (1, 2, 3)]
    until(lambda: any_site.state().live.seen().revision == made[-1])
    for again in (
        any_site.viewer.get("/events", headers={"Last-Event-ID": str(known)}, buffered=False),
        any_site.viewer.get(f"/events?after={known}", buffered=False),
    ):
        heard = list(islice(events(again), 4))
        assert [event.data.get("revision") for event in heard[:3]] == made
        assert heard[3].name == "status", "what has no revision may have changed meanwhile, too"
        again.close()


def test_a_reader_from_before_the_log_is_told_to_look_at_everything(any_site: Site) -> None:
    revision = any_site.admin.made("/tenants", {"name": "acme"})["revision"]
    until(lambda: any_site.state().live.seen().revision == revision)
    stream = any_site.viewer.get("/events", headers={"Last-Event-ID": "0"}, buffered=False)
    event = next(events(stream))
    assert (event.name, event.id) == ("reset", str(revision))
    stream.close()


def test_a_reader_from_the_future_is_told_to_look_at_everything(any_site: Site) -> None:
    stream = any_site.viewer.get("/events?after=999999", buffered=False)
    assert next(events(stream)).name == "reset"
    stream.close()


def test_events_tell_when_a_host_confirms(
    any_site: Site, agents: tuple[Caller, Caller], pool: ThreadPoolExecutor
) -> None:
    until(lambda: any_site.state().live.seen().revision == any_site.revision())
    stream = any_site.viewer.get("/events", buffered=False)
    first = pool.submit(next, events(stream))
    until(lambda: any_site.state().live.waiting() == 1)
    confirm_known = any_site.revision()
    with writing(any_site.engine) as session:
        session.connection().exec_driver_sql("UPDATE host_status SET flows = 7")
        from db.changes import PROGRESS_CHANNEL, notify

        notify(session, PROGRESS_CHANNEL)
    event = first.result(SOON_SECONDS)
    assert (event.name, event.id) == ("status", None)
    assert any_site.revision() == confirm_known
    stream.close()


def test_an_event_id_that_is_none_is_refused(site: Site) -> None:
    assert_problem(site.viewer.get("/events", headers={"Last-Event-ID": "x"}), 422, "'x'")


# -- the end --


def test_when_the_process_ends_nobody_is_kept_waiting(site: Site, pool: ThreadPoolExecutor) -> None:
    agent = site.enrolled("h1")
    known = site.revision()
    waits = waiting(site, pool, lambda: agent.get(f"/hosts/h1/wanted?after={known}&wait={LONG}"))
    site.state().live.close()
    assert waits.result(SOON_SECONDS).status_code == 204


# -- names --


def test_what_an_agent_attached_itself_it_is_told_with_what_follows(
    any_site: Site, agents: tuple[Caller, Caller], pool: ThreadPoolExecutor
) -> None:
    """It knows of that already; what others did it is told at once."""
    known = any_site.revision()
    with patch("web.api.dns.OWN_GATHER_SECONDS", SOON_SECONDS * 2):
        first = waiting(any_site, pool, lambda: agents[0].get(f"/hosts/h1/names?after={known}&wait={LONG}"))
        attach(agents[0], "h1", "web2")
        until(lambda: any_site.state().live.seen().revision == any_site.revision())
        assert not first.done()
        attach(agents[1], "h2", "web3")
        names = first.result(SOON_SECONDS).get_json()["names"].values()
        assert sorted(one["labels"][0] for one in names) == ["web2", "web3"]


def test_who_asks_whether_names_are_known_may_be_left_out(any_site: Site, agents: tuple[Caller, Caller]) -> None:
    for number, agent in enumerate(agents, 1):
        agent.get(f"/hosts/h{number}/names?after={any_site.revision()}")
    attach(agents[1], "h2", "web2")
    revision = attach(agents[0], "h1", "web3").get_json()["revision"]
    answers = [agents[0].get(f"/revisions/{revision}/names{query}").get_json() for query in ("", "?but=h1", "?but=h9")]
    assert [answer["waiting"] for answer in answers] == [["h1", "h2"], ["h2"], ["h1", "h2"]]


def test_a_revision_is_waited_for_with_its_names(
    any_site: Site, agents: tuple[Caller, Caller], pool: ThreadPoolExecutor
) -> None:
    for number, agent in enumerate(agents, 1):
        agent.get(f"/hosts/h{number}/names?after={any_site.revision()}")
    attach(agents[1], "h2", "web2")
    revision = attach(agents[0], "h1", "web3").get_json()["revision"]
    confirm(any_site, revision, h1=Progress(wanted=revision, confirmed=revision))
    asked = f"/revisions/{revision}?host=h1&wait={LONG}"
    assert agents[0].get(asked).get_json()["state"] == "applied"
    first = waiting(any_site, pool, lambda: agents[0].get(f"{asked}&names_but=h1"))
    assert not first.done()
    agents[1].get(f"/hosts/h2/names?after={revision}")
    answer = first.result(SOON_SECONDS).get_json()
    assert (answer["state"], answer["unaware"]) == ("applied", [])
    agents[1].get("/hosts/h2/names?after=0")
    late = agents[0].get(f"/revisions/{revision}?host=h1&names_but=h1&wait=0").get_json()
    assert (late["state"], late["unaware"]) == ("applied", ["h2"])
