"""What a packet carries through the pipeline: every register bit range has a name and one line here.

`metadata` holds the source zone and nothing else: OVS partitions its classifier by the exact value of metadata, so a
match on the zone is free speed. `reg5` is for scratch.
"""

from __future__ import annotations

from controller.model import Network
from controller.pipeline.flow import Match, SetField

SOURCE_ZONE = "metadata"

SOURCE_TENANT = "reg0"  # [0..15] the source's tenant number
SOURCE_TENANT_BITS = "reg0[0..15]"
TENANT_MASK = 0xFFFF
TENANT_WIDTH = 15  # bits of a tenant's number, which is 0 for who is no endpoint
FLAGS = "reg0"
FROM_TUNNEL = 1 << 16  # the packet came from another host, or from nobody who is known
SOURCE_JUDGED = 1 << 17  # a policy may be about the source, which is here, or whose broadcast this is
DESTINATION_JUDGED = 1 << 18  # a policy may be about the destination, which is here
REPLY = 1 << 19  # the packet belongs to a connection that its destination opened
RELATED = 1 << 20  # an error message about a connection that was admitted
NEW_AT_SOURCE = 1 << 21  # the first packet of a connection, as the source's tenant has seen
NEW_AT_DESTINATION = 1 << 22  # the same, as the destination's tenant has seen
FROM_RESOLVER = 1 << 23  # an answer of the host's resolver
FROM_OUTSIDE = 1 << 24  # the packet came from a physical segment; such have FROM_TUNNEL, too
FROM_GATEWAY = 1 << 25  # the packet came from the host; such have FROM_TUNNEL, too
OUTPUT_PORT = "reg1"  # the port to deliver to, when the destination is here
SOURCE_NETWORK = "reg2"  # VNI
DESTINATION_NETWORK = "reg3"  # VNI
DESTINATION_ZONE = "reg4"
SERVICE = "reg6"  # [16..23] IP protocol, [0..15] the port that was opened, or ICMP type << 8 | code
DESTINATION_TENANT = "reg7"  # [0..15] the destination's tenant number
DESTINATION_TENANT_BITS = "reg7[0..15]"
DESTINATION_HOST = "reg8"  # id of the host to tunnel to; 0 when the destination is here; OUTSIDE, GATEWAY: no endpoint
OUTSIDE, GATEWAY = 0xFFFFFFFF, 0xFFFFFFFE
CARRIER = "reg9"  # number of the transport that carries packets of the source's network
SOURCE_IDENTITY = "reg10", "reg11"  # high and low half of the number of the source's identity, for policies
DESTINATION_IDENTITY = "reg12", "reg13"
EGRESS_MARK = "reg14"  # `mark` of the rule that accepted, about the source; 0: none had to
INGRESS_MARK = "reg15"  # the same, about the destination

Identified = tuple[str, str]


def source_tenant(tenant: int) -> Match:
    """A packet from an endpoint of `tenant` on this host or on another."""
    return Match(SOURCE_TENANT, tenant, TENANT_MASK)


def local_source_tenant(tenant: int) -> Match:
    """A packet from an endpoint of `tenant` on this host."""
    return Match(SOURCE_TENANT, tenant, TENANT_MASK | FROM_TUNNEL)


def set_source_tenant(tenant: int) -> SetField:
    return SetField(SOURCE_TENANT, tenant, TENANT_MASK)


def set_destination(network: Network) -> tuple[SetField, SetField, SetField]:
    return (
        SetField(DESTINATION_NETWORK, network.vni),
        SetField(DESTINATION_ZONE, network.zone),
        SetField(DESTINATION_TENANT, network.tenant),
    )


def flagged(*flags: int) -> Match:
    """A packet that bears all of the flags."""
    return Match(FLAGS, sum(flags), sum(flags))


def unflagged(*flags: int) -> Match:
    """A packet that bears none of the flags."""
    return Match(FLAGS, 0, sum(flags))


def flag(*flags: int) -> SetField:
    return SetField(FLAGS, sum(flags), sum(flags))


def is_identity(end: Identified, identity: int) -> tuple[Match, Match]:
    high, low = end
    return Match(high, identity >> 32), Match(low, identity & 0xFFFFFFFF)


def set_identity(end: Identified, identity: int) -> tuple[SetField, SetField]:
    high, low = end
    return SetField(high, identity >> 32), SetField(low, identity & 0xFFFFFFFF)


HERE = Match(DESTINATION_HOST, 0)
LOCAL_SOURCE = Match(SOURCE_TENANT, 0, FROM_TUNNEL)
