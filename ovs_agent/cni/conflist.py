"""Putting a network's configuration where container runtimes look for it, while an ADD could be served.

A runtime takes a host for ready when it finds a configuration. What is to be found stands beside it as a template, by
`install-cni` or by hand: `10-warren.conflist.template` appears as `10-warren.conflist`. This decides when, and that a
short trouble is none: an ADD waits that long by itself. It refuses to know what is in the file.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from logging import getLogger
from pathlib import Path

log = getLogger(__name__)
TEMPLATE = ".template"
PERIOD = 0.5
"""Seconds between looks."""
PATIENCE = 10.0
"""Seconds of trouble after which the configuration is taken away."""


class Conflist:
    """`unfit` answers why an ADD could not be served, or None; it is asked often."""

    def __init__(self, folder: Path, unfit: Callable[[], str | None]) -> None:
        self._folder = folder
        self._unfit = unfit
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="conflist", daemon=True)
        self._unfit_for = PATIENCE  # nothing is known yet: what an earlier run left there may be wrong
        self._unreadable: set[Path] = set()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Nobody serves an ADD any more."""
        self._ended.set()
        self._thread.join()
        self._withdraw("the agent stops")

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                self.look()
            except OSError as fault:
                log.warning("CNI configurations in %s stay as they are: %s", self._folder, fault)
            self._ended.wait(PERIOD)

    def look(self) -> None:
        why = self._unfit()
        self._unfit_for = 0.0 if why is None else self._unfit_for + PERIOD
        if why is None:
            for template in self._templates():
                self._publish(template)
        elif self._unfit_for > PATIENCE:
            self._withdraw(why)

    def _publish(self, template: Path) -> None:
        text = template.read_text()
        place = template.with_suffix("")
        if place.exists() and place.read_text() == text:
            return
        try:
            json.loads(text)
            self._unreadable.discard(template)
        except ValueError as fault:
            if template not in self._unreadable:
                log.error("%s is not JSON (%s); mend it", template, fault)
            self._unreadable.add(template)
            return
        write(place, text, 0o644)
        log.info("ready: %s is there for container runtimes", place)

    def _withdraw(self, why: str) -> None:
        for template in self._templates():
            place = template.with_suffix("")
            if place.exists():
                place.unlink(missing_ok=True)
                log.warning("not ready, so %s is taken away: %s", place, why)

    def _templates(self) -> list[Path]:
        return sorted(self._folder.glob(f"*.conflist{TEMPLATE}"))


def write(path: Path, text: str, mode: int) -> None:
    """Runtimes read these files at any moment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.new")
    draft.write_text(text)
    draft.chmod(mode)
    draft.replace(path)
