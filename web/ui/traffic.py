"""What an endpoint, a network or a host received and sent, as a picture of the last hour and in words. Pure.

The picture is drawn here, without a script: a path for each way, of which one is dashed. Its words say the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from web.traffic import KEPT_SECONDS, Rates
from web.ui.words import many, rate

WIDTH, HEIGHT = 360, 60
LEAST_TOP = 125.0
"""Bytes a second at the upper edge, at least: nothing at all is no mountain."""


class Chart(NamedTuple):
    """`received` and `sent` are paths (SVG 2, section 9.3) in a field of `WIDTH` by `HEIGHT`, `top` is its edge."""

    received: str
    sent: str
    top: str
    words: str


def chart(rates: Rates, now: float) -> Chart | None:
    """None while nothing is known. `now` in seconds since 1970 is at the right edge, an hour before at the left."""
    known = [value for series in (rates.received, rates.sent) for value in series if value is not None]
    if not known:
        return None
    top = max(LEAST_TOP, *known)
    begin = now - KEPT_SECONDS
    paths = [_path(rates.times, series, begin, top) for series in (rates.received, rates.sent)]
    said = f"Received {_way(rates.received)}; sent {_way(rates.sent)}; {_since(rates, now)}{_dropped(rates)}."
    return Chart(paths[0], paths[1], rate(top), said)


def _path(times: Sequence[float], values: Sequence[float | None], begin: float, top: float) -> str:
    """A gap stays a gap; a single point is a dot."""
    drawn, ahead = [], False
    for at, value in zip(times, values, strict=True):
        if value is None or at < begin:
            ahead = False
            continue
        x = (at - begin) / KEPT_SECONDS * WIDTH
        y = HEIGHT - value / top * (HEIGHT - 2) - 1
        drawn.append(f"{'L' if ahead else 'M'}{x:.1f} {y:.1f}" + ("" if ahead else "h0"))
        ahead = True
    return "".join(drawn)


def _way(series: Sequence[float | None]) -> str:
    most = max((value for value in series if value is not None), default=0.0)
    now = "not known" if series[-1] is None else rate(series[-1])
    return f"{now} now, {rate(most)} at most"


def _since(rates: Rates, now: float) -> str:
    minutes = max(1, round((now - rates.times[0]) / 60))
    return "in the last hour" if minutes >= KEPT_SECONDS / 60 - 2 else f"in {many(minutes, 'minute')}"


def _dropped(rates: Rates) -> str:
    steps = zip(rates.times, rates.times[1:], rates.dropped[1:], strict=False)
    packets = round(sum((after - before) * (value or 0.0) for before, after, value in steps))
    return f"; {many(packets, 'packet')} dropped at ports" if packets else ""
