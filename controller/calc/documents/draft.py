"""What a document says, before it has a number and a tenant has been found for it."""

from __future__ import annotations

from typing import NamedTuple

from controller.model import Direction, Policy, Requirement, Rule, Selector, Tier


class Draft(NamedTuple):
    """The parts of a `Policy` that a document decides. `tenant` is a name, empty for the cluster's policies."""

    kind: str
    tenant: str
    name: str
    tier: Tier
    priority: int
    tenants: Selector | None
    endpoints: Selector
    ingress: tuple[Rule, ...] | None
    egress: tuple[Rule, ...] | None

    @property
    def qualified_name(self) -> str:
        return f"{self.tenant}/{self.name}" if self.tenant else self.name

    def policy(self, id: int, tenant: int, ordinal: int) -> Policy:
        """`tenant` is the number of the tenant that is named, 0 for the cluster's."""
        return Policy(
            id,
            self.qualified_name,
            tenant,
            self.tier,
            ordinal,
            self.priority,
            self.tenants,
            self.endpoints,
            self.ingress,
            self.egress,
        )

    def rules(self, direction: Direction) -> tuple[Rule, ...] | None:
        return self.ingress if direction is Direction.INGRESS else self.egress

    @property
    def subject(self) -> str:
        """Whom it selects, in words: `endpoints app=web in tenants team in (a, b)`."""
        whom = f"endpoints {in_words(self.endpoints)}" if self.endpoints else "all endpoints"
        if self.tenants is None:
            return whom
        return f"{whom} in tenants {in_words(self.tenants)}" if self.tenants else f"{whom} in all tenants"


def in_words(selector: Selector) -> str:
    """As people write selectors on a command line: `app=web,tier in (a, b),!canary`."""
    return ",".join(map(_in_words, selector))


def _in_words(requirement: Requirement) -> str:
    key, operator, values = requirement
    match operator:
        case "Exists":
            return key
        case "DoesNotExist":
            return f"!{key}"
        case "In" if len(values) == 1:
            return f"{key}={values[0]}"
        case "NotIn" if len(values) == 1:
            return f"{key}!={values[0]}"
    return f"{key} {'in' if operator == 'In' else 'notin'} ({', '.join(values)})"
