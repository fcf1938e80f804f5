"""Whatever arrives on the socket is answered: at once, in JSON, with a sentence if it is refused; and nothing is left
of it. Requests that are nearly right, in any order, are the most of it; the rest are bytes."""

from __future__ import annotations

import gc
import json
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from ovs_agent.docker import driver
from ovs_agent.docker.messages import _CALLS, ADDRESS_TYPE, CONSTANT, GATEWAY, SWARM
from tests.pure.docker_world import Plugin

EXAMPLES, LENGTH = 420, 25
METHODS = st.sampled_from([*_CALLS, *CONSTANT, *SWARM, "NetworkDriver.New", "", "..", "Plugin.Activate/x"])
IDS = st.sampled_from(["a1" * 32, "b2" * 32, "c3"])
MACS = st.sampled_from(["02:42:00:00:00:01", "02:42:00:00:00:02", "ff:ff", "02:42:0A:00:00:03"])
SUBNETS = st.sampled_from(["10.60.0.0/29", "10.60.0.0/30", "fd60::/64", "10.61.0.0/16", "0.0.0.0/0", "x/24"])
ADDRESSES = st.sampled_from(
    ["", "10.60.0.2", "10.60.0.3", "10.60.0.1", "fd60::5", "fe80::1%eth0", "10.60.0.0", "999.1.1.1"]
)
CIDRS = st.sampled_from(["", "10.60.0.2/29", "10.60.0.1/29", "10.60.0.3/30", "fd60::5/64", "10.60.0.2"])
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
PORT = st.fixed_dictionaries(
    {"Proto": st.sampled_from([6, 17, 132, 0, "6"]), "Port": st.integers(-1, 65536), "HostPort": st.just(8080)},
    optional={"HostIP": ADDRESSES, "HostPortEnd": st.just(8081), "IP": st.just("")},
)
OPTIONS = st.dictionaries(
    st.sampled_from(
        [
            *(
                "tenant",
                "network",
                "transport",
                "physical",
                "vlan",
                "name",
                "label.app",
                "mesh",
                "RequestAddressType",
                "com.docker.network.internal",
            ),
            *("com.docker.network.endpoint.macaddress", "com.docker.network.driver.mtu", "com.docker.network.new"),
            "com.docker.network.internal",
        ]
    ),
    st.sampled_from(
        ["acme", "web", "nobody", "vxlan", "ipvlan", "4096", "1400", "com.docker.network.gateway", "UPPER", "", 7]
    )
    | MACS,
    max_size=3,
)
FULL = OPTIONS.flatmap(
    lambda options: st.fixed_dictionaries(
        {},
        optional={
            "com.docker.network.generic": st.just(options),
            "com.docker.network.portmap": st.lists(PORT, max_size=3),
            "com.docker.network.internal": st.booleans(),
        },
    ).map(lambda more: {**options, **more})
)
SUBNET = st.fixed_dictionaries(
    {"Pool": SUBNETS, "AddressSpace": st.sampled_from(["warren", "LocalDefault"])},
    optional={"Gateway": CIDRS, "AuxAddresses": st.dictionaries(st.just("a"), CIDRS, max_size=1)},
)


def bodies() -> st.SearchStrategy[Any]:
    """Objects with the fields of every call. A number stands for a pool that was given out."""
    ids = {"NetworkID": IDS, "EndpointID": IDS, "PoolID": st.integers(0, 4)}
    good = st.one_of(
        st.fixed_dictionaries({"Pool": st.just("10.60.0.0/29"), "V6": st.just(False)}),
        st.fixed_dictionaries({**ids, "Address": st.just("10.60.0.2"), "Options": st.just({})}),
        st.fixed_dictionaries({**ids, "Address": st.just(""), "Options": st.just({ADDRESS_TYPE: GATEWAY})}),
        st.fixed_dictionaries(
            {
                **ids,
                "IPv4Data": st.just([{"AddressSpace": "warren", "Pool": "10.60.0.0/29", "Gateway": "10.60.0.1/29"}]),
                "Interface": st.just({"Address": ""}),
                "Options": st.just({}),
            }
        ),
    )
    known = st.fixed_dictionaries(
        {},
        optional={
            "NetworkID": IDS,
            "EndpointID": IDS,
            "PoolID": st.integers(0, 4) | st.just("no/such"),
            "Pool": SUBNETS | st.just(""),
            "SubPool": SUBNETS | st.just(""),
            "V6": st.booleans(),
            "Address": ADDRESSES,
            "Options": FULL | OPTIONS,
            "SandboxKey": st.just("/run/docker/netns/x"),
            "IPv4Data": st.lists(SUBNET, max_size=2),
            "IPv6Data": st.lists(SUBNET, max_size=1),
            "Interface": st.fixed_dictionaries({"Address": CIDRS, "AddressIPv6": CIDRS, "MacAddress": MACS}),
        },
    )
    spoilt = st.tuples(known, st.sampled_from(["Options", "Interface", "IPv4Data", "PoolID", "Address"]), ANYTHING)
    return good | known | spoilt.map(lambda three: {**three[0], three[1]: three[2]}) | ANYTHING


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch) -> Iterator[Plugin]:
    monkeypatch.setattr(driver, "PENDING", 0.02)
    with tempfile.TemporaryDirectory() as folder:
        plugin = Plugin(Path(folder))
        yield plugin
        plugin.stop()


