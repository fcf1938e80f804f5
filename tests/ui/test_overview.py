"""The overview as people see it: alerts with their remedies, what changed, how long it took, charts."""

from __future__ import annotations

from playwright.sync_api import expect

from db.engine import create_engine, writing
from db.tables import HostStatus
from tests import crowd
from tests.ui.conftest import Stage, enrolled, faults, live, log_in


def test_it_tells_what_is_wrong_and_what_changed(stage: Stage) -> None:
    page = stage.page
    engine = create_engine(stage.url)
    crowd.fill(engine, host_count=3, tenant_count=2, endpoint_count=12)
    crowd.report(engine, silent=1)
    log_in(page)
    live(page)
    crowd.report(engine, silent=1)  # the other hosts are silent, too, when half a minute has passed
    expect(page.locator(".lead")).to_contain_text("h01 silent for 4 min")
    expect(page.locator(".alerts li")).to_have_count(1)
    expect(page.locator(".alerts .remedy")).to_contain_text("warren host delete h01 --force")
    expect(page.locator(".tiles")).to_contain_text("2 in step")
    expect(page.locator(".tiles")).to_contain_text("ctl1 in step")
    expect(page.locator(".tiles")).to_contain_text("SQLite")
    expect(page.locator(".changes li").first).to_contain_text("ada created policy acme/db")
    assert faults(page) == []
    with writing(engine) as session:
        for status in session.query(HostStatus):
            status.drops = {**status.drops, "unknown_tunnel_source": 5}
    expect(page.locator(".alerts")).to_contain_text("h02 dropped 5 tunnel packets")
    expect(page.locator("#dropped canvas")).to_be_visible()
    engine.dispose()


def test_how_long_changes_take_is_measured_and_drawn(stage: Stage) -> None:
    """Nobody has to confirm anything here: there is no host, and a controller that has computed it all."""
    page = stage.page
    engine = create_engine(stage.url)
    enrolled(stage, "h1", "198.18.0.11")
    crowd.report(engine)
    log_in(page)
    live(page)
    # What the next change overtakes is not measured, so each is waited for.
    for name, place, measured in (
        ("acme", ".lead", "last change live after"),
        ("globex", ".tiles", "95 % of changes"),
        ("initech", ".tiles", "95 % of changes"),
    ):
        stage.admin.post("/tenants", {"name": name})
        crowd.report(engine)
        expect(page.locator(f"#tenant-{name}")).to_be_visible()
        expect(page.locator(place)).to_contain_text(measured)
    expect(page.locator("#live-after canvas")).to_be_visible()
    expect(page.locator(".changes")).to_contain_text("boss created tenant initech")
    engine.dispose()
