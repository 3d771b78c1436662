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

    def __call__(self, done: int, total: int, tally: Mapping[str, int] = {}) -> None:
        if not self._watched:
            return
        if self._first is None or done < self._first:  # another round has begun
            self._first, self._began = done, time.monotonic()
        line = progress_line(done, total, self._what, done - self._first, time.monotonic() - self._began, tally)
        print(f"\r\033[K{line}", end="\n" if done == total else "", file=sys.stderr, flush=True)


def progress_line(done: int, total: int, what: str, made: int, seconds: float, tally: Mapping[str, int]) -> str:
    """How far a run is: rate and time left, and of what it made the share without a verdict and the errors.

    Args:
        done: items finished.
        total: items in all.
        what: they are, in the plural.
        made: of `done`, those of this sitting.
        seconds: that `made` took.
        tally: ``labels``, ``abstained`` and ``errors`` so far, where they are counted.

    >>> progress_line(300, 1000, "traces", 200, 40.0, {"labels": 1600, "abstained": 400, "errors": 2})
    '300 of 1,000 traces, 5.0/s, 2 min 20 s left, 25% of labels abstained, 2 errors'
    """
    parts = [f"{done:,} of {total:,} {what}"]
    if made and seconds > 0:
        left = round(seconds / made * (total - done))
        parts += [f"{made / seconds:,.1f}/s", f"{_span(left)} left"]
    if tally.get("labels"):
        parts.append(f"{tally.get('abstained', 0) / tally['labels']:.0%} of labels abstained")
    if tally.get("errors"):
        parts.append(f"{tally['errors']:,} error{'s' if tally['errors'] > 1 else ''}")
    return ", ".join(parts)


def _span(seconds: int) -> str:
    """A time for people.

    >>> _span(9), _span(140), _span(7900)
    ('9 s', '2 min 20 s', '2 h 11 min')
    """
    minutes, rest = divmod(seconds, 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


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
