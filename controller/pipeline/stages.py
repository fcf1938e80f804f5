"""The pipeline's graph: the stages in the order a packet meets them, and where each may send it.

```
 local port ─ CLASSIFY ─────────────┐                    ┌─ reply back to the port
 resolver ─── CLASSIFY ─ RESOLVED ─ OUTPUT         ┌─ query to the resolver
 tunnel ───── CLASSIFY ─ TUNNEL ─ ZONE ─ GUARD ─ ANSWER ─┴─ TRACK_SOURCE ─ STATE_SOURCE ─ SERVICE ─ GATEWAY ─┐
                                            └─ (from a tunnel: guarded and routed at its source) ──────────── ROUTE
            ┌─ (nothing to judge) ─────────────────────────────────────────────────────────────┐            │
            │       IDENTIFY ─ STATE_DESTINATION ─ TRACK_DESTINATION ─ ADMIT ─ DELIVER ────────────────────────┘
            │          └ NORMALIZE ─ EGRESS_ADMIN ─ EGRESS_TENANT ─ EGRESS_BASELINE ─┐          │
            │                        INGRESS_BASELINE ─ INGRESS_TENANT ─ INGRESS_ADMIN ┘          │
            └ COMMIT_SOURCE ─ RESTORE ──┘                                                      ─┘
              └ COMMIT_DESTINATION ─ OUTPUT ─ CARRY              ROUTE ─ (no network) ─ OUTWARD ─ FIREWALL ─ WAY_OUT
                 └ LEAVE ─ the host's gateway, or OUTPUT to that of another host
 the host's gateway ─ CLASSIFY ─ ENTER ─ TRACK_DESTINATION
                      └ OUTPUT, to an endpoint on another host that all publish
 a tunnel, from another host's gateway or to this one's ─ CLASSIFY ─ TUNNEL ─ ZONE ─ MESH ─ ENTER
```

From WAY_OUT what may leave, by a physical segment or the host's gateway, goes on to TRACK_DESTINATION.

A broadcast goes from ANSWER, or by HEAR if it is from elsewhere, to REPLICATE, whose groups copy it to ADMIT for each
endpoint here and for a physical segment, and to OUTPUT for each other host.

Table numbers have gaps so that a later stage needs no renumbering.
"""

from __future__ import annotations

from enum import IntEnum


class Stage(IntEnum):
    CLASSIFY = 0
    RESOLVED = 3
    TUNNEL = 5
    SEGMENT = 7
    ZONE = 10
    MESH = 14
    ENTER = 16
    GUARD = 20
    ANSWER = 30
    ADVERTISE = 35
    HEAR = 36
    REPLICATE = 37
    TRACK_SOURCE = 40
    STATE_SOURCE = 45
    SERVICE = 50
    GATEWAY = 60
    ROUTE = 65
    OUTWARD = 66
    FIREWALL = 67
    WAY_OUT = 68
    DELIVER = 70
    ADMIT = 75
    TRACK_DESTINATION = 80
    STATE_DESTINATION = 82
    IDENTIFY = 84
    NORMALIZE = 86
    EGRESS_ADMIN = 90
    EGRESS_TENANT = 91
    EGRESS_BASELINE = 92
    INGRESS_ADMIN = 95
    INGRESS_TENANT = 96
    INGRESS_BASELINE = 97
    RESTORE = 100
    COMMIT_SOURCE = 105
    COMMIT_DESTINATION = 108
    LEAVE = 109
    OUTPUT = 110
    CARRY = 112


NEXT: dict[Stage, frozenset[Stage]] = {
    Stage.CLASSIFY: frozenset({Stage.RESOLVED, Stage.ENTER, Stage.TUNNEL, Stage.ZONE, Stage.OUTPUT}),
    Stage.RESOLVED: frozenset({Stage.OUTPUT}),
    Stage.TUNNEL: frozenset({Stage.SEGMENT, Stage.ZONE}),
    Stage.SEGMENT: frozenset({Stage.ZONE}),
    Stage.ZONE: frozenset({Stage.GUARD, Stage.MESH}),
    Stage.MESH: frozenset({Stage.ENTER}),
    Stage.ENTER: frozenset({Stage.TRACK_DESTINATION}),
    Stage.GUARD: frozenset({Stage.ANSWER, Stage.HEAR, Stage.ROUTE}),
    Stage.ANSWER: frozenset({Stage.ADVERTISE, Stage.HEAR, Stage.REPLICATE, Stage.TRACK_SOURCE}),
    Stage.ADVERTISE: frozenset(),
    Stage.HEAR: frozenset({Stage.REPLICATE}),
    Stage.REPLICATE: frozenset({Stage.ADMIT, Stage.OUTPUT}),
    Stage.TRACK_SOURCE: frozenset({Stage.STATE_SOURCE, Stage.SERVICE}),
    Stage.STATE_SOURCE: frozenset({Stage.SERVICE}),
    Stage.SERVICE: frozenset({Stage.GATEWAY}),
    Stage.GATEWAY: frozenset({Stage.ROUTE}),
    Stage.ROUTE: frozenset({Stage.DELIVER, Stage.OUTWARD}),
    Stage.OUTWARD: frozenset({Stage.FIREWALL}),
    Stage.FIREWALL: frozenset({Stage.WAY_OUT}),
    Stage.WAY_OUT: frozenset({Stage.TRACK_DESTINATION}),
    Stage.DELIVER: frozenset({Stage.ADMIT}),
    Stage.ADMIT: frozenset({Stage.TRACK_DESTINATION}),
    Stage.TRACK_DESTINATION: frozenset({Stage.STATE_DESTINATION, Stage.NORMALIZE, Stage.COMMIT_SOURCE}),
    Stage.STATE_DESTINATION: frozenset({Stage.IDENTIFY}),
    Stage.IDENTIFY: frozenset({Stage.NORMALIZE}),
    Stage.NORMALIZE: frozenset({Stage.EGRESS_ADMIN, Stage.COMMIT_SOURCE}),
    Stage.EGRESS_ADMIN: frozenset({Stage.EGRESS_TENANT, Stage.INGRESS_ADMIN}),
    Stage.EGRESS_TENANT: frozenset({Stage.EGRESS_BASELINE, Stage.INGRESS_ADMIN}),
    Stage.EGRESS_BASELINE: frozenset({Stage.INGRESS_ADMIN}),
    Stage.INGRESS_ADMIN: frozenset({Stage.INGRESS_TENANT, Stage.RESTORE}),
    Stage.INGRESS_TENANT: frozenset({Stage.INGRESS_BASELINE, Stage.RESTORE}),
    Stage.INGRESS_BASELINE: frozenset({Stage.RESTORE}),
    Stage.RESTORE: frozenset({Stage.COMMIT_SOURCE}),
    Stage.COMMIT_SOURCE: frozenset({Stage.COMMIT_DESTINATION}),
    Stage.COMMIT_DESTINATION: frozenset({Stage.LEAVE, Stage.OUTPUT}),
    Stage.LEAVE: frozenset({Stage.OUTPUT}),
    Stage.OUTPUT: frozenset({Stage.CARRY}),
    Stage.CARRY: frozenset(),
}
"""Which stages a flow of each stage, or a bucket of a group that it leads to, may name next. Always forward: OpenFlow
has no way back."""
