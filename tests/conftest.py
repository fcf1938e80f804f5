"""A test that is skipped proves nothing: whatever it needs is missing, and that is a failure here."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest

LAB = Path(__file__).parent / "lab"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped: {report.longrepr}; `make test` installs what tests need."
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if report.skipped:
        report.outcome = "failed"
        report.longrepr = f"{collector.nodeid} was skipped: {report.longrepr}; `make test` installs what tests need."
    return report


@pytest.hookimpl(tryfirst=True)  # before xdist reads the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """`make test` has two processes: one with the labs' tests, which mostly wait, the other with all the rest."""
    for item in items:
        item.add_marker(pytest.mark.xdist_group("lab" if item.path.is_relative_to(LAB) else "rest"))
