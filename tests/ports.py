"""Ports for programs that come and go."""

from __future__ import annotations

import random
import socket
from contextlib import suppress


def own_port() -> int:
    """Below those that the kernel gives to whoever asks for none: it stays free while nobody listens there."""
    for port in random.sample(range(20_000, 32_000), 100):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("no port is free")
