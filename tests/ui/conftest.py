"""A real server and a real browser for tests of pages.

A test takes `stage` and goes on with `log_in(stage.page)`. Whatever a page complains of on the console, a violation of
its content security policy too, fails the test. `faults(page)` is what axe-core finds serious on a page.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from client.rest import Rest
from db import bindings, users
from db.changes import transaction
from db.engine import create_engine
from tests.databases import *  # noqa: F403 - the fixtures of databases
from tests.ui.visitor import boss, two  # noqa: F401 - fixtures
from tests.web.conftest import PASSWORD, bootstrap, people, site  # noqa: F401 - fixtures for pages without a browser
from tests.web.servers import Server, serving

CHROMIUM = Path("/usr/bin/chromium")
AXE = Path(__file__).parent / "axe-core-4.14.1" / "axe.min.js"
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PHONE, TABLET, DESK = {"width": 390, "height": 844}, {"width": 1024, "height": 768}, {"width": 1440, "height": 900}
SOON_MILLISECONDS = 60_000
expect.set_options(timeout=SOON_MILLISECONDS)
EXPECTED = ("Failed to load resource", "net::ERR", "htmx:sse:error", "htmx:error")
"""What the console says of a server that is gone, or of an object that is."""


class Stage(NamedTuple):
    """A server, who may change things there, its database, and somebody's open browser."""

    server: Server
    admin: Rest
    page: Page
    url: str

    def member(self, name: str, **roles: str) -> None:
        """A user with roles in tenants: `member("eve", acme="viewer")`. The password is everybody's."""
        engine = create_engine(self.url)
        with transaction(engine) as tx:
            users.create(tx, name, PASSWORD)
            for tenant, role in roles.items():
                bindings.grant(tx, role, user=name, tenant=tenant)
        engine.dispose()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """No longer than that: Playwright keeps an event loop in this thread, where tests of others run theirs."""
    assert CHROMIUM.exists(), "install Debian's `chromium`: the pages are tested in a real browser"
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS), timeout=2 * SOON_MILLISECONDS)
        yield opened
        opened.close()


def staged(browser: Browser, url: str, folder: Path) -> Iterator[Stage]:
    """On a migrated database at `url`, which may hold something already."""
    engine = create_engine(url)
    token, _ = bootstrap(engine)
    with transaction(engine) as tx:
        users.create(tx, "admin", PASSWORD, role="admin")
    engine.dispose()
    with serving(url, folder) as server:
        context = browser.new_context(viewport=DESK, base_url=server.url)
        context.set_default_timeout(SOON_MILLISECONDS)
        page = context.new_page()
        complaints: list[str] = []
        page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        yield Stage(server, server.rest(token), page, url)
        context.close()
        assert [text for text in complaints if not any(word in text for word in EXPECTED)] == []


@pytest.fixture
def stage(browser: Browser, sqlite_url: str, tmp_path: Path) -> Iterator[Stage]:
    yield from staged(browser, sqlite_url, tmp_path)


def log_in(page: Page, user: str = "admin", password: str = PASSWORD) -> None:
    page.goto("/login")
    page.get_by_label("User").fill(user)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_load_state()  # scripts come last: a click before that is nobody's


def until(page: Page, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SOON_MILLISECONDS / 1000
    while not condition():
        assert time.monotonic() < deadline
        page.wait_for_timeout(20)


def live(page: Page) -> None:
    expect(page.locator("#connection")).to_have_attribute("data-state", "live")


@cache
def _axe() -> str:
    return AXE.read_text()


def faults(page: Page) -> list[str]:
    """What axe-core finds serious or critical on the page as it is shown now, one line each."""
    page.wait_for_load_state()  # with its styles
    page.evaluate(_axe())  # in the page's world, but not by a script element: its policy forbids those
    found: dict[str, Any] = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{one['id']}: {one['help']}: {node['html'][:200]}"
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]


def enrolled(stage: Stage, name: str, address: str) -> Rest:
    """The agent of a new host."""
    once = stage.admin.post("/hosts", {"name": name, "address": address}).body["enrol_token"]
    return stage.server.rest(stage.server.rest(once).post("/enrol", {}).body["token"])


def attach(agent: Rest, host: str, network: str, name: str) -> int:
    path = f"/hosts/{host}/attachments/{name}/eth0"
    body = agent.put(path, {"network": network, "name": name, "netns": f"/run/netns/{name}"}).body
    return int(body["id"])


def report(agent: Rest, host: str, **ports: str) -> None:
    facts = {"version": "0.1.0", "pid": 1, "started_at": "2026-11-20T10:00:00Z"}
    agent.put(f"/hosts/{host}/report", {"agent": facts, "ports": ports})
