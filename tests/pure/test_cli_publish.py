"""`warren publish`: how ports are written, and what is asked of the API."""

from __future__ import annotations

import click
import pytest

from client.publish import Ports, publish, read_ports

_PARAMETER = next(one for one in publish.params if one.name == "ports")


@pytest.mark.parametrize(
    ("text", "ports"),
    [
        ("8080:80", Ports(8080, 80, 1, "tcp")),
        ("53:5353/UDP", Ports(53, 5353, 1, "udp")),
        ("80", Ports(0, 80, 1, "tcp")),
        ("8000-8010:80-90/sctp", Ports(8000, 80, 11, "sctp")),
        ("80-81", Ports(0, 80, 2, "tcp")),
    ],
)
def test_ports_are_read_as_dockers(text: str, ports: Ports) -> None:
    assert read_ports(click.Context(publish), _PARAMETER, text) == ports


@pytest.mark.parametrize("text", ["", "http", "80:", ":80", "80/icmp", "90-80", "8000-8010:80", "8080:80-81", "1:2:3"])
def test_others_are_refused_with_the_value(text: str) -> None:
    with pytest.raises(click.BadParameter, match=r"is not HOSTPORT:PORT|different number"):
        read_ports(click.Context(publish), _PARAMETER, text)
