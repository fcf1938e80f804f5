"""The CNI specification as values: a call understood or refused, and an error in the shape asked for.

It decides what kind of call it is and which error code a mistake has. It refuses to know files, sockets and what an
attachment takes; it is given text and answers with values. What an ADD asks for is `wish`, what it answers `result`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple, NoReturn

PLUGIN = "warren"
"""The plugin's `type`, which is the name of its file."""
SUPPORTED = ("0.3.1", "0.4.0", "1.0.0", "1.1.0")

INCOMPATIBLE, UNSUPPORTED, UNKNOWN_CONTAINER, BAD_ENVIRONMENT = 1, 2, 3, 4
IO_FAILURE, UNDECODABLE, BAD_CONFIG, BAD_NETNS, TRY_AGAIN = 5, 6, 7, 8, 11
NOT_AVAILABLE, IMPAIRED = 50, 51
INTERFACE_EXISTS, REFUSED, PORT_FAILED, FLOWS_FAILED, CHECK_FAILED, INTERNAL = 100, 101, 102, 103, 104, 999

REQUIRED = {
    "ADD": ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"),
    "CHECK": ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"),
    "DEL": ("CNI_CONTAINERID", "CNI_IFNAME"),
    "GC": (),
    "STATUS": (),
    "VERSION": (),
}
SINCE = {"CHECK": "0.4.0", "GC": "1.1.0", "STATUS": "1.1.0"}
FIRST_INTERFACE = "eth0"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")


class CniError(Exception):
    """What a runtime is told; `msg` is a sentence with the value and the remedy."""

    def __init__(self, code: int, msg: str, details: str = "") -> None:
        super().__init__(msg)
        self.code = code
        self.msg = msg
        self.details = details


class Call(NamedTuple):
    """One call, checked."""

    command: str
    version: str
    name: str  # of the CNI network, which is the runtime's word, not Warren's
    container_id: str
    ifname: str
    netns: str
    args: Mapping[str, str]  # CNI_ARGS
    config: Mapping[str, Any]

    @property
    def is_ipam(self) -> bool:
        """Whether another plugin makes the interface and wants addresses only. It passes its own configuration on."""
        return self.config.get("type", PLUGIN) != PLUGIN and self._ipam == PLUGIN

    @property
    def delegate(self) -> str:
        """The plugin that gives the addresses in Warren's place; "" for none."""
        return "" if self.is_ipam or self._ipam == PLUGIN else self._ipam

    @property
    def previous(self) -> Mapping[str, Any]:
        """The result of the plugins before this one, or of the whole ADD."""
        return self.config.get("prevResult") or {}

    @property
    def _ipam(self) -> str:
        return str((self.config.get("ipam") or {}).get("type", ""))


def parse(environment: Mapping[str, str], stdin: str) -> Call:
    """Raises CniError."""
    command = _command(environment)
    config = {} if command == "VERSION" and not stdin.strip() else _decode(stdin)
    version = _version(config, command)
    if command == "VERSION":
        return Call(command, version, "", "", "", "", {}, config)
    if not isinstance(config.get("socket", ""), str | None):  # which the plugin has looked at before
        wrong("socket", config["socket"], "the path of the agent's socket")
    name = config.get("name")
    if not isinstance(name, str) or not NAME.fullmatch(name):
        wrong("name", name, "a network name of letters, digits, '.', '_' and '-'")
    if command == "CHECK" and not isinstance(config.get("prevResult"), dict):
        wrong("prevResult", config.get("prevResult"), "the result of the ADD that is to be checked")
    if command in ("ADD", "CHECK"):
        _check_previous(mapping(config, "prevResult"))
    if not re.fullmatch(r"[^/\\\0]*", str(mapping(config, "ipam").get("type", ""))):
        wrong("ipam.type", mapping(config, "ipam")["type"], "the name of a plugin in CNI_PATH")
    return Call(
        command,
        version,
        name,
        environment.get("CNI_CONTAINERID", ""),
        environment.get("CNI_IFNAME", ""),
        environment.get("CNI_NETNS", ""),
        _arguments(environment.get("CNI_ARGS", "")),
        config,
    )


def valid_attachments(call: Call) -> set[tuple[str, str]]:
    """What a GC says is still in use: container and interface name of each. Go writes an empty list as null, as CRI-O
    does of a network without pods; a list that is left out says nothing of what may go."""
    field = "cni.dev/valid-attachments"
    listed = call.config.get(field)
    if listed is None and field in call.config:
        return set()
    if not isinstance(listed, list):
        wrong(field, listed, 'a list of {"containerID": .., "ifname": ..}')
    return {(str(one.get("containerID")), str(one.get("ifname"))) for one in listed if isinstance(one, dict)}


