"""What a rule decided is told in names: who opened what connection to whom, and which rule of which policy it was."""

from __future__ import annotations

import ipaddress
import logging
import struct

import pytest

import controller.calc.decision as told
from controller.account import LINES, MOST_DECISIONS, WRITE_SECONDS, Account, sentence
from controller.calc.decision import Decision, Packet, decision, packet
from controller.model import Action, Direction, Members, Policy, Rule, Service, Tier
from controller.openflow.decode import packet_in
from controller.openflow.fields import field
from controller.pipeline.flow import RuleRef
from controller.pipeline.registers import (
    DESTINATION_IDENTITY,
    DESTINATION_NETWORK,
    DESTINATION_TENANT,
    FLAGS,
    REPLY,
    SERVICE,
    SOURCE_IDENTITY,
    SOURCE_NETWORK,
    SOURCE_TENANT,
)
from controller.world import World
from tests.pure import worlds

DB, WEB = (("app", "db"),), (("app", "web"),)
ACCEPT = Rule("from web", Action.ACCEPT, (Members(None, ()),), None)
DENY = Rule("", Action.DENY, None, None)
INGRESS = Direction.INGRESS
LOCKDOWN = Policy(5, "t1/lockdown", 1, Tier.TENANT, 1, 0, None, (), (ACCEPT,), None)
WALL = Policy(6, "wall", 0, Tier.ADMIN, 1, 3, (), (), (ACCEPT, DENY), None)
NOBODY = RuleRef(0, INGRESS, 1)


@pytest.fixture
def world() -> World:
    """Web e100 on h1 and db e101 on h2, in t1's network n10."""
    return worlds.world(
        *(worlds.tenant(1), worlds.network(10, 1), worlds.host(1), worlds.host(2)),
        *(worlds.endpoint(100, 10, 1, 9, labels=WEB), worlds.endpoint(101, 10, 2, 10, labels=DB)),
        *(worlds.policy(LOCKDOWN), worlds.policy(WALL)),
    )


def seen(world: World, protocol: int, service: int, version: int = 4, reply: bool = False) -> Decision:
    """What is told of a packet between the two that h2 denied because nothing accepts it."""
    made = decision(world, 2, NOBODY, copied(world, protocol, service, version, reply))
    assert made is not None
    return made


def registers(world: World, protocol: int, service: int, reply: bool = False) -> dict[str, int]:
    web, db = (world.identity_of(world.endpoints[id]).id for id in (100, 101))
    assert FLAGS == SOURCE_TENANT
    fields = {
        FLAGS: 1 | (REPLY if reply else 0),
        DESTINATION_TENANT: 1,
        SERVICE: protocol << 16 | service,
        SOURCE_NETWORK: 1010,
        DESTINATION_NETWORK: 1010,
    }
    for end, identity in ((SOURCE_IDENTITY, web), (DESTINATION_IDENTITY, db)):
        fields |= {end[0]: identity >> 32, end[1]: identity & 0xFFFFFFFF}
    return fields


def frame(version: int = 4) -> bytes:
    source, destination = (("10.10.0.9", "10.10.0.10"), ("fd00:10::9", "fd00:10::a"))[version == 6]
    addresses = b"".join(ipaddress.ip_address(address).packed for address in (source, destination))
    if version == 4:
        return bytes(12) + b"\x08\x00" + bytes(12) + addresses + bytes(20)
    return bytes(12) + b"\x86\xdd" + bytes(8) + addresses + bytes(20)


def copied(world: World, protocol: int, service: int, version: int = 4, reply: bool = False) -> Packet:
    read = packet(registers(world, protocol, service, reply), frame(version))
    assert read is not None
    return read


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("reply", [False, True])
def test_both_ends_are_named_as_who_opened_the_connection_to_whom(world: World, version: int, reply: bool) -> None:
    made = seen(world, 6, 5432, version, reply)
    assert (made.host, made.action, made.direction) == ("h2", "deny", "ingress")
    assert (made.source, made.destination) == ("e100", "e101")
    assert made.source_address == ("10.10.0.9" if version == 4 else "fd00:10::9")
    assert made.destination_address == ("10.10.0.10" if version == 4 else "fd00:10::a")
    assert (made.protocol, made.port, made.icmp_type) == ("tcp", 5432, None)


