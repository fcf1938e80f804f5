"""From what people call a container to its id, name and process, as the engine that runs it says."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import NamedTuple

ENGINES = ("docker", "podman", "nerdctl")
PATIENCE = 10.0


class Container(NamedTuple):
    """`pid` is 0 when it does not run."""

    id: str
    name: str
    pid: int


class Unknown(Exception):  # noqa: N818
    """No engine here knows the container."""


def find(called: str) -> Container:
    """Asks each engine that is installed. Raises Unknown."""
    there = [engine for engine in ENGINES if shutil.which(engine)]
    if not there:
        raise Unknown(
            f"None of {', '.join(ENGINES)} is installed here to ask for container {called}; "
            "give its process with --pid, or its network namespace with --netns."
        )
    said = []
    for engine in there:
        try:
            done = subprocess.run(
                [engine, "container", "inspect", called], capture_output=True, text=True, timeout=PATIENCE
            )
        except (OSError, subprocess.TimeoutExpired) as fault:
            said.append(f"{engine}: {fault}")
            continue
        if done.returncode == 0:
            try:
                found = json.loads(done.stdout)[0]
                return Container(found["Id"], found["Name"].lstrip("/"), int(found["State"]["Pid"]))
            except (ValueError, LookupError, TypeError) as fault:
                said.append(f"{engine} gave an answer that cannot be read ({fault!r})")
                continue
        said.append(f"{engine}: {(done.stderr.strip().splitlines() or ['no such container'])[-1]}")
    raise Unknown(f"No container {called} ({'; '.join(said)}); `{there[0]} ps` lists them.")
