"""The pages in a real browser: log in, see changes appear by themselves, find things, with and without a mouse."""

from __future__ import annotations

import re

from playwright.sync_api import Route, expect

from tests.ui.conftest import PHONE, Stage, attach, enrolled, live, log_in, report, until


def test_a_wrong_password_says_so_and_the_right_one_opens_the_overview(stage: Stage) -> None:
    page = stage.page
    page.goto("/hosts")
    expect(page).to_have_url(f"{stage.server.url}/login?next=/hosts")
    log_in(page, password="wrong password")
    expect(page.get_by_role("alert")).to_have_text("User or password is wrong; check both.")
    expect(page.get_by_label("User")).to_have_value("admin")
    expect(page.get_by_label("Password")).to_be_focused()
    log_in(page)
    expect(page).to_have_url(f"{stage.server.url}/")
    expect(page.locator(".lead")).to_have_text("No hosts yet.")
    page.get_by_role("button", name="Log out").click()
    expect(page).to_have_url(f"{stage.server.url}/login")
    page.goto("/")
    expect(page).to_have_url(f"{stage.server.url}/login")


def test_a_refresh_that_finds_the_session_ended_does_not_lead_back_from_logging_out(stage: Stage) -> None:
    page = stage.page
    log_in(page)
    page.goto("/tenants")
    live(page)
    held: list[Route] = []
    page.route("**/logout", lambda route: held.append(route))
    page.evaluate("setInterval(() => document.body.dispatchEvent(new Event('refresh')), 200)")
    page.get_by_role("button", name="Log out").click(no_wait_after=True)
    until(page, lambda: bool(held))
    page.context.request.post(f"{stage.server.url}/logout", headers={"Origin": stage.server.url})
    page.wait_for_timeout(2000)
    assert page.url == f"{stage.server.url}/tenants"
    held[0].continue_()
    expect(page).to_have_url(f"{stage.server.url}/login")


def test_who_comes_back_to_a_preview_finds_the_form(stage: Stage) -> None:
    page = stage.page
    log_in(page)
    page.goto("/new/tenant")
    page.get_by_label("Name").fill("acme")
    page.get_by_role("button", name="Show what changes").click()
    page.get_by_role("button", name="Create").click()
    expect(page).to_have_url(re.compile("/changes/"))
    page.go_back()
    expect(page.get_by_role("heading", name="New tenant")).to_be_visible()
    expect(page.get_by_label("Name")).to_have_value("")


def test_what_is_made_elsewhere_appears_without_a_reload(stage: Stage) -> None:
    page = stage.page
    log_in(page)
    live(page)
    page.evaluate("window.neverReloaded = true")
    stage.admin.post("/tenants", {"name": "acme"})
    row = page.locator("#tenant-acme")
    expect(row).to_be_visible()
    agent = enrolled(stage, "h1", "198.18.0.11")
    expect(page.locator("#host-h1")).to_contain_text("enrolled")
    id = attach(agent, "h1", "acme/default", "web1")
    endpoint = page.locator("#endpoint-acme-in-web1")
    expect(endpoint).to_contain_text("pending")
    expect(row).to_contain_text("1")
    report(agent, "h1", **{str(id): "up"})
    expect(endpoint.locator(".state.ok")).to_have_text("up")
    report(agent, "h1", **{str(id): "down"})
    expect(endpoint.locator(".state.wrong")).to_have_text("down")
    agent.delete("/hosts/h1/attachments/web1/eth0")
    expect(endpoint).to_have_count(0)
    assert page.evaluate("window.neverReloaded") is True


def test_a_live_change_leaves_alone_what_did_not_change(stage: Stage) -> None:
    """No flicker: the same row is the same element, the focus and what was typed stay."""
    page = stage.page
    for name in ("acme", "globex"):
        stage.admin.post("/tenants", {"name": name})
    log_in(page)
    page.goto("/tenants")
    live(page)
    page.evaluate("document.querySelector('#tenant-globex').mark = 'the same'")
    page.locator("#tenant-globex th a").focus()
    stage.admin.post("/tenants", {"name": "beta"})
    expect(page.locator("#tenant-beta")).to_be_visible()
    assert page.evaluate("document.querySelector('#tenant-globex').mark") == "the same"
    expect(page.locator("#tenant-globex th a")).to_be_focused()
    page.get_by_label("Filter tenants").fill("lob")
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page).to_have_url(f"{stage.server.url}/tenants?q=lob")
    stage.admin.post("/tenants", {"name": "lobby"})
    expect(page.locator("tbody tr")).to_have_count(2)
    expect(page.get_by_label("Filter tenants")).to_have_value("lob")
    page.reload()
    expect(page.locator("tbody tr")).to_have_count(2)


def test_a_lost_connection_is_visible_at_once_and_heals_by_itself(stage: Stage) -> None:
    page = stage.page
    log_in(page)
    live(page)
    stage.server.stop()
    connection = page.locator("#connection")
    expect(connection).to_have_attribute("data-state", "lost")
    expect(connection).to_contain_text("no connection")
    stage.server.restart()
    stage.admin.post("/tenants", {"name": "acme"})
    expect(connection).to_have_attribute("data-state", "live")
    expect(page.locator("#tenant-acme")).to_be_visible()


