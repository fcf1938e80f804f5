"""What selectors select: which identities a policy is about, which it names as peers, and by which labels to find it.

An identity stands for all endpoints of a tenant with the same labels and named ports. Policies are matched against
identities, never against endpoints, so a new endpoint with known labels changes no policy. Knows no flows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from hashlib import blake2b
from itertools import product
from typing import NamedTuple

from controller.model import DomainName, Labels, Members, NamedPort, Policy, Rule, Selector


class Identity(NamedTuple):
    """`id` is made of all the rest, so it is the same on every host, in every controller and after every restart."""

    id: int  # 64 bits, never 0
    tenant: int
    labels: Labels
    ports: tuple[NamedPort, ...]

    def port(self, name: str, protocol: int) -> int | None:
        return next((port.port for port in self.ports if (port.name, port.protocol) == (name, protocol)), None)


@lru_cache(maxsize=1 << 17)
def identity(tenant: int, labels: Labels, ports: tuple[NamedPort, ...]) -> Identity:
    # 64 bits: that two of a million different ones would be equal is less likely than one in 30 million.
    text = repr((tenant, labels, tuple(map(tuple, ports))))
    number = int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")
    return Identity(number or 1, tenant, labels, ports)


def matches(selector: Selector, labels: Labels) -> bool:
    """Whether every requirement holds, as Kubernetes' selectors mean it: what is absent satisfies NotIn."""
    have = dict(labels)
    for key, operator, values in selector:
        match operator:
            case "In":
                holds = have.get(key) in values
            case "NotIn":
                holds = key not in have or have[key] not in values
            case "Exists":
                holds = key in have
            case "DoesNotExist":
                holds = key not in have
            case _:
                raise ValueError(f"{operator!r} is not an operator; use In, NotIn, Exists or DoesNotExist")
        if not holds:
            return False
    return True


Label = tuple[str | None, str | None]
"""A label that must be there: (key, value), (key, None) for any value, (None, None) for no label in particular."""


def anchors(selector: Selector) -> list[Label]:
    """Whatever the selector matches has one of these labels. As few things as possible have them."""
    for key, operator, values in selector:
        if operator == "In":
            return [(key, value) for value in values]
    for key, operator, _ in selector:
        if operator == "Exists":
            return [(key, None)]
    return [(None, None)]


def held(labels: Labels) -> Iterator[Label]:
    """The anchors under which something with these labels is found."""
    yield None, None
    for key, value in labels:
        yield key, None
        yield key, value


class Use(NamedTuple):
    """A place in a policy where endpoints are selected. `tenant` is the policy's own when `tenants` is None, else 0."""

    tenant: int
    tenants: Selector | None
    endpoints: Selector

    def of(self, identity: Identity, tenant_labels: Labels) -> bool:
        if self.tenants is None:
            return identity.tenant == self.tenant and matches(self.endpoints, identity.labels)
        return matches(self.endpoints, identity.labels) and matches(self.tenants, tenant_labels)


def subject(policy: Policy) -> Use:
    return Use(policy.tenant, policy.tenants, policy.endpoints)


def rules(policy: Policy) -> Iterator[Rule]:
    yield from policy.ingress or ()
    yield from policy.egress or ()


def named(policy: Policy) -> Iterator[Use]:
    """The peers of all rules that are selected by labels, each selection once."""
    members = {peer: None for rule in rules(policy) for peer in rule.peers or () if isinstance(peer, Members)}
    for peer in members:
        yield _use(policy, peer)


def _use(policy: Policy, peer: Members) -> Use:
    return Use(policy.tenant if peer.tenants is None else 0, peer.tenants, peer.endpoints)


def called(policy: Policy) -> Iterator[tuple[Use, Rule]]:
    """Whom rules ask for a port by its name, each with the rule; who is named by his address may be anybody."""
    for rule in policy.egress or ():
        if any(service.name for service in rule.services or ()):
            for peer in _EVERYBODY if rule.peers is None else rule.peers:
                yield _use(policy, peer if isinstance(peer, Members) else _EVERYBODY[0]), rule


_EVERYBODY = (Members((), ()),)


Place = tuple[int | Label, Label]
"""Where identities are looked up: by their tenant or a label of it, and by a label of theirs."""


def domains(policy: Policy) -> list[DomainName]:
    """The names that its rules say, each once."""
    peers = (peer for rule in rules(policy) for peer in rule.peers or ())
    return list(dict.fromkeys(peer for peer in peers if isinstance(peer, DomainName)))


def meaning(name: str) -> Iterator[str]:
    """How rules may say a DNS name: as it is, or `*.` and any domain that it is below."""
    yield name
    while name := name.partition(".")[2]:
        yield f"*.{name}"


class Watched(NamedTuple):
    """What a policy waits for: the identities it may select or name, and the tenants it may mean by their labels."""

    identities: set[Place]
    tenants: set[Label]


def watched(policy: Policy) -> Watched:
    found = Watched(set(), set())
    _watch(found, subject(policy))
    for use in named(policy):
        if use.tenants:  # else it means all tenants, whatever labels they have
            found.tenants.update(anchors(use.tenants))
        if use.endpoints:  # else whole tenants are named, whichever identities they have
            _watch(found, use)
    for use, _ in called(policy):
        _watch(found, use)
    return found


def _watch(found: Watched, use: Use) -> None:
    tenants: list[Label] | list[int] = [use.tenant] if use.tenants is None else anchors(use.tenants)
    found.identities.update((tenant, label) for tenant in tenants for label in anchors(use.endpoints))
    if use.tenants:
        found.tenants.update(anchors(use.tenants))


def sought(identity: Identity, tenant_labels: Labels) -> Iterable[Place]:
    """Where to look for the policies that may select or name the identity."""
    tenants: list[int | Label] = [identity.tenant, *held(tenant_labels)]
    return product(tenants, list(held(identity.labels)))
