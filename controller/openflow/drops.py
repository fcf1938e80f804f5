"""Packets dropped, by reason: the flows that drop tell their reason in the owner part of their cookie."""

from __future__ import annotations

from collections.abc import Iterable

from controller.openflow.decode import InstalledFlow
from controller.pipeline.flow import Kind

COOKIE, MASK = 0x77C0 << 48, 0xFFC0 << 48
"""Cookies of all reasons agree with COOKIE in the bits of MASK, and those of nothing else that is used."""
_REASONS = 0x30


def add(drops: dict[int, int], flows: Iterable[InstalledFlow]) -> dict[int, int]:
    """Adds what the dropping ones among `flows` counted to `drops`, and returns it."""
    for flow in flows:
        reason = (flow.cookie >> 48) - Kind.DROP
        if 0 <= reason < _REASONS:
            drops[reason] = drops.get(reason, 0) + flow.packets
    return drops
