"""What dockerd 20.10 really said to this plugin, said again: dockerd_20_10.jsonl has every call of a session with the
answer it got, below the command that caused it. Addresses, pools and MACs of this run take the place of the recorded.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from client.rest import Unreachable
from ovs_agent.docker import driver
from tests.pure.docker_world import Answered, Plugin

RECORDED = Path(__file__).with_name("dockerd_20_10.jsonl")
ONCE = ("IpamDriver.RequestPool",)
"""The one call that is not the same when it comes twice: the first answer may belong to another network."""


@pytest.fixture
def plugin(tmp_path: Path) -> Iterator[Plugin]:
    plugin = Plugin(tmp_path)
    # The network that the recorded host had before.
    subnet = {"AddressSpace": "warren", "Pool": "10.30.0.0/24", "SubPool": "", "Options": {}, "V6": False}
    plugin.pool = plugin.call("IpamDriver.RequestPool", subnet).body["PoolID"]  # type: ignore[attr-defined]
    yield plugin
    plugin.stop()


def calls() -> list[Any]:
    lines = RECORDED.read_text().splitlines()
    return [line if line.startswith("#") else json.loads(line) for line in lines]


def alike(one: Any, other: Any) -> bool:
    """Whether two answers have the same form."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(alike(one[key], other[key]) for key in one)
    return type(one) is type(other)


class Session:
    """Replaces what was recorded by what this run answered."""

    def __init__(self, plugin: Plugin) -> None:
        self.plugin = plugin
        self.now: dict[str, str] = {}

    def call(self, recorded: dict[str, Any]) -> Answered:
        text = json.dumps(recorded["body"])
        for old, new in sorted(self.now.items(), key=lambda pair: -len(pair[0])):
            text = text.replace(f'"{old}"', f'"{new}"').replace(f'"{old}/', f'"{new}/')
        answer = self.plugin.call(recorded["method"], json.loads(text))
        self.learn(recorded["reply"], answer.body)
        return answer

    def learn(self, old: Any, new: Any) -> None:
        for key in ("PoolID", "Address"):
            if isinstance(old.get(key), str) and isinstance(new.get(key), str):
                self.now[old[key]] = new[key]
                if key == "Address":
                    self.now[old[key].split("/")[0]] = new[key].split("/")[0]


def prepared(plugin: Plugin) -> Session:
    session = Session(plugin)
    first = next(
        one["body"]["PoolID"]
        for one in calls()
        if not isinstance(one, str) and str((one["body"] or {}).get("PoolID", "")).startswith("10.30.0.0/24/")
    )
    session.now[first] = plugin.pool  # type: ignore[attr-defined]
    web = next(
        one["body"]["NetworkID"]
        for one in calls()
        if not isinstance(one, str) and one["method"] == "NetworkDriver.CreateEndpoint" and "10.30.0." in str(one)
    )
    made = plugin.call(
        "NetworkDriver.CreateNetwork",
        {
            "NetworkID": web,
            "Options": {"com.docker.network.generic": {"network": "web"}},
            "IPv4Data": [{"AddressSpace": "warren", "Pool": "10.30.0.0/24", "Gateway": "10.30.0.1/24"}],
            "IPv6Data": [],
        },
    )
    assert made == (200, {})
    return session


@pytest.mark.parametrize("times", [1, 2])
def test_the_recorded_session(plugin: Plugin, times: int) -> None:
    """Once, and with every call sent twice, as after a connection that broke: the second answer is as good."""
    session = prepared(plugin)
    before = plugin.left
    said = 0
    for recorded in calls():
        if isinstance(recorded, str):
            continue
        for _ in range(1 if recorded["method"] in ONCE else times):
            answer = session.call(recorded)
            assert (answer.status, bool(answer.error)) == (recorded["status"], "Err" in recorded["reply"]), recorded
            assert alike(answer.body, recorded["reply"]), (recorded, answer)
            said += 1
    assert said > 100
    assert sorted(map(str, plugin.left)) == sorted(map(str, before))


def test_the_recorded_session_with_an_agent_that_restarts_before_every_call(plugin: Plugin) -> None:
    session = prepared(plugin)
    before = len(plugin.left)
    for recorded in calls():
        if isinstance(recorded, str):
            continue
        plugin.restart()
        answer = session.call(recorded)
        assert (answer.status, bool(answer.error)) == (recorded["status"], "Err" in recorded["reply"]), recorded
    assert len(plugin.left) == before


