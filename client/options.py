"""Options and arguments that many commands share, read the same way everywhere."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import click

from client.context import Context

Command = TypeVar("Command", bound=Callable[..., Any])
_WORD = r"[A-Za-z0-9_-][A-Za-z0-9_.-]*"
_NAME = re.compile(_WORD)
_QUALIFIED = re.compile(f"{_WORD}/{_WORD}")
OUTPUTS = ("table", "json", "yaml")


def _set(field: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    def callback(ctx: click.Context, _: click.Parameter, value: Any) -> None:
        if value is not None:
            setattr(ctx.ensure_object(Context), field, value)

    return callback


printing = click.option(
    *("-o", "--output"),
    type=click.Choice(OUTPUTS),
    expose_value=False,
    callback=_set("output"),
    help="Output format: table (default), json or yaml.",
)


def _set_wait(ctx: click.Context, _: click.Parameter, value: bool | None) -> None:
    if value is not None:
        context = ctx.ensure_object(Context)
        context.wait = context.insists = value


_waiting = click.option(
    "--wait/--no-wait",
    default=None,
    expose_value=False,
    callback=_set_wait,
    help="Return when every host concerned has confirmed the change (default), or at once.",
)
_trying = click.option(
    "--dry-run",
    is_flag=True,
    expose_value=False,
    callback=_set("dry_run"),
    help="Change nothing; print what would change.",
)
_patience = click.option(
    "--timeout",
    type=click.FloatRange(min=0.1),
    metavar="SECONDS",
    expose_value=False,
    callback=_set("timeout"),
    help="How long to wait; default: 30.",
)


def changing(command: Command) -> Command:
    """For commands that have the API change something."""
    return _trying(waiting(command))


def waiting(command: Command) -> Command:
    """For commands that change something otherwise."""
    return printing(_waiting(_patience(command)))


def patient(command: Command) -> Command:
    """For commands that only wait."""
    return printing(_patience(command))


def read_labels(_: click.Context, parameter: click.Parameter, given: Iterable[str]) -> dict[str, str]:
    """`app=web` to `{"app": "web"}`."""
    labels = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise click.BadParameter(f"'{text}' is not KEY=VALUE, like app=web.", param=parameter)
        labels[key] = value
    return labels


def label_changes(given: Iterable[str]) -> dict[str, str | None]:
    """`app=web tier-` to `{"app": "web", "tier": None}`."""
    changes: dict[str, str | None] = {}
    for text in given:
        key, equals, value = text.partition("=")
        if equals and key:
            changes[key] = value
        elif not equals and text.endswith("-") and len(text) > 1:
            changes[text[:-1]] = None
        else:
            raise click.UsageError(f"'{text}' is neither KEY=VALUE (sets) nor KEY- (removes).")
    return changes


def read_name(_: click.Context, parameter: click.Parameter, given: str) -> str:
    """A name becomes part of a path, so what could end or leave that path is refused before it is sent."""
    if not _NAME.fullmatch(given):
        raise click.BadParameter(
            f"'{given}' is not a name: use lower-case letters, digits and hyphens.", param=parameter
        )
    return given


def read_qualified(_: click.Context, parameter: click.Parameter, given: str | None) -> str | None:
    """`acme/web`, checked here because two path segments would otherwise be guessed at."""
    if given is not None and not _QUALIFIED.fullmatch(given):
        like = given if _NAME.fullmatch(given) else "web"
        raise click.BadParameter(f"'{given}' is not TENANT/NAME, like acme/{like}.", param=parameter)
    return given


def read_policy(_: click.Context, parameter: click.Parameter, given: str | None) -> str | None:
    """`acme/db-lockdown`, or `no-metadata-service` for one of the cluster's."""
    if given is not None and not _NAME.fullmatch(given) and not _QUALIFIED.fullmatch(given):
        raise click.BadParameter(f"'{given}' is neither TENANT/NAME nor NAME, like acme/web.", param=parameter)
    return given


def read_pairs(_: click.Context, parameter: click.Parameter, given: Iterable[str]) -> dict[str, str]:
    """`router=10.20.0.254` to `{"router": "10.20.0.254"}`."""
    pairs = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"'{text}' is not NAME=ADDRESS, like router=10.20.0.254.", param=parameter)
        pairs[name] = value
    return pairs


label = click.option(
    "--label", "labels", multiple=True, metavar="K=V", callback=read_labels, help="A label; may be given several times."
)
_with_label = click.option(
    "--label",
    multiple=True,
    metavar="K=V",
    help="Only those with this label; may be given several times.",
)


def completes(path: str, field: str = "name") -> Callable[[click.Context, click.Parameter, str], list[str]]:
    """Shell completion from a list of the API; silent when that does not answer at once."""

    def complete(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
        from client.rest import Problem, Unreachable

        root = ctx.find_root().params
        context = Context(root.get("api"), root.get("token"))
        context.timeout = 1.0
        try:
            found = context.rest.get(path, params={"limit": 1000}).body["items"]
        except (Problem, Unreachable, click.ClickException):
            return []
        return [str(item[field]) for item in found if str(item[field]).startswith(incomplete)]

    return complete


def qualified(name: str, path: str, metavar: str) -> Callable[[Command], Command]:
    """An argument TENANT/NAME, completed from a list of the API."""
    return click.argument(name, metavar=metavar, callback=read_qualified, shell_complete=completes(path))


def named(name: str, path: str, metavar: str) -> Callable[[Command], Command]:
    return click.argument(name, metavar=metavar, callback=read_name, shell_complete=completes(path))


_most = click.option("--limit", type=click.IntRange(1), metavar="N", help="At most this many; default: all.")
FILTERS: Mapping[str, Callable[[Command], Command]] = {
    "tenant": click.option(
        "--tenant", metavar="TENANT", shell_complete=completes("/tenants"), help="Only this tenant's."
    ),
    "network": click.option(
        "--network", metavar="TENANT/NETWORK", shell_complete=completes("/networks"), help="Only this network's."
    ),
    "host": click.option("--host", metavar="HOST", shell_complete=completes("/hosts"), help="Only this host's."),
    "text": click.option("--text", metavar="TEXT", help="Only those with this text in their name or an address."),
    "label": _with_label,
}
"""What lists have in common."""


def listing(*filters: str, orders: Sequence[str] = ()) -> Callable[[Command], Command]:
    """For commands that list: the options that say what is shown, how much, and in which of these orders."""

    def decorate(command: Command) -> Command:
        command = _most(printing(command))
        if orders:
            command = click.option(
                "--sort",
                type=click.Choice([*orders, *(f"-{order}" for order in orders)]),
                metavar="[-]" + "|".join(orders),
                help=f"What to sort by (--sort={orders[0]}); with - before it (--sort=-{orders[0]}) in reverse order.",
            )(command)
        for name in reversed(filters):
            command = FILTERS[name](command)
        return command

    return decorate
