"""Open pages without browsers: each follows `/events` and asks for its region anew when it is told of something, as the
page's own script does (`hx-trigger` in layout.html, `Warren-Told` in warren.js)."""

from __future__ import annotations

import asyncio
import html
import re
import time
from multiprocessing.connection import Connection
from statistics import median
from typing import NamedTuple
from urllib.parse import urlsplit

THROTTLES = {"revision": 0.3, "status": 1.0, "tick": 0.0, "reset": 0.0}
"""Seconds between two of a kind that a page follows; the last of those between is followed when they are over."""
ENOUGH = re.compile(rb'hx-sse:connect="([^"]+)"')


class Shown(NamedTuple):
    """What open pages asked for: how many regions, of how many bytes, and the usual time between two of one page."""

    regions: int
    octets: int
    every: float


class Viewer:
    def __init__(self, url: str, cookie: str, path: str) -> None:
        self.url, self.cookie, self.path = urlsplit(url), cookie, path
        self.told = ""
        self.due: float | None = None
        self.last: dict[str, float] = {}
        self.asked = asyncio.Event()
        self.shown: list[float] = []
        self.octets = 0

    async def open(self) -> None:
        """The page itself, then the stream that it names; returns when both are there."""
        self.asking = await asyncio.open_connection(self.url.hostname, self.url.port)
        page = await self._get(self.path, {})
        found = ENOUGH.search(page)
        assert found, page[:200]
        stream, writer = await asyncio.open_connection(self.url.hostname, self.url.port)
        writer.write(self._request(html.unescape(found[1].decode()), {"Accept": "text/event-stream"}))
        head = await stream.readuntil(b"\r\n\r\n")
        assert b" 200 " in head.partition(b"\r\n")[0], head
        self.tasks = [asyncio.create_task(self._follow(stream)), asyncio.create_task(self._renew())]

    async def _follow(self, stream: asyncio.StreamReader) -> None:
        name = b""
        while line := await stream.readline():
            if line.startswith(b"event: "):
                name = line[7:].strip()
            elif line.startswith(b"data: "):
                found = re.search(rb'"pulse": (\d+)', line)
                assert found, line
                self.told = found[1].decode()
                self._hear(name.decode())

    def _hear(self, name: str) -> None:
        now = time.monotonic()
        due = max(now, self.last.get(name, 0.0) + THROTTLES[name])
        self.last[name] = due
        self.due = due if self.due is None else min(self.due, due)
        self.asked.set()

    async def _renew(self) -> None:
        while True:
            await self.asked.wait()
            self.asked.clear()
            while self.due is not None:
                if (left := self.due - time.monotonic()) > 0:
                    await asyncio.sleep(left)
                    continue
                self.due = None
                self.octets += len(await self._get(self.path, {"HX-Request": "true", "Warren-Told": self.told}))
                self.shown.append(time.monotonic())

    def _request(self, path: str, headers: dict[str, str]) -> bytes:
        said = {"Host": self.url.netloc, "Cookie": self.cookie, **headers}
        return "".join([f"GET {path} HTTP/1.1\r\n", *(f"{k}: {v}\r\n" for k, v in said.items()), "\r\n"]).encode()

    async def _get(self, path: str, headers: dict[str, str]) -> bytes:
        packed = {"Accept-Encoding": "gzip"} if headers else {}
        reader, writer = self.asking
        writer.write(self._request(path, headers | packed))
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        assert head.startswith("HTTP/1.1 200 "), f"{path}: {head}"
        length = re.search(r"(?i)\r\ncontent-length: (\d+)", head)
        assert length, head
        return await reader.readexactly(int(length[1]))


async def _watch(url: str, cookie: str, paths: list[str], there: Connection) -> None:
    viewers = [Viewer(url, cookie, path) for path in paths]
    for one in viewers:
        await one.open()
    loop = asyncio.get_running_loop()
    there.send(None)
    while True:
        asked = asyncio.Event()
        loop.add_reader(there.fileno(), asked.set)
        await asked.wait()
        loop.remove_reader(there.fileno())
        there.recv()
        for one in viewers:
            for task in one.tasks:
                if task.done():
                    task.result()
        gaps = [later - sooner for one in viewers for sooner, later in zip(one.shown, one.shown[1:], strict=False)]
        regions = sum(len(one.shown) for one in viewers)
        there.send(Shown(regions, sum(one.octets for one in viewers), median(gaps) if gaps else 0.0))
        for one in viewers:
            one.shown, one.octets = [], 0


def watch(url: str, cookie: str, paths: list[str], there: Connection) -> None:
    """One page for each path. Says when all are open; then, whenever something is sent, what was `Shown` meanwhile."""
    asyncio.run(_watch(url, cookie, paths, there))