def test_the_recorded_session_while_the_api_is_away(plugin: Plugin) -> None:
    """Everything is answered, in JSON and with a sentence; what only takes away succeeds."""
    session = prepared(plugin)
    plugin.api.away = True
    for recorded in calls():
        if isinstance(recorded, str):
            continue
        answer = session.call(recorded)
        assert answer.status == 200
        assert not answer.error or answer.error.endswith("."), answer
        if recorded["method"].split(".")[1] in ("Leave", "DeleteEndpoint", "ReleaseAddress", "ReleasePool"):
            assert answer.body == {}, recorded


@pytest.mark.parametrize("method", sorted({one["method"] for one in calls() if not isinstance(one, str)}))
def test_an_empty_body_changes_nothing(plugin: Plugin, method: str) -> None:
    before = plugin.left
    answer = plugin.call(method)
    needs_none = method.startswith("Plugin.") or "Capabilities" in method or "AddressSpaces" in method
    assert answer.status == (200 if needs_none else 400), answer
    assert needs_none or ("without a body" in answer.error and answer.body["Error"] == answer.error)
    assert plugin.left == before


@pytest.mark.parametrize(
    "method", ["Leave", "DeleteEndpoint", "RevokeExternalConnectivity", "ProgramExternalConnectivity"]
)
def test_what_is_unknown_is_as_good_as_gone(plugin: Plugin, method: str) -> None:
    body = {"NetworkID": "ab" * 32, "EndpointID": "cd" * 32}
    assert plugin.call(f"NetworkDriver.{method}", body) == (200, {})
    assert plugin.call("NetworkDriver.DeleteNetwork", {"NetworkID": "ab" * 32}) == (200, {})
    assert plugin.call("IpamDriver.ReleaseAddress", {"PoolID": "no/such", "Address": "10.0.0.9"}) == (200, {})
    assert plugin.call("IpamDriver.ReleasePool", {"PoolID": "no/such"}) == (200, {})
    answer = plugin.call("NetworkDriver.Join", {**body, "SandboxKey": "/x"})
    assert answer.status == 200 and "not known on this host" in answer.error


