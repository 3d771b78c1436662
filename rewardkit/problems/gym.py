"""Tasks of reasoning-gym (Stojanovski et al., 2025, arXiv 2505.24760; Apache-2.0) as problems."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import Any

from rewardkit.errors import DataError
from rewardkit.types import Problem

TASKS = (
    "aiw", "circuit_logic", "knights_knaves", "propositional_logic", "self_reference", "syllogism", "zebra_puzzles",
    "basic_arithmetic", "bitwise_arithmetic", "calendar_arithmetic", "chain_sum", "count_bits", "decimal_arithmetic",
    "decimal_chain_sum", "dice", "fraction_simplification", "gcd", "gsm_symbolic", "lcm", "leg_counting",
    "number_format", "power_function", "prime_factorization", "products", "simple_equations", "time_intervals",
)  # fmt: skip
"""Its tasks of logic, arithmetic and linear equations, which our labelers can say something of."""

_MANY = 1_000_000


def gym_problems(task: str, options: Mapping[str, Any]) -> Iterator[Problem]:
    """The problems of one task, up to a million.

    Args:
        task: one of `TASKS`.
        options: ``seed`` (0) and the task's own, such as ``max_terms``.

    Raises:
        DataError: the library is not installed, no such task, or an option that the task does not take.

    >>> gym_problems("cooking", {})  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    rewardkit.errors.DataError: reasoning-gym:cooking is no task of logic or arithmetic; there are aiw, ...
    """
    if task not in TASKS:
        raise DataError(f"reasoning-gym:{task} is no task of logic or arithmetic; there are {', '.join(TASKS)}")
    try:
        reasoning_gym = importlib.import_module("reasoning_gym")
    except ImportError as error:
        raise DataError(
            f"reasoning-gym:{task} needs the library, which cannot be imported ({error}): pip install reasoning-gym"
        ) from None
    try:
        # Each item is made from the seed and its own number when it is asked for.
        tasks = reasoning_gym.create_dataset(task, **{"seed": 0, **options, "size": _MANY})
    except (TypeError, ValueError, AssertionError) as error:
        raise DataError(f"reasoning-gym:{task}: {error}") from None
    return (problem_from_task(tasks[number], task) for number in range(_MANY))


def problem_from_task(item: Mapping[str, Any], task: str) -> Problem:
    """A problem of one item of reasoning-gym: ``question``, ``answer`` and plain values of its ``metadata``.

    >>> problem_from_task({"question": "1 + 1?", "answer": "2", "metadata": {"num_terms": 2}}, "chain_sum").answer
    '2'
    """
    answer = item.get("answer")
    metadata = item.get("metadata") or {}
    plain = {k: v for k, v in metadata.items() if isinstance(v, str | int | float | bool)}
    return Problem.create(str(item["question"]), None if answer is None else str(answer), meta={"task": task, **plain})
