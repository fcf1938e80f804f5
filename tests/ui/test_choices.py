"""What somebody chooses to see: one tenant, by the address alone; and columns, remembered by the browser."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from db.engine import create_engine
from tests import crowd
from tests.ui.conftest import Stage, faults, live, log_in
from tests.ui.visitor import Visitor, member
from tests.web.conftest import Site


@pytest.fixture
def filled(stage: Stage) -> Stage:
    engine = create_engine(stage.url)
    crowd.fill(engine, host_count=2, tenant_count=3, endpoint_count=30)
    crowd.report(engine)
    engine.dispose()
    return stage


def test_one_tenant_is_chosen_at_the_top_and_stays_chosen_in_lists(filled: Stage) -> None:
    page = filled.page
    log_in(page)
    page.goto("/endpoints?sort=-created")
    live(page)
    chooser = page.get_by_label("Show one tenant")
    chooser.fill("glo")
    expect(page.locator("#switch-tenants option")).to_have_count(1)
    chooser.fill("globex")
    chooser.press("Enter")
    expect(page).to_have_url(f"{filled.server.url}/endpoints?tenant=globex")
    expect(page.locator(".chips")).to_contain_text("of tenant globex")
    page.locator(".rail").get_by_role("link", name="Networks").click()
    expect(page).to_have_url(f"{filled.server.url}/networks?tenant=globex")
    expect(chooser).to_have_value("globex")
    page.locator("#network-globex-in-web a").first.click()
    page.wait_for_load_state()  # without the script it would lead to the list
    expect(chooser).to_have_value("globex")
    chooser.fill("initech")
    chooser.press("Enter")
    expect(page).to_have_url(f"{filled.server.url}/tenants/initech")
    page.wait_for_load_state()
    chooser.fill("")
    chooser.press("Enter")
    expect(page).to_have_url(f"{filled.server.url}/tenants?q=")
    assert faults(page) == []


def test_columns_that_are_not_wanted_are_gone_for_good(filled: Stage) -> None:
    page = filled.page
    log_in(page)
    page.goto("/endpoints")
    live(page)
    labels, since = (page.locator(f'.list [data-label="{name}"]').first for name in ("Labels", "Since"))
    expect(labels).to_be_visible()
    page.locator(".columns-of summary").click()
    assert faults(page) == []
    page.get_by_label("Labels", exact=True).uncheck()
    page.get_by_label("Since", exact=True).uncheck()
    for cell in (labels, since, page.locator('th[data-column="Labels"]')):
        expect(cell).to_be_hidden()
    filled.admin.delete("/endpoints/acme/web0")  # a live update does not bring them back
    expect(page.locator("#endpoint-acme-in-web0")).to_have_count(0)
    expect(labels).to_be_hidden()
    page.goto("/networks")
    page.locator(".columns-of summary").click()
    page.get_by_label("Free addresses").uncheck()
    expect(page.locator('.list [data-label="Free addresses"]').first).to_be_hidden()
    expect(page.locator('.list [data-label="Labels"]').first).to_be_visible()
    page.goto("/endpoints")
    expect(since).to_be_hidden()
    expect(page.locator('.list [data-label="Host"]').first).to_be_visible()
    page.locator(".columns-of summary").click()
    page.get_by_label("Since", exact=True).check()
    expect(since).to_be_visible()


def test_a_cookie_that_says_nonsense_hides_nothing(two: Site, boss: Visitor) -> None:
    for said in ("endpoints.Endpoint+endpoints.x", "+++", '"><script>', "hosts.State"):
        boss.client.set_cookie("columns", said)
        assert 'data-without=""' in boss.open("/endpoints")
    boss.client.set_cookie("columns", "endpoints.State+networks.Free_addresses")
    assert 'data-without="State"' in boss.open("/endpoints")
    assert 'data-without="Free-addresses"' in boss.open("/networks")


def test_tenants_that_are_offered_are_ones_own(two: Site) -> None:
    eve = member(two, "eve", acme="viewer")
    assert eve.open("/switch/tenants?tenant=b") == "" and "acme" in eve.open("/switch/tenants")
    assert "Show one tenant" not in eve.open("/endpoints"), "there is one only"
    both = member(two, "bob", acme="viewer", beta="viewer")
    assert "Show one tenant" in both.open("/endpoints")
    assert both.open("/switch/tenants?q=be") == '<option value="beta">'
