"""`POST /explain` asks the hosts concerned through their agents, waits a little, and says what it could not learn."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from controller.pipeline.flow import Kind, Reason
from controller.pipeline.stages import Stage
from db import traces
from db.engine import reading
from tests.web.conftest import Caller, Json, Site
from tests.web.test_bad_input import assert_problem
from tests.web.test_waiting import SOON_SECONDS, Progress, attach, confirm, waiting
from web.api import asking

LONG = 58
ASKED: Json = {"source": "acme/web1", "destination": "acme/db1", "protocol": "tcp", "port": 5432}
LOCKDOWN: Json = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "NetworkPolicy",
    "metadata": {"name": "lockdown", "namespace": "acme"},
    "spec": {"policyTypes": ["Ingress"], "ingress": [{"ports": [{"port": 443}, {"port": 5432}]}]},
}
SENT: Json = {"table": Stage.OUTPUT, "cookie": hex(Kind.HOST << 48), "outputs": [1], "tunnel": "198.18.0.12"}
DROPPED: Json = {"table": Stage.INGRESS_TENANT, "cookie": hex((Kind.DROP + Reason.INGRESS_POLICY) << 48)}


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as made:
        yield made


@pytest.fixture
def agents(any_site: Site) -> tuple[Caller, Caller]:
    """Of h1 and h2; acme/web1 is on h1, acme/db1 on h2, and acme/old1, with an IPv4 address only, on h1."""
    any_site.admin.made("/tenants", {"name": "acme"})
    any_site.admin.made("/networks", {"name": "acme/old", "subnets": ["10.77.0.0/24"]})
    first, second = any_site.enrolled("h1", "198.18.0.11"), any_site.enrolled("h2", "198.18.0.12")
    attach(first, "h1", "web1", "acme/default")
    attach(second, "h2", "db1", "acme/default")
    attach(first, "h1", "old1", "acme/old")
    return first, second


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "PATIENCE", SOON_SECONDS)  # the agents here are threads of many


def delivered(site: Site, endpoint: str = "acme/db1") -> Json:
    port = site.admin.get(f"/endpoints/{endpoint}").get_json()["ofport"]
    return {"table": Stage.OUTPUT, "cookie": hex(Kind.BASE << 48), "outputs": [port]}


def answering(site: Site, pool: ThreadPoolExecutor, agent: Caller, host: str, said: Json) -> Future[list[str]]:
    """An agent that waits by now, and answers the questions that come next; the packets it was asked about."""

    def answer() -> list[str]:
        speaks = site.caller(str(agent.token))
        wanted = speaks.get(f"/hosts/{host}/wanted?after={known}&wait={LONG}").get_json()
        for question in wanted["traces"]:
            assert speaks.put(f"/hosts/{host}/traces/{question['id']}", said).status_code == 200
        return [question["packet"] for question in wanted["traces"]]

    known, before = site.revision(), site.state().live.waiting()
    future = pool.submit(answer)
    while site.state().live.waiting() == before:
        assert not future.done()
        time.sleep(0.001)
    return future


def ask(caller: Caller, **more: Any) -> Json:
    answer = caller.post("/explain", {**ASKED, **more})
    assert answer.status_code == 200, answer.text
    found: Json = answer.get_json()
    return found


def test_both_hosts_are_asked_at_once_and_their_switches_words_confirm_the_model(
    any_site: Site, agents: tuple[Caller, Caller], pool: ThreadPoolExecutor
) -> None:
    any_site.admin.post("/policies", {"documents": [LOCKDOWN]})
    before = any_site.revision()
    first = answering(any_site, pool, agents[0], "h1", SENT)
    second = answering(any_site, pool, agents[1], "h2", delivered(any_site))
    said = ask(any_site.viewer)
    assert (said["verdict"], said["agreement"], said["remarks"]) == ("allowed", "confirmed", [])
    assert said["decisions"][-1] == {
        "stage": "ingress",
        "verdict": "allowed",
        "policy": "acme/lockdown",
        "rule": 1,
        "reason": "by policy acme/lockdown ingress rule 1",
    }
    assert [(host["host"], host["reason"], host["agrees"]) for host in said["hosts"]] == [
        ("h1", "sent to h2", True),
        ("h2", "delivered", True),
    ]
    assert said["words"][-2:] == ["h1 sends it to h2.", "h2 delivers it."]
    (sent,), (arrived,) = first.result(SOON_SECONDS), second.result(SOON_SECONDS)
    assert sent.startswith("in_port=100,") and "tcp_dst=5432" in sent and "tun_" not in sent
    assert arrived.startswith("in_port=1,") and "tcp_dst=5432" in arrived and "tun_src=198.18.0.11" in arrived
    assert any_site.revision() == before, "a question changes nothing"
    with reading(any_site.engine) as session:
        assert traces.waiting(session) == {}


def test_a_denial_is_confirmed_by_the_table_that_drops(
    any_site: Site, agents: tuple[Caller, Caller], pool: ThreadPoolExecutor
) -> None:
    any_site.admin.post("/policies", {"documents": [LOCKDOWN]})
    answering(any_site, pool, agents[0], "h1", SENT)
    answering(any_site, pool, agents[1], "h2", DROPPED)
    said = ask(any_site.admin, port=22)
    assert (said["verdict"], said["agreement"]) == ("denied", "confirmed")
    assert (said["hosts"][1]["reason"], said["hosts"][1]["table"]) == ("ingress_policy", "INGRESS_TENANT")
    assert said["hosts"][1]["verdict"] == "denied"
    assert "Ingress: denied, by policy acme/lockdown: no ingress rule allows it." in said["words"]


def test_a_disagreement_says_whether_to_ask_again(
    any_site: Site, agents: tuple[Caller, Caller], pool: ThreadPoolExecutor
) -> None:
    confirm(any_site, any_site.revision())
    for live in (False, True):
        if live:
            done = Progress(wanted=any_site.revision(), confirmed=any_site.revision())
            confirm(any_site, any_site.revision(), h1=done, h2=done)
        answering(any_site, pool, agents[0], "h1", SENT)
        answering(any_site, pool, agents[1], "h2", DROPPED)
        said = ask(any_site.admin)
        assert (said["verdict"], said["agreement"]) == ("allowed", "disagreement")
        assert said["remarks"][0] == "By the model h2 should deliver it."
        expected = "something else has changed their flows" if live else "is not live yet on h1 and h2: ask again"
        assert expected in said["remarks"][1]


def test_an_agent_that_does_not_answer_leaves_the_model_alone(
    any_site: Site, agents: tuple[Caller, Caller], pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "PATIENCE", 0.5)
    answering(any_site, pool, agents[0], "h1", SENT)
    said = ask(any_site.admin)
    assert (said["verdict"], said["agreement"]) == ("allowed", "unconfirmed")
    assert (said["hosts"][1]["verdict"], said["hosts"][1]["agrees"]) == (None, None)
    assert said["words"][-2:] == [
        "h2 cannot be asked: its agent has not answered within 0.5 s.",
        "The model's answer stands alone.",
    ]
    with reading(any_site.engine) as session:
        assert traces.waiting(session) == {}, "nobody waits for it any more"


def test_an_agent_whose_switch_does_not_answer_says_so(
    any_site: Site, agents: tuple[Caller, Caller], pool: ThreadPoolExecutor
) -> None:
    answering(any_site, pool, agents[0], "h1", SENT)
    answering(any_site, pool, agents[1], "h2", {"trouble": "ovs-vswitchd does not answer: timed out"})
    said = ask(any_site.admin)
    assert said["agreement"] == "unconfirmed"
    assert said["hosts"][1]["words"] == "cannot be asked: ovs-vswitchd does not answer: timed out"


def test_one_host_is_asked_about_what_stays_there_and_no_other_agent_is_woken(
    any_site: Site, agents: tuple[Caller, Caller], pool: ThreadPoolExecutor
) -> None:
    known = any_site.revision()
    other = waiting(any_site, pool, lambda: agents[1].get(f"/hosts/h2/wanted?after={known}&wait={LONG}"))
    answering(any_site, pool, agents[0], "h1", delivered(any_site, "acme/old1"))
    said = ask(any_site.admin, destination="acme/old1")
    assert (said["agreement"], [host["host"] for host in said["hosts"]]) == ("confirmed", ["h1"])
    assert not other.done()
    any_site.admin.patch("/hosts/h2", {"address": "198.18.0.13"})
    assert other.result(SOON_SECONDS).get_json()["traces"] == []


def test_an_agent_answers_questions_to_its_own_host_only(any_site: Site, agents: tuple[Caller, Caller]) -> None:
    with any_site.app.app_context():
        ids = {}
        with asking.recording() as tx:
            hosts = {1: "in_port=100", 2: "in_port=1"}
            ids = traces.ask(tx.session, hosts, tx.now)
    first, second = agents
    assert [question["id"] for question in first.get("/hosts/h1/wanted").get_json()["traces"]] == [ids[1]]
    assert_problem(second.put(f"/hosts/h1/traces/{ids[1]}", SENT), 403, "agent h2", "'h2' only")
    assert_problem(second.put(f"/hosts/h2/traces/{ids[1]}", SENT), 404, f"no question {ids[1]}")
    assert_problem(any_site.admin.put(f"/hosts/h1/traces/{ids[1]}", SENT), 403, "admin")
    with reading(any_site.engine) as session:
        assert traces.answers(session, ids.values()) == {}


def test_agents_may_not_ask(any_site: Site, agents: tuple[Caller, Caller]) -> None:
    assert_problem(agents[0].post("/explain", ASKED), 403, "agent")


@pytest.mark.parametrize(
    ("more", "status", "words"),
    [
        ({"source": "acme/web9"}, 404, ("source", "acme/web9")),
        ({"destination": "acme/db9"}, 404, ("destination", "acme/db9")),
        ({"destination": "db1"}, 422, ("db1", "neither an endpoint nor an address")),
        ({"source": "web1"}, 422, ("source", "web1")),
        ({"port": None}, 422, ("TCP needs a port",)),
        ({"port": 0}, 422, ("port",)),
        ({"type": 8}, 422, ("TCP has no type",)),
        ({"protocol": "icmp"}, 422, ("ICMP has no port 5432",)),
        ({"protocol": "icmp", "port": None, "version": 6}, 422, ("There is no ICMP over IPv6",)),
        ({"protocol": "icmpv6", "port": None, "type": 135}, 422, ("ICMPv6 type 135",)),
        ({"protocol": "gre"}, 422, ("protocol", "gre")),
        ({"version": 5}, 422, ("version",)),
    ],
)
def test_a_question_that_makes_no_sense_is_refused(
    any_site: Site, agents: tuple[Caller, Caller], more: Json, status: int, words: tuple[str, ...]
) -> None:
    asked = {name: value for name, value in {**ASKED, **more}.items() if value is not None}
    answer = any_site.admin.post("/explain", asked)
    assert answer.status_code == status, answer.text
    assert all(word in answer.text for word in words), answer.text


def test_what_never_leaves_an_endpoint_is_answered_without_asking(
    any_site: Site, agents: tuple[Caller, Caller]
) -> None:
    said = ask(any_site.admin, destination="acme/old1", version=6)
    assert (said["verdict"], said["hosts"], said["agreement"]) == ("denied", [], "unconfirmed")
    assert said["decisions"][0]["reason"] == "as acme/old1 has no IPv6 address"
    assert said["destination"] == {"name": "acme/old1", "host": "h1", "address": None}
    assert ask(any_site.admin, destination="acme/web1")["verdict"] == "allowed"


def test_the_family_is_the_first_that_both_have(
    any_site: Site, agents: tuple[Caller, Caller], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "PATIENCE", 0.01)
    assert ask(any_site.admin)["version"] == 4
    body = {key: value for key, value in ASKED.items() if key != "port"}
    six = any_site.admin.post("/explain", {**body, "protocol": "icmpv6"}).get_json()
    assert (six["version"], six["connection"]) == (6, "icmpv6/128:0")
