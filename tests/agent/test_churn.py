"""Coming and going leaves nothing behind, in the agent least of all."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.agent.conftest import Host
from tests.agent.site import Container, until
from tests.agent.test_rollback import holdings

NewContainer = Callable[..., Container]


def appetite(host: Host) -> tuple[int, int]:
    """Descriptors and threads of the agent."""
    process = Path(f"/proc/{host.agent.pid}")
    return len(list((process / "fd").iterdir())), len(list((process / "task").iterdir()))


def resident(host: Host) -> int:
    """KiB of memory that the agent has."""
    status = Path(f"/proc/{host.agent.pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))


def test_two_hundred_containers_eight_at_a_time(host: Host) -> None:
    lock = threading.Lock()
    live: set[str] = set()

    def start_and_stop(number: int) -> None:
        box = host.container()
        try:
            given = {one["address"] for one in box.add()["ips"]}
            with lock:
                assert not live & given, f"{live & given} twice at the same time"
                live.update(given)
            time.sleep(0.05)  # it lives a while
            with lock:
                live.difference_update(given)
            box.delete()
        finally:
            host.drop(box)

    before = holdings(host)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(start_and_stop, range(50)))  # caches and pools grow to what eight at a time need
        fds, threads, memory = *appetite(host), resident(host)
        list(pool.map(start_and_stop, range(200)))
    until(lambda: holdings(host) == before, "everything is as it was before")
    until(lambda: appetite(host)[0] <= fds + 2, f"descriptors are no more than {fds + 2}")
    until(lambda: appetite(host)[1] <= threads + 4, f"threads are no more than {threads + 4}")
    assert resident(host) - memory < 6 * 1024
    until(lambda: not any((host.folder / "state" / "releases").iterdir()), "the API has taken all releases")


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
            child.wait(60)
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
    until(lambda: appetite(host)[1] <= threads + 4, f"threads are no more than {threads + 4}")
    until(lambda: not any((host.folder / "state" / "releases").iterdir()), "the API has taken all releases")
