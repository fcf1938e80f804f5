"""The probe's answers for people: who reaches whom, one row per asker, and a verdict in a sentence."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence

from lab.probe import Answer

LEGEND = "ok: everything answers   -: nothing answers   2/3: some answer   .: not asked, or an answer proves nothing"


def render(answers: Sequence[Answer]) -> list[str]:
    """Lines of an aligned table; names across the top are numbers when they would make it too wide."""
    rows = sorted({answer.ask.source.name for answer in answers}, key=_natural)
    columns = sorted({answer.ask.target.name for answer in answers}, key=_natural)
    cells: dict[tuple[str, str], list[bool]] = defaultdict(list)
    for answer in answers:
        if answer.ok is not None:
            cells[answer.ask.source.name, answer.ask.target.name].append(answer.ok)
    left = max((len(name) for name in rows), default=0)
    short = sum(len(name) + 2 for name in columns) > 100
    heads = [str(number) for number in range(1, len(columns) + 1)] if short else columns
    widths = [max(len(head), 5 if short else 3) for head in heads]
    lines = [f"{'FROM':<{left}}  " + "  ".join(f"{head:<{width}}" for head, width in zip(heads, widths, strict=True))]
    for row in rows:
        shown = (f"{_cell(cells[row, column]):<{width}}" for column, width in zip(columns, widths, strict=True))
        lines.append(f"{row:<{left}}  " + "  ".join(shown))
    if short:
        lines += ["", *(f"{number:>3}  {name}" for number, name in enumerate(columns, 1))]
    return [line.rstrip() for line in lines]


def verdict(answers: Sequence[Answer]) -> str:
    """What the answers say about isolation."""
    within = [a.ok for a in answers if a.ok is not None and a.ask.source.tenant == a.ask.target.tenant]
    across = [a.ok for a in answers if a.ok is not None and a.ask.source.tenant != a.ask.target.tenant]
    return f"{sum(within)} of {len(within)} answered within a tenant, {sum(across)} of {len(across)} between tenants."


def isolated(answers: Sequence[Answer]) -> bool:
    """Everything answers within a tenant and nothing between tenants."""
    return all(a.ok == (a.ask.source.tenant == a.ask.target.tenant) for a in answers if a.ok is not None)


def _natural(name: str) -> list[tuple[int, str]]:
    """web2 before web10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name) if part]


def _cell(oks: Sequence[bool]) -> str:
    if not oks:
        return "."
    if all(oks):
        return "ok"
    return f"{sum(oks)}/{len(oks)}" if any(oks) else "-"
