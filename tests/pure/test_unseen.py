"""Nobody passes a policy by calling a packet an answer: what belongs to no known connection is judged as it stands."""

from __future__ import annotations

import pytest

from controller.model import Policy, Tier
from controller.pipeline.flow import Reason
from controller.world import World
from tests.oracle import Question
from tests.pure import worlds
from tests.pure.connections import Packet
from tests.pure.fabric import Fabric, untracked

ACK, SYN = 0x010, 0x002
HIGH, LOW = 40_000, 20_000


def denied() -> World:
    """Nothing of a policy accepts what comes to tenant A's endpoints: 101 on h1, 102 on h2."""
    lock = Policy(1, "a/lock", worlds.TENANT_A, Tier.TENANT, 1, 0, None, (), (), None)
    return worlds.world(*worlds.two_tenants(), worlds.policy(lock))


def sent(fabric: Fabric, protocol: str, **fields: int) -> Packet:
    asked = Question("e101", "e102", protocol, 8, 0, 4, 1)
    return {**fabric.request(asked), **fields}


@pytest.mark.parametrize(("source", "destination"), [(LOW, HIGH), (HIGH, LOW), (LOW, LOW), (HIGH, HIGH)])
@pytest.mark.parametrize("flags", [SYN, ACK])
def test_tcp_without_a_beginning_does_not_pass_a_deny(source: int, destination: int, flags: int) -> None:
    fabric = Fabric(denied())
    packet = sent(fabric, "tcp", tcp_src=source, tcp_dst=destination, tcp_flags=flags)
    outcome = fabric.carry(fabric.world.endpoints[101], packet, untracked((1, 2, 3)))
    assert outcome.reason is Reason.INGRESS_POLICY


@pytest.mark.parametrize("type", [0, 14])
def test_an_echo_reply_without_a_request_does_not_pass_a_deny(type: int) -> None:
    fabric = Fabric(denied())
    packet = sent(fabric, "icmp", icmp_type=type)
    outcome = fabric.carry(fabric.world.endpoints[101], packet, untracked((1, 2, 3)))
    assert outcome.reason is Reason.INGRESS_POLICY
