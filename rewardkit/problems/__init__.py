"""Where problems come from besides files: a generator of deductions, and libraries of tasks.

A made source is named ``KIND:NAME`` and takes options: ``generate:deduction``, ``reasoning-gym:syllogism``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from rewardkit.errors import DataError
from rewardkit.registry import load
from rewardkit.types import Problem, content_id

__all__ = ["GENERATED", "is_made", "made_digest", "made_problems"]

GENERATED = {"deduction": "rewardkit.problems.deduction:deductions"}
"""From the name behind ``generate:`` to a function that takes options and gives problems without end."""

_KINDS = ("generate", "reasoning-gym")


def is_made(source: str) -> bool:
    """Whether a source is made here rather than read.

    >>> is_made("generate:deduction"), is_made("train.jsonl")
    (True, False)
    """
    return source.partition(":")[0] in _KINDS and ":" in source


def made_problems(source: str, options: Mapping[str, Any]) -> Iterator[Problem]:
    """The problems of a made source, without end; the n-th is the same whenever source and options are.

    Args:
        source: ``generate:NAME`` or ``reasoning-gym:TASK``.
        options: of the generator, such as ``seed``; see its function.

    Raises:
        DataError: no such generator or task, an option that it does not take, or its library is missing.

    >>> next(made_problems("generate:deduction", {"depth": 2})).answer in ("PROVED", "DISPROVED", "UNKNOWN")
    True
    """
    kind, _, name = source.partition(":")
    if kind == "reasoning-gym":
        from rewardkit.problems.gym import gym_problems

        return gym_problems(name, options)
    make: Callable[..., Iterator[Problem]] = load(name, GENERATED, "generated source")
    try:
        return make(**options)
    except TypeError as error:
        raise DataError(f"{source}: {str(error).partition('() ')[2] or error}") from None


def made_digest(source: str, options: Mapping[str, Any]) -> str:
    """What identifies the problems of a made source: its name and a hash of the options."""
    return f"made:{source}:{content_id(json.dumps(dict(options), sort_keys=True, default=str))}"
