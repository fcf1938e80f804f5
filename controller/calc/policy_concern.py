"""What a step from one world to the next concerns of policies: which of them read differently, and at which hosts.

A policy reads differently when it changed itself, when whom it names or selects became another set of identities or
tenants, or when another policy of its priority moved it. Endpoints that come and go with known labels rewrite nothing:
their host looks at what it carries for their identity.
"""

from __future__ import annotations

from collections.abc import Iterable

from controller.calc.membership import policy_keys
from controller.model import Policy, Tenant, Tier
from controller.pipeline.program import Key, Part, bound
from controller.selection import Identity, called, domains, held, matches, meaning, named, subject
from controller.world import World


class PolicyConcern:
    def __init__(self, old: World, new: World) -> None:
        self.old, self.new = old, new
        self.rewritten: set[Key] = set()
        self.at: dict[int, set[Key]] = {}
        self.policies: set[int] = set()  # those that read differently, by id

    def policy(self, id: int) -> None:
        self.policies.add(id)
        for world in (self.old, self.new):
            changed = world.policies.get(id)
            if changed is None:
                continue
            if domains(changed):
                self._hearing_of(changed)
            if changed.tier is Tier.FIREWALL:
                self._firewall_of(changed.tenant)
                continue
            for identity in world.identities_of_use(subject(changed)):
                self._isolation_of(identity.id)
            if changed.tenant == 0:
                self.policies.update(_alike(self.old, changed), _alike(self.new, changed))

    def endpoint(self, id: int) -> None:
        for world in (self.old, self.new):
            endpoint = world.endpoints.get(id)
            if endpoint is None:
                continue
            its = world.identity_of(endpoint)
            here = [its.id in both.identities_of_host.get(endpoint.host, {}) for both in (self.old, self.new)]
            if world.networks[endpoint.network].broadcast:
                self.heard(its.id, self.old.judges_of(its.id) ^ self.new.judges_of(its.id))
            tenant = its.tenant
            if len({tenant in both.tenants_of_host.get(endpoint.host, {}) for both in (self.old, self.new)}) == 2:
                self.at.setdefault(endpoint.host, set()).update((Key(Part.FIREWALL, tenant), Key(Part.HEARING, tenant)))
            if here[0] != here[1]:
                self.at.setdefault(endpoint.host, set()).update(policy_keys(world, its.id))
            if (its.id in self.old.identities) != (its.id in self.new.identities):
                may_mean = world.policies_meaning(its)
                self.policies.update(policy.id for policy in may_mean if _means(world, policy, its))

    def heard(self, identity: int, hosts: Iterable[int]) -> None:
        """Hosts that begin or cease to hear broadcasts of the identity."""
        for world in (self.old, self.new):
            if identity in world.identities:
                keys = set(policy_keys(world, identity))
                for host in hosts:
                    self.at.setdefault(host, set()).update(keys)

    def name(self, id: int) -> None:
        """What a DNS name stands for, to those who name it."""
        changed = [world.names[id].name for world in (self.old, self.new) if id in world.names]
        for domain in {domain for name in changed for domain in meaning(name)}:
            for policy in self.new.policies_of_domain.get(domain, {}).values():
                if policy.tier is Tier.FIREWALL:
                    self._firewall_of(policy.tenant)
                else:
                    self.policies.add(policy.id)

    def _firewall_of(self, tenant: int) -> None:
        key = Key(Part.FIREWALL, tenant)
        self.rewritten.add(key)
        self._at_hosts_of(tenant, key)

    def _hearing_of(self, policy: Policy) -> None:
        for world in (self.old, self.new):
            its = [policy.tenant] if policy.tenants is None else [t.id for t in world.tenants_matching(policy.tenants)]
            for tenant in its:
                self._at_hosts_of(tenant, Key(Part.HEARING, tenant))

    def _at_hosts_of(self, tenant: int, key: Key) -> None:
        for world in (self.old, self.new):
            for host in world.hosts_of_tenant.get(tenant, ()):
                self.at.setdefault(host, set()).add(key)

    def came_or_went(self, tenant: Tenant) -> None:
        """A tenant, which rules may name whole; its endpoints speak for themselves."""
        for label in held(tenant.labels):
            for world in (self.old, self.new):
                for policy in world.policies_of_label.get(label, {}).values():
                    whole = (use.tenants for use in named(policy) if use.tenants and not use.endpoints)
                    if any(matches(selector, tenant.labels) for selector in whole):
                        self.policies.add(policy.id)

    def tenant(self, was: Tenant, now: Tenant) -> None:
        if was.default_deny != now.default_deny:
            for identity in self._identities(now.id):
                self._isolation_of(identity)
        if was.labels == now.labels:
            return
        self._at_hosts_of(now.id, Key(Part.HEARING, now.id))
        for label in {*held(was.labels), *held(now.labels)}:
            for world in (self.old, self.new):
                for policy in world.policies_of_label.get(label, {}).values():
                    self._relabelled(policy, was, now)

    def _relabelled(self, policy: Policy, was: Tenant, now: Tenant) -> None:
        def turned(selector: tuple[object, ...] | None) -> bool:
            return selector is not None and matches(selector, was.labels) != matches(selector, now.labels)  # type: ignore[arg-type]

        its = subject(policy)
        if turned(its.tenants):
            self.policies.add(policy.id)
            for identity in self._identities(now.id):
                self._isolation_of(identity)
        elif any(turned(use.tenants) for use in named(policy)):
            self.policies.add(policy.id)

    def finish(self) -> None:
        """Once everything was said: the fragments of the policies that read differently, and who carries them."""
        for id in self.policies:
            for world in (self.old, self.new):
                policy = world.policies.get(id)
                if policy is None or policy.tier is Tier.FIREWALL:
                    continue
                self.rewritten.add(Key(Part.POLICY, id))
                for identity in world.identities_of_use(subject(policy)):
                    key = Key(Part.BINDING, bound(id, identity.id))
                    self.rewritten.add(key)
                    self._look(identity.id, Key(Part.POLICY, id), key)

    def _isolation_of(self, identity: int) -> None:
        key = Key(Part.SUBJECT, identity)
        self.rewritten.add(key)
        self._look(identity, key)

    def _look(self, identity: int, *keys: Key) -> None:
        for world in (self.old, self.new):
            for host in world.judges_of(identity):
                self.at.setdefault(host, set()).update(keys)

    def _identities(self, tenant: int) -> set[int]:
        return {*self.old.identities_of_tenant.get(tenant, {}), *self.new.identities_of_tenant.get(tenant, {})}


def _alike(world: World, policy: Policy) -> set[int]:
    """The cluster's policies of the same tier and priority."""
    others = world.policies_of_tenant.get(0, {}).values()
    return {other.id for other in others if (other.tier, other.priority) == (policy.tier, policy.priority)}


def _means(world: World, policy: Policy, identity: Identity) -> bool:
    labels = world.tenants[identity.tenant].labels
    uses = (subject(policy), *(use for use in named(policy) if use.endpoints))
    return any(use.of(identity, labels) for use in uses) or any(
        use.of(identity, labels) and any(identity.port(one.name, one.protocol) for one in rule.services or ())
        for use, rule in (called(policy) if identity.ports else ())
    )
