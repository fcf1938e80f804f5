"""The one limit of the machine a lab may outgrow: the kernel's neighbour tables, which all namespaces share.

Twenty hosts whose endpoints all talk to each other need more than the 1,024 entries a kernel starts with. The last
lab that goes down puts back what the first one found.
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from lab.names import RUN

_SETTINGS = [Path(f"/proc/sys/net/ipv{family}/neigh/default/gc_thresh{n}") for family in (4, 6) for n in (2, 3)]
_ROOM = {"gc_thresh2": 16384, "gc_thresh3": 32768}
_FOUND = RUN / ".neighbours.json"


def make_room() -> None:
    found = {str(setting): int(setting.read_text()) for setting in _SETTINGS}
    if all(value >= _ROOM[Path(name).name] for name, value in found.items()):
        return
    if not _FOUND.exists():
        _FOUND.write_text(json.dumps(found))
    for setting in reversed(_SETTINGS):  # gc_thresh3 bounds gc_thresh2
        with suppress(PermissionError):
            setting.write_text(str(max(found[str(setting)], _ROOM[setting.name])))


def give_back() -> None:
    with suppress(OSError, ValueError):
        for name, value in json.loads(_FOUND.read_text()).items():
            Path(name).write_text(str(value))
    _FOUND.unlink(missing_ok=True)
