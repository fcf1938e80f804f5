"""`warren apply` and `warren export`: everything as files declare it, and as such a file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from client import output
from client.change import wait
from client.context import Context
from client.options import changing
from client.policies import default_tenant, files

if TYPE_CHECKING:
    from client.steps import Step

SAME = "Everything is as the files say."


@click.command()
@files
@default_tenant
@click.option("--prune", is_flag=True, help="Delete objects that are not in the files, of the kinds that are.")
@changing
@click.pass_obj
def apply(context: Context, files: tuple[str, ...], tenant: str | None, prune: bool) -> None:
    """Make everything except hosts and endpoints as files declare it.

    Prints each difference and carries it out, one after the other. Fields that the files do not name stay as they are.
    With --dry-run the API tries each change without making it, and tells what it would refuse and who would reach whom.

    \b
    Example:
      warren export > all.yaml
      warren apply -f all.yaml --dry-run
      warren apply -f all.yaml --prune
    """
    from client import declared, manifests, steps, trial  # PyYAML takes longer to load than `--help` takes
    from client.rest import Problem, if_match

    wished = declared.wanted(manifests.located(files, tenant))
    there = declared.present(context.rest, {one.kind for one in wished})
    found = steps.steps(wished, declared.alike(there, wished), prune)
    if context.dry_run:
        _try(context, found)
        return
    table = context.output == "table"
    revision, done = 0, 0
    try:
        for step in found:
            if table:
                click.echo(str(step))
            for method, path, body, version in step.requests:
                try:
                    reply = context.rest.request(method, path, body, headers=if_match(version)).body
                except Problem as problem:
                    raise click.ClickException(trial.refused(step, problem)) from None
                revision = max(revision, reply.get("revision", 0))
            done += 1
    finally:
        if done < len(found):
            click.echo(f"{done} of {len(found)} changes were made; correct the files and apply them again.", err=True)
    if revision and context.wait:
        wait(context.rest, revision, context.timeout)
    if table:
        click.echo(f"{done} done." if found else SAME)
    else:
        output.data(context.output, {"steps": _plan(found), "done": True, "revision": revision or None})


def _plan(found: Sequence[Step]) -> list[dict[str, Any]]:
    return [{"sign": step.sign, "what": step.what, "details": step.details} for step in found]


def _try(context: Context, found: Sequence[Step]) -> None:
    """Print what would be done and what the API says of it. Raises with all that it would refuse."""
    from client import trial

    table = context.output == "table"
    plan, faults = _plan(found), []
    for shown, (step, told) in zip(plan, trial.tried(context.rest, found), strict=True):
        shown |= {"words": told.words, "fault": told.fault}
        faults += [told.fault] if told.fault else []
        if table:
            click.echo("\n    ".join([str(step), *told.words]))
    if table:
        click.echo(f"{len(found)} to do. Nothing was changed." if found else SAME)
    else:
        output.data(context.output, {"steps": plan, "done": False, "revision": None})
    if faults:
        raise click.ClickException("\n".join([f"{len(faults)} would be refused:", *faults]))


@click.command()
@click.pass_obj
def export(context: Context) -> None:
    """Print everything except hosts and endpoints, in the form that `warren apply` reads.

    As YAML, or as JSON with `-o json` before the command. Passwords, tokens and published ports are left out.

    \b
    Example:
      warren export > all.yaml
    """
    from client import declared
    from client.rest import Problem

    documents, closed = [], []
    for kind in declared.ORDER:
        try:
            documents += [declared.document(one) for one in declared.present(context.rest, {kind})]
        except Problem as problem:
            if problem.status != 403:
                raise
            closed.append(kind)
    if closed:
        click.echo(f"Left out, because you may not read them: {', '.join(closed)}.", err=True)
    if context.output == "json":
        output.data("json", {"apiVersion": "v1", "kind": "List", "items": documents})
        return
    import yaml

    click.echo(yaml.safe_dump_all(documents, sort_keys=False, allow_unicode=True), nl=False)