def version_reply(config: Mapping[str, Any]) -> dict[str, Any]:
    return {"cniVersion": config.get("cniVersion", SUPPORTED[-1]), "supportedVersions": list(SUPPORTED)}


def error(fault: CniError, version: str = SUPPORTED[-1]) -> dict[str, Any]:
    reply: dict[str, Any] = {"cniVersion": version, "code": fault.code, "msg": fault.msg}
    return {**reply, "details": fault.details} if fault.details else reply


def version_of(stdin: str) -> str:
    """The version in which to answer even a call that is refused."""
    try:
        asked = json.loads(stdin).get("cniVersion")
    except (ValueError, AttributeError, RecursionError):
        return SUPPORTED[-1]
    return asked if isinstance(asked, str) and asked in SUPPORTED else SUPPORTED[-1]


def at_least(version: str, other: str) -> bool:
    return SUPPORTED.index(version) >= SUPPORTED.index(other)


def dns_label(text: str) -> str:
    """A text made into a DNS label: `My_Pod.1` to `my-pod-1`. Empty when nothing of it can stay."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:63].strip("-")


def _command(environment: Mapping[str, str]) -> str:
    command = environment.get("CNI_COMMAND", "")
    if command not in REQUIRED:
        known = ", ".join(REQUIRED)
        raise CniError(BAD_ENVIRONMENT, f"CNI_COMMAND is '{command}'; a container runtime sets it to one of {known}.")
    missing = [name for name in REQUIRED[command] if not environment.get(name)]
    if missing:
        raise CniError(
            BAD_ENVIRONMENT, f"{', '.join(missing)} not set; {command} needs {'it' * (len(missing) == 1) or 'them'}."
        )
    container_id, ifname = environment.get("CNI_CONTAINERID", ""), environment.get("CNI_IFNAME", "")
    if container_id and not NAME.fullmatch(container_id):
        raise CniError(
            BAD_ENVIRONMENT, f"CNI_CONTAINERID '{container_id}' is not made of letters, digits, '.', '_' and '-'."
        )
    if REQUIRED[command] and (len(ifname.encode()) > 15 or ifname in (".", "..") or re.search(r"[\s/:]", ifname)):
        raise CniError(
            BAD_ENVIRONMENT,
            f"CNI_IFNAME '{ifname}' cannot name an interface: use at most 15 characters without '/', ':' and blanks.",
        )
    return command


def _check_previous(result: Mapping[str, Any]) -> None:
    for key in ("interfaces", "ips", "routes"):
        listed = [] if result.get(key) is None else result[key]
        if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
            wrong(f"prevResult.{key}", listed, "a list of JSON objects")
    mapping(result, "dns", "prevResult.dns")


def _decode(stdin: str) -> Mapping[str, Any]:
    try:
        config = json.loads(stdin)
    except (ValueError, RecursionError) as fault:
        raise CniError(UNDECODABLE, f"The network configuration is not JSON: {fault}.") from None
    if not isinstance(config, dict):
        raise CniError(UNDECODABLE, "The network configuration is not a JSON object.")
    return config


def _version(config: Mapping[str, Any], command: str) -> str:
    version = config.get("cniVersion", "0.1.0")  # as the specification says of configurations without one
    known = ", ".join(SUPPORTED)
    if command == "VERSION":
        return SUPPORTED[-1]
    if not isinstance(version, str) or version not in SUPPORTED:
        raise CniError(INCOMPATIBLE, f"cniVersion '{version}' is not supported; set it to one of {known}.")
    since = SINCE.get(command, SUPPORTED[0])
    if not at_least(version, since):
        raise CniError(
            INCOMPATIBLE, f"{command} needs cniVersion {since} or newer; the configuration says '{version}'."
        )
    return str(version)


def _arguments(text: str) -> Mapping[str, str]:
    pairs = [pair.partition("=") for pair in text.split(";") if pair]
    for key, equals, _ in pairs:
        if not key or not equals:
            raise CniError(BAD_ENVIRONMENT, f"CNI_ARGS has '{key}' where KEY=VALUE is expected; join pairs with ';'.")
    return {key: value for key, _, value in pairs}


def mapping(parent: Mapping[str, Any], key: str, field: str | None = None) -> Mapping[str, Any]:
    value = parent.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        wrong(field or key, value, "a JSON object")
    return value


def wrong(field: str, value: Any, expected: str) -> NoReturn:
    said = "is missing" if value is None else f"is {json.dumps(value)}"
    raise CniError(BAD_CONFIG, f"Field '{field}' {said}; give {expected}.")
