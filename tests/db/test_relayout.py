"""What may be changed of how a network's addresses are given out, while it is used, and what is in the way."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from db import attachments, blocks, ipam, networks
from db.changes import transaction
from db.engine import reading
from db.errors import Conflict, Exhausted, Invalid
from db.layout import PER_HOST, Layout
from db.tables import Host
from tests.db import steps


@pytest.fixture
def h1(engine: Engine) -> Host:
    steps.tenant(engine)
    return steps.host(engine)


def change(engine: Engine, **what: Any) -> int:
    """The revision that it took, or the one there was."""
    return steps.do(engine, networks.update, "acme/web", **what)


def given(engine: Engine, on: Host, *names: str) -> list[str]:
    return [steps.attach(engine, on, name).addresses[0].partition("/")[0] for name in names]


def whole(engine: Engine) -> bool:
    """Whether claims and addresses agree still."""
    with reading(engine) as session:
        return [one for one in ipam.check(session, datetime.now(UTC)) if one.kind != "host-unheard"] == []


def test_a_new_range_bounds_what_is_chosen_from_then_on(engine: Engine, h1: Host) -> None:
    steps.network(engine, "acme/web", "10.20.0.0/24", "fd00:20::/64")
    assert given(engine, h1, "a") == ["10.20.0.2"]
    change(engine, ranges=["10.20.0.128/30"])
    assert given(engine, h1, "b", "c") == ["10.20.0.128", "10.20.0.129"]
    steps.detach(engine, h1, "a")
    assert given(engine, h1, "d", "e") == ["10.20.0.130", "10.20.0.131"]
    # 10.20.0.2 has rested, and is not of the range any more.
    later = datetime.now(UTC) + timedelta(minutes=1)
    with pytest.raises(Exhausted, match="is full"), transaction(engine, later) as tx:
        attachments.attach(tx, h1.id, "f", "eth0", network="acme/web", name="f")
    change(engine, ranges=[])
    assert given(engine, h1, "g") == ["10.20.0.3"]
    with reading(engine) as session:
        assert [one.ip_range for one in networks.get(session, "acme/web").subnets] == [None, None]
    with pytest.raises(Invalid, match=r"range 10\.21\.0\.0/24 is outside of 10\.20\.0\.0/24 and fd00:20::/64"):
        change(engine, ranges=["10.21.0.0/24"])
    assert whole(engine)


def test_what_somebody_has_cannot_be_excluded_and_what_is_free_can(engine: Engine, h1: Host) -> None:
    layout = Layout(excludes=["10.20.0.2-10.20.0.9"], aux={"router": "10.20.0.254"})
    steps.network(engine, "acme/web", "10.20.0.0/24", layout=layout)
    assert given(engine, h1, "a", "b") == ["10.20.0.10", "10.20.0.11"]
    with pytest.raises(Conflict, match=r"address 10\.20\.0\.11 .* is endpoint acme/b's: it cannot be excluded"):
        change(engine, excludes=["10.20.0.2-10.20.0.9", "10.20.0.11"])
    steps.detach(engine, h1, "b")
    change(engine, excludes=["10.20.0.5", "10.20.0.11", "10.20.0.254"])
    with pytest.raises(Conflict, match=r"10\.20\.0\.11 .* is excluded"):
        steps.attach(engine, h1, "b", addresses=["10.20.0.11"])
    assert steps.attach(engine, h1, "c", addresses=["10.20.0.4"]).addresses == ["10.20.0.4/24"]
    assert given(engine, h1, "d") == ["10.20.0.12"]
    with pytest.raises(Conflict, match=r"10\.20\.0\.254 .* is auxiliary address router"):
        steps.attach(engine, h1, "e", addresses=["10.20.0.254"])
    before = steps.revision(engine)
    assert change(engine, excludes=["10.20.0.5", "10.20.0.11", "10.20.0.254"]) == before, "nothing is different"
    change(engine, excludes=[])
    assert steps.attach(engine, h1, "e", addresses=["10.20.0.11"]).addresses == ["10.20.0.11/24"]
    assert whole(engine)


def test_exclusions_of_an_ipv6_subnet_with_addresses_in_its_upper_half(engine: Engine, h1: Host) -> None:
    gateway, far = "fd00:20::ffff:ffff:ffff:ffff", "fd00:20::8000:0:0:9"
    steps.network(engine, "acme/web", "fd00:20::/64", layout=Layout(gateways=[gateway]))
    assert steps.attach(engine, h1, "a", addresses=[far]).addresses == [f"{far}/64"]
    with pytest.raises(Conflict, match=f"address {far} .* is endpoint acme/a's: it cannot be excluded"):
        change(engine, excludes=[far])
    change(engine, excludes=["fd00:20::7fff:ffff:ffff:fffe-fd00:20::8000:0:0:1"])
    for address in ("fd00:20::7fff:ffff:ffff:ffff", "fd00:20::8000:0:0:0"):
        with pytest.raises(Conflict, match="is excluded"):
            steps.attach(engine, h1, "b", addresses=[address])
    change(engine, excludes=[])
    assert steps.attach(engine, h1, "b", addresses=["fd00:20::8000:0:0:1"])
    assert whole(engine)


def test_ranges_and_strictness_of_blocks(engine: Engine, h1: Host) -> None:
    h2 = steps.host(engine, "h2", "198.18.0.12")
    blocked = Layout(plan=PER_HOST, block_sizes=[30])
    steps.network(engine, "acme/web", "10.20.0.0/28", layout=blocked)
    for on, names in ((h1, "ab"), (h2, "cdef"), (h1, "ghij")):
        given(engine, on, *names)
    assert given(engine, h2, "k") == ["10.20.0.12"]
    assert given(engine, h1, "m") == ["10.20.0.13"], "borrowed"
    with pytest.raises(Conflict, match=r"acme/web cannot be strict: acme/m has 10\.20\.0\.13 of host h2's block"):
        change(engine, strict=True)
    steps.detach(engine, h1, "m")
    change(engine, strict=True)
    with pytest.raises(Exhausted, match="no block left for host h1"):
        given(engine, h1, "n")
    with pytest.raises(Conflict, match=r"range 10\.20\.0\.0/29 .* leaves out the block 10\.20\.0\.8/30 of host h1"):
        change(engine, ranges=["10.20.0.0/29"])
    change(engine, strict=False)
    with reading(engine) as session:
        network = networks.get(session, "acme/web")
        assert not network.strict
        assert len(blocks.usage(session, network.subnets[0], datetime.now(UTC))) == 4


def test_strictness_is_of_blocks(engine: Engine, h1: Host) -> None:
    steps.network(engine, "acme/web", "10.20.0.0/24")
    with pytest.raises(Invalid, match="network acme/web has no blocks, its hosts share its addresses"):
        change(engine, strict=True)
    assert change(engine, strict=False) == steps.revision(engine)
