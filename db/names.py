"""Which names things may have: DNS labels (RFC 1123), and `TENANT/NAME` for what lives in a tenant. Pure."""

from __future__ import annotations

import re

from db.errors import Invalid

MAX_LENGTH = 63
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")
_RULE = 'use lower-case letters, digits and "-", beginning and ending with a letter or digit'


def dns_label(value: str, noun: str, field: str = "name") -> str:
    """`value` itself when it is a DNS label."""
    if not value:
        raise Invalid(f"the {noun} has no name", _RULE, field)
    if len(value) > MAX_LENGTH:
        raise Invalid(
            f"{noun} name {_shortened(value)!r} has {len(value)} characters", f"use at most {MAX_LENGTH}", field
        )
    if not _LABEL.fullmatch(value):
        raise Invalid(f"{noun} name {value!r} is not a DNS label", _RULE, field)
    return value


def qualified(value: str, noun: str, field: str = "name") -> tuple[str, str]:
    """`acme/web` to `("acme", "web")`."""
    tenant, slash, name = value.partition("/")
    if not slash:
        raise Invalid(f"{noun} name {_shortened(value)!r} has no tenant", "write TENANT/NAME, like acme/web", field)
    return dns_label(tenant, "tenant", field), dns_label(name, noun, field)


def _shortened(value: str) -> str:
    return value if len(value) <= MAX_LENGTH else value[: MAX_LENGTH - 3] + "..."
