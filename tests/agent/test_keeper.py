"""The host is kept as it is wanted, whatever happens to it and to the agent; and nothing is touched without need."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from db import endpoints
from db.changes import transaction
from tests.agent.conftest import Host
from tests.agent.site import Container, run, until

NewContainer = Callable[..., Container]


def port_of(result: Any) -> str:
    return str(result["interfaces"][0]["name"])


def interface(host: Host, port: str) -> Any:
    """The row of a port's interface: its identity, and the number it has."""
    columns = "--columns=_uuid,ofport,external_ids,error"
    shown = json.loads(host.site.ovs.vsctl("--format=json", columns, "find", "interface", f"name={port}"))
    return shown["data"][0] if shown["data"] else None


def reaches(one: Container, two: Container, seconds: int = 5) -> bool:
    there = next(line.split()[3] for line in two.ip("-4", "-o", "address", "show", "dev", "eth0").splitlines())
    ping = ["ip", "netns", "exec", one.netns, "ping", "-c1", f"-W{seconds}", there.split("/")[0]]
    return subprocess.run(ping, capture_output=True).returncode == 0


@pytest.fixture
def pair(container: NewContainer) -> tuple[Container, Container]:
    """Two containers that reach each other."""
    one, two = container(), container()
    one.add(), two.add()
    assert reaches(one, two, 30)
    return one, two


def only_port(host: Host, one: Container) -> str:
    return next(endpoint.port_name for endpoint in host.endpoints() if endpoint.container_id == one.id)


def test_a_deleted_port_comes_back_with_its_number(host: Host, pair: tuple[Container, Container]) -> None:
    port = only_port(host, pair[0])
    number = interface(host, port)[1]
    host.site.ovs.vsctl("del-port", host.bridge, port)
    until(lambda: (now := interface(host, port)) and now[1] == number, "the port is back")
    until(lambda: reaches(*pair), "packets pass")


@pytest.mark.parametrize("name", ["tun", "gw"])
def test_the_bridges_own_ports_come_back(host: Host, name: str) -> None:
    port = f"{host.bridge}-{name}"
    number = interface(host, port)[1]
    host.site.ovs.vsctl("del-port", host.bridge, port)
    until(lambda: (now := interface(host, port)) and now[1] == number, "the port is back")


def test_a_deleted_bridge_comes_back_with_all_its_ports(host: Host, pair: tuple[Container, Container]) -> None:
    settings = ("get", "bridge", host.bridge, "fail_mode", "protocols", "other_config", "datapath_type")
    before = host.site.ovs.vsctl(*settings)
    ports = set(host.ports())
    host.site.ovs.vsctl("del-br", host.bridge)
    until(lambda: host.site.ovs.vsctl("--if-exists", *settings) == before, "the bridge is back")
    until(lambda: set(host.ports()) == ports, "its ports are back")
    until(lambda: reaches(*pair), "packets pass")


@pytest.mark.parametrize("setting", ["fail_mode=standalone", "protocols=OpenFlow10", "other_config:datapath-id=1"])
def test_a_changed_setting_of_the_bridge_is_put_right(host: Host, setting: str) -> None:
    column = setting.split("=")[0]
    before = host.site.ovs.vsctl("get", "bridge", host.bridge, column)
    host.site.ovs.vsctl("set", "bridge", host.bridge, setting)
    until(lambda: host.site.ovs.vsctl("get", "bridge", host.bridge, column) == before, f"{column} is as it was")


def test_what_people_added_stays(host: Host) -> None:
    ovs = host.site.ovs
    ovs.vsctl("add-port", host.bridge, "guest", "--", "set", "interface", "guest", "type=internal")
    ovs.vsctl("set", "bridge", host.bridge, "other_config:people=mine")
    host.make_it_look()
    assert "people=mine" in ovs.vsctl("get", "bridge", host.bridge, "other_config")
    assert "guest" in ovs.vsctl("list-ports", host.bridge)
    ovs.vsctl("del-port", host.bridge, "guest")
    ovs.vsctl("remove", "bridge", host.bridge, "other_config", "people")


