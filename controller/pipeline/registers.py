"""What a packet carries through the pipeline: every register bit range has a name and one line here.

`metadata` holds the source zone and nothing else: OVS partitions its classifier by the exact value of
metadata, so a match on the zone is free speed.
"""

from __future__ import annotations

from controller.pipeline.flow import Match, SetField

SOURCE_ZONE = "metadata"

SOURCE_TENANT = "reg0"  # [0..15] the source's tenant number
SOURCE_TENANT_BITS = "reg0[0..15]"
TENANT_MASK = 0xFFFF
FROM_TUNNEL = 1 << 16  # reg0[16] the packet came from another host
OUTPUT_PORT = "reg1"  # the port to deliver to, when the destination is here
SOURCE_NETWORK = "reg2"  # VNI
DESTINATION_NETWORK = "reg3"  # VNI
DESTINATION_ZONE = "reg4"
SOURCE_IDENTITY = "reg5"  # label set of the source, for policies
DESTINATION_IDENTITY = "reg6"
DESTINATION_TENANT = "reg7"  # [0..15] the destination's tenant number
DESTINATION_HOST = "reg8"  # id of the host to tunnel to; 0 when the destination is here


def source_tenant(tenant: int) -> Match:
    """A packet from an endpoint of `tenant` on this host or on another."""
    return Match(SOURCE_TENANT, tenant, TENANT_MASK)


def local_source_tenant(tenant: int) -> Match:
    """A packet from an endpoint of `tenant` on this host."""
    return Match(SOURCE_TENANT, tenant, TENANT_MASK | FROM_TUNNEL)


def set_source_tenant(tenant: int) -> SetField:
    return SetField(SOURCE_TENANT, tenant, TENANT_MASK)


HERE = Match(DESTINATION_HOST, 0)
LOCAL_SOURCE = Match(SOURCE_TENANT, 0, FROM_TUNNEL)