def test_icmp_has_a_type_and_a_code_in_place_of_a_port(world: World) -> None:
    made = seen(world, 58, 128 << 8 | 3, 6)
    assert (made.protocol, made.port, made.icmp_type, made.icmp_code) == ("icmpv6", None, 128, 3)
    other = seen(world, 47, 0)
    assert (other.protocol, other.port, other.icmp_type) == ("47", None, None)


def test_without_a_rule_the_policies_are_named_that_select_the_endpoint_and_accept_something_else(world: World) -> None:
    assert (seen(world, 6, 1).policies, seen(world, 6, 1).rule) == (("t1/lockdown",), None)
    egress = decision(world, 1, RuleRef(0, Direction.EGRESS, 1), copied(world, 6, 1))
    assert egress is not None and egress.policies == ()


def test_a_rule_is_named_by_its_policy_place_and_name(world: World) -> None:
    accepted = decision(world, 2, RuleRef(6, INGRESS, 0), copied(world, 17, 53))
    denied = decision(world, 2, RuleRef(6, INGRESS, 1), copied(world, 17, 53))
    assert accepted is not None and denied is not None
    assert accepted[1:6] == ("accept", "ingress", ("wall",), 1, "from web")
    assert denied[1:6] == ("deny", "ingress", ("wall",), 2, "")
    assert sentence(denied) == "h2: e100 (10.10.0.9) -> e101 (10.10.0.10) udp/53: deny by ingress rule 2 of policy wall"
    assert sentence(accepted).endswith("accept by ingress rule 1 (from web) of policy wall")


def test_a_policy_is_named_once_however_often_it_means_the_endpoint(world: World) -> None:
    named = Service(6, name="http")
    web = Rule(
        "",
        Action.ACCEPT,
        (Members(None, (("app", "In", ("web",)),)), Members(None, (("app", "In", ("db",)),))),
        (named,),
    )
    twice = LOCKDOWN._replace(id=7, name="t1/twice", ordinal=2, ingress=(web, web))
    world = world.apply(2, [worlds.policy(twice), worlds.policy(LOCKDOWN)._replace(value=None)])
    assert len(list(world.policies_meaning(world.identity_of(world.endpoints[101])))) > 2, (
        "it is found by more than one"
    )
    assert seen(world, 6, 25).policies == ("t1/twice",)


def test_what_is_gone_meanwhile_is_not_told_and_who_is_not_known_has_an_address(world: World) -> None:
    read = copied(world, 6, 1)
    assert decision(world, 9, NOBODY, read) is None
    for gone in (RuleRef(6, INGRESS, 2), RuleRef(6, Direction.EGRESS, 0), RuleRef(9, INGRESS, 0)):
        assert decision(world, 2, gone, read) is None
    made = decision(world, 2, NOBODY, read._replace(source=read.source._replace(network=7)))
    assert made is not None and (made.source, made.source_address) == ("", "10.10.0.9")


@pytest.mark.parametrize(
    ("version", "protocol", "body", "service"),
    [
        (4, 6, "1f400019", 25),
        (6, 17, "1f400035", 53),
        (4, 1, "0800", 8 << 8),
        (6, 58, "8003", 128 << 8 | 3),
        (4, 47, "1f400019", 0),
        (4, 6, "", 0),
    ],
)
def test_what_the_firewall_judged_is_read_from_the_packet(
    world: World, version: int, protocol: int, body: str, service: int
) -> None:
    data = bytearray(frame(version)[:-20])
    data[14], data[23 if version == 4 else 20] = version << 4 | 5, protocol
    fields = {FLAGS: 1 | REPLY, SOURCE_NETWORK: 1010}
    read = packet(fields, bytes(data) + bytes.fromhex(body))
    assert read is not None and (read.protocol, read.service) == (protocol, service)
    made = decision(world, 1, RuleRef(6, INGRESS, 1), read)
    assert made is not None and (made.source, made.destination) == ("e100", "")


