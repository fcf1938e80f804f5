"""Answers of pages and their files, compressed for who takes it: a page of a hundred rows is a tenth of its size."""

from __future__ import annotations

import gzip
from functools import lru_cache

from flask import Response, request

LEAST_BYTES = 1000
LEVEL = 5
TYPES = ("text/html", "text/css", "text/javascript", "application/javascript", "application/json", "image/svg+xml")


@lru_cache(maxsize=64)
def _kept(body: bytes) -> bytes:
    return gzip.compress(body, 9)


def pack(response: Response) -> Response:
    """Static files are packed once and kept. Streams stay as they are."""
    if (
        response.status_code != 200
        or response.mimetype not in TYPES
        or "Content-Encoding" in response.headers
        or "gzip" not in request.headers.get("Accept-Encoding", "")
    ):
        return response
    file = request.endpoint == "ui.static"
    if response.is_streamed and not file:
        return response
    response.direct_passthrough = False
    body = response.get_data()
    if len(body) >= LEAST_BYTES:
        response.set_data(_kept(body) if file else gzip.compress(body, LEVEL))
        response.headers["Content-Encoding"] = "gzip"
        response.headers.pop("ETag", None)
    response.headers.add("Vary", "Accept-Encoding")
    return response
