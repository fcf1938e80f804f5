"""What things in a lab are called: namespaces, folders, underlay addresses, the files that remember them.

It decides names only. It starts nothing, and asks neither the kernel nor the API whether a name is in use.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import click

RUN = Path("/run/warren")
NETNS = Path("/run/netns")
MAX_HOSTS = 20
FABRIC_ADDRESS = "198.18.0.1"
FABRIC_ADDRESS6 = "fd00:198:18::1"
UNDERLAY_PREFIX = 24
UNDERLAY_PREFIX6 = 64
WEB_PORT = 8080
OPENFLOW_PORT = 6653
NICE = -10
"""The priority Open vSwitch's own start script gives it; who measures packets must not wait longer than they do."""
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")


class LabError(click.ClickException):
    """One sentence that names the value and the remedy."""


class HostName(NamedTuple):
    """Host number `n` of lab `lab`; everything about it follows from these two."""

    lab: str
    n: int

    @property
    def name(self) -> str:
        return f"h{self.n}"

    @property
    def netns(self) -> str:
        return f"{self.lab}-{self.name}"

    @property
    def folder(self) -> Path:
        return RUN / self.lab / self.name

    @property
    def ovs(self) -> Path:
        return self.folder / "ovs"

    @property
    def ovsdb(self) -> str:
        return f"unix:{self.ovs}/db.sock"

    @property
    def cni_socket(self) -> Path:
        return self.folder / "run" / "cni.sock"

    @property
    def address(self) -> str:
        return f"198.18.0.{10 + self.n}"

    @property
    def address6(self) -> str:
        return f"fd00:198:18::{10 + self.n}"

    @property
    def mac(self) -> str:
        return f"02:c6:12:00:00:{10 + self.n:02x}"


def check_lab(name: str) -> str:
    """A lab's name becomes part of namespace and socket names, so it is a short DNS label."""
    if len(name) > 20 or not _LABEL.fullmatch(name):
        raise LabError(
            f"'{name}' cannot name a lab: use at most 20 lower-case letters, digits and hyphens, like 'demo'."
        )
    return name


def check_endpoint(name: str) -> str:
    if len(name) > 63 or not _LABEL.fullmatch(name):
        raise LabError(
            f"'{name}' cannot name an endpoint: use a DNS label of at most 63 lower-case letters, digits and hyphens."
        )
    if re.fullmatch(r"h\d+|fabric", name):
        raise LabError(f"'{name}' names a part of the lab itself; choose another name for the endpoint.")
    return name


def fabric_netns(lab: str) -> str:
    return f"{lab}-fabric"


def endpoint_netns(host: HostName, endpoint: str) -> str:
    return f"{host.netns}.{endpoint}"
