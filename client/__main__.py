"""The entry point of `warren`: every failure ends as one sentence on stderr and an exit code."""

from __future__ import annotations

import os
import sys

import click

from client.root import root

FAILED, INTERRUPTED = 1, 130


def main() -> None:
    sys.exit(run())


def run(arguments: list[str] | None = None) -> int:
    """0 on success, 2 for a wrong usage, 1 for everything else."""
    try:
        result = root.main(arguments, prog_name="warren", standalone_mode=False)
    except click.UsageError as fault:
        return _say(_with_help(fault), fault.exit_code)
    except click.ClickException as fault:
        return _say(fault.format_message(), fault.exit_code)
    except (click.Abort, KeyboardInterrupt):
        return _say("Interrupted.", INTERRUPTED)
    except BrokenPipeError:
        # Whoever read our output has seen enough; the interpreter must not complain while closing it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except Exception as fault:
        sentence = _refused(fault)
        if sentence is None:
            raise
        return _say(sentence, FAILED)
    return result if isinstance(result, int) else 0


def _with_help(fault: click.UsageError) -> str:
    where = fault.ctx.command_path if fault.ctx else "warren"
    return f"{fault.format_message().rstrip('.')}; see `{where} --help`."


def _refused(fault: Exception) -> str | None:
    """What the API, or the way to it, said; None for a fault of the program itself."""
    from client.rest import Problem, Unreachable

    return str(fault) if isinstance(fault, Problem | Unreachable) else None


def _say(sentence: str, code: int) -> int:
    click.echo(f"Error: {sentence}", err=True)
    return code


if __name__ == "__main__":
    main()
