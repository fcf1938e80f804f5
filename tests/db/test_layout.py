"""The address plan of a network: ranges, what nobody gets, several subnets, blocks of hosts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from db import attachments, blocks, endpoints, hosts, ipam, networks, subnetting
from db.changes import transaction
from db.engine import create_engine, reading
from db.errors import Conflict, Exhausted, Invalid
from db.layout import Layout
from db.tables import Host
from tests.db import steps


@pytest.fixture
def h1(engine: Engine) -> Host:
    steps.tenant(engine)
    return steps.host(engine)


def network(engine: Engine, *subnets: str, **layout: Any) -> None:
    steps.network(engine, "acme/web", *subnets, layout=Layout(**layout))


def attach_all(engine: Engine, on: Host, count: int, prefix: str = "c") -> list[str]:
    return [steps.attach(engine, on, f"{prefix}{number}").addresses[0] for number in range(count)]


def owned(engine: Engine) -> dict[str, str]:
    """Whose each block is."""
    with reading(engine) as session:
        subnet = networks.get(session, "acme/web").subnets[0]
        return {one.cidr: one.host for one in blocks.usage(session, subnet, datetime.now(UTC))}


def test_a_range_bounds_what_is_chosen_and_not_what_may_be_asked_for(engine: Engine, h1: Host) -> None:
    network(engine, "10.20.0.0/24", ranges=["10.20.0.128/30"])
    assert attach_all(engine, h1, 4) == [f"10.20.0.{number}/24" for number in (128, 129, 130, 131)]
    with pytest.raises(Exhausted, match=r"subnet 10\.20\.0\.0/24 .* is full"):
        steps.attach(engine, h1, "full")
    assert steps.attach(engine, h1, "fix", addresses=["10.20.0.9"]).addresses == ["10.20.0.9/24"]


def test_nobody_gets_what_is_excluded_or_auxiliary(engine: Engine, h1: Host) -> None:
    network(
        engine,
        "10.20.0.0/28",
        excludes=["10.20.0.0/30", "10.20.0.5", "10.20.0.8-10.20.0.10"],
        aux={"router": "10.20.0.7"},
    )
    with reading(engine) as session:
        subnet = networks.get(session, "acme/web").subnets[0]
        assert subnet.gateway == "10.20.0.4" and subnetting.size(subnet) == 5
        assert subnet.excludes == ["10.20.0.0/30", "10.20.0.5", "10.20.0.8/31", "10.20.0.10"]
    assert attach_all(engine, h1, 5) == [f"10.20.0.{number}/28" for number in (6, 11, 12, 13, 14)]
    for address, why in (
        ("10.20.0.7", "auxiliary address router"),
        ("10.20.0.9", "excluded"),
        ("10.20.0.4", "the gat"),
    ):
        with pytest.raises(Conflict, match=f"address {address} of network acme/web is {why}"):
            steps.attach(engine, h1, "x", addresses=[address])


@pytest.mark.parametrize(
    ("subnets", "layout", "sentence"),
    [
        (["10.20.0.0/24"], {"ranges": ["10.21.0.0/25"]}, "range 10.21.0.0/25 is outside of 10.20.0.0/24"),
        (["10.20.0.0/24"], {"ranges": ["10.20.0.0/23"]}, "range 10.20.0.0/23 is outside of 10.20.0.0/24"),
        (["10.20.0.0/24"], {"ranges": ["10.20.0.0/26", "10.20.0.64/26"]}, "are both ranges of 10.20.0.0/24"),
        (["10.20.0.0/24"], {"ranges": ["10.20.0.0/32"]}, "has no address that an endpoint may have"),
        (["fd00:20::/64"], {"ranges": ["fd00:20::8000:0:0:0/112"]}, "is in the upper half of fd00:20::/64"),
        (["10.20.0.0/24"], {"gateways": ["10.21.0.1"]}, "gateway 10.21.0.1 is outside of subnet 10.20.0.0/24"),
        (["10.20.0.0/24"], {"gateways": ["fd00::1"]}, "gateway fd00::1 is IPv6, and the network has no IPv6 subnet"),
        (["10.20.0.0/24"], {"gateways": ["10.20.0.1", "10.20.0.2"]}, "are both gateways of 10.20.0.0/24"),
        (["10.20.0.0/24"], {"excludes": ["10.21.0.0/28"]}, "excluded 10.21.0.0/28 is outside of 10.20.0.0/24"),
        (["10.20.0.0/24"], {"excludes": ["10.20.0.9-10.20.0.3"]}, "is not a range of addresses"),
        (["10.0.0.0/9"], {"excludes": ["10.0.0.0/15"]}, "more than 65536 addresses are excluded"),
        (["10.20.0.0/30"], {"excludes": ["10.20.0.0/30"]}, "no address of subnet 10.20.0.0/30 is left for its gateway"),
        (["10.20.0.0/24"], {"aux": {"a": "10.20.0.1"}, "gateways": ["10.20.0.1"]}, "a=10.20.0.1 is the gateway"),
        (["10.20.0.0/24"], {"aux": {"a": "10.20.0.9", "b": "10.20.0.9"}}, "10.20.0.9 has two names"),
        (["10.20.0.0/24"], {"aux": {"a": "fd00::9"}}, "auxiliary address a fd00::9 is IPv6, and the network has no"),
        (["fd00:20::/64"], {"gateways": ["fd00:20::1%eth0"]}, "gateway 'fd00:20::1%eth0' is not an address"),
        (["fd00:20::/64"], {"aux": {"a": "fd00:20::9%eth0"}}, "a 'fd00:20::9%eth0' is not an address"),
        (["10.20.0.0/24"], {"plan": "ring"}, "'ring' is not an address plan; use shared or per-host"),
        (["10.20.0.0/24"], {"strict": True}, "use the plan per-host"),
        (["10.20.0.0/24"], {"plan": "per-host", "block_sizes": [26, 27]}, "are both IPv4"),
        (["10.20.0.0/24"], {"plan": "per-host", "block_sizes": [23]}, "use /24 to /30"),
        (
            ["10.20.0.0/24"],
            {"plan": "per-host", "block_sizes": [122]},
            "block size /122 is one of IPv6",
        ),
        (["10.20.0.0/30"], {"plan": "per-host"}, "cannot be cut into blocks of /31"),
        (["10.20.0.0/24", "10.20.0.128/25"], {}, "subnets 10.20.0.0/24 and 10.20.0.128/25 overlap"),
    ],
)
def test_a_layout_that_cannot_be_is_refused_and_leaves_nothing(
    engine: Engine, h1: Host, subnets: Sequence[str], layout: Mapping[str, Any], sentence: str
) -> None:
    before = steps.held(engine), steps.revision(engine)
    with pytest.raises(Invalid) as refused:
        network(engine, *subnets, **layout)
    assert sentence in str(refused.value) and refused.value.remedy
    assert (steps.held(engine), steps.revision(engine)) == before


def test_an_endpoint_gets_one_address_of_each_family_of_the_first_subnet_with_room(engine: Engine, h1: Host) -> None:
    network(engine, "10.20.0.0/30", "fd00:20::/64", "10.21.0.0/29", gateways=["10.21.0.6"])
    first = steps.attach(engine, h1, "a")
    assert first.addresses == ["10.20.0.2/30", "fd00:20::2/64"]
    second = steps.attach(engine, h1, "b")
    assert second.addresses == ["fd00:20::3/64", "10.21.0.1/29"]
    assert second.gateways == ["fd00:20::1", "10.21.0.6"]
    third = steps.attach(engine, h1, "c", addresses=["10.21.0.4"])
    assert third.addresses == ["fd00:20::4/64", "10.21.0.4/29"]
    with pytest.raises(Invalid, match=r"10\.20\.0\.2 and 10\.21\.0\.5 are both IPv4"):
        steps.attach(engine, h1, "d", addresses=["10.20.0.2", "10.21.0.5"])
    for name in ("e", "f", "g"):
        steps.attach(engine, h1, name)
    with pytest.raises(Exhausted, match=r"the subnets 10\.20\.0\.0/30, 10\.21\.0\.0/29 .* have no address left"):
        steps.attach(engine, h1, "full")


def test_endpoints_of_two_ipv6_subnets_have_different_macs(engine: Engine, h1: Host) -> None:
    network(engine, "fd00:20::/64", "fd00:21::/64")
    one = steps.attach(engine, h1, "a", addresses=["fd00:20::9"])
    other = steps.attach(engine, h1, "b", addresses=["fd00:21::9"])
    assert (one.mac, other.mac) == ("02:01:00:00:00:09", "02:02:00:00:00:09")


def test_subnets_come_and_go_with_a_revision(engine: Engine, h1: Host) -> None:
    network(engine, "10.20.0.0/24")
    before = steps.revision(engine)
    steps.do(engine, networks.add_subnet, "acme/web", "10.21.0.0/24", layout=Layout(gateways=["10.21.0.9"]))
    with reading(engine) as session:
        web = networks.get(session, "acme/web")
        assert [subnet.gateway for subnet in web.subnets] == ["10.20.0.1", "10.21.0.9"] and web.version == 2
    assert steps.do(engine, networks.remove_subnet, "acme/web", "10.20.0.0/24") == before + 2
    with pytest.raises(Conflict, match="is the only subnet"):
        steps.do(engine, networks.remove_subnet, "acme/web", "10.21.0.0/24")
    steps.network(engine, "acme/other", "10.20.0.0/24")  # which is nobody's now


def test_a_subnet_of_which_an_endpoint_declares_addresses_stays(engine: Engine, h1: Host) -> None:
    network(engine, "10.20.0.0/24", "10.21.0.0/24")
    steps.attach(engine, h1, "lb")
    for declared in ("10.21.0.100", "10.21.0.64/28"):
        steps.do(engine, endpoints.update, "acme/lb", allowed=[{"address": declared}])
        with pytest.raises(Conflict, match=r"subnet 10\.21\.0\.0/24 of network acme/web is in use by acme/lb"):
            steps.do(engine, networks.remove_subnet, "acme/web", "10.21.0.0/24")
    steps.do(engine, endpoints.update, "acme/lb", allowed=[])
    steps.do(engine, networks.remove_subnet, "acme/web", "10.21.0.0/24")
    assert steps.detach(engine, h1, "lb")


def test_each_host_has_blocks_of_its_own_and_another_when_they_are_full(engine: Engine, h1: Host) -> None:
    h2 = steps.host(engine, "h2", "198.18.0.12")
    network(engine, "10.20.0.0/27", plan="per-host", block_sizes=[29])
    assert attach_all(engine, h1, 2) == ["10.20.0.2/27", "10.20.0.3/27"]
    assert attach_all(engine, h2, 8, "d") == [f"10.20.0.{number}/27" for number in range(8, 16)]
    assert owned(engine) == {"10.20.0.0/29": "h1", "10.20.0.8/29": "h2"}
    assert steps.attach(engine, h2, "more").addresses == ["10.20.0.16/27"]
    assert steps.attach(engine, h1, "own").addresses == ["10.20.0.4/27"]
    assert owned(engine)["10.20.0.16/29"] == "h2"


def test_a_host_without_a_block_borrows_unless_the_network_is_strict(engine: Engine, h1: Host) -> None:
    h2 = steps.host(engine, "h2", "198.18.0.12")
    network(engine, "10.20.0.0/28", plan="per-host", block_sizes=[28])
    steps.attach(engine, h1, "a")
    assert steps.attach(engine, h2, "b").addresses == ["10.20.0.3/28"]
    strict = Layout(plan="per-host", block_sizes=[29], strict=True)
    steps.network(engine, "acme/strict", "10.21.0.0/28", layout=strict)
    for number in range(7):
        steps.attach(engine, h1, f"s{number}", "acme/strict")
    assert steps.attach(engine, h1, "asked", "acme/strict", addresses=["10.21.0.14"]).addresses == ["10.21.0.14/28"]
    with pytest.raises(Exhausted, match=r"subnet 10\.21\.0\.0/28 .* has no block left for host h2"):
        steps.attach(engine, h2, "c", "acme/strict")
    with pytest.raises(Conflict, match=r"10\.21\.0\.13 is in block 10\.21\.0\.8/29 of host h1, not of host h2"):
        steps.attach(engine, h2, "c", "acme/strict", addresses=["10.21.0.13"])


def test_a_block_is_given_back_when_its_last_address_is_free_and_rested(engine: Engine, h1: Host) -> None:
    h2 = steps.host(engine, "h2", "198.18.0.12")
    network(engine, "10.20.0.0/28", plan="per-host", block_sizes=[29], strict=True)
    steps.attach(engine, h1, "a"), steps.attach(engine, h1, "b", addresses=["10.20.0.9"])
    steps.detach(engine, h1, "b")
    with pytest.raises(Exhausted):
        steps.attach(engine, h2, "c")
    later = datetime.now(UTC) + timedelta(seconds=subnetting.ADDRESS_REST_SECONDS + 1)
    with transaction(engine, later) as tx:
        given = attachments.attach(tx, h2.id, "c", "eth0", network="acme/web", name="c").endpoint.addresses
    assert given == ["10.20.0.8/28"]
    assert owned(engine) == {"10.20.0.0/29": "h1", "10.20.0.8/29": "h2"}


def test_blocks_of_which_nobody_gets_an_address_are_passed_over(engine: Engine, h1: Host) -> None:
    h2, h3 = steps.host(engine, "h2", "198.18.0.12"), steps.host(engine, "h3", "198.18.0.13")
    layout = {"plan": "per-host", "block_sizes": [28], "strict": True}
    network(engine, "10.20.0.0/25", excludes=["10.20.0.16-10.20.0.79"], **layout)
    given = [steps.attach(engine, on, name).addresses for on, name in ((h1, "a"), (h2, "b"), (h3, "c"))]
    assert given == [["10.20.0.2/25"], ["10.20.0.80/25"], ["10.20.0.96/25"]]
    for number in range(16):
        steps.attach(engine, h3, f"more{number}")
    assert owned(engine) == {
        "10.20.0.0/28": "h1",
        "10.20.0.80/28": "h2",
        "10.20.0.96/28": "h3",
        "10.20.0.112/28": "h3",
    }
    with pytest.raises(Exhausted, match="no block left for host h2"):
        for number in range(16):
            steps.attach(engine, h2, f"last{number}")
    with reading(engine) as session:
        kinds = {one.kind for one in ipam.check(session, datetime.now(UTC))}
    assert kinds <= {"host-unheard"}, "what was passed over is nobody's"


def test_the_upper_half_of_a_subnet_has_blocks_as_the_lower(engine: Engine, h1: Host) -> None:
    network(engine, "fd00:20::/64", plan="per-host", gateways=["fd00:20::8000:0:0:1"])
    steps.attach(engine, h1, "a", addresses=["fd00:20::8000:0:0:9"])
    with reading(engine) as session:
        (one,) = blocks.usage(session, networks.get(session, "acme/web").subnets[0], datetime.now(UTC))
    assert (one.cidr, one.size, one.used) == ("fd00:20:0:0:8000::/122", 63, 1)


def test_removing_a_host_frees_its_blocks(engine: Engine, h1: Host) -> None:
    h2 = steps.host(engine, "h2", "198.18.0.12")
    network(engine, "10.20.0.0/28", "fd00:20::/64", plan="per-host", block_sizes=[28])
    steps.attach(engine, h1, "a")
    with transaction(engine) as tx:
        hosts.delete(tx, "h1", force=True)
    assert owned(engine) == {}
    assert steps.attach(engine, h2, "b").addresses == ["10.20.0.3/28", "fd00:20::40/64"]


@pytest.mark.parametrize("strict", [False, True])
def test_many_hosts_at_once_never_share_a_block_or_an_address(engine: Engine, h1: Host, strict: bool) -> None:
    network(engine, "10.20.0.0/24", plan="per-host", block_sizes=[28], strict=strict)
    there = [h1, *(steps.host(engine, f"h{number}", f"198.18.0.{10 + number}") for number in range(2, 9))]

    def fill(at: int) -> list[str]:
        return attach_all(engine, there[at], 10, f"t{at}-")

    with ThreadPoolExecutor(8) as threads:
        given = [address for found in threads.map(fill, range(8)) for address in found]
    assert len(set(given)) == 80
    assert sorted(owned(engine).values()) == sorted(host.name for host in there)


@pytest.mark.parametrize("layout", [Layout(), Layout(plan="per-host", block_sizes=[28])])
def test_32_clients_with_connections_of_their_own_share_no_address_and_leak_none(
    database_url: str, layout: Layout
) -> None:
    setup = create_engine(database_url)
    steps.tenant(setup)
    steps.network(setup, "acme/web", "10.20.0.0/22", layout=layout)
    there = [steps.host(setup, f"h{number}", f"198.18.1.{number}") for number in range(1, 33)]
    before = steps.held(setup)
    holders: dict[str, int] = {}

    def hold(who: int) -> None:
        own = create_engine(database_url)
        for number in range(5):
            name = f"t{who}-{number}"
            address = steps.attach(own, there[who], name).addresses[0]
            assert holders.setdefault(address, who) == who, f"{address} is held twice"
            del holders[address]
            steps.detach(own, there[who], name)
        own.dispose()

    with ThreadPoolExecutor(32) as threads:
        for done in [threads.submit(hold, who) for who in range(32)]:
            done.result()
    with transaction(setup, datetime.now(UTC) + timedelta(seconds=60)) as tx:
        left = {one.kind for one in ipam.collect(tx)}
    assert left <= {"block-empty", "host-unheard"}
    assert steps.held(setup) == before
    setup.dispose()
