"""The flows of a host in names, joined with what its agent says: installed, missing, and what nobody wants."""

from __future__ import annotations

import re
import threading
import time
from typing import Any
from unittest.mock import patch

import pytest
from sqlalchemy import select

from controller.calc.known import owned
from controller.openflow.encode import encode
from db import traces
from db.engine import reading, writing
from db.tables import Host, utcnow
from tests import crowd
from tests.web.conftest import PASSWORD, Site
from web.ui import flows


class Agent(threading.Thread):
    """Answers every question for flows with those of the model, but for what `change` does to them."""

    def __init__(self, site: Site, change: Any) -> None:
        super().__init__(daemon=True)
        self.site, self.change, self.ended = site, change, threading.Event()

    def run(self) -> None:
        while not self.ended.is_set():
            with reading(self.site.engine) as session:
                waiting = traces.waiting(session)
            for id, host in waiting.items():
                world = self.site.state().modelled.now()
                lines = [
                    f"{encode(one.flow).cookie:016x} {int(one.flow.table)} {one.flow.priority} {number} {number * 60}"
                    for number, one in enumerate(owned(world, host))
                ]
                said = {"flows": lines, "foreign": [], "left_off": 0, "trouble": ""} | self.change(lines)
                with writing(self.site.engine) as session:
                    traces.answer(session, host, id, said, utcnow())
            time.sleep(0.02)


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("web.api.asking.PATIENCE", 60.0)  # the agent here is a thread of many


@pytest.fixture
def filled(people: Site) -> Site:
    crowd.fill(people.engine, host_count=2, tenant_count=2, endpoint_count=8)
    crowd.report(people.engine)
    return people


def look(site: Site, query: str = "", change: Any = lambda lines: {}) -> str:
    agent = Agent(site, change)
    agent.start()
    try:
        browser = site.browser()
        browser.post("/login", data={"user": "viewer", "password": PASSWORD})
        answer = browser.get(f"/hosts/h01/flows{query}")
    finally:
        agent.ended.set()
        agent.join()
    assert answer.status_code == 200
    return answer.text


def test_all_stages_and_their_flows_are_told_in_names(filled: Site) -> None:
    said = look(filled)
    assert "they are those of the model" in said
    assert 'id="stage-CLASSIFY"' in said and 'id="stage-OUTPUT"' in said
    said = look(filled, "?stage=CLASSIFY")
    own = next(one for one in filled.admin.get("/endpoints?host=h01").get_json()["items"])
    assert f"from {own['name']}" in said and f"in_port={own['ofport']}" in said
    assert f">{own['name']}</a>" in said and own["mac"] not in look(filled, "?stage=OUTPUT")
    assert "in_port=" in re.sub(r'title="[^"]*"', "", look(filled, "?stage=CLASSIFY&numbers=1"))


def test_flows_are_found_by_what_they_mention(filled: Site) -> None:
    one, other = filled.admin.get("/endpoints?host=h01").get_json()["items"][:2]
    address = one["addresses"][0].partition("/")[0]
    by_address, by_name = look(filled, f"?q={address}"), look(filled, f"?q={one['name']}")
    assert f">{one['name']}</a>" in by_address and f">{other['name']}</a>" not in by_address
    counts = [re.search(r'Flows <span class="count">(\d+)', said) for said in (by_address, by_name)]
    assert counts[0] and counts[1] and counts[0][1] == counts[1][1] and int(counts[0][1]) > 3
    assert "No flow mentions" in look(filled, "?q=203.0.113.7")


def test_flows_come_in_pages(filled: Site) -> None:
    said, seen = look(filled), []
    total = int(re.search(r'<span class="count">([\d,]+)', said)[1].replace(",", ""))  # type: ignore[index]
    for first in range(0, total, flows.PER_PAGE):
        page = look(filled, f"?cursor={first}")
        seen += re.findall(r'<tr><th scope="row" title="([^"]+)"', page)
        assert ("Next page" in page) == (first + flows.PER_PAGE < total) and ("First page" in page) == (first > 0)
    assert total > 2 * flows.PER_PAGE and len(seen) == len(set(seen)) == total


def test_a_flow_is_put_into_words_once_however_often_it_is_searched(filled: Site) -> None:
    with patch.object(flows, "told", wraps=flows.told) as told:
        first = look(filled, "?q=203.0.113.7")
        assert told.call_count > 100
        told.reset_mock()
        again = look(filled, "?q=203.0.113.7")
        assert re.sub(r"\d+ packets|pulse=\d+", "", again) == re.sub(r"\d+ packets|pulse=\d+", "", first)
        assert told.call_count == 0


def test_what_is_missing_and_what_nobody_wants_stands_first(filled: Site) -> None:
    def change(lines: list[str]) -> dict[str, Any]:
        strange = "7705ffffffffffff 20 9 3 180"
        return {"flows": [*lines[1:], strange], "foreign": ["table=0, priority=7,tcp,tp_dst=80 actions=drop"]}

    said = look(filled, change=change)
    assert "1 missing and 2 unknown" in said
    assert "not in the model" in said and "tp_dst=80" in said
    assert said.index("not in the model") < said.index("go to ")


def test_flows_that_were_left_off_are_not_taken_for_missing(filled: Site) -> None:
    said = look(filled, change=lambda lines: {"flows": lines[:40], "left_off": len(lines) - 40})
    assert "40 flows installed" in said and "missing" not in said and "flows more than its agent tells" in said


def test_a_host_that_says_nothing_is_not_taken_for_empty(filled: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("web.api.asking.PATIENCE", 0.2)
    browser = filled.browser()
    browser.post("/login", data={"user": "viewer", "password": PASSWORD})
    assert "does not tell its flows: its agent has not answered in time" in browser.get("/hosts/h01/flows").text
    trouble = {"flows": [], "trouble": "ovs-ofctl does not answer: no such file"}
    monkeypatch.setattr("web.api.asking.PATIENCE", 60.0)
    assert "ovs-ofctl does not answer" in look(filled, change=lambda lines: trouble)


def test_an_agent_gets_the_question_and_its_answer_is_kept_once(filled: Site) -> None:
    agent = filled.enrolled("h9", "198.18.0.9")
    with reading(filled.engine) as session:
        host = session.execute(select(Host.id).where(Host.name == "h9")).scalar_one()
    with writing(filled.engine) as session:
        id = traces.ask(session, {host: ""}, utcnow(), traces.FLOWS)[host]
    wanted = agent.get("/hosts/h9/wanted").get_json()
    assert (wanted["dumps"], wanted["traces"]) == ([{"id": id}], [])
    said = {"flows": ["7705c9af1b2d3e40 20 100 12 1176"], "foreign": [], "left_off": 0, "trouble": ""}
    assert agent.put(f"/hosts/h9/dumps/{id}", said).status_code == 200
    with reading(filled.engine) as session:
        assert traces.answers(session, [id])[id]["flows"] == said["flows"]
    assert agent.get("/hosts/h9/wanted").get_json()["dumps"] == []
    assert agent.put(f"/hosts/h9/dumps/{id}", {"flows": ["x"]}).status_code == 422
    assert agent.put("/hosts/h9/dumps/99999", said).status_code == 404