def test_the_bridge_follows_its_controllers(host: Host) -> None:
    ovs = host.site.ovs
    until(lambda: ovs.vsctl("get-controller", host.bridge).split() == [host.site.target], "it has its controller")
    ovs.vsctl("set-controller", host.bridge, "tcp:127.0.0.1:1")
    until(lambda: ovs.vsctl("get-controller", host.bridge).split() == [host.site.target], "the target is right again")
    shown = ovs.vsctl("get", "controller", host.bridge, "connection_mode", "max_backoff", "inactivity_probe")
    mode, backoff, probe = shown.split()
    assert mode == "out-of-band" and backoff == "1000" and 10_000 <= int(probe) <= 30_000


def test_a_killed_vswitchd_costs_nothing_but_time(host: Host, pair: tuple[Container, Container]) -> None:
    before = [interface(host, port) for port in sorted(host.ports())]
    host.site.ovs.kill_switch()
    host.site.restart_switch()
    until(lambda: reaches(*pair), "packets pass")
    assert [interface(host, port) for port in sorted(host.ports())] == before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_restart_of_the_agent_touches_nothing(
    host: Host, pair: tuple[Container, Container], number: signal.Signals
) -> None:
    """But for the resolver's own port, whose other end lived in the agent."""

    def steps() -> list[str]:
        said = (line for line in host.agent.said.splitlines() if "ovs_agent.keeper" in line)
        return [line for line in said if f"{host.bridge}-dns" not in line]

    host.make_it_look()  # what is to be done is done before
    before, done = [interface(host, port) for port in sorted(host.ports())], steps()
    host.agent.stop(number)
    assert reaches(*pair, 30)
    host.start()
    until(lambda: host.report().get("agent", {}).get("pid") == host.agent.pid, "the new agent has reported")
    assert [interface(host, port) for port in sorted(host.ports())] == before
    assert steps() == done
    assert reaches(*pair, 30)


def test_an_endpoint_deleted_by_people_is_unplugged(host: Host, container: NewContainer) -> None:
    one, two = container(), container()
    port = port_of(one.add())
    two.add()
    with transaction(host.site.engine) as tx:
        endpoints.delete(tx, f"acme/{one.id}")
    until(lambda: port not in host.ports() and port not in host.links(), "port and veth are gone")
    assert "eth0" not in one.ip("link")
    assert only_port(host, two) in host.ports()
    one.delete()


def test_a_veth_without_an_owner_is_removed(host: Host, container: NewContainer) -> None:
    """What an attach leaves that was cut short by a crash, and whose endpoint was deleted meanwhile."""
    one = container()
    port = port_of(one.add())
    host.agent.stop(signal.SIGKILL)
    host.site.ovs.vsctl("del-port", host.bridge, port)
    with transaction(host.site.engine) as tx:
        endpoints.delete(tx, f"acme/{one.id}")
    host.start()
    until(lambda: port not in host.links(), "the veth is gone")


def test_a_link_that_was_put_down_is_brought_up(host: Host, pair: tuple[Container, Container]) -> None:
    port = only_port(host, pair[0])
    run("ip", "-n", host.site.netns, "link", "set", port, "down")
    until(lambda: reaches(*pair), "packets pass")


def test_the_api_learns_which_endpoints_are_up(host: Host, container: NewContainer) -> None:
    one = container()
    one.add()
    number = next(endpoint.id for endpoint in host.endpoints() if endpoint.container_id == one.id)
    until(lambda: host.report().get("ports", {}).get(str(number)) == "up", "it is reported up")
    run("ip", "netns", "del", one.netns)
    until(lambda: host.report().get("ports", {}).get(str(number)) == "down", "it is reported down")
    run("ip", "netns", "add", one.netns)
    one.delete()


def test_the_api_learns_of_a_number_that_open_vswitch_withholds(host: Host, container: NewContainer) -> None:
    ovs = host.site.ovs
    one = container()
    port = port_of(one.add())
    number = interface(host, port)[1]
    host.agent.stop(signal.SIGKILL)
    ovs.vsctl("del-port", host.bridge, port)
    thief = ("--", "set", "interface", "thief", "type=internal", f"ofport_request={number}")
    ovs.vsctl("add-port", host.bridge, "thief", *thief)
    host.start()
    until(lambda: any(port in sentence for sentence in host.report().get("problems", [])), "it is reported")
    ovs.vsctl("del-port", host.bridge, "thief")
    until(lambda: (now := interface(host, port)) and now[1] == number, "the port has its number")
    until(lambda: not host.report()["problems"], "there is no problem any more")
