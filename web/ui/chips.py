"""A list's filters as a sentence: each chip says what it asks for, and its address is the list without it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from flask import request, url_for

SAYS = {"tenant": "of tenant", "network": "in network", "host": "on host", "state": "that are"}


class Chip(NamedTuple):
    words: str
    value: str
    without: str


class Order(NamedTuple):
    """What a list is sorted by."""

    key: str
    down: bool


def chips(noun: str, given: Mapping[str, str], labels: Sequence[str], text: str | None) -> list[Chip]:
    found = [Chip(SAYS[field], value, _without(noun, field)) for field, value in given.items()]
    found += [Chip("with label", label, _without(noun, "label", label)) for label in labels]
    return [*found, Chip("containing", text, _without(noun, "q"))] if text else found


def _without(noun: str, field: str, value: str | None = None) -> str:
    args = request.args.to_dict(flat=False)
    args.pop("cursor", None)
    left = [one for one in args.get(field, []) if value is not None and one != value]
    return url_for(f"ui.{noun}", **{**args, field: left})  # type: ignore[arg-type]


def order(sort: str | None) -> Order:
    return Order((sort or "name").removeprefix("-"), (sort or "").startswith("-"))


def here_with(**changed: str | None) -> str:
    """The address of this very page with these fields in place of what they are, from its first page on."""
    args = {
        name: values for name, values in request.args.to_dict(flat=False).items() if name not in ("cursor", "chosen")
    }
    args |= {name: [] if value is None else [value] for name, value in changed.items()}
    return url_for(request.endpoint or "ui.overview", **{**(request.view_args or {}), **args})


def looked_at() -> str:
    """What is looked at beside the list."""
    return request.args.get("look", "").strip()[:130]


def looking_at(name: str | None) -> str:
    """The address of this very list with a look at `name` beside it, or at nothing."""
    return here_with(cursor=request.args.get("cursor") or None, look=name)
