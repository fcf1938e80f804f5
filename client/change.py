"""Changes, and the wait until they are live: a change is done when every host concerned has confirmed its revision."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from client import output
from client.context import Context
from client.progress import Step

if TYPE_CHECKING:
    from client.rest import Rest

Tell = Callable[["Context", str, Mapping[str, Any], Sequence[str]], None]
HOSTS = [output.column("HOST"), output.column("GAINS", "gained"), output.column("LOSES", "lost")]
SILENT_SECONDS = 1.0
POLL_SECONDS = 5.0


def carry_out(
    context: Context,
    method: str,
    path: str,
    body: Mapping[str, Any] | None,
    said: Callable[[dict[str, Any]], str] | str,
    *,
    params: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
    more: Callable[[dict[str, Any]], Sequence[str]] = lambda reply: (),
    tell: Tell | None = None,
) -> None:
    """Ask for a change and tell of it in the words of `said`, or print what it would do."""
    sent = None if body is None else dict(body)
    query = {**(params or {}), **({"dry_run": "true"} if context.dry_run else {})}
    reply = context.rest.request(method, path, sent, params=query or None, headers=headers).body
    if context.dry_run:
        foretell(context, reply)
    else:
        (tell or report)(context, said if isinstance(said, str) else said(reply), reply, more(reply))


def create(
    context: Context,
    path: str,
    body: Mapping[str, Any],
    said: Callable[[dict[str, Any]], str] | str,
    more: Callable[[dict[str, Any]], Sequence[str]] = lambda reply: (),
    tell: Tell | None = None,
) -> None:
    """POST once, however often the connection breaks: the key makes a repeated request the same one."""
    carry_out(context, "POST", path, body, said, headers={"Idempotency-Key": uuid.uuid4().hex}, more=more, tell=tell)


def foretell(context: Context, reply: Mapping[str, Any]) -> None:
    if context.output != "table":
        output.data(context.output, dict(reply))
        return
    for line in reply["words"]:
        click.echo(line)
    if reply["more"]:
        click.echo("... and more.")
    if reply["hosts"]:
        click.echo()
        output.listing("table", reply["hosts"], HOSTS)
        click.echo()
    click.echo("Nothing was changed.")


def note(context: Context, said: str, reply: Mapping[str, Any], more: Sequence[str] = ()) -> None:
    """Report a change that concerns no host. It waits, for the newest revision as the API does, only with --wait."""
    if context.insists:
        report(context, said, reply, more)
    else:
        output.said(context.output, "\n".join([said, *more]), reply)


def report(
    context: Context, said: str, reply: Mapping[str, Any], more: Sequence[str] = (), rest: Rest | None = None
) -> None:
    """Wait until the change is live, if that is wanted, and say so. `more` are lines people need besides."""
    revision = reply["revision"]
    progress = wait(rest or context.rest, revision, context.timeout) if context.wait else None
    if context.output != "table":
        # A reply that tells where the change is live tells what was waited for.
        waited: dict[str, Any] = {key: progress[key] for key in ("state", "hosts")} if progress else {}
        news = waited if "hosts" in reply else {}
        if waited and "live" in reply:
            news = {**news, "live": waited}
        output.data(context.output, {**reply, **news})
        return
    live = f" (revision {revision})" if progress is None else f" (revision {revision}, {where(progress)})"
    click.echo(said + live)
    for line in more:
        click.echo(line)


def wait(rest: Rest, revision: int, seconds: float, host: str | None = None) -> dict[str, Any]:
    """Until the revision is applied on every host concerned. Raises with the hosts that lack it."""
    deadline = time.monotonic() + seconds
    with Step(f"Waiting for revision {revision}", after=SILENT_SECONDS) as step:
        while True:
            rest_of_time = max(0.0, deadline - time.monotonic())
            poll = min(POLL_SECONDS, rest_of_time)
            progress: dict[str, Any] = rest.get(
                f"/revisions/{revision}", params={"wait": round(poll, 3), "host": host}, timeout=poll + 10
            ).body
            if progress["state"] == "applied":
                return progress
            lacking = [one for one in progress["hosts"] if one["state"] != "applied"]
            if progress["state"] == "failed" or not rest_of_time:
                raise click.ClickException(_lacking(revision, lacking, seconds, progress["state"]))
            step.label = f"Waiting for {_names(lacking)}" if lacking else f"Waiting for revision {revision}"


def where(progress: Mapping[str, Any]) -> str:
    """How far a revision that is applied reaches, in words."""
    count = len(progress["hosts"])
    return "no flow of a host changes" if not count else f"live on {count} host{'s' if count > 1 else ''}"


def _lacking(revision: int, lacking: Sequence[Mapping[str, Any]], seconds: float, state: str) -> str:
    if state == "failed":
        refused = [one for one in lacking if one["state"] == "failed"]
        said = "; ".join(f"{one['host']}: {one['error']}" for one in refused)
        return f"Revision {revision} was refused by {_names(refused)} ({said}); it is stored, see `warren host show`."
    if not lacking:
        return (
            f"Revision {revision} is stored, but no controller has taken it up within {seconds:g} s; "
            "is `warren controller` running?"
        )
    return (
        f"Revision {revision} is stored, but not live on {_names(lacking)} after {seconds:g} s; it will be as soon as "
        f"they answer (`warren revision wait {revision}`)."
    )


def _names(hosts: Sequence[Mapping[str, Any]]) -> str:
    shown = [f"{one['host']} ({one['state']})" for one in hosts[:5]]
    return ", ".join(shown) + (f" and {len(hosts) - 5} more" if len(hosts) > 5 else "")
