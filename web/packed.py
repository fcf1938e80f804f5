"""Answers compressed for who takes it: a list or a page of a hundred rows is a tenth of its size."""

from __future__ import annotations

import gzip
from functools import lru_cache

from flask import Flask, Response, g, request

LEAST_BYTES = 1000
LEVEL = 5
TYPES = ("text/html", "text/css", "text/javascript", "application/javascript", "application/json", "image/svg+xml")


KEPT = ("ui.static", "openapi.document")
"""What is the same for everybody, and packed once; as are the regions of pages that many follow."""


def register(app: Flask) -> None:
    app.after_request(pack)


@lru_cache(maxsize=128)
def _once(body: bytes, level: int) -> bytes:
    return gzip.compress(body, level)


def pack(response: Response) -> Response:
    """Streams stay as they are, and so does what was created: it may hold a secret, whose length would tell of it."""
    if (
        response.status_code != 200
        or response.mimetype not in TYPES
        or "Content-Encoding" in response.headers
        or "gzip" not in request.headers.get("Accept-Encoding", "")
    ):
        return response
    kept = request.endpoint in KEPT
    if response.is_streamed and request.endpoint != "ui.static":
        return response
    response.direct_passthrough = False
    body = response.get_data()
    if len(body) >= LEAST_BYTES:
        pack_it = _once if kept or g.get("of_many") else gzip.compress
        response.set_data(pack_it(body, 9 if kept else LEVEL))
        response.headers["Content-Encoding"] = "gzip"
        if kept:  # that of an object is its version, and the same however it is sent
            response.headers.pop("ETag", None)
    response.headers.add("Vary", "Accept-Encoding")
    return response
