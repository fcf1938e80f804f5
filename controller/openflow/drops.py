"""Packets dropped, by reason: the flows that drop tell their reason in the owner part of their cookie."""

from __future__ import annotations

from collections.abc import Iterable

from controller.openflow.decode import InstalledFlow
from controller.pipeline.flow import Kind

COOKIE, MASK = 0x77C0 << 48, 0xFFC0 << 48
"""Cookies of all reasons and of what rules decide agree with COOKIE in the bits of MASK, and those of nothing else."""
_REASONS = 0x30


def count(flows: Iterable[InstalledFlow]) -> dict[int, int]:
    """What the dropping ones among `flows` have counted."""
    drops: dict[int, int] = {}
    for flow in flows:
        reason = (flow.cookie >> 48) - Kind.DROP
        if 0 <= reason < _REASONS:
            drops[reason] = drops.get(reason, 0) + flow.packets
    return drops
