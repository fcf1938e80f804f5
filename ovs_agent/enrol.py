"""Becoming a host of Warren: a token that works once is exchanged for the agent's own.

It decides when to enrol and which token to use. It refuses to know what the agent does with it.
"""

from __future__ import annotations

import os
import platform
import socket
from collections.abc import Callable
from logging import getLogger
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from client import trust
from client.rest import Problem, Rest, Unreachable
from ovs_agent.state import Identity, State, fingerprint

log = getLogger(__name__)
PAUSE = 2.0
"""Seconds between attempts to reach an API that is not there yet."""


class NotEnrolled(Exception):  # noqa: N818
    """The API refused; the text is its sentence, or ours when there was nothing to ask it with."""


def identify(
    api: str,
    state: State,
    token: str | None,
    address: str | None,
    datapath_type: str,
    sleep: Callable[[float], Any],
    ca: str | None = None,
) -> Identity:
    """The saved identity, or a new one when there is none, or when a token is given that was not used before."""
    saved = state.identity()
    if saved is not None and (not token or fingerprint(token) == saved.enrolled_with):
        return saved
    if not token:
        raise NotEnrolled(
            "This host is not enrolled yet; run `warren host create NAME`, or `warren host token NAME` when it exists, "
            "and start the agent with --token and what that prints."
        )
    identity = _enrol(api, token, address, datapath_type, sleep, ca)
    state.save_identity(identity)
    log.info("enrolled as host %s", identity.host)
    return identity


def authority(
    api: str, state: State, ca_file: Path | None, pin: str | None, sleep: Callable[[float], Any]
) -> str | None:
    """The file of the API's authority; None: one of the machine's. What a pin names is fetched once and kept."""
    if ca_file is not None:
        return str(ca_file)
    kept = state.ca_file()
    if pin is None:
        return str(kept) if kept.exists() and api.startswith("https:") else None
    while not kept.exists() or trust.pin_of(kept.read_text()) != pin.lower():
        try:
            state.save_ca(trust.fetch(api, pin))
        except trust.Distrusted as fault:
            raise NotEnrolled(str(fault)) from None
        except Unreachable as fault:
            log.warning("%s Trying again.", fault)
            sleep(PAUSE)
    return str(kept)


def _enrol(
    api: str, token: str, address: str | None, datapath_type: str, sleep: Callable[[float], Any], ca: str | None
) -> Identity:
    rest = Rest(api, token, ca=ca)
    try:
        while True:
            facts = {"hostname": socket.gethostname(), "kernel": platform.release(), "cpus": os.cpu_count()}
            body = {"address": address or own_address(api), "datapath_type": datapath_type, "facts": facts}
            try:
                reply = rest.post("/enrol", json=body)
            except Unreachable as fault:
                log.warning("%s Trying again.", fault)
                sleep(PAUSE)
            except Problem as problem:
                if problem.status >= 500 or problem.status == 429:
                    log.warning("%s Trying again.", problem)
                    sleep(PAUSE)
                    continue
                raise NotEnrolled(str(problem)) from None
            else:
                return Identity(reply.body["host"], reply.body["token"], fingerprint(token))
    finally:
        rest.close()


def own_address(api: str) -> str | None:
    """The address from which this machine speaks to the API: where its tunnels end unless somebody says otherwise.
    Nothing is sent to find out. None when it speaks over loopback, which is nobody else's way here."""
    parts = urlsplit(api)
    try:
        found = socket.getaddrinfo(parts.hostname, parts.port or 443, type=socket.SOCK_DGRAM)
        family, kind, _, _, where = found[0]
        with socket.socket(family, kind) as probe:
            probe.connect(where)
            address = str(probe.getsockname()[0])
    except OSError:
        return None
    return None if address.startswith("127.") or address == "::1" else address
