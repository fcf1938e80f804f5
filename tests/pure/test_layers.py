"""The rules that the folder tree makes visible: who may import whom."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OURS = {"controller", "ovs_agent", "db", "web", "client", "lab", "migrations", "benchmarks", "tests"}
PURE = ["controller/model.py", "controller/mark.py", "controller/selection.py", "controller/world.py"]
PURE += ["controller/index.py"]
PURE += [
    "controller/pipeline",
    "controller/calc",
    "controller/openflow",
    "controller/transport",
    "ovs_agent/document.py",
    "ovs_agent/plan.py",
    "ovs_agent/findings.py",
    "ovs_agent/segments.py",
    "ovs_agent/trace.py",
    "ovs_agent/cni/spec.py",
    "ovs_agent/cni/wish.py",
    "ovs_agent/cni/result.py",
    "ovs_agent/docker/messages.py",
]
IMPURE_STANDARD = {"threading", "time", "socket", "logging", "asyncio", "subprocess", "random", "os"}


def modules(place: str) -> list[Path]:
    path = ROOT / place
    assert path.exists(), f"{place} is gone: mend this test with the move"
    return sorted(path.rglob("*.py")) if path.is_dir() else [path]


def imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
    return names


@pytest.mark.parametrize("place", PURE)
def test_the_core_is_pure(place: str) -> None:
    for path in modules(place):
        roots = {name.split(".")[0] for name in imports(path)}
        foreign = {root for root in roots if root not in sys.stdlib_module_names and root not in OURS}
        assert not foreign, f"{path}: the core needs nothing but the standard library"
        assert not roots & IMPURE_STANDARD, f"{path}: no threads, clocks, sockets or logs in the core"


@pytest.mark.parametrize(
    ("place", "forbidden"),
    [
        (
            "db",
            {"web", "ovs_agent", "client", "lab", "controller.switch", "controller.pipeline", "controller.openflow"},
        ),
        ("web", {"controller.switch", "ovs_agent", "lab"}),
        ("ovs_agent", {"db", "web", "controller", "lab"}),
        ("client", {"db", "web", "controller", "ovs_agent", "lab"}),
        ("controller", {"web", "ovs_agent", "client", "lab"}),
        ("controller/pipeline", {"db", "controller.calc", "controller.openflow", "controller.switch"}),
        ("controller/calc", {"db", "controller.openflow", "controller.switch"}),
        ("controller/openflow", {"db", "controller.calc", "controller.switch"}),
    ],
)
def test_nobody_reaches_past_a_boundary(place: str, forbidden: set[str]) -> None:
    for path in modules(place):
        for name in imports(path):
            assert not any(name == part or name.startswith(part + ".") for part in forbidden), f"{path} imports {name}"


def test_files_stay_short_enough_to_read() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for place in sorted(OURS)
        for path in (ROOT / place).rglob("*.py")
        if (lines := len(path.read_text().splitlines())) > 400
    }
    assert not long