OBSERVE = """window.said = 0;
new MutationObserver((all) => { window.said += all.filter((one) => !one.target.closest("[aria-hidden]")).length; })
  .observe(document.getElementById("connection"), {childList: true, subtree: true});"""


def test_a_screen_reader_is_told_of_the_connection_when_it_is_another(stage: Stage) -> None:
    """And neither with each event that comes, nor of the age of a page that hears nothing."""
    page = stage.page
    log_in(page)
    page.goto("/tenants")
    live(page)
    page.evaluate(OBSERVE)
    for name in ("acme", "beta"):
        stage.admin.post("/tenants", {"name": name})
        expect(page.locator(f"#tenant-{name}")).to_be_visible()
    assert page.evaluate("window.said") == 0
    for _ in range(3):
        page.evaluate("document.dispatchEvent(new Event('htmx:sse:error'))")
    expect(page.locator("#connection")).to_have_text(re.compile("no connection *as of [0-9]+ s ago"))
    assert page.evaluate("window.said") == 1


def test_a_page_whose_object_is_deleted_says_so(stage: Stage) -> None:
    page = stage.page
    stage.admin.post("/tenants", {"name": "acme"})
    log_in(page)
    page.goto("/tenants/acme")
    live(page)
    stage.admin.delete("/tenants/acme")
    expect(page.get_by_role("alert")).to_have_text("Not found")
    expect(page.locator(".under")).to_contain_text("There is no tenant acme")
    expect(page.get_by_role("navigation")).to_be_visible()


def test_a_session_that_ends_leads_to_the_log_in_and_back(stage: Stage) -> None:
    page = stage.page
    log_in(page)
    page.goto("/tenants")
    live(page)
    page.context.clear_cookies()
    stage.admin.post("/tenants", {"name": "acme"})
    expect(page).to_have_url(f"{stage.server.url}/login?next=/tenants")


def test_it_can_be_used_with_the_keyboard_alone(stage: Stage) -> None:
    page = stage.page
    for name in ("acme", "beta"):
        stage.admin.post("/tenants", {"name": name})
    log_in(page)
    live(page)
    page.keyboard.type("gt")  # at one go: the first is forgotten after a second
    expect(page).to_have_url(f"{stage.server.url}/tenants")
    live(page)
    page.keyboard.press("ArrowDown")
    expect(page.locator("#tenant-acme th a")).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(page.locator("#tenant-beta th a")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{stage.server.url}/tenants/beta")
    live(page)
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    page.keyboard.press("/")
    expect(page.get_by_label("Search everything")).to_be_focused()
    page.keyboard.type("acme")
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{stage.server.url}/search?q=acme")
    expect(page.locator("#tenant-acme")).to_be_visible()
    expect(page.locator("#network-acme-in-default")).to_be_visible()


def test_an_endpoint_is_found_by_its_address_and_its_mac(stage: Stage) -> None:
    page = stage.page
    stage.admin.post("/tenants", {"name": "acme"})
    stage.admin.post("/networks", {"name": "acme/web", "subnets": ["10.20.0.0/24"]})
    attach(enrolled(stage, "h1", "198.18.0.11"), "h1", "acme/web", "web1")
    log_in(page)
    for query in ("10.20.0.2", "02:00:0a:14:00:02", "web1", "acme/web1"):
        page.goto(f"/search?q={query}")
        expect(page.locator("#endpoint-acme-in-web1")).to_be_visible()
    page.locator("#endpoint-acme-in-web1 th a").click()
    expect(page.get_by_role("heading", name="acme/web1")).to_be_visible()
    expect(page.locator(".facts.sheet")).to_contain_text("10.20.0.2/24")


def test_nothing_is_wider_than_a_phone(stage: Stage) -> None:
    page = stage.page
    stage.admin.post("/tenants", {"name": "a" * 63, "labels": {"a-rather-long-label": "with-a-rather-long-value"}})
    agent = enrolled(stage, "h" * 63, "198.18.0.11")
    attach(agent, "h" * 63, "a" * 63 + "/default", "e" * 63)
    page.set_viewport_size(PHONE)
    log_in(page)
    name = "a" * 63
    for path in (
        "/",
        "/tenants",
        "/networks",
        "/hosts",
        "/endpoints",
        f"/tenants/{name}",
        f"/networks/{name}/default",
        f"/endpoints/{name}/{'e' * 63}",
        f"/hosts/{'h' * 63}",
        "/search?q=a",
    ):
        page.goto(path)
        live(page)
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= PHONE["width"], f"{path} is {wide} pixels wide"


def test_the_theme_is_kept(stage: Stage) -> None:
    page = stage.page
    log_in(page)
    page.get_by_role("button", name="Theme: auto").click()
    page.get_by_role("button", name="Theme: light").click()
    assert "theme=dark" in page.evaluate("document.cookie")  # read here, it is also there for the next request
    page.goto("/hosts")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert page.evaluate("getComputedStyle(document.body).colorScheme") == "dark"


def test_a_hostile_name_in_the_address_is_shown_and_does_nothing(stage: Stage) -> None:
    page = stage.page
    log_in(page)
    for path in ("/search?q=", "/tenants?q=", "/tenants/"):
        page.goto(path + "%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E")
        expect(page.locator("img")).to_have_count(0)
        expect(page.locator("main")).to_contain_text("<img src=x")
