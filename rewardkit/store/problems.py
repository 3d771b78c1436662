"""A problem of one row, by the columns that public data sets have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rewardkit.errors import DataError
from rewardkit.images import check_chat, read_images
from rewardkit.problems.ranking import ranking_problem
from rewardkit.problems.rows import logic_problem
from rewardkit.store.rows import Row, is_missing
from rewardkit.types import Problem

_PROMPT_KEYS = ("prompt", "problem", "question")
_ANSWER_KEYS = ("answer", "reference", "ground_truth")


def problem_from_row(row: Row, images: str | None = None) -> Problem:
    """Make a problem of one row; a GSM8K answer is cut to what stands after ``####``.

    Args:
        row: with ``images`` or ``image`` where it has some: bytes, ``{"bytes", "path"}``, a ``data:`` URL, or a path.
        images: the folder in which paths are opened; None opens none.

    Raises:
        DataError: the row has no question, an answer that is neither text nor number, or an image that cannot be used.

    >>> problem_from_row({"question": "48 + 24?", "answer": "48+24 = <<48+24=72>>72\\n#### 72"}).answer
    '72'
    """
    logical = logic_problem(row)
    if logical is not None:
        return logical
    ranked = ranking_problem(row)
    if ranked is not None:
        return ranked
    prompt = next((row[key] for key in _PROMPT_KEYS if row.get(key)), None)
    if prompt is None:
        raise DataError(f"no question: one of the keys {', '.join(_PROMPT_KEYS)} must be there")
    if not isinstance(prompt, str) and not _is_chat(prompt):
        raise DataError("the question is neither text nor a list of chat messages")
    check_chat(prompt)
    answer = next((text for key in _ANSWER_KEYS if (text := answer_text(key, row.get(key))) is not None), None)
    shown = read_images(row.get("images") or row.get("image") or None, images)
    return Problem.create(prompt, None if answer is None else _final_answer(answer), images=shown)


def answer_text(key: str, value: Any) -> str | None:
    """An answer as text, None for none (JSON's NaN too); a list of one is that one.

    Raises:
        DataError: it is neither text nor a number.

    >>> answer_text("answer", 72), answer_text("answer", float("nan")), answer_text("answer", ["72"])
    ('72', None, '72')
    """
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if is_missing(value):
        return None
    if not isinstance(value, str | int | float):
        raise DataError(f"{key} is a {type(value).__name__}: a reference answer must be text or a number")
    return str(value)


def _final_answer(text: str) -> str:
    """What stands after the last ``####``, or after ``A:`` at the start of the last line, as GSM8K's files have it."""
    if "####" in text:
        text = text.rpartition("####")[2]
    else:
        last = text.rstrip().rpartition("\n")[2]
        text = last.removeprefix("A:") if last.startswith("A:") else text
    return text.strip()


def _is_chat(prompt: Any) -> bool:
    return isinstance(prompt, list) and bool(prompt) and all(isinstance(m, Mapping) and "role" in m for m in prompt)
