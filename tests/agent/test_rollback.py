"""An attach that fails leaves nothing behind, whoever was at fault."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.agent.conftest import Host
from tests.agent.site import Container, until

NewContainer = Callable[..., Container]


@pytest.fixture
def nothing_left(host: Host) -> Iterator[None]:
    before = holdings(host)
    yield
    until(lambda: holdings(host) == before, "everything is as it was before")


def holdings(host: Host) -> tuple[Any, ...]:
    return set(host.ports()), set(host.links()), {endpoint.id for endpoint in host.endpoints()}


@pytest.mark.usefixtures("nothing_left")
def test_open_vswitch_has_given_the_number_away(host: Host, container: NewContainer) -> None:
    first = container()
    first.add()
    number = next(e.ofport for e in host.endpoints() if e.container_id == first.id)
    first.delete()
    thief = ("--", "set", "interface", "thief", "type=internal", f"ofport_request={number + 1}")
    host.site.ovs.vsctl("add-port", host.bridge, "thief", *thief)
    try:
        unlucky = container()
        reply = unlucky.call("ADD")
        assert reply.code == 102, reply
    finally:
        host.site.ovs.vsctl("del-port", host.bridge, "thief")
    assert str(number + 1) in reply.body["msg"] and "another port" in reply.body["msg"]
    assert "eth0" not in unlucky.ip("link")


@pytest.mark.usefixtures("nothing_left")
def test_the_subnet_is_exhausted(container: NewContainer) -> None:
    one, two = container(), container()
    one.add(network="acme/tiny")
    reply = two.call("ADD", {"network": "acme/tiny"})
    assert reply.code == 101 and "10.22.0.0/30" in reply.body["msg"]
    one.delete()


@pytest.mark.usefixtures("nothing_left")
def test_the_api_is_away(host: Host, container: NewContainer) -> None:
    with host.site.without_api():
        reply = container().call("ADD")
    assert reply.code == 11 and host.site.api_url in reply.body["msg"]


GIVEN = "inet 10.20.0."
"""In what `ip address` says: the pair, which is made before the API has answered, has its address."""


@pytest.mark.usefixtures("nothing_left")
def test_the_bridge_refuses_the_flows(host: Host, container: NewContainer) -> None:
    one = container()
    with host.site.silent_controller():
        child, config = one.start("ADD")
        child.stdin.write(config)
        child.stdin.close()
        until(lambda: any(e.container_id == one.id for e in host.endpoints()), "the API knows the attachment")
        with host.refusing("table 65 is full"):
            assert child.wait(60) == 1
        said = child.stdout.read()
        child.stdout.close()
        child.stderr.close()
    assert '"code": 103' in said and "table 65 is full" in said


@pytest.mark.usefixtures("nothing_left")
def test_the_caller_goes_away(host: Host, container: NewContainer) -> None:
    one = container()
    with host.site.silent_controller():
        child, config = one.start("ADD")
        child.stdin.write(config)
        child.stdin.close()
        until(lambda: GIVEN in one.ip("address"), "the veth is there, and the API knows it")
        assert child.poll() is None
        child.kill()
        child.wait()
        child.stdout.close()
        child.stderr.close()
        until(lambda: not any(e.container_id == one.id for e in host.endpoints()), "the address is free again")
    assert "eth0" not in one.ip("link")


@pytest.mark.parametrize("sign", ["eth0", GIVEN])
@pytest.mark.usefixtures("nothing_left")
def test_the_agent_is_killed_half_way_and_the_runtime_gives_up(host: Host, container: NewContainer, sign: str) -> None:
    one = container()
    with host.site.silent_controller():
        child, config = one.start("ADD")
        child.stdin.write(config)
        child.stdin.close()
        until(lambda: sign in one.ip("address"), "the veth is there")
        host.agent.stop(signal.SIGKILL)
        assert child.wait(60) == 1
        assert '"code":11' in child.stdout.read()
        child.stdout.close()
        child.stderr.close()
        host.start()
    one.delete()
    assert "eth0" not in one.ip("link")


@pytest.mark.parametrize("sign", ["eth0", GIVEN])
@pytest.mark.usefixtures("nothing_left")
def test_the_agent_is_killed_half_way_and_the_runtime_tries_again(
    host: Host, container: NewContainer, sign: str
) -> None:
    """A retry in a fresh namespace finds the attachment in the API and the old veth on the host."""
    one = container()
    with host.site.silent_controller():
        child, config = one.start("ADD")
        child.stdin.write(config)
        child.stdin.close()
        until(lambda: sign in one.ip("address"), "the veth is there")
        host.agent.stop(signal.SIGKILL)
        child.wait(60)
        child.stdout.close()
        child.stderr.close()
    one.ip("link", "set", "eth0", "name", "stale0")
    host.start()
    result = one.add()
    assert one.call("CHECK", {"prevResult": result}) == (0, None)
    assert "stale0" not in one.ip("link")
    one.delete()


@pytest.mark.usefixtures("nothing_left")
def test_an_attachment_of_another_form_is_left_alone(host: Host, container: NewContainer) -> None:
    """The interface is gone from inside; an ADD with other parameters must not release what the first one got."""
    one = container()
    one.add()
    one.ip("link", "del", "eth0")
    reply = one.call("ADD", {"network": "acme/old"})
    assert reply.code == 101 and "detach it first" in reply.body["msg"]
    assert any(endpoint.container_id == one.id for endpoint in host.endpoints())
    one.delete()