def test_two_networks_with_one_subnet_are_created_one_after_the_other(
    plugin: Plugin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Docker does not say which pool a network has: the second waits for the first, or for its time to be over."""
    monkeypatch.setattr(driver, "PENDING", 0.05)
    asked = {"AddressSpace": "warren", "Pool": "10.50.0.0/24", "SubPool": "", "Options": {}, "V6": False}
    first = plugin.call("IpamDriver.RequestPool", asked).body["PoolID"]
    second = plugin.call("IpamDriver.RequestPool", asked).body["PoolID"]
    assert first != second and [pool.id for pool in plugin.book.pools.all() if "10.50" in pool.id] == [second]
    for tenant, id in (("acme", "aa"), ("beta", "bb")):
        if tenant == "beta":
            plugin.call("IpamDriver.RequestPool", asked)
        made = plugin.call(
            "NetworkDriver.CreateNetwork",
            {
                "NetworkID": id,
                "Options": {"com.docker.network.generic": {"tenant": tenant, "network": "same"}},
                "IPv4Data": [{"AddressSpace": "warren", "Pool": "10.50.0.0/24", "Gateway": "10.50.0.1/24"}],
            },
        )
        assert made == (200, {})
    assert sorted(pool.network for pool in plugin.book.pools.all() if "10.50" in pool.id) == ["acme/same", "beta/same"]


def test_a_claim_that_nobody_uses_is_released(plugin: Plugin) -> None:
    """dockerd was killed between asking for an address and the container's start, or could not say that it ended."""
    prepared(plugin)
    pool = plugin.pool  # type: ignore[attr-defined]
    addresses = plugin.driver._addresses
    mac = {"com.docker.network.endpoint.macaddress": "02:42:00:00:00:01"}
    given = plugin.call("IpamDriver.RequestAddress", {"PoolID": pool, "Address": "", "Options": mac}).body["Address"]
    assert plugin.ports.claims
    assert not addresses.sweep(1000.0) and not addresses.sweep(1059.0)
    assert len(addresses.sweep(1061.0)) == 1 and not plugin.ports.claims
    # A container that comes after all gets the same address again.
    body = {"NetworkID": next(net.id for net in plugin.book.nets.all()), "EndpointID": "ee" * 32}
    interface = {"Address": given, "AddressIPv6": "", "MacAddress": "02:42:00:00:00:01"}
    assert plugin.call("NetworkDriver.CreateEndpoint", {**body, "Interface": interface}).body == {"Interface": {}}
    joined = plugin.call("NetworkDriver.Join", {**body, "SandboxKey": "/x"}).body
    assert joined["Gateway"] == "10.30.0.1" and plugin.ports.plugged
    assert not addresses.sweep(2000.0) and not addresses.sweep(9000.0)
    (held,) = plugin.ports.claims.values()
    assert held[0].addresses == (given,)


def test_published_ports_are_opened_when_the_endpoint_is_the_way_in_and_closed_again(plugin: Plugin) -> None:
    prepared(plugin)
    net = next(net.id for net in plugin.book.nets.all())
    address = plugin.call("IpamDriver.RequestAddress", {"PoolID": plugin.pool, "Address": ""}).body["Address"]  # type: ignore[attr-defined]
    body = {"NetworkID": net, "EndpointID": "ee" * 32}
    interface = {"Address": address, "MacAddress": ""}
    assert "Err" not in plugin.call("NetworkDriver.CreateEndpoint", {**body, "Interface": interface}).body
    ports = [{"Proto": 6, "Port": 80, "HostIP": "", "HostPort": 8080, "HostPortEnd": 8080}]
    options = {"com.docker.network.portmap": ports}
    plugin.call("NetworkDriver.Join", {**body, "SandboxKey": "/x", "Options": options})
    assert not plugin.ways_in.published
    assert plugin.call("NetworkDriver.ProgramExternalConnectivity", {**body, "Options": options}).body == {}
    (published,) = plugin.ways_in.published.values()
    asked = {"protocol": "tcp", "port": 80, "host_port": 8080, "host_port_end": 8080, "host_ip": None, "count": 1}
    assert published == [asked]
    plugin.call("NetworkDriver.RevokeExternalConnectivity", body)
    assert not plugin.ways_in.published
    plugin.ways_in.taken = 8080
    refused = plugin.call("NetworkDriver.ProgramExternalConnectivity", {**body, "Options": options})
    assert "Port tcp/8080 of host h1 is published for acme/web1" in refused.error


@pytest.mark.parametrize(
    ("network", "container", "mesh"),
    [("true", None, True), ("true", "false", False), (None, "true", True), ("false", None, False)],
)
def test_all_hosts_publish_where_the_container_or_else_its_network_says_so(
    plugin: Plugin, network: str | None, container: str | None, mesh: bool
) -> None:
    """As dockerd passes them: `-o` in a mapping of their own, those of an endpoint among its own."""
    subnet = {"AddressSpace": "warren", "Pool": "10.31.0.0/24", "SubPool": "", "Options": {}, "V6": False}
    pool = plugin.call("IpamDriver.RequestPool", subnet).body["PoolID"]
    said = {"tenant": "acme", "network": "more"} | ({} if network is None else {"mesh": network})
    data = [{"AddressSpace": "warren", "Gateway": "10.31.0.1/24", "Pool": "10.31.0.0/24"}]
    made = {"NetworkID": "aa" * 32, "Options": {"com.docker.network.generic": said}, "IPv4Data": data, "IPv6Data": []}
    assert plugin.call("NetworkDriver.CreateNetwork", made).body == {}
    address = plugin.call("IpamDriver.RequestAddress", {"PoolID": pool, "Address": ""}).body["Address"]
    body = {"NetworkID": "aa" * 32, "EndpointID": "ee" * 32}
    ports = [{"Proto": 6, "Port": 80, "HostIP": "", "HostPort": 8080, "HostPortEnd": 8080}]
    options = {"com.docker.network.portmap": ports}
    own = options | ({} if container is None else {"mesh": container})
    interface = {"Address": address, "MacAddress": ""}
    assert (
        "Err" not in plugin.call("NetworkDriver.CreateEndpoint", {**body, "Interface": interface, "Options": own}).body
    )
    plugin.call("NetworkDriver.Join", {**body, "SandboxKey": "/x", "Options": options})
    plugin.call("NetworkDriver.ProgramExternalConnectivity", {**body, "Options": options})
    (published,) = plugin.ways_in.published.values()
    assert [one.get("mesh", False) for one in published] == [mesh]


def test_an_address_and_a_mac_in_use_are_refused(plugin: Plugin) -> None:
    prepared(plugin)
    pool = plugin.pool  # type: ignore[attr-defined]
    net = next(net.id for net in plugin.book.nets.all())

    def ask(mac: str, address: str) -> Answered:
        options = {"com.docker.network.endpoint.macaddress": mac}
        return plugin.call("IpamDriver.RequestAddress", {"PoolID": pool, "Address": address, "Options": options})

    assert ask("02:42:00:00:00:01", "10.30.0.9").body["Address"] == "10.30.0.9/24"
    assert ask("02:42:00:00:00:01", "10.30.0.9").body["Address"] == "10.30.0.9/24"
    interface = {"Address": "10.30.0.9/24", "MacAddress": "02:42:00:00:00:01"}
    endpoint = {"NetworkID": net, "EndpointID": "ee" * 32, "Interface": interface}
    assert plugin.call("NetworkDriver.CreateEndpoint", endpoint).body == {"Interface": {}}
    assert "02:42:00:00:00:01" in ask("02:42:00:00:00:01", "").error
    assert "10.30.0.9" in ask("02:42:00:00:00:02", "10.30.0.9").error
    stolen = plugin.call("NetworkDriver.CreateEndpoint", {**endpoint, "EndpointID": "ff" * 32})
    assert "another endpoint's" in stolen.error and len(plugin.ports.claims) == 1


def to_create(plugin: Plugin) -> tuple[str, dict[str, Any]]:
    """A pool for a network of its own, and the call that creates that."""
    subnet = {"AddressSpace": "warren", "Pool": "10.60.0.0/24", "SubPool": "", "Options": {}, "V6": False}
    pool = plugin.call("IpamDriver.RequestPool", subnet).body["PoolID"]
    data = [{"AddressSpace": "warren", "Gateway": "10.60.0.1/24", "Pool": "10.60.0.0/24"}]
    named = {"com.docker.network.generic": {"tenant": "acme"}}
    return pool, {"NetworkID": "ab" * 32, "Options": named, "IPv4Data": data, "IPv6Data": []}


@pytest.mark.parametrize("restarted", [False, True])
def test_a_network_that_docker_removes_while_the_api_is_away_is_removed_later(plugin: Plugin, restarted: bool) -> None:
    """Docker says it once, and forgets its network whatever it hears."""
    prepared(plugin)
    before = plugin.left
    pool, made = to_create(plugin)
    assert plugin.call("NetworkDriver.CreateNetwork", made).body == {}
    (own,) = plugin.api.networks.keys() & {"acme/docker-abababababab"}
    plugin.api.away = True
    assert plugin.call("NetworkDriver.DeleteNetwork", {"NetworkID": "ab" * 32}) == (200, {})
    assert plugin.call("IpamDriver.ReleasePool", {"PoolID": pool}) == (200, {})
    if restarted:
        plugin.restart()
    plugin.driver.sweep()
    assert own in plugin.api.networks
    plugin.api.away = False
    plugin.driver.sweep()
    assert own not in plugin.api.networks and sorted(map(str, plugin.left)) == sorted(map(str, before))


def test_a_network_that_the_api_made_and_could_not_say_so_is_removed_again(
    plugin: Plugin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Docker gives up on a network whose creation failed."""
    prepared(plugin)
    before = plugin.left
    pool, made = to_create(plugin)
    put = plugin.api.put

    def cut_off(path: str, **more: Any) -> Any:
        put(path, **more)
        raise Unreachable("The API did not answer in time.")

    with monkeypatch.context() as patched:
        patched.setattr(plugin.api, "put", cut_off)
        assert "did not answer" in plugin.call("NetworkDriver.CreateNetwork", made).error
    assert plugin.call("IpamDriver.ReleasePool", {"PoolID": pool}) == (200, {})
    assert "acme/docker-abababababab" in plugin.api.networks
    plugin.driver.sweep()
    assert "acme/docker-abababababab" not in plugin.api.networks
    assert sorted(map(str, plugin.left)) == sorted(map(str, before))
