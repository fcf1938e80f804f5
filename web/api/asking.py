"""Asking hosts' agents something, and waiting a while for what they say."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from db import traces
from web.state import reading, recording, state

PATIENCE = 5.0
"""Seconds that agents have to answer."""


def asked_of(questions: Mapping[int, str], kind: str = traces.PACKET) -> dict[int, dict[str, Any]]:
    """What the agents of these hosts answer, as soon as all have or the time is over; silent ones are left out."""
    live = state().live
    with recording() as tx:
        ids = traces.ask(tx.session, questions, tx.now, kind)
    try:
        with live.patience(PATIENCE) as deadline:
            while True:
                pulse = live.seen().pulse
                with reading() as session:
                    said = traces.answers(session, ids.values())
                if len(said) == len(ids) or not live.wait_for_pulse(pulse, deadline - time.monotonic()):
                    break
    finally:
        with recording() as tx:
            traces.forget(tx.session, ids.values())
    return {host: said[id] for host, id in ids.items() if id in said}
