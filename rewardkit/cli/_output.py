"""What the commands share: errors, JSON output, the resume line, the results panel."""

from __future__ import annotations

import json
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

_resume: list[str] = []


def fail(message: str, *, code: int = 1) -> int:
    """Print one line ``error: ...`` to standard error and give the exit code back."""
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return code


def set_resume(*arguments: str) -> None:
    """Remember the command that goes on after an interrupt."""
    _resume[:] = arguments


def resume_command() -> str | None:
    """The command that was set by `set_resume`, quoted for a shell."""
    return shlex.join(_resume) if _resume else None


def print_json(value: Mapping[str, Any]) -> None:
    """Print one machine-readable object, the answer to ``--json``."""
    print(json.dumps(value, ensure_ascii=False, indent=2, default=str))


def panel(title: str, rows: Sequence[tuple[str, str]], next_commands: Sequence[tuple[str, str]] = ()) -> None:
    """Print a results panel: figures and places, then the commands that go on.

    Args:
        title: its head.
        rows: (name, value) lines; a name of "" continues the line above, ("", "") is a rule.
        next_commands: (what it does, the command).
    """
    width = max((len(name) for name, _ in rows), default=0)
    print(f"\n== {title} " + "=" * max(0, 70 - len(title)))
    for name, value in rows:
        print(f"  {name:<{width}}  {value}".rstrip())
    for what, command in next_commands:
        print(f"\n  {what}:\n    {command}")
    print()


class ProgressLine:
    """Rewrites one line on standard error while a person watches; says nothing where nobody does.

    Args:
        what: is being counted, in the plural.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._watched = sys.stderr.isatty()
        self._began = time.monotonic()
        self._first: int | None = None

    def __call__(self, done: int, total: int) -> None:
        if not self._watched:
            return
        if self._first is None:
            self._first = done
        passed = time.monotonic() - self._began
        made = done - self._first
        left = f", {passed / made * (total - done):.0f} s left" if made else ""
        end = "\n" if done == total else ""
        print(f"\r\033[K{done:,} of {total:,} {self._what}{left}", end=end, file=sys.stderr, flush=True)


def split_arguments(arguments: Sequence[str]) -> tuple[str | None, list[str]]:
    """Separate a leading recipe from the ``key=value`` overrides that follow it.

    >>> split_arguments(["gsm8k", "seed=1"])
    ('gsm8k', ['seed=1'])
    >>> split_arguments(["seed=1"])
    (None, ['seed=1'])
    """
    if arguments and "=" not in arguments[0]:
        return arguments[0], list(arguments[1:])
    return None, list(arguments)
