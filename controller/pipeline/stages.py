"""The pipeline's graph: the stages in the order a packet meets them, and where each may send it.

```
 local port ─ CLASSIFY ─────────────┐                    ┌─ reply back to the port
 tunnel ───── CLASSIFY ─ TUNNEL ─ ZONE ─ GUARD ─ ANSWER ─┴─ TRACK_SOURCE ─ STATE_SOURCE ─ SERVICE ─ GATEWAY ─┐
                                            └─ (from a tunnel: guarded and routed at its source) ──────────── ROUTE
 INGRESS_POLICY ─ STATE_DESTINATION ─ TRACK_DESTINATION ─ ADMIT ─ EGRESS_POLICY ─ DELIVER ───────────────────┘
 └ COMMIT_SOURCE ─ COMMIT_DESTINATION ─ OUTPUT
```

Table numbers have gaps so that a later stage needs no renumbering.
"""

from __future__ import annotations

from enum import IntEnum


class Stage(IntEnum):
    CLASSIFY = 0
    TUNNEL = 5
    ZONE = 10
    GUARD = 20
    ANSWER = 30
    ADVERTISE = 35
    TRACK_SOURCE = 40
    STATE_SOURCE = 45
    SERVICE = 50
    GATEWAY = 60
    ROUTE = 65
    DELIVER = 70
    EGRESS_POLICY = 80
    ADMIT = 85
    TRACK_DESTINATION = 90
    STATE_DESTINATION = 95
    INGRESS_POLICY = 100
    COMMIT_SOURCE = 105
    COMMIT_DESTINATION = 108
    OUTPUT = 110


NEXT: dict[Stage, frozenset[Stage]] = {
    Stage.CLASSIFY: frozenset({Stage.TUNNEL, Stage.ZONE}),
    Stage.TUNNEL: frozenset({Stage.ZONE}),
    Stage.ZONE: frozenset({Stage.GUARD}),
    Stage.GUARD: frozenset({Stage.ANSWER, Stage.ROUTE}),
    Stage.ANSWER: frozenset({Stage.ADVERTISE, Stage.TRACK_SOURCE}),
    Stage.ADVERTISE: frozenset(),
    Stage.TRACK_SOURCE: frozenset({Stage.STATE_SOURCE, Stage.SERVICE}),
    Stage.STATE_SOURCE: frozenset({Stage.SERVICE}),
    Stage.SERVICE: frozenset({Stage.GATEWAY}),
    Stage.GATEWAY: frozenset({Stage.ROUTE}),
    Stage.ROUTE: frozenset({Stage.DELIVER}),
    Stage.DELIVER: frozenset({Stage.EGRESS_POLICY}),
    Stage.EGRESS_POLICY: frozenset({Stage.ADMIT}),
    Stage.ADMIT: frozenset({Stage.TRACK_DESTINATION}),
    Stage.TRACK_DESTINATION: frozenset({Stage.STATE_DESTINATION, Stage.INGRESS_POLICY}),
    Stage.STATE_DESTINATION: frozenset({Stage.INGRESS_POLICY}),
    Stage.INGRESS_POLICY: frozenset({Stage.COMMIT_SOURCE}),
    Stage.COMMIT_SOURCE: frozenset({Stage.COMMIT_DESTINATION}),
    Stage.COMMIT_DESTINATION: frozenset({Stage.OUTPUT}),
    Stage.OUTPUT: frozenset(),
}
"""Which stages a flow of each stage may name next. Always forward: OpenFlow has no way back."""
