"""`warren apply` and `warren export`: everything as files declare it, and as such a file."""

from __future__ import annotations

import click

from client import output
from client.change import wait
from client.context import Context
from client.options import changing
from client.policies import default_tenant, files


@click.command()
@files
@default_tenant
@click.option("--prune", is_flag=True, help="Remove what is not in the files, of the kinds that are in them.")
@changing
@click.pass_obj
def apply(context: Context, files: tuple[str, ...], tenant: str | None, prune: bool) -> None:
    """Make everything but hosts and endpoints as some files say.

    Prints what differs, then does it, one after the other. Fields that the files do not name stay as they are.

    \b
    Example:
      warren export > all.yaml
      warren apply -f all.yaml --dry-run
      warren apply -f all.yaml --prune
    """
    from client import declared, manifests, steps  # PyYAML takes longer to load than `--help` takes

    wished = declared.wanted(manifests.read(files, tenant))
    there = declared.present(context.rest, {one.kind for one in wished})
    found = steps.steps(wished, there, prune)
    dry_run = context.dry_run
    table = context.output == "table"
    revision, done = 0, 0
    try:
        for step in found:
            if table:
                click.echo(str(step))
            if dry_run:
                continue
            for method, path, body, version in step.requests:
                seen = {"If-Match": f'"{version}"'} if version is not None else {}
                reply = context.rest.request(method, path, body, headers=seen).body
                revision = max(revision, reply.get("revision", 0))
            done += 1
    finally:
        if done < len(found) and not dry_run:
            click.echo(f"{done} of {len(found)} were done; mend the rest and apply again.", err=True)
    if revision and context.wait:
        wait(context.rest, revision, context.timeout)
    if table:
        click.echo(_sentence(len(found), dry_run))
    else:
        plan = [{"sign": step.sign, "what": step.what, "details": step.details} for step in found]
        output.data(context.output, {"steps": plan, "done": not dry_run, "revision": revision or None})


def _sentence(count: int, dry_run: bool) -> str:
    if not count:
        return "Everything is as the files say."
    return f"{count} to do. Nothing was changed." if dry_run else f"{count} done."


@click.command()
@click.pass_obj
def export(context: Context) -> None:
    """Print everything but hosts, endpoints and what belongs to them, as `warren apply` takes it.

    As YAML, or as JSON with `-o json` before the command. Passwords, tokens and published ports are not among them.

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
        click.echo(f"Left out, as whoever asks may not read it: {', '.join(closed)}.", err=True)
    if context.output == "json":
        output.data("json", {"apiVersion": "v1", "kind": "List", "items": documents})
        return
    import yaml

    click.echo(yaml.safe_dump_all(documents, sort_keys=False, allow_unicode=True), nl=False)
