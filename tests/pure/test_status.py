"""What the controller knows of hosts is written down whatever happens meanwhile."""

from __future__ import annotations

from threading import Event

import pytest

from controller import status
from controller.status import HostProgress, Recorder


def test_a_host_that_goes_while_it_cannot_be_written_down_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "RETRY_SECONDS", 0.0)
    written: list[tuple[int, set[int]]] = []
    done = Event()

    def write(revision: int, hosts: dict[int, HostProgress]) -> None:
        if not written:
            written.append((revision, set(hosts)))
            recorder.removed(1)
            raise OSError("the database is away")
        written.append((revision, set(hosts)))
        if revision == 8:
            done.set()

    recorder = Recorder(write)
    try:
        recorder.computed(7, {1: 7, 2: 7})
        recorder.computed(8, {})
        assert done.wait(30), "the recorder writes no more"
    finally:
        recorder.close()
    assert written[0][1] == {1, 2} and {host for _, hosts in written[1:] for host in hosts} == {2}
