"""Reading what Open vSwitch's database says, by the standard library's parser.

The library has one of its own, for text that comes in pieces: in Python, and a character at a time, it takes 2 ms for
what is said of one new port. This one decides only when a message may be whole.
"""

from __future__ import annotations

import json
from typing import Any

_DECODER = json.JSONDecoder()


class Parser:
    """Of one JSON-RPC message, an object; as `ovs.json.Parser` is used. Messages follow each other with nothing, or
    blanks, between them."""

    def __init__(self) -> None:
        self._text = ""
        self._message: Any = None

    def feed(self, text: str) -> int:
        """How many characters belong to this message."""
        self._text += text if self._text else text.lstrip()
        # A message ends where its piece ends, or where the next begins; within one this is seldom so, and then tried
        # in vain.
        if self._text.endswith("}") or "}{" in text:
            try:
                self._message, end = _DECODER.raw_decode(self._text)
            except ValueError:
                return len(text)  # there is more to come
            return len(text) - (len(self._text) - end)
        return len(text)

    def is_done(self) -> bool:
        return self._message is not None

    def finish(self) -> Any:
        return self._message
