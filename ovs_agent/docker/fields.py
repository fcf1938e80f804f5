"""Fields of dockerd's messages: each read as what it should be, or refused in a sentence.

It refuses to know which message has which.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Any

TEXT_LIMIT = 255
_ID = re.compile(r"[0-9a-z]{1,64}")
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")

IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network
IPInterface = ipaddress.IPv4Interface | ipaddress.IPv6Interface


class Refused(Exception):  # noqa: N818
    """A sentence for whoever typed the command; `status` is HTTP's."""

    def __init__(self, sentence: str, status: int = 200) -> None:
        super().__init__(sentence)
        self.status = status


def mapping(said: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = said.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Refused(f"{key} is not a JSON object.", 400)
    return value


def items(said: Mapping[str, Any], key: str) -> list[Any]:
    value = said.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise Refused(f"{key} is not a list.", 400)
    return value


def options(said: Mapping[str, Any], key: str) -> Mapping[str, str]:
    """What users gave as key=value."""
    options = mapping(said, key)
    for name, value in options.items():
        if not isinstance(value, str) or len(value) > TEXT_LIMIT:
            raise Refused(f"Option {name[:TEXT_LIMIT]} is not a text of at most {TEXT_LIMIT} characters.", 400)
    return options


def text(said: Mapping[str, Any], key: str, needed: bool = False) -> str:
    value = said.get(key)
    if value is None and not needed:
        return ""
    if not isinstance(value, str) or len(value) > TEXT_LIMIT or not value.isprintable() or (needed and not value):
        raise Refused(f"{key} is not a text of 1 to {TEXT_LIMIT} printable characters.", 400)
    return value


def identifier(said: Mapping[str, Any], key: str) -> str:
    value = text(said, key, True)
    if not _ID.fullmatch(value):
        raise Refused(f"{key} '{value}' is not an id as Docker makes them: 1 to 64 letters and digits.", 400)
    return value


def is_name(text: str) -> bool:
    """Whether Warren takes it for a name."""
    return _NAME.fullmatch(text) is not None


def name(options: Mapping[str, Any], key: str) -> str:
    """A name of Warren's, or ""."""
    value = options.get(key) or ""
    if value and not (isinstance(value, str) and is_name(value)):
        raise Refused(f"Option {key} is '{str(value)[:TEXT_LIMIT]}'; names are lower-case letters, digits and hyphens.")
    return str(value)


def auxiliary(name: str) -> str:
    if not is_name(name):
        raise Refused(
            f"Auxiliary address is named '{name[:TEXT_LIMIT]}'; names are lower-case letters, digits and hyphens."
        )
    return name


def number(options: Mapping[str, str], key: str, like: str) -> int | None:
    value = options.get(key, "")
    if value and not re.fullmatch(r"[0-9]{1,5}", value):
        raise Refused(f"Option {key} is '{value}'; give {like}.")
    return int(value) if value else None


def flag(options: Mapping[str, Any], key: str) -> bool | None:
    """None: not said."""
    value = options.get(key)
    if value is not None and value not in ("true", "false"):
        raise Refused(f"Option {key} is '{str(value)[:TEXT_LIMIT]}'; give true or false.")
    return None if value is None else value == "true"


def mac(said: Mapping[str, Any], key: str) -> str:
    value = text(said, key).lower()
    if value and not _MAC.fullmatch(value):
        raise Refused(f"{key} '{value}' is not a MAC address.", 400)
    return value


def address(said: Mapping[str, Any], key: str) -> str:
    value = text(said, key)
    try:
        return str(ipaddress.ip_address(value)) if value else ""
    except ValueError:
        raise Refused(f"{key} '{value}' is not an address.", 400) from None


def interface(said: Mapping[str, Any], key: str) -> IPInterface | None:
    value = text(said, key)
    try:
        return ipaddress.ip_interface(value) if value else None
    except ValueError:
        raise Refused(f"{key} '{value}' is not an address.", 400) from None


def subnet(said: Mapping[str, Any], key: str) -> IPNetwork | None:
    value = text(said, key)
    try:
        return ipaddress.ip_network(value, strict=False) if value else None
    except ValueError:
        raise Refused(f"{key} '{value}' is not a subnet.", 400) from None
