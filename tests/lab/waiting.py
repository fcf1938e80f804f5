"""Waiting for what a lab comes to."""

from __future__ import annotations

import time
from collections.abc import Callable

from lab.lab import Lab

BOUND = 180.0
"""Seconds in which anything is answered, whatever is away; dockerd alone takes fifteen for a plugin that is."""
SOON, NEVER = 20, 3
"""Seconds for what ought to be heard, and after which it is not."""


def until(condition: Callable[[], object], what: str, seconds: float = BOUND) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.1)


def until_ready(lab: Lab) -> None:
    until(lambda: all(one["connected"] for one in lab.rest.items("/hosts")), "all hosts are connected")
