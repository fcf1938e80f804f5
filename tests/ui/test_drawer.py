"""A quick look beside a list: by a click or a key, in the address, closed by Escape or by going back."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.ui.conftest import DESK, PHONE, TABLET, Stage, attach, enrolled, faults, live, log_in, report
from tests.ui.visitor import Visitor, member, words
from tests.web.conftest import Site


@pytest.fixture
def filled(stage: Stage) -> Stage:
    for name in ("acme", "beta"):
        stage.admin.post("/tenants", {"name": name})
    agent = enrolled(stage, "h1", "198.18.0.11")
    ids = [attach(agent, "h1", "acme/default", f"web{number}") for number in range(1, 4)]
    report(agent, "h1", **{str(id): "up" for id in ids})
    log_in(stage.page)
    return stage


def rows(text: str) -> str:
    """What the list says, without how long ago that was."""
    return fixed(words(text.partition("<tbody>")[2].partition("</tbody>")[0]))


def fixed(text: str) -> str:
    """Without what moves by itself: how long ago something was, and how far the server has read."""
    return re.sub(r"\d+ (?:s|min) ago|pulse=\d+", "", text)


def opened(page: Page, name: str) -> None:
    expect(page.locator("#drawer h2")).to_have_text(name)


@pytest.mark.parametrize(
    ("noun", "name", "says"),
    [
        ("tenants", "acme", "Denied by default"),
        ("networks", "acme/web", "10.65.0.0/24"),
        ("endpoints", "acme/acme1", "10.65.0.2/24"),
        ("hosts", "h1", "Tunnel address"),
    ],
)
def test_a_look_is_in_the_address_and_has_the_facts_without_a_script(
    two: Site, boss: Visitor, noun: str, name: str, says: str
) -> None:
    plain = boss.open(f"/{noun}")
    assert 'id="drawer"' not in plain
    at = f"/{noun}?look={name}"
    assert f'href="{at}"' in plain.replace("%2F", "/")
    page = boss.open(at)
    assert says in words(page.partition('id="drawer"')[2]) and f'href="/{noun}/{name}"' in page
    assert rows(plain) == rows(page)
    boss.headers["HX-Request"] = "true"
    assert 'id="drawer"' in boss.open(at) and "<html" not in boss.open(at)
    assert "There is no" in words(boss.open(f"/{noun}?look={'x' if '/' not in name else 'x/y'}"))


def test_a_look_tells_nothing_of_other_tenants(two: Site) -> None:
    eve = member(two, "eve", acme="viewer")
    assert "10.65.0.2" in eve.open("/endpoints?look=acme/acme1").partition('id="drawer"')[2]
    for noun, short in (("tenants", ""), ("networks", "/web"), ("endpoints", "/beta1")):
        there, not_there = (
            eve.open(f"/{noun}?look={name}{short.replace('beta', name)}") for name in ("beta", "nowhere")
        )
        assert fixed(there).replace("beta", "nowhere") == fixed(not_there)
    eve.open("/hosts?look=h1", 403)


def test_it_opens_beside_the_list_and_closes_and_the_focus_comes_back(filled: Stage) -> None:
    page = filled.page
    page.goto("/endpoints?tenant=acme&sort=-created")
    live(page)
    page.evaluate("window.neverReloaded = true")
    page.get_by_role("link", name="A quick look at acme/web2").click()
    opened(page, "acme/web2")
    expect(page).to_have_url(re.compile(r"/endpoints\?tenant=acme&sort=-created&look=acme(/|%2F)web2$"))
    expect(page.locator("#drawer h2")).to_be_focused()
    expect(page.locator("table.endpoints tbody tr")).to_have_count(3)
    assert faults(page) == []
    page.keyboard.press("Escape")
    expect(page.locator("#drawer")).to_have_count(0)
    expect(page).to_have_url(f"{filled.server.url}/endpoints?tenant=acme&sort=-created")
    expect(page.locator("#endpoint-acme-in-web2 th a")).to_be_focused()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Space")
    opened(page, "acme/web1")
    expect(page.locator("#drawer h2")).to_be_focused()
    page.locator("#endpoint-acme-in-web3 th a").focus()
    page.keyboard.press("Space")
    opened(page, "acme/web3")
    expect(page.locator("#drawer h2")).to_be_focused()
    page.get_by_role("link", name="Close the quick look", exact=True).click()
    expect(page.locator("#drawer")).to_have_count(0)
    expect(page.locator("#endpoint-acme-in-web3 th a")).to_be_focused()
    assert page.evaluate("window.neverReloaded") is True


def test_going_back_closes_it_and_a_link_to_it_opens_it(filled: Stage) -> None:
    page = filled.page
    page.goto("/tenants")
    live(page)
    page.get_by_role("link", name="A quick look at acme").click()
    opened(page, "acme")
    page.get_by_role("link", name="A quick look at beta").click()
    opened(page, "beta")
    at = f"{filled.server.url}/tenants?look=beta"
    expect(page).to_have_url(at)
    page.go_back()
    expect(page).to_have_url(f"{filled.server.url}/tenants")
    expect(page.locator("#drawer")).to_have_count(0)
    page.goto(at)
    opened(page, "beta")
    page.get_by_role("link", name="Open", exact=True).click()
    expect(page).to_have_url(f"{filled.server.url}/tenants/beta")


def test_it_is_live_and_stays_while_the_list_is_filtered(filled: Stage) -> None:
    page = filled.page
    page.goto("/tenants?look=acme")
    live(page)
    opened(page, "acme")
    filled.admin.patch("/tenants/acme", {"labels": {"team": "web"}})
    expect(page.locator("#drawer .facts")).to_contain_text("team=web")
    page.get_by_label("Filter tenants").fill("bet")
    expect(page.locator("tbody tr")).to_have_count(1)
    opened(page, "acme")
    expect(page.get_by_label("Filter tenants")).to_be_focused()
    filled.admin.patch("/tenants/acme", {"labels": {"team": "shop"}})
    expect(page.locator("#drawer .facts")).to_contain_text("team=shop")
    page.goto("/endpoints?look=acme/web1")
    live(page)
    filled.admin.delete("/endpoints/acme/web1")
    expect(page.locator("#drawer")).to_contain_text("There is no endpoint acme/web1")


@pytest.mark.parametrize("size", [PHONE, TABLET, DESK], ids=["phone", "tablet", "desk"])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_fits_every_width_and_theme(filled: Stage, size: dict[str, int], theme: str) -> None:
    page = filled.page
    page.set_viewport_size(size)  # type: ignore[arg-type]
    page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
    for noun, name in (("tenants", "acme"), ("networks", "acme/default"), ("endpoints", "acme/web1"), ("hosts", "h1")):
        page.goto(f"/{noun}?look={name}")
        live(page)
        assert faults(page) == [], noun
        assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
        box = page.locator("#drawer").bounding_box()
        assert box is not None and box["x"] >= 0 and box["x"] + box["width"] <= size["width"]
        assert box["y"] + box["height"] <= size["height"] + 1
        page.keyboard.press("Escape")
        expect(page.locator("#drawer")).to_have_count(0)


def test_keys_move_where_names_are_no_links_and_from_the_row_that_is_looked_at(stage: Stage) -> None:
    page = stage.page
    for name in ("acme", "beta", "gamma"):
        stage.admin.post("/tenants", {"name": name})
        stage.admin.put(f"/dns/records/{name}/db", {"addresses": ["198.18.7.7"]})
    log_in(page)
    page.goto("/records?sort=name")
    live(page)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    expect(page.locator("#record-beta-db a:focus")).to_have_count(1)
    page.keyboard.press("Space")
    expect(page).to_have_url(f"{stage.server.url}/tenants/beta")
    page.goto("/tenants?look=beta")
    live(page)
    page.keyboard.press("ArrowDown")
    expect(page.locator("#tenant-gamma th a:focus")).to_have_count(1)


def test_a_phone_has_the_tenant_chooser_and_whole_names(stage: Stage) -> None:
    page = stage.page
    for name in ("acme", "beta"):
        stage.admin.post("/tenants", {"name": name})
        stage.admin.put(f"/dns/records/{name}/database-of-the-shop", {"addresses": ["198.18.7.7"]})
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    log_in(page)
    page.goto("/records")
    live(page)
    for field in (page.get_by_label("Show one tenant"), page.get_by_label("Search everything")):
        assert (field.bounding_box() or {})["width"] >= 80
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
    for name in (page.locator(".under .mono"), page.locator("#record-acme-database-of-the-shop .copy").first):
        assert name.evaluate("one => one.getClientRects().length") == 1
        assert name.evaluate("one => one.offsetHeight < 2 * parseFloat(getComputedStyle(one).lineHeight)")
    page.get_by_label("Show one tenant").fill("beta")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("tenant=beta"))
