"""The JSON objects in a model's answer."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

Form = TypeVar("Form", bound=BaseModel)

LONGEST = 50_000
"""Characters of an answer that are read, from its end."""

_OBJECTS = 200  # opening braces that are tried


def json_objects(text: str) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """The JSON objects in a text, none that lies in another; at most the last few hundred braces are tried.

    Yields:
        ``(start, end, value)``, in order.

    >>> [value for *_, value in json_objects('I say {"a": {"b": 1}} and {"c": 2}')]
    [{'a': {'b': 1}}, {'c': 2}]
    """
    decoder = json.JSONDecoder()
    base = max(0, len(text) - LONGEST)
    starts = [match.start() for match in re.finditer(r"\{", text[base:])][-_OBJECTS:]
    end = 0
    for start in starts:
        if base + start < end:
            continue
        try:
            value, end = decoder.raw_decode(text, base + start)
        except (ValueError, RecursionError):
            continue
        yield base + start, end, value


def read_form(text: str, form: type[Form]) -> Form | None:
    """The last JSON object of a form in a text; None where there is none.

    >>> class Answer(BaseModel):
    ...     correct: bool
    >>> read_form('{"correct": true} or rather {"correct": false}', Answer), read_form("yes", Answer)
    (Answer(correct=False), None)
    """
    found: Form | None = None
    for *_, value in json_objects(text):
        with contextlib.suppress(ValidationError):
            found = form.model_validate(value)
    return found
