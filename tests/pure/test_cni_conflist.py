"""The configuration is there while the agent is ready, and not otherwise."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ovs_agent.cni.conflist import PATIENCE, PERIOD, Conflist
from ovs_agent.cni.install import CAPABILITIES, install

LONG = int(PATIENCE / PERIOD)


class Site:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.trouble: str | None = "not ready"
        _, self.template = install(folder / "bin", folder, folder / "cni.sock", "acme/web")
        self.conflist = Conflist(folder, lambda: self.trouble)

    def look(self, times: int = 1) -> list[str]:
        for _ in range(times):
            self.conflist.look()
        return sorted(path.name for path in self.folder.glob("*.conflist"))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_it_appears_when_the_agent_is_ready_and_goes_when_it_is_not_for_long(site: Site) -> None:
    (site.folder / "10-warren.conflist").write_text("left by a run before")
    assert site.look() == []
    site.trouble = None
    assert site.look() == ["10-warren.conflist"]
    published = site.folder / "10-warren.conflist"
    assert published.read_text() == site.template.read_text() and published.stat().st_mode & 0o777 == 0o644
    site.trouble = "The API is away."
    assert site.look(LONG) == ["10-warren.conflist"]
    site.trouble = None
    assert site.look() == ["10-warren.conflist"]
    site.trouble = "The API is away."
    assert site.look(LONG + 1) == []
    site.trouble = None
    assert site.look() == ["10-warren.conflist"]
    site.conflist.start()
    site.conflist.stop()
    assert not published.exists()


def test_changed_templates_count_and_others_files_stay(site: Site) -> None:
    other = site.folder / "20-acme.conflist"
    other.write_text("{}")
    site.trouble = None
    site.look()
    changed = json.loads(site.template.read_text()) | {"name": "changed"}
    site.template.write_text(json.dumps(changed))
    site.look()
    assert json.loads((site.folder / "10-warren.conflist").read_text())["name"] == "changed"
    site.template.write_text("{")
    assert site.look() == ["10-warren.conflist", "20-acme.conflist"]
    assert json.loads((site.folder / "10-warren.conflist").read_text())["name"] == "changed"
    site.trouble = "away"
    assert site.look(LONG + 1) == ["20-acme.conflist"]


def test_a_static_configuration_is_there_always(tmp_path: Path) -> None:
    _, path = install(tmp_path / "bin", tmp_path, tmp_path / "cni.sock", "acme/web", static=True)
    assert path.name == "10-warren.conflist"
    Conflist(tmp_path, lambda: "away").look()
    plugin = json.loads(path.read_text())["plugins"][0]
    assert plugin["network"] == "acme/web" and set(plugin["capabilities"]) == set(CAPABILITIES)
