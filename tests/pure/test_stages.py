"""The stage graph is data, and building a flow checks it."""

from __future__ import annotations

import pytest

from controller.pipeline.flow import Kind, flow
from controller.pipeline.stages import NEXT, Stage


def test_every_stage_sends_packets_only_forward() -> None:
    assert NEXT.keys() == set(Stage)
    assert all(target > stage for stage, targets in NEXT.items() for target in targets)


def test_a_flow_that_jumps_where_its_stage_may_not_is_refused_where_it_is_written() -> None:
    with pytest.raises(ValueError, match="no way from stage ADMIT to GUARD"):
        flow(Kind.BASE, Stage.ADMIT, 1, (), goto=Stage.GUARD)


def test_a_flow_that_does_nothing_is_refused_because_a_drop_needs_a_reason() -> None:
    with pytest.raises(ValueError, match="must be a drop with a reason"):
        flow(Kind.BASE, Stage.ADMIT, 1, ())
