"""What the API says of steps that are not done: each is asked for with `dry_run`.

Steps are tried one by one against what there is. So one that needs what an earlier step makes is judged by its own
values alone, which the API looks at before it looks for what they are about.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from client.steps import Step

if TYPE_CHECKING:
    from client.rest import Problem, Rest

NOTHING = "Nothing changes in who reaches whom among endpoints."


class Tried(NamedTuple):
    """What a step would change for endpoints, and what is wrong with it, if something is."""

    words: list[str]
    fault: str | None


def tried(rest: Rest, found: Sequence[Step]) -> Iterator[tuple[Step, Tried]]:
    made = {step.what for step in found if step.sign == "+"}
    made |= {f"Network {one.removeprefix('Tenant ')}/default" for one in made if one.startswith("Tenant ")}
    going = any(step.sign == "-" for step in found)
    for step in found:
        yield step, _tried(rest, step, made, going)


def _tried(rest: Rest, step: Step, made: set[str], going: bool) -> Tried:
    from client.rest import Problem, if_match

    words: list[str] = []
    for number, (method, path, body, version) in enumerate(step.requests):
        try:
            reply = rest.request(method, path, body, params={"dry_run": "true"}, headers=if_match(version)).body
        except Problem as problem:
            # What an earlier request of the step changes first is not so yet.
            later = number > 0 and problem.status in (404, 409)
            # A pool that networks of before have a subnet of is free when they are gone.
            freed = step.what.startswith("Pool ") and step.sign == "-" and going and problem.status == 409
            if later or freed or _comes(problem, made):
                continue
            return Tried(words, refused(step, problem))
        words += [line for line in reply.get("words", ()) if line != NOTHING]
    return Tried(words, None)


def refused(step: Step, problem: Problem) -> str:
    return ": ".join(part for part in (step.place, step.what, problem.detail) if part)


def _comes(problem: Problem, made: set[str]) -> bool:
    """Whether what is missing is made by another step: `there is no tenant acme` while Tenant acme is."""
    if problem.status != 404:
        return False
    return any(re.search(rf"there is no {re.escape(one)}(?![\w/-])", problem.detail, re.IGNORECASE) for one in made)
