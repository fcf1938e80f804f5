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


class Together(LoadScopeScheduling):
    """`make test` has two processes. One begins with all tests of labs, which mostly wait, the other with agents':
    neither a lab nor a host is made twice, and no two labs share the processors. The rest goes file by file to whoever
    has time. (xdist's own groups are marks, which it writes into a name that pytest 9 does not look at any more.)"""

    WHOLE = ("lab", "agent")

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        folder = file.split("/")[1]
        return folder if folder in self.WHOLE else file

    def _assign_work_unit(self, node: WorkerController) -> None:
        for folder in reversed(self.WHOLE):
            if folder in self.workqueue:
                self.workqueue.move_to_end(folder, last=False)
        super()._assign_work_unit(node)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Together:
    return Together(config, log)