def test_a_later_fragment_has_no_port() -> None:
    data = bytearray(frame()) + bytes.fromhex("1f400019")
    data[14], data[21], data[23] = 0x45, 9, 6
    read = packet({FLAGS: 1}, bytes(data))
    assert read is not None and (read.protocol, read.service) == (6, 0)


@pytest.mark.parametrize("data", [b"", bytes(14), frame()[:30], bytes(12) + b"\x08\x06" + bytes(50), frame(6)[:50]])
def test_whatever_is_no_whole_ip_header_is_passed_over(data: bytes) -> None:
    assert packet({}, data) is None


def test_a_copied_packet_is_read_with_whatever_fields_it_has() -> None:
    oxm = field("reg0").oxm + (5).to_bytes(4, "big")
    oxm += field("metadata").oxm_masked + (9).to_bytes(8, "big") + b"\xff" * 8
    oxm += bytes.fromhex("ffff0c08") + b"ONF\x00" + bytes(4)  # of a vendor, and not known
    oxm += field("in_port").oxm + (3).to_bytes(4, "big")
    match = struct.pack("!HH", 1, 4 + len(oxm)) + oxm
    match += bytes(-len(match) % 8)
    body = struct.pack("!IHBBQ", 0xFFFFFFFF, 9, 1, 80, 0x77DF) + match + bytes(2) + b"the frame"
    read = packet_in(struct.pack("!BBHI", 5, 10, 8 + len(body), 0) + body)
    assert (read.cookie, read.fields, read.packet) == (0x77DF, {"reg0": 5, "metadata": 9, "in_port": 3}, b"the frame")


def test_addresses_that_somebody_tries_one_after_the_other_are_not_all_remembered(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(told, "MOST_NAMES", 4)
    read = copied(world, 6, 1)
    for number in range(20):
        outside = read.source._replace(network=0, tenant=0, address=(4, number))
        made = decision(world, 2, NOBODY, read._replace(source=outside))
        assert made is not None and (made.source, made.destination) == ("", "e101")
        assert len(told._found(world).names) <= 4


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def note(account: Account, world: World, port: int) -> None:
    account.copied(world, 2, NOBODY, registers(world, 6, port), frame())


def test_what_is_alike_is_one_note_with_a_number_and_is_kept_until_it_is_written(world: World) -> None:
    clock = Clock()
    account = Account({}, clock)
    for port in (80, 80, 81):
        note(account, world, port)
    with pytest.raises(OSError), account.noted() as (_, decisions, _):
        raise OSError("the database is away")
    note(account, world, 80)
    with account.noted() as (_, decisions, _):
        assert not decisions, "at most once a second"
    clock.now += WRITE_SECONDS
    with account.noted() as (_, decisions, _):
        assert {made.port: seen.count for made, seen in decisions.items()} == {80: 3, 81: 1}
    clock.now += WRITE_SECONDS
    with account.noted() as (_, decisions, _):
        assert not decisions


def test_a_flood_fills_neither_memory_nor_the_log(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    account = Account({}, Clock())
    for port in range(MOST_DECISIONS + 10):
        note(account, world, port)
    with account.noted() as (_, decisions, _):
        assert len(decisions) == MOST_DECISIONS
    assert len(caplog.records) == LINES


def test_a_decision_is_a_line_in_the_log_again_when_it_was_not_made_for_a_while(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    clock = Clock()
    account = Account({}, clock)
    for seconds in (0, 30, 30, 61):
        clock.now += seconds
        note(account, world, 80)
    assert len(caplog.records) == 2
