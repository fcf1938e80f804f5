"""Coming and going leaves nothing behind, in the agent least of all."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

from tests.agent.conftest import Host
from tests.agent.site import Container, until
from tests.agent.test_rollback import holdings

NewContainer = Callable[..., Container]


def appetite(host: Host) -> tuple[int, int]:
    """Descriptors and threads of the agent."""
    process = Path(f"/proc/{host.agent.pid}")
    return len(list((process / "fd").iterdir())), len(list((process / "task").iterdir()))


def test_attach_and_detach_many_times_some_killed_half_way(host: Host, container: NewContainer) -> None:
    chance = random.Random(7)
    one, two = container(), container()

    def cycle(kill: bool) -> None:
        for box in (one, two):
            child, config = box.start("ADD")
            child.stdin.write(config)
            child.stdin.close()
            if kill:
                time.sleep(chance.uniform(0, 0.04))
                child.send_signal(signal.SIGKILL)
            child.wait(30)
            child.stdout.close()
            child.stderr.close()
        for box in (one, two):
            box.delete()

    for number in range(15):
        cycle(kill=number % 3 == 0)
    before = holdings(host)
    fds, threads = appetite(host)
    for number in range(70):
        cycle(kill=number % 5 == 0)
    until(lambda: holdings(host) == before, "everything is as it was before")
    until(lambda: appetite(host)[0] <= fds + 2, f"descriptors are no more than {fds + 2}")
    # Pools grow to their limit when calls overlap; what matters is that they do not grow with the number of calls.
    assert appetite(host)[1] <= threads + 4
    assert not list((host.folder / "state" / "releases").iterdir())
