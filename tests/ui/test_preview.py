"""What a change turns, as people see it before it is confirmed: the matrix with what differs hatched."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from db.engine import create_engine
from tests import crowd
from tests.ui.conftest import DESK, PHONE, Stage, faults, log_in

LOCK = """\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: lock, namespace: acme}
spec:
  podSelector: {matchLabels: {app: web}}
  ingress:
  - ports: [{port: 80}]
"""


@pytest.mark.parametrize(("size", "theme"), [(DESK, "light"), (PHONE, "dark")], ids=["desk", "phone"])
def test_what_differs_is_hatched_and_said(stage: Stage, size: dict[str, int], theme: str) -> None:
    page = stage.page
    engine = create_engine(stage.url)
    crowd.fill(engine, host_count=2, tenant_count=2, endpoint_count=40)
    crowd.report(engine)
    engine.dispose()
    page.set_viewport_size(size)  # type: ignore[arg-type]
    page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
    log_in(page)
    page.goto("/new/policy")
    page.get_by_label("Documents").fill(LOCK)
    page.get_by_role("button", name="Show what changes").click()
    page.wait_for_load_state()  # with its styles
    table = page.get_by_role("region", name="Who reaches whom, before and after")
    # More than twelve endpoints: those of the same labels are one.
    cell = table.locator(".cell.differs", has_text="acme app=db to acme app=web: before allowed, then partly")
    expect(cell).to_have_count(1)
    expect(cell).to_contain_text("all → tcp/80")
    assert "repeating-linear-gradient" in cell.evaluate("cell => getComputedStyle(cell).backgroundImage")
    same = table.locator(".cell", has_text="acme app=web to acme app=db: ")
    assert same.evaluate("cell => getComputedStyle(cell).backgroundImage") == "none"
    expect(page.locator(".legend")).to_contain_text("hatched: changes")
    wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide <= 0
    assert faults(page) == []
