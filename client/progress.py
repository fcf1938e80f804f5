"""What people see while something takes its time: one line on stderr that lives on a terminal and is plain in a log."""

from __future__ import annotations

import sys
import threading
import time
from types import TracebackType
from typing import TextIO

_SPINNER = "|/-\\"
_ERASE = "\r\x1b[K"


class Step:
    """`with Step("Hosts", total=3) as step: ... step.advance()`.

    With `after` (seconds) the step keeps silent unless it takes longer, and leaves no line when it is over;
    without, it ends as a line that says how long it took.
    """

    def __init__(self, label: str, total: int = 0, after: float = 0.0, stream: TextIO | None = None) -> None:
        self.label = label
        self._total = total
        self._after = after
        self._stream = stream or sys.stderr
        self._count = 0
        self._over = threading.Event()
        self._drawing = threading.Thread(target=self._draw, daemon=True)

    def advance(self, count: int = 1) -> None:
        self._count += count

    def __enter__(self) -> Step:
        self._began = time.monotonic()
        if self._stream.isatty() or self._after:
            self._drawing.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        if self._drawing.is_alive():
            self._drawing.join()
        if kind is None and not self._after:
            self._print(self._text() + "\n")

    def _draw(self) -> None:
        if self._over.wait(self._after):
            return
        if not self._stream.isatty():
            self._print(f"{self.label} ...\n")
            return
        turn = 0
        while not self._over.wait(0.1):
            turn += 1
            self._print(f"{_ERASE}{_SPINNER[turn % 4]} {self._text()}")
        self._print(_ERASE)

    def _text(self) -> str:
        count = f"{self._count}/{self._total}" if self._total else ""
        return f"{self.label:<28} {count:>7}  {time.monotonic() - self._began:6.1f} s"

    def _print(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()
