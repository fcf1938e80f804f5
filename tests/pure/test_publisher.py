"""What a container's runtime asks to be published, as the API is told."""

from __future__ import annotations

from typing import Any

import pytest

from client.rest import Rest
from ovs_agent.gateway import Ports
from ovs_agent.publish import Publisher
from tests.pure.scripted_api import Answer, Asked, ScriptedApi


def docker(port: int, host_port: int, **more: Any) -> dict[str, Any]:
    """As the driver says it."""
    said = {"protocol": "tcp", "port": port, "host_ip": None, "host_port": host_port, "host_port_end": host_port}
    return {**said, "count": 1, **more}


def cni(port: int, host_port: int, **more: Any) -> dict[str, Any]:
    return {"protocol": "tcp", "port": port, "host_port": host_port, "host_ip": None, **more}


def told(ports: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the API gets, which is what it takes."""

    def answer(asked: Asked) -> Answer:
        return 200, {"ports": [], "revision": 7}

    with ScriptedApi(answer) as api:
        publisher = Publisher(Rest(api.url, "t"), "h1", lambda asked: None, lambda revision, seconds: Ports(7))
        publisher.publish(("c1", "eth0"), ports)
        (asked,) = api.asked
    assert len(asked.body["ports"]) <= 256, "it takes no more at once"
    return list(asked.body["ports"])


@pytest.mark.parametrize("said", [docker, cni])
def test_a_range_is_told_as_one(said: Any) -> None:
    """`-p 20000-21999:10000-11999/udp`, of which a runtime tells each port, dockerd the last first."""
    many = [said(10000 + n, 20000 + n, protocol="udp") for n in reversed(range(2000))]
    assert told([said(80, 8080), *many]) == [
        {"protocol": "tcp", "port": 80, "host_port": 8080, "host_ip": None, "count": 1},
        {"protocol": "udp", "port": 10000, "host_port": 20000, "host_ip": None, "count": 1024},
        {"protocol": "udp", "port": 11024, "host_port": 21024, "host_ip": None, "count": 976},
    ]


@pytest.mark.parametrize(
    "second",
    [
        cni(81, 8082),
        cni(82, 8081),
        cni(80, 8081),
        cni(81, 8081, protocol="udp"),
        cni(81, 8081, host_ip="192.0.2.11"),
        cni(81, 8081, mesh=True),
        cni(80, 8080),
    ],
)
def test_what_differs_is_told_apart(second: dict[str, Any]) -> None:
    first = cni(80, 8080)
    assert sorted(map(str, told([first, second]))) == sorted(str({**one, "count": 1}) for one in (first, second))


def test_ports_of_the_host_that_are_to_be_chosen_come_last_and_as_they_are() -> None:
    any_port = docker(80, 0, host_port_end=0)
    one_of = docker(81, 8000, host_port_end=8010)
    found = told([any_port, one_of, docker(443, 8001), docker(444, 8002)])
    assert found == [
        {"protocol": "tcp", "port": 443, "host_port": 8001, "host_ip": None, "count": 2},
        any_port,
        one_of,
    ]
