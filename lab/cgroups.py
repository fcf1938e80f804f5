"""Control groups that engines leave behind, found by name in either hierarchy (cgroups 1 and 2)."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")


def find(pattern: str) -> list[Path]:
    """The groups that match the pattern, below the root or, with cgroups 1, below a controller's root."""
    tops = [ROOT, *(one for one in ROOT.iterdir() if one.is_dir() and not one.is_symlink())] if ROOT.is_dir() else []
    return [group for top in tops for group in top.glob(pattern) if group.is_dir()]


def remove(group: Path) -> None:
    """Removes the group and those below it, the innermost first."""
    for place in sorted((one for one in (group, *group.rglob("*")) if one.is_dir()), reverse=True):
        with suppress(OSError):  # a process on its way out holds it for a moment
            place.rmdir()
