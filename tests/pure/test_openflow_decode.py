"""What the switch says, in words and values."""

from __future__ import annotations

import struct

import pytest

from controller.openflow import decode
from controller.openflow.encode import encode
from controller.pipeline.flow import Flow, Match, Output
from controller.pipeline.stages import Stage

WIRE = encode(Flow(Stage.GUARD, 7, (Match("reg0", 5), Match("in_port", 3)), (Output(1),), None, 0x7705))


def error(kind: int, code: int, refused: bytes, xid: int = 0) -> decode.SwitchError:
    return decode.error(struct.pack("!BBHIHH", 5, 1, 12 + len(refused), xid, kind, code) + refused)


@pytest.mark.parametrize(
    ("kind", "code", "words"),
    [
        (2, 10, "bad action: does not fit the match"),
        (4, 9, "bad match: a prerequisite is missing"),
        (5, 1, "flow not changed: table is full"),
        (11, 0, "role request failed: stale generation id"),
        (17, 13, "bundle failed: a message failed"),
        (17, 99, "bundle failed: code 99"),
        (99, 3, "error of type 99: code 3"),
    ],
)
def test_an_error_is_told_in_words(kind: int, code: int, words: str) -> None:
    assert error(kind, code, b"").words == words


def test_a_vendor_error_is_told_in_words() -> None:
    message = error(0xFFFF, 42, struct.pack("!I", 0x2320) + WIRE.message)
    assert message.words == "bad action: this data path has no such connection tracking"
    assert message.cookie == WIRE.cookie


@pytest.mark.parametrize("refused", [WIRE.message, WIRE.message[16:]], ids=["in a bundle", "alone"])
def test_the_refused_flow_is_named(refused: bytes) -> None:
    message = error(4, 9, refused)
    assert (message.cookie, message.key) == (WIRE.cookie, WIRE.key)
    assert decode.table_and_priority(WIRE.key) == (Stage.GUARD, 7)


def test_of_a_message_cut_short_as_much_is_told_as_is_there() -> None:
    assert error(4, 9, WIRE.message[:64]).cookie == WIRE.cookie
    assert error(4, 9, WIRE.message[:64]).key is None
    assert error(4, 9, WIRE.message[:30]).cookie is None
    assert error(1, 1, b"\x05\x04\x00\x08").cookie is None


def test_only_a_controller_that_is_not_master_is_told_so() -> None:
    assert error(1, 10, b"").not_master
    assert not error(1, 9, b"").not_master
