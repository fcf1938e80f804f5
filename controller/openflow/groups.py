"""Groups become bytes: buckets that are put together from many fragments, and the messages that set a group and end it.

A group has no cookie, so it is compared as a whole: its buckets in the order of their bytes, which Open vSwitch answers
as it was told. OpenFlow 1.4 cannot change one bucket, so a group that changes is said anew; no flow is.
"""

from __future__ import annotations

from collections.abc import Iterable
from struct import Struct
from typing import NamedTuple

from controller.openflow.encode import ANY, BUNDLE, BUNDLE_ADD, BUNDLE_FLAGS, VERSION, WRAPPING, encode_actions
from controller.pipeline.flow import Bucket

GROUP_MOD = 15
ADD_OR_MODIFY, DELETE = 0x8000, 2
"""The first is Open vSwitch's own: whether there is such a group need not be known."""
ALL = 0
"""The type of a group whose every bucket gets a copy."""

MOST_BUCKETS = 60_000
"""Bytes of a group's buckets, for a message has a 16-bit length; what is beyond is left out. Open vSwitch gives up on a
packet long before it has gone through as many."""

_HEAD = Struct("!BBHIIHHBBHIHBxI")
_BUCKET = Struct("!HHII4x")

Buckets = tuple[bytes, ...]
"""The buckets of one group, sorted."""


class WireBucket(NamedTuple):
    """`data` is empty for a bucket that only says that there is the group."""

    group: int
    data: bytes


def encode_bucket(bucket: Bucket) -> WireBucket:
    if not bucket.actions:
        return WireBucket(bucket.group, b"")
    actions = encode_actions(bucket.actions)
    return WireBucket(bucket.group, _BUCKET.pack(_BUCKET.size + len(actions), 0, ANY, ANY) + actions)


def in_order(buckets: Iterable[bytes]) -> Buckets:
    """The buckets as a switch has them."""
    kept, size = [], 0
    for data in sorted(filter(None, buckets)):
        size += len(data)
        if size > MOST_BUCKETS:
            break
        kept.append(data)
    return tuple(kept)


def put(group: int, buckets: Buckets) -> bytes:
    """Makes the group, or makes it this."""
    return _message(ADD_OR_MODIFY, group, b"".join(buckets))


def delete(group: int) -> bytes:
    """Ends the group, and with it all flows that lead to it."""
    return _message(DELETE, group, b"")


def _message(command: int, group: int, buckets: bytes) -> bytes:
    length = _HEAD.size + len(buckets)
    head = VERSION, BUNDLE_ADD, length, 0, BUNDLE, 0, BUNDLE_FLAGS
    return _HEAD.pack(*head, VERSION, GROUP_MOD, length - WRAPPING, 0, command, ALL, group) + buckets
