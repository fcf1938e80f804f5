"""The picture of the network: what is drawn, that nothing jumps, and that keys and the table have the same."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import update

from db import attachments, hosts
from db.changes import transaction
from db.engine import create_engine, writing
from db.tables import HostStatus
from tests import crowd
from tests.ui.conftest import DESK, PHONE, Stage, faults, live, log_in, until

CANVAS = "#picture-canvas"


@pytest.fixture
def drawn(stage: Stage) -> Stage:
    """Ten hosts and forty endpoints of four tenants; `eve` sees one of these."""
    engine = create_engine(stage.url)
    crowd.fill(engine, host_count=10, tenant_count=4, endpoint_count=40)
    crowd.report(engine, silent=1)
    engine.dispose()
    stage.member("eve", acme="viewer")
    return stage


def counted(page: Page, what: str, number: int) -> None:
    expect(page.locator(CANVAS)).to_have_attribute(f"data-{what}", str(number))


def ends(page: Page) -> int:
    """How many endpoints are drawn one by one."""
    return int(page.locator(CANVAS).get_attribute("data-ends") or 0)


def boxes(page: Page, query: str = "") -> dict[str, Any]:
    answer: dict[str, Any] = page.request.get(f"/topology/boxes{query}").json()
    return answer


def test_hosts_are_boxes_and_their_tunnels_are_drawn_where_they_matter(drawn: Stage) -> None:
    page = drawn.page
    log_in(page)
    page.goto("/topology")
    counted(page, "boxes", 10)
    counted(page, "tunnels", 0)
    counted(page, "ends", 0)
    engine = create_engine(drawn.url)
    crowd.report(engine, silent=1)  # the last may be half a minute ago, and all silent
    engine.dispose()
    said = boxes(page)
    assert len(said["tunnels"]) == 45 and {one["mark"] for one in said["tunnels"]} == {"ok", "unknown"}
    assert sum(box["endpoints"] for box in said["boxes"]) == 40
    assert faults(page) == []
    page.goto("/topology?at=h02")
    counted(page, "tunnels", 9)
    expect(page.locator("#picture-drawer")).to_contain_text("h01 (h01 silent)")
    own = next(box for box in said["boxes"] if box["name"] == "h02")["endpoints"]
    assert own > 0
    until(page, lambda: ends(page) >= own)


def test_the_picture_takes_the_width_of_the_page(drawn: Stage) -> None:
    page = drawn.page
    page.set_viewport_size(DESK)
    log_in(page)
    for path in ("/topology", "/topology?at=h02"):
        page.goto(path)
        counted(page, "boxes", 10)
        widths = [page.locator(one).evaluate("one => one.clientWidth") for one in (CANVAS, "main")]
        assert widths[0] > widths[1] - 60


def test_a_black_hole_is_drawn_whoever_is_looked_at(drawn: Stage) -> None:
    page = drawn.page
    engine = create_engine(drawn.url)
    crowd.report(engine, silent=1)
    with writing(engine) as session:
        hole = "Packets of 1500 bytes, the MTU of eth1, do not come to h03 (198.18.1.3) and back, and small ones do."
        report = {"agent": {}, "problems": [hole]}
        session.execute(update(HostStatus).where(HostStatus.host_id == 2).values(agent_report=report))
    engine.dispose()
    log_in(page)
    page.goto("/topology")
    counted(page, "tunnels", 1)
    expect(page.locator(".plain-list")).to_contain_text("h02 – h03")
    (wrong,) = (one for one in boxes(page)["tunnels"] if one["mark"] == "wrong")
    assert wrong["ends"] == ["h02", "h03"]


def test_keys_choose_a_box_and_open_it(drawn: Stage) -> None:
    page = drawn.page
    log_in(page)
    page.goto("/topology")
    counted(page, "boxes", 10)
    page.locator(CANVAS).focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#picture-drawer h2")).to_have_text("h01")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#picture-drawer h2")).to_have_text("h02")
    expect(page).to_have_url(f"{drawn.server.url}/topology?at=h02")
    page.keyboard.press("Escape")
    expect(page.locator("#picture-drawer")).to_be_hidden()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{drawn.server.url}/hosts/h01")


def test_it_is_grouped_filtered_and_live(drawn: Stage) -> None:
    page = drawn.page
    log_in(page)
    page.goto("/topology")
    live(page)
    page.locator(".choice label", has_text="Tenants").click()
    counted(page, "boxes", 4)
    expect(page).to_have_url(f"{drawn.server.url}/topology?group=tenant")
    expect(page.locator("#box-acme")).to_be_visible()
    page.get_by_label("Only this tenant").fill("acme")
    page.get_by_role("button", name="Show", exact=True).click()
    counted(page, "boxes", 1)
    page.goto("/topology?group=network&q=web0")
    counted(page, "boxes", 4)
    assert [box["match"] for box in boxes(page, "?group=network&q=web0")["boxes"] if box["match"]] == [1]
    engine = create_engine(drawn.url)
    drawn.admin.post("/tenants", {"name": "zorg"})
    drawn.admin.delete("/endpoints/acme/web0")
    engine.dispose()
    expect(page.locator("#box-acme-in-web")).to_contain_text("0 of")


def test_a_tenants_person_sees_their_part_of_it(drawn: Stage) -> None:
    page = drawn.page
    log_in(page, "eve")
    page.goto("/topology")
    expect(page.locator(CANVAS)).to_have_attribute("data-boxes", str(len(boxes(page)["boxes"])))
    said = boxes(page)
    assert {part[0] for box in said["boxes"] for part in box["parts"]} == {"acme"}
    assert said["tunnels"] == [] and said["hues"].keys() == {"acme"}
    assert all(box["url"] is None and box["state"] is None for box in said["boxes"])
    for box in said["boxes"]:
        inside = page.request.get(f"/topology/inside?box={box['name']}").json()
        assert inside and {end["tenant"] for end in inside} == {"acme"}
    assert page.request.get("/topology/boxes?tenant=globex").status == 404


def test_tunnels_are_as_wide_as_their_traffic_is_fast(drawn: Stage) -> None:
    """Two looks are 20 seconds apart, so a speed is known after that time."""
    page = drawn.page
    engine = create_engine(drawn.url)
    log_in(page)
    page.goto("/topology?at=h02")
    counted(page, "tunnels", 9)
    expect(page.locator("#picture-drawer")).to_contain_text(re.compile(r"h\d+: [\d.]+ [kMG]B one way"))
    expect(page.locator(".busy li")).to_have_count(8)

    def speeds() -> list[float]:
        crowd.report(engine, silent=1)
        return [one["rate"] for one in boxes(page)["tunnels"] if one["rate"]]

    deadline = time.monotonic() + 240
    while len(speeds()) < 36:
        assert time.monotonic() < deadline, "nothing is known of how fast it is"
        page.wait_for_timeout(2000)
    engine.dispose()
    said = {tuple(one["ends"]): one for one in boxes(page)["tunnels"]}
    assert said["h01", "h02"]["rate"] is None, "its end is silent"
    assert "bit/s now" in said["h02", "h03"]["carried"]
    page.goto("/topology?at=h02")
    counted(page, "tunnels", 9)
    expect(page.locator("#picture-drawer")).to_contain_text("bit/s now")
    assert faults(page) == []


def test_names_that_would_be_too_small_to_read_are_a_bar(drawn: Stage) -> None:
    """A box of many endpoints opens up later than one of few beside it."""
    page = drawn.page
    engine = create_engine(drawn.url)
    with transaction(engine) as tx:
        host = hosts.get(tx.session, "h02").id
        for number in range(60):
            attachments.attach(tx, host, f"more{number}", "eth0", name=f"more{number}", network="acme/web")
    engine.dispose()
    log_in(page)
    page.goto("/topology?at=h03")
    few = next(box for box in boxes(page)["boxes"] if box["name"] == "h03")["endpoints"]
    counted(page, "boxes", 10)
    expect(page.locator(CANVAS)).not_to_have_attribute("data-ends", "0")
    until(page, lambda: few <= ends(page) < 60)
    page.goto("/topology?at=h02")
    counted(page, "boxes", 10)
    for _ in range(3):
        page.get_by_role("button", name="Zoom in").click()
    expect(page.locator(CANVAS)).to_have_attribute("data-ends", re.compile("^[6-9][0-9]$|^[1-9][0-9]{2}$"))


@pytest.mark.parametrize("count", [3, 10])
def test_on_a_phone_boxes_fill_the_height(stage: Stage, count: int) -> None:
    page = stage.page
    engine = create_engine(stage.url)
    crowd.fill(engine, host_count=count, tenant_count=2, endpoint_count=12)
    crowd.report(engine)
    engine.dispose()
    page.set_viewport_size(PHONE)
    log_in(page)
    page.goto("/topology")
    counted(page, "boxes", count)
    assert page.locator(CANVAS).get_attribute("data-columns") == "2"
    assert faults(page) == []
