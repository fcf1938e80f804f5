"""A test that is skipped proves nothing: whatever it needs is missing, and that is a failure here."""

from __future__ import annotations

from collections.abc import Generator

import pytest
from hypothesis import HealthCheck, settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


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


WHOLE = {"lab": "tests/lab/", "engines": ("tests/lab/docker/", "tests/lab/test_podman.py"), "agent": "tests/agent/"}
"""Tests that one process runs, by where they are; the last that fits counts."""


class Together(LoadScopeScheduling):
    """`make test` has three processes on two processors, as tests of labs mostly wait. Each begins with a whole, so
    that no lab and no host is made twice. The rest goes file by file to whoever has time. (xdist has groups as marks,
    which pytest 9 does not find where xdist puts them.)"""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return next((name for name in reversed(WHOLE) if file.startswith(WHOLE[name])), file)

    def _assign_work_unit(self, node: WorkerController) -> None:
        for name in reversed(WHOLE):
            if name in self.workqueue:
                self.workqueue.move_to_end(name, last=False)
        super()._assign_work_unit(node)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Together:
    return Together(config, log)
