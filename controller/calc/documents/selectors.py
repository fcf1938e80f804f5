"""Kubernetes' label selectors, in one order whichever they were written in: equal ones are equal values."""

from __future__ import annotations

from typing import Any

from controller.calc.documents.fields import Path, choice, fields, items, mapping, needed, refuse
from controller.calc.documents.syntax import label_key, label_value
from controller.model import Requirement, Selector

_SELECTOR = frozenset({"matchLabels", "matchExpressions"})
_EXPRESSION = frozenset({"key", "operator", "values"})
_OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist")


def selector(value: Any, path: Path) -> Selector:
    found = fields(value, path, _SELECTOR)
    requirements: set[Requirement] = set()
    if "matchLabels" in found:
        for key, wanted in mapping(found["matchLabels"], (*path, "matchLabels")).items():
            at = (*path, "matchLabels", key)
            requirements.add(Requirement(label_key(key, at), "In", (label_value(wanted, at),)))
    if "matchExpressions" in found:
        for at, expression in items(found["matchExpressions"], (*path, "matchExpressions")):
            requirements.add(_requirement(expression, at))
    return tuple(sorted(requirements))


def _requirement(value: Any, path: Path) -> Requirement:
    found = fields(value, path, _EXPRESSION)
    key = label_key(needed(found, "key", path), (*path, "key"))
    operator = choice(needed(found, "operator", path), (*path, "operator"), _OPERATORS)
    at = (*path, "values")
    values = {label_value(item, inner) for inner, item in items(found.get("values"), at)}
    if operator in ("In", "NotIn") and not values:
        refuse(at, f"{operator} needs values", "give at least one")
    if operator in ("Exists", "DoesNotExist") and values:
        refuse(at, f"{operator} takes no values", "leave them out, or use In or NotIn")
    return Requirement(key, operator, tuple(sorted(values)))
