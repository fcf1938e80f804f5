"""What flows say in words: names where there are names, and nowhere a bare register."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from controller.calc.known import Names, owned, service
from controller.mark import mark
from controller.model import Direction
from controller.openflow.fields import CT_STATE
from controller.pipeline import registers
from controller.pipeline.flow import Flow, Match
from controller.world import World
from db.engine import reading
from db.snapshot import snapshot
from tests import crowd
from tests.pure import worlds
from tests.pure.test_golden import CASES
from tests.web.conftest import Site
from web.ui.flow_words import Part, action_parts, match_parts, part, state


def parts(world: World, host: int) -> Iterator[tuple[Flow, Part]]:
    names = Names(world, host)
    for one in owned(world, host):
        for found in (*match_parts(one.flow, names), *action_parts(one.flow, names)):
            yield one.flow, found


def bare(world: World, host: int) -> set[str]:
    """Words that are none."""
    return {
        found.words
        for _, found in parts(world, host)
        if re.search(r"\breg\d|metadata|->|\[\d|ct_|conj_id", found.words)
    }


@pytest.mark.parametrize("name", CASES)
def test_no_register_is_left_bare(name: str) -> None:
    world = worlds.world(*getattr(worlds, name)())
    assert all(bare(world, host) == set() for host in world.hosts)


@pytest.fixture
def filled(site: Site) -> World:
    crowd.fill(site.engine, host_count=2, tenant_count=3, endpoint_count=12)
    with reading(site.engine) as session:
        return World().apply(*snapshot(session))


def test_policies_and_who_they_mean_have_names(filled: World) -> None:
    assert all(bare(filled, host) == set() for host in filled.hosts)
    everywhere = [found for host in filled.hosts for _, found in parts(filled, host)]
    said = {found.words for found in everywhere}
    policy = next(one for one in filled.policies.values() if one.ingress)
    assert f"set let in by {policy.name} ingress rule 1" in said
    assert any(re.match(r"destination endpoints acme \(app=", one) for one in said)
    assert any(re.match(r"set source endpoints acme \(app=", one) for one in said)
    # What is said is said of what is there: both halves stand in the raw text.
    both = next(found for found in everywhere if found.words.startswith("source endpoints"))
    assert re.fullmatch(r"reg10=0x[0-9a-f]+,reg11=0x[0-9a-f]+", both.raw)


def test_every_raw_text_is_kept(filled: World) -> None:
    """Numbers are a hover away: nothing of a match is lost by words."""
    host, names = min(filled.hosts), Names(filled, min(filled.hosts))
    for one in owned(filled, host):
        raw = ",".join(found.raw for found in match_parts(one.flow, names))
        assert all(f"{item.field}=" in raw for item in one.flow.match)


@pytest.mark.parametrize(
    ("value", "mask", "said"),
    [
        (6 << 16 | 80, 0xFFFFFF, "TCP port 80"),
        (17 << 16 | 64, 0xFFFFC0, "UDP ports 64 to 127"),
        (132 << 16, 0xFF0000, "SCTP"),
        (1 << 16 | 8 << 8, 0xFFFF00, "ICMP type 8"),
        (58 << 16 | 128 << 8 | 1, 0xFFFFFF, "ICMPv6 type 128 code 1"),
        (47 << 16, 0xFF0000, "protocol 47"),
        (80, 0xFFFF, None),
        (6 << 16 | 1, 0xFF0001, None),
    ],
)
def test_services(value: int, mask: int, said: str | None) -> None:
    assert service(value, mask) == said


def test_states_of_connections() -> None:
    new, tracked, reply = CT_STATE["new"], CT_STATE["trk"], CT_STATE["rpl"]
    assert state(new | tracked, new | tracked) == "new"
    assert state(tracked, reply | tracked) == "not a reply"
    assert state(0, tracked) == "not looked up"


def test_what_nobody_knows_keeps_its_number_beside_the_name_of_its_place(filled: World) -> None:
    names = Names(filled, min(filled.hosts))
    for field, value, raw, said in (
        (registers.DESTINATION_NETWORK, 4711, "reg3=0x1267", "destination network 0x1267"),
        (registers.INGRESS_MARK, 99, "reg15=0x63", "let in by 0x63"),
        (registers.INGRESS_MARK, 0, "reg15=0x0", "let in by no rule"),
        (registers.DESTINATION_HOST, registers.GATEWAY, "reg8=0xfffffffe", "destination host the host's gateway"),
        ("tp_dst", 80, "tp_dst=80", "tp_dst=80"),
    ):
        assert part(Match(field, value), raw, names) == Part(said, raw)
    gateway = registers.FROM_GATEWAY
    assert part(Match("reg0", gateway, gateway), "reg0=0x2000000/0x2000000", names).words == "from the host"


def test_addresses_that_two_tenants_have_are_one_or_the_other() -> None:
    world: Any = worlds.world(*worlds.overlapping())
    names = Names(world, min(world.hosts))
    shared = [at for one in world.endpoints.values() for at in one.addresses]
    twice = [at for at in shared if sum((at.version, at.value) == (o.version, o.value) for o in shared) == 2]
    assert twice
    for at in twice:
        said = names.of("ip_src" if at.version == 4 else "ipv6_src", at.value, None)
        assert said is not None and " or " in said


def test_a_mark_is_of_the_rule_that_made_it(filled: World) -> None:
    names = Names(filled, min(filled.hosts))
    for policy in filled.policies.values():
        for direction in Direction:
            for number, rule in enumerate(policy.rules(direction) or (), 1):
                field = registers.INGRESS_MARK if direction is Direction.INGRESS else registers.EGRESS_MARK
                said = names.of(field, mark(policy.id, direction, rule), None)
                assert said == f"{policy.name} {direction.name.lower()} rule {number}"
