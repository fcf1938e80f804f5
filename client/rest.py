"""The REST client: one keep-alive connection pool, a bearer token, JSON in and out, problems as exceptions.

It decides how a request is carried (timeouts, when a broken connection may be tried again, how pages are followed)
and refuses to know what any path means. Safe to share between threads.
"""

from __future__ import annotations

import json as jsonlib
import ssl
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit

import urllib3
from urllib3 import exceptions as broken

PREFIX = "/api/v1"
SAFE_TO_REPEAT = frozenset({"GET", "HEAD", "PUT", "DELETE"})


def if_match(version: int | None) -> dict[str, str]:
    """The header by which a change of another version than this one is refused; None: any version may be changed."""
    return {} if version is None else {"If-Match": f'"{version}"'}


class Reply(NamedTuple):
    """`body` is the decoded JSON (None when there is none); header names are looked up in any case."""

    status: int
    body: Any
    headers: Mapping[str, str]


class Problem(Exception):  # noqa: N818 - RFC 9457 calls it a problem
    """The API refused a request; `detail` is the sentence for people, `type` the slug for programs."""

    def __init__(self, status: int, title: str, detail: str, type: str = "about:blank", body: Any = None) -> None:
        super().__init__(detail)
        self.status = status
        self.title = title
        self.detail = detail
        self.type = type
        self.body = body


class Unreachable(Exception):  # noqa: N818
    """The API did not answer; the text is one sentence with the address and the remedy."""


class Rest:
    """A session with one API. `api` is its root (`https://warren.example:8443`); paths are below `/api/v1`.

    `timeout` (seconds) bounds the wait for an answer; a long poll passes its own. `ca` is the authority that must have
    signed its certificate: a file's name, or PEM; the machine's authorities if not given.
    """

    def __init__(self, api: str, token: str | None = None, timeout: float = 30.0, ca: str | None = None) -> None:
        self.api = api.rstrip("/").removesuffix(PREFIX)
        self.token = token
        self.timeout = timeout
        self.ca = ca
        parts = urlsplit(self.api)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise Unreachable(f"'{api}' is not an API address: give one like http://127.0.0.1:8080.")
        tls = {"ssl_context": _trusting(ca)} if ca and parts.scheme == "https" else {}
        root = f"{parts.scheme}://{parts.netloc}"
        self._base = parts.path + PREFIX
        self._pool = urllib3.connectionpool.connection_from_url(root, maxsize=32, block=False, **tls)

    def request(
        self,
        method: str,
        path: str,
        json: Any = None,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> Reply:
        """Send one request. Raises `Problem` for every status from 400 on and `Unreachable` when nothing answers."""
        head = {"Accept": "application/json", "Accept-Encoding": "gzip"}
        if self.token:
            head["Authorization"] = f"Bearer {self.token}"
        data = None
        if json is not None:
            data = jsonlib.dumps(json).encode()
            head["Content-Type"] = "application/json"
        head.update(headers or {})
        query = [(key, value) for key, value in (params or {}).items() if value is not None]
        url = self._base + path + ("?" + urlencode(query, doseq=True) if query else "")
        return self._read(self._send(method, url, data, head, self.timeout if timeout is None else timeout))

    def get(self, path: str, **more: Any) -> Reply:
        return self.request("GET", path, **more)

    def post(self, path: str, json: Any = None, **more: Any) -> Reply:
        return self.request("POST", path, json={} if json is None else json, **more)

    def put(self, path: str, json: Any = None, **more: Any) -> Reply:
        return self.request("PUT", path, json=json, **more)

    def patch(self, path: str, json: Any = None, **more: Any) -> Reply:
        return self.request("PATCH", path, json=json, **more)

    def delete(self, path: str, **more: Any) -> Reply:
        return self.request("DELETE", path, **more)

    def items(self, path: str, params: Mapping[str, Any] | None = None) -> Iterator[Any]:
        """Every item of a list, page after page."""
        query = {"limit": 1000, **(params or {})}
        while True:
            page = self.get(path, params=query).body
            yield from page["items"]
            if not page.get("next"):
                return
            query["cursor"] = page["next"]

    def close(self) -> None:
        self._pool.close()

    def _send(
        self, method: str, url: str, data: bytes | None, head: dict[str, str], timeout: float
    ) -> urllib3.BaseHTTPResponse:
        # A kept-alive connection may be closed by the server just as it is used. Asking again on a fresh
        # connection is right only when doing the same thing twice is the same as doing it once.
        attempts = 2 if method in SAFE_TO_REPEAT or "Idempotency-Key" in head else 1
        limits = urllib3.Timeout(connect=min(5.0, timeout), read=timeout)
        while True:
            attempts -= 1
            try:
                return self._pool.urlopen(
                    method, url, body=data, headers=head, retries=False, timeout=limits, redirect=False
                )
            except broken.NewConnectionError as fault:
                raise Unreachable(
                    f"The API at {self.api} is not reachable ({_reason(fault)}); start it, or name another with --api."
                ) from fault
            except (broken.ReadTimeoutError, broken.ConnectTimeoutError) as fault:
                raise Unreachable(
                    f"The API at {self.api} did not answer within {timeout:g} s; is it overloaded or cut off?"
                ) from fault
            except broken.ProtocolError as fault:
                if attempts:
                    continue
                spoken = "" if self.api.startswith("https:") else "; if it speaks HTTPS, write https://"
                raise Unreachable(f"The API at {self.api} closed the connection; try again{spoken}.") from fault
            except broken.SSLError as fault:
                raise Unreachable(
                    f"The API at {self.api} has no certificate that is trusted here ({_said(fault)}); name its "
                    "authority with --ca-file or WARREN_CA, or with --ca-pin the fingerprint that "
                    "the log of `warren web` has."
                ) from fault
            except broken.HTTPError as fault:
                raise Unreachable(f"The API at {self.api} could not be asked: {fault}.") from fault

    def _read(self, answer: urllib3.BaseHTTPResponse) -> Reply:
        raw = answer.data
        body: Any = None
        if raw:
            try:
                body = jsonlib.loads(raw)
            except ValueError:
                if answer.status < 400:
                    raise Unreachable(
                        f"What answers at {self.api} does not speak JSON: is this the address of Warren's API?"
                    ) from None
        if answer.status < 400:
            return Reply(answer.status, body, answer.headers)
        said = body if isinstance(body, dict) else {}
        title = said.get("title") or answer.reason or "Refused"
        detail = said.get("detail") or f"The API at {self.api} answered {answer.status} {title}."
        raise Problem(answer.status, title, str(detail), said.get("type", "about:blank"), body)


def _trusting(ca: str) -> ssl.SSLContext:
    try:
        if ca.lstrip().startswith("-----BEGIN"):
            return ssl.create_default_context(cadata=ca)
        return ssl.create_default_context(cafile=ca)
    except OSError as fault:  # ssl.SSLError is one
        name = "the authority that was remembered" if ca.lstrip().startswith("-----BEGIN") else f"'{ca}'"
        reason = fault.strerror or type(fault).__name__
        raise Unreachable(f"{name} cannot be read as a certificate ({reason}); give a file in PEM.") from fault


def _said(fault: Exception) -> str:
    """The reason alone: `[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: ... (_ssl.c:992)`."""
    text = str(fault).rpartition("failed: ")[2]
    return text.rpartition(" (_ssl")[0] or text


def _reason(fault: BaseException) -> str:
    """The operating system's word for it ("Connection refused") rather than the library's."""
    cause: BaseException | None = fault
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror.lower()
        cause = cause.__cause__ or cause.__context__
    return type(fault).__name__
