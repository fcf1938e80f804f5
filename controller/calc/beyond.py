"""What a change may do to who reaches endpoints from beyond them, or is reached: hosts, and what is outside.

`preview` and `policy_preview` tell it of endpoints, one by one. Beyond there are more addresses than can be asked, so
this says no more than which rule is another than before, and for whom.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from controller.model import Change, Direction, Policy, Tier
from controller.world import World


class Beyond(NamedTuple):
    """`tenant` is whose it is; empty: the cluster's."""

    tenant: str
    words: str


def beyond(old: World, new: World, changes: Iterable[Change]) -> Iterator[Beyond]:
    for change in changes:
        match change.noun:
            case "policy":
                yield from _policy(old, new, old.policies.get(change.id), new.policies.get(change.id))
            case "network" if change.id in old.networks and change.id in new.networks:
                network = new.networks[change.id]
                if network.outbound != old.networks[change.id].outbound:
                    opens = "opens to" if network.outbound else "closes to"
                    words = f"network {network.name} {opens} the outside: published ports and its hosts' own way, too"
                    yield Beyond(new.tenants[network.tenant].name, words)
            case "tenant" if change.id in old.tenants and change.id in new.tenants:
                tenant = new.tenants[change.id]
                for direction in sorted(tenant.default_deny ^ old.tenants[change.id].default_deny):
                    denies = "begins" if direction in tenant.default_deny else "ceases"
                    words = (
                        f"tenant {tenant.name} {denies} to deny {direction.name.lower()} {_ENDS[direction]} by default"
                    )
                    yield Beyond(tenant.name, words)


_ENDS = {Direction.INGRESS: "from hosts and the outside", Direction.EGRESS: "to the outside and the hosts"}


def _policy(old: World, new: World, was: Policy | None, now: Policy | None) -> Iterator[Beyond]:
    named = now or was
    if named is None or was == now:
        return
    tenant = (new if now else old).tenants.get(named.tenant)
    owner = tenant.name if tenant else ""
    if named.tier is Tier.FIREWALL:
        words = f"egress firewall {named.name} may change what endpoints of {owner} reach outside and of the hosts"
        yield Beyond(owner, words)
        return
    for direction in Direction:
        if any(policy is not None and policy.rules(direction) is not None for policy in (was, now)):
            words = f"policy {named.name} may change what comes {_ENDS[direction]}"
            if direction is Direction.EGRESS:
                words = f"policy {named.name} may change what goes {_ENDS[direction]}"
            yield Beyond(owner, words)