def open_files() -> int:
    gc.collect()  # what earlier tests left to the collector would close in between
    return len(list(Path("/proc/self/fd").iterdir()))


def test_ten_thousand_requests(plugin: Plugin) -> None:
    asked = 0
    seen: set[int] = set()
    done: Counter[str] = Counter()

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(st.tuples(METHODS, bodies()), min_size=LENGTH, max_size=LENGTH))
    def run(requests: list[tuple[str, Any]]) -> None:
        nonlocal asked
        for method, body in requests:
            if isinstance(body, dict) and isinstance(body.get("PoolID"), int):
                pools = [pool.id for pool in plugin.book.pools.all()]
                body = {**body, "PoolID": pools[body["PoolID"] % len(pools)] if pools else "none"}
            answer = plugin.call(method, body)  # the line's limit makes a hang a failure
            asked += 1
            seen.add(answer.status)
            assert answer.status in (200, 400, 404), (method, body, answer)
            done[method] += not answer.error
            if answer.status != 200 or answer.error:
                assert answer.body["Err"] == answer.body["Error"]
                assert answer.error.rstrip().endswith((".", "?")) and "Traceback" not in answer.error, answer

    assert plugin.call("Plugin.Activate").status == 200
    threads, files = threading.active_count(), open_files()
    run()
    assert asked >= 10_000 and seen == {200, 400, 404}
    assert all(done[method] for method in _CALLS), done  # each was at times right
    for joint in plugin.book.joints.all():
        ids = {"NetworkID": joint.net, "EndpointID": joint.id}
        assert plugin.call("NetworkDriver.DeleteEndpoint", ids) == (200, {})
    for net in plugin.book.nets.all():
        assert plugin.call("NetworkDriver.DeleteNetwork", {"NetworkID": net.id}) == (200, {})
    for pool in plugin.book.pools.all():
        assert plugin.call("IpamDriver.ReleasePool", {"PoolID": pool.id}) == (200, {})
    plugin.driver._addresses.sweep(0.0)
    plugin.driver._addresses.sweep(1e9)
    assert plugin.left == []
    assert threading.active_count() <= threads and open_files() <= files


RAW = [
    b"",
    b"\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST /Plugin.Activate HTTP/9.9\r\n\r\n",
    b"POST /Plugin.Activate HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    b"POST /Plugin.Activate HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
    b"POST /Plugin.Activate HTTP/1.1\r\nContent-Length: \xb2\r\n\r\n",
    b"POST /Plugin.Activate HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    b"POST /NetworkDriver.Join HTTP/1.1\r\nContent-Length: 9\r\n\r\n{}",
    b"POST /NetworkDriver.Join HTTP/1.1\r\nContent-Length: 6\r\n\r\n\xff\xfe{}[]",
    b"POST /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n",
    b"POST / HTTP/1.1\r\n" + b"X: y\r\n" * 200 + b"\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00",
    b"POST /NetworkDriver.Join HTTP/1.1\r\nContent-Length: 200000\r\n\r\n" + b"[" * 200_000,
]


@pytest.mark.parametrize("raw", RAW, ids=range(len(RAW)))
def test_what_is_not_http(plugin: Plugin, raw: bytes) -> None:
    line = plugin.connect().sock
    line.sendall(raw)
    line.shutdown(1)
    said = b""
    while part := line.recv(65536):
        said += part
    line.close()
    if said:
        head, _, body = said.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1"):  # an answer to a line without a version has no head
            body = said
        reply = json.loads(body)
        assert reply["Err"] == reply["Error"] and "Traceback" not in reply["Err"]
    assert plugin.call("Plugin.Activate").body["Implements"] == ["NetworkDriver", "IpamDriver"]


@settings(max_examples=300, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(raw=st.binary(max_size=200))
def test_bytes(plugin: Plugin, raw: bytes) -> None:
    line = plugin.connect().sock
    line.sendall(raw)
    line.shutdown(1)
    while line.recv(65536):
        pass
    line.close()
    assert plugin.call("Plugin.Activate").status == 200


def test_a_request_that_never_ends_holds_nobody_up(plugin: Plugin) -> None:
    slow = [plugin.connect().sock for _ in range(20)]
    for line in slow:
        line.sendall(b"POST /Plugin.Activate HTTP/1.1\r\nContent-Length: 10\r\n\r\n")
    assert plugin.call("Plugin.Activate").status == 200
    for line in slow:
        line.close()
