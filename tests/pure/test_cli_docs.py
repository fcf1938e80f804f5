"""Every `warren ...` that the documentation shows is a command with these arguments and options."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from client.root import root

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_BLOCK = re.compile(r"^```.*?\n(.*?)^```", re.M | re.S)
_PROMPT = re.compile(r"^\s*(?:[\w-]*[#$] +)?(?:sudo +)?(?:\./)?warren +(?=[a-z-])(.*)")
_NO_FILE = re.compile(r"'[^']+' does not exist\.$")
"""Of the reader's machine."""
_SPAN = re.compile(r"`(?:\./)?warren ([^`]+)`")


def shown(text: str) -> Iterator[tuple[str, bool]]:
    """What stands behind `warren`, and whether it is a whole line of a block, not a mention within a sentence."""
    for block in _BLOCK.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            if found := _PROMPT.match(line):
                yield found[1], True
    for span in _SPAN.findall(_BLOCK.sub("", text)):
        yield span, False


def words_of(said: str) -> list[str]:
    """As a shell has them: up to a comment, a pipe or where the output goes."""
    lexer = shlex.shlex(said, posix=True, punctuation_chars="|>&;")
    lexer.whitespace_split, lexer.commenters = True, "#"
    words = []
    for word in lexer:
        if word[0] in "|>&;":
            break
        words.append(word)
    return [word for word in words if word != "..."]


def parse(words: list[str]) -> None:
    """As the command line would, but for running it. Raises `click.UsageError`."""
    name, command, parent = "warren", root, None
    while True:
        context = command.make_context(name, list(words), parent=parent)
        if not isinstance(command, click.Group):
            return
        rest = [*context._protected_args, *context.args]
        if not rest and command.invoke_without_command:
            return
        found, below, words = command.resolve_command(context, rest)
        assert found is not None and below is not None
        name, command, parent = found, below, context  # type: ignore[assignment]


def fault(said: str, whole: bool) -> str | None:
    try:
        parse(words_of(said))
    except (click.exceptions.NoArgsIsHelpError, click.exceptions.Exit):
        return None  # a group, --version
    except click.UsageError as wrong:
        told = wrong.format_message()
        if whole:
            return None if _NO_FILE.search(told) else told
        # A sentence leaves out what it is not about: `web --threads`, `revision show N`.
        return None if isinstance(wrong, click.BadParameter | click.BadOptionUsage) else told
    return None


@pytest.fixture(autouse=True)
def nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Passwords are not, and the database is where the pages before said."""
    monkeypatch.setenv("WARREN_DB", "sqlite:////nowhere/warren.db")
    for prompt in ("visible_prompt_func", "hidden_prompt_func"):
        monkeypatch.setattr(f"click.termui.{prompt}", lambda text: "secret")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_that_is_shown_is_one(page: Path) -> None:
    faults = {f"warren {said}": told for said, whole in shown(page.read_text()) if (told := fault(said, whole))}
    assert faults == {}


def test_many_are_found_and_a_wrong_one_is_told() -> None:
    assert sum(1 for page in PAGES for _ in shown(page.read_text())) > 150
    wrong = "A `warren reservation create acme/web db 10.20.0.9`\n```\n$ warren tenant create # none\n```\n"
    told = [fault(*one) for one in shown(wrong)]
    assert told == ["Missing argument 'TENANT'.", "Got unexpected extra argument (10.20.0.9)"]
