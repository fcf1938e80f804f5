# ruff: noqa: N818 (a refusal is not an error of the program)
"""What the database refuses, as sentences for people: what is wrong, with which value, and what to do about it.

Decides nothing about HTTP; `slug` names the kind of refusal for whoever translates it.
"""

from __future__ import annotations

from typing import ClassVar


class DomainError(Exception):
    """`problem` says what is wrong, `remedy` what to do, `field` which input to change (None: not one of them)."""

    slug: ClassVar[str] = "refused"

    def __init__(self, problem: str, remedy: str = "", field: str | None = None) -> None:
        super().__init__(f"{problem}; {remedy}" if remedy else problem)
        self.problem = problem
        self.remedy = remedy
        self.field = field


class Invalid(DomainError):
    """The input can never be right, whatever the state of the database."""

    slug = "invalid"


class NotFound(DomainError):
    slug = "not-found"


class Conflict(DomainError):
    """The input collides with what is there."""

    slug = "conflict"


class CollidesElsewhere(Conflict):
    """It collides with another tenant's object, or with a host. `discreet` is the problem for those who may not know of
    that."""

    def __init__(self, problem: str, remedy: str, field: str, discreet: str) -> None:
        super().__init__(problem, remedy, field)
        self.discreet = discreet


class QuotaExceeded(Conflict):
    """The tenant has as much as it may have."""

    slug = "quota-exceeded"


class Exhausted(Conflict):
    """A pool has no number left. `retry_after` is in seconds when a resting number will be free again by itself."""

    slug = "exhausted"

    def __init__(self, problem: str, remedy: str, retry_after: float | None = None, field: str | None = None) -> None:
        super().__init__(problem, remedy, field)
        self.retry_after = retry_after


class StaleVersion(DomainError):
    """The caller changed something it had seen in an older version."""

    slug = "stale-version"


class Forbidden(DomainError):
    slug = "forbidden"


class Unauthenticated(DomainError):
    """A token, session or password that opens nothing."""

    slug = "unauthenticated"


class EnrolTokenUsed(Unauthenticated):
    slug = "enrol-token-used"


class Busy(DomainError):
    """Another writer held the database for longer than anyone should."""

    slug = "busy"
