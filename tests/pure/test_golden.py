"""The whole program of a small world as text, to be read and reviewed: `tests/pure/golden/*.txt`.

When a change to the pipeline is meant, `python -m tests.pure.test_golden` writes the texts anew; the diff is the
review.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.calc.membership import members
from controller.openflow.text import program_text
from controller.pipeline.program import program
from tests.pure import worlds

GOLDEN = Path(__file__).parent / "golden"
CASES = {"two_networks": 1, "overlapping": 1, "outbound": 1, "meshed": 2, "tracked": 3}


def text(name: str, host: int) -> str:
    world = worlds.world(*getattr(worlds, name)())
    return program_text(program(world, members(world, host)))


@pytest.mark.parametrize(("name", "host"), CASES.items())
def test_the_program_reads_as_it_was_reviewed(name: str, host: int) -> None:
    assert text(name, host) == (GOLDEN / f"{name}_h{host}.txt").read_text()


if __name__ == "__main__":
    for case in CASES.items():
        (GOLDEN / "{}_h{}.txt".format(*case)).write_text(text(*case))
