"""The tests' own PostgreSQL leaves nothing behind, also when its run was killed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests import postgres

START_AND_DIE = """
import os, tempfile
from pathlib import Path
from tests import postgres
folder = Path(tempfile.mkdtemp(prefix=f"{postgres.PREFIX}{os.getpid()}-", dir="/tmp"))
postgres.start(folder)
print(folder, flush=True)
os.kill(os.getpid(), 9)
"""


def runs(pid: int) -> bool:
    """A process that ended but that nobody waited for has no command line any more."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes() != b""
    except FileNotFoundError:
        return False


def test_the_server_of_a_killed_run_is_stopped_by_the_next(postgres_server: postgres.Postgres) -> None:
    root = Path(__file__).parents[2]
    killed = subprocess.run(
        [sys.executable, "-c", START_AND_DIE], cwd=root, capture_output=True, text=True, timeout=240
    )
    folder = Path(killed.stdout.strip())
    pid = int((folder / "data" / "postmaster.pid").read_text().split()[0])
    assert runs(pid)
    postgres.clean_up_after_killed_runs()
    assert not runs(pid) and not folder.exists()
    assert (postgres_server.folder / "data" / "postmaster.pid").exists(), "a living run keeps its server"
