"""The journey of an administrator, and of a tenant's operator, in a real browser over the whole: what the pages say is
what packets do.

Pictures of each step are kept in `build/screens/`, at the width of a desk and of a phone, light and dark.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest
from playwright.sync_api import Browser, Page, expect

from lab.lab import Lab
from lab.state import Placed
from tests.lab import caches
from tests.lab.world import World
from tests.ui.conftest import DESK, EXPECTED, PHONE, browser, faults, live  # noqa: F401 - a fixture
from tests.web.conftest import PASSWORD

pytestmark = pytest.mark.timeout(900)
SCREENS = Path(__file__).parents[2] / "build" / "screens"
SOON_MILLISECONDS = 60_000
POLICY = """\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {{name: web-only, namespace: {tenant}}}
spec:
  podSelector: {{matchLabels: {{app: web}}}}
  ingress:
  - from: [{{podSelector: {{matchLabels: {{app: web}}}}}}]
    ports: [{{port: 81}}]
"""


class Traveller(NamedTuple):
    """Somebody at a browser; `look` keeps a picture and finds what is wrong with the page."""

    page: Page
    name: str

    def log_in(self, user: str, password: str) -> None:
        self.page.goto("/login")
        self.page.get_by_label("User").fill(user)
        self.page.get_by_label("Password").fill(password)
        self.page.get_by_role("button", name="Log in", exact=True).click()
        live(self.page)

    def press(self, name: str) -> None:
        self.page.locator("main").get_by_role("button", name=name, exact=True).click()

    def follow(self, name: str) -> None:
        self.page.locator("main").get_by_role("link", name=name, exact=True).first.click()

    def fill(self, label: str, text: str) -> None:
        self.page.get_by_label(label, exact=True).fill(text)

    def confirmed(self, verb: str) -> None:
        """Look first, do it, and see it live on the hosts, without a reload."""
        self.press("Show what changes")
        expect(self.page.locator("main")).to_contain_text("Nothing is changed yet.")
        self.done(verb)

    def done(self, verb: str) -> None:
        self.press(verb)
        expect(self.page.locator(".lead.ok")).to_contain_text("is live", timeout=SOON_MILLISECONDS)
        self.look(f"live-{verb.lower()}")
        self.follow("Go on")

    def look(self, name: str) -> None:
        SCREENS.mkdir(parents=True, exist_ok=True)
        self.page.wait_for_load_state()
        self.page.screenshot(path=SCREENS / f"{self.name}-{name}.png", full_page=True)
        assert faults(self.page) == [], name
        wide = self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, f"{name} is {wide} pixels too wide"


@pytest.fixture(params=["desk", "phone"])
def traveller(request: pytest.FixtureRequest, browser: Browser, lab: Lab) -> Iterator[Traveller]:  # noqa: F811
    """At a desk in the light, and with a phone in the dark."""
    desk = request.param == "desk"
    context = browser.new_context(
        viewport=DESK if desk else PHONE, color_scheme="light" if desk else "dark", base_url=lab.login()["api"]
    )
    context.set_default_timeout(SOON_MILLISECONDS)
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield Traveller(page, request.param)
    context.close()
    # A violation of the content security policy is said on the console, too.
    assert [text for text in complaints if not any(word in text for word in EXPECTED)] == []


def reaches(world: World, source: Placed, target: Placed, port: int) -> bool:
    """Whether a real connection is opened."""
    world.settle()
    caches.follow(world.lab)
    with ThreadPoolExecutor(1) as thread:  # the browser's own loop runs in this one
        ends = {"sources": [source.name], "targets": [target.name]}
        heard = thread.submit(world.lab.probe, [("tcp", port)], (4,), **ends).result()
    assert len(heard) == 1
    return bool(heard[0].ok)


def cell(page: Page, source: str, target: str) -> str:
    """What the matrix says of it."""
    said = page.locator(".cell .unseen", has_text=re.compile(f"^{source} to {target}: ")).inner_text()
    return said.rpartition(": ")[2]


def test_an_administrators_journey(traveller: Traveller, world: World) -> None:
    page, login = traveller.page, world.lab.login()
    short = secrets.token_hex(2)
    acme, beta = f"acme-{short}", f"beta-{short}"
    traveller.log_in(login["user"], login["password"])
    traveller.look("overview")

    for tenant in (acme, beta):
        page.goto("/tenants")
        traveller.follow("New tenant")
        traveller.fill("Name", tenant)
        traveller.look("new-tenant")
        world.adopt(tenant)
        traveller.confirmed("Create")
        expect(page.get_by_role("heading", name=tenant)).to_be_visible()
    for tenant, subnet in ((acme, "10.81.0.0/24"), (beta, "10.82.0.0/24")):
        page.goto(f"/tenants/{tenant}")
        traveller.follow("New network")
        expect(page.get_by_label("Tenant", exact=True)).to_have_value(tenant)
        traveller.fill("Name", "web")
        traveller.fill("Subnets", subnet)
        traveller.look("new-network")
        traveller.confirmed("Create")
    expect(page.get_by_role("heading", name=f"{beta}/web")).to_be_visible()

    page.goto(f"/networks/{acme}/web")
    live(page)
    page.evaluate("window.neverReloaded = true")
    one = world.endpoint(f"{acme}/web", "h1", labels={"app": "web"})
    expect(page.locator(f"#endpoint-{acme}-in-{one.name}")).to_be_visible()
    assert page.evaluate("window.neverReloaded") is True
    two = world.endpoint(f"{acme}/web", "h2", labels={"app": "web"})
    other = world.endpoint(f"{beta}/web", "h2")
    traveller.look("network")
    assert reaches(world, one, two, 80)

    ends = f"{acme}/{one.name}", f"{acme}/{two.name}"
    matrix = f"/policies/matrix?by=endpoint&tenants={acme},{beta}&protocol=tcp&port=80"
    page.goto(matrix)
    assert cell(page, *ends) == "allowed"
    traveller.look("matrix-before")
    page.goto(f"/policies?tenant={acme}")
    traveller.follow("New policies")
    traveller.fill("Documents", POLICY.format(tenant=acme))
    traveller.look("policy-editor")
    traveller.press("Show what changes")
    expect(page.locator(".preview")).to_contain_text("allowed → denied by policy")
    traveller.look("policy-preview")
    traveller.done("Apply")
    traveller.look("policy")
    page.goto(matrix)
    assert cell(page, *ends) == "denied"
    traveller.look("matrix-after")
    assert not reaches(world, one, two, 80)

    page.locator(".cell a", has_text=f"{ends[0]} to {ends[1]}").click()
    expect(page.locator("#why")).to_contain_text(f"by policy {acme}/web-only: no ingress rule allows it")
    traveller.look("matrix-why")
    page.locator("#why").get_by_role("link", name=re.compile("^Trace ")).click()
    expect(page.locator(".lead")).to_contain_text("denied.")
    stopped = page.locator(".stop.stopped")
    expect(stopped).to_have_count(2)  # on both tracks, at the same stop
    expect(stopped.nth(0)).to_contain_text(f"An administrator of {acme} can change policy")
    expect(stopped.nth(1)).to_contain_text("h2 drops it in INGRESS_TENANT")
    expect(page.locator(".under", has_text="The installed flows agree.")).to_be_visible()
    traveller.look("trace-denied")

    assert not reaches(world, other, one, 81)
    page.goto(f"/tenants/{acme}")
    traveller.follow("Join")
    traveller.fill("Tenant to join", beta)
    traveller.press("Show what changes")
    expect(page.locator(".preview")).to_contain_text("are joined")
    traveller.look("join-preview")
    traveller.press("Join")
    expect(page.locator(".lead.ok")).to_contain_text("is live")
    assert reaches(world, one, other, 80)
    traveller.follow("Undo it")
    expect(page.locator("main")).to_contain_text(f"It leaves {beta}: their connections stop.")
    traveller.look("isolate-preview")
    traveller.done("Isolate")
    assert not reaches(world, one, other, 80)

    for path in ("/policies", "/addresses", "/addresses/check", "/audit", "/audit/verification", "/settings", "/trace"):
        page.goto(path)
        live(page)
        traveller.look(path.strip("/").replace("/", "-"))
    for path in (f"/tenants/{acme}", f"/endpoints/{acme}/{one.name}", f"/networks/{acme}/web/addresses"):
        page.goto(path)
        live(page)
        traveller.look(f"one-{path.split('/')[1]}-{len(path.split('/'))}")
    page.get_by_role("button", name="Log out").click()
    expect(page).to_have_url(re.compile("/login$"))


def test_a_tenants_persons_journey(traveller: Traveller, world: World) -> None:
    page = traveller.page
    acme, beta = world.tenant("acme"), world.tenant("beta")
    eve = f"eve-{secrets.token_hex(2)}"
    world.rest.post("/users", {"name": eve, "password": PASSWORD})
    try:
        world.rest.post("/role-bindings", {"role": "admin", "user": eve, "tenant": acme})
        one, two = world.endpoint(f"{acme}/default", "h1"), world.endpoint(f"{acme}/default", "h2")
        other = world.endpoint(f"{beta}/default", "h2")
        traveller.log_in(eve, PASSWORD)
        traveller.look("tenant-overview")
        expect(page.locator("main")).not_to_contain_text(beta)
        page.goto("/tenants")
        expect(page.get_by_role("link", name="New tenant")).to_have_count(0)
        page.goto("/networks")
        traveller.follow("New network")
        traveller.fill("Name", "own")
        traveller.confirmed("Create")
        page.goto("/new/policy")
        document = POLICY.format(tenant=acme).replace("matchLabels: {app: web}", "")
        traveller.fill("Documents", document)
        traveller.confirmed("Apply")
        page.goto("/policies/matrix?by=endpoint&protocol=tcp&port=80")
        assert cell(page, f"{acme}/{one.name}", f"{acme}/{two.name}") == "denied"
        expect(page.locator("main")).not_to_contain_text(beta)
        traveller.look("tenant-matrix")
        assert not reaches(world, one, two, 80)
        page.goto(f"/trace?source={acme}/{one.name}&destination={beta}/{other.name}&protocol=tcp&port=80")
        expect(page.get_by_role("alert")).to_contain_text("There is no tenant")
        page.goto(f"/policies/{acme}/web-only")
        traveller.follow("Delete")
        traveller.look("tenant-delete-policy")
        traveller.done("Delete")
        assert reaches(world, one, two, 80)
        page.goto("/audit")
        traveller.look("tenant-audit")
        page.get_by_role("button", name="Log out").click()
    finally:
        world.rest.delete(f"/users/{eve}")
