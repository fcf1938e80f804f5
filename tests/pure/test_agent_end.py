"""An agent that is told to stop stops, in whatever moment the signal comes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROUNDS = 5000
SCRIPT = f"""
import random, signal
from queue import SimpleQueue
from ovs_agent import agent as module

module.SIGNAL_SECONDS = 0.01
for _ in range({ROUNDS}):
    agent = object.__new__(module.Agent)
    agent._ended = SimpleQueue()
    signal.signal(signal.SIGALRM, lambda *_: agent.stop())
    signal.setitimer(signal.ITIMER_REAL, random.uniform(2e-5, 1e-4))
    agent._wait_for_end()
"""


def test_a_signal_that_comes_as_it_begins_to_wait_is_heard() -> None:
    """A process of its own: one that does not hear it waits for ever."""
    subprocess.run([sys.executable, "-c", SCRIPT], cwd=Path(__file__).parents[2], check=True, timeout=300)
