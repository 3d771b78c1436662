"""The templates of graders, ``{{ sample.output_text }}`` and ``{{ item.x.y[0] }}``: paths alone, no code."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from rewardkit.errors import DataError

MAX_RENDERED = 1_000_000
"""Characters; a short template may name a large item many times."""
_MAX_PATH = 300
_SEGMENT = re.compile(r"\.?([A-Za-z_][\w-]*)|\[(\d{1,6})\]|\[\"([^\"\\]*)\"\]|\['([^'\\]*)'\]|\.(\d{1,6})")

Path = tuple[str | int, ...]


def parse_template(text: str) -> list[str | Path]:
    """Texts and paths in turn.

    Raises:
        DataError: a ``{{`` without its ``}}``, or what is between is no path into ``sample`` or ``item``.

    >>> parse_template("Is {{ item.x[0] }} = {{sample.output_text}}?")
    ['Is ', ('item', 'x', 0), ' = ', ('sample', 'output_text'), '?']
    """
    parts: list[str | Path] = []
    position = 0
    while (start := text.find("{{", position)) >= 0:
        end = text.find("}}", start)
        if end < 0:
            raise DataError("a '{{' of the template has no '}}'")
        if start > position:
            parts.append(text[position:start])
        parts.append(_path(text[start + 2 : end].strip()))
        position = end + 2
    if position < len(text):
        parts.append(text[position:])
    return parts


def render(text: str, values: Mapping[str, Any]) -> str:
    """The template with every path replaced: texts as they are, anything else as JSON.

    What is put in is not read again.

    Raises:
        DataError: see `parse_template`; there is no such value, or the result is too large.

    >>> render("{{ item.x }} and {{ item.n }}", {"item": {"x": "{{ item.n }}", "n": [1, 2]}})
    '{{ item.n }} and [1, 2]'
    """
    pieces: list[str] = []
    size = 0
    for part in parse_template(text):
        pieces.append(part if isinstance(part, str) else _text(_look_up(part, values)))
        size += len(pieces[-1])
        if size > MAX_RENDERED:
            raise DataError(f"the template renders to more than {MAX_RENDERED} characters")
    return "".join(pieces)


def _path(source: str) -> Path:
    path: list[str | int] = []
    position = 0
    while position < len(source) <= _MAX_PATH:
        match = _SEGMENT.match(source, position)
        if match is None or (match[0][0] == "." and not path):
            break
        number = match[2] or match[5]
        name = next((match[i] for i in (1, 3, 4) if match[i] is not None), "")
        path.append(int(number) if number else name)
        position = match.end()
    if not source or position < len(source) or path[0] not in ("sample", "item"):
        raise DataError(f"'{{{{ {source[:60]} }}}}' is no path into 'sample' or 'item', such as {{{{ item.answer }}}}")
    return tuple(path)


def _look_up(path: Path, values: Mapping[str, Any]) -> Any:
    value: Any = values
    for depth, key in enumerate(path):
        try:
            value = value[key if isinstance(value, list) else str(key)]
        except (KeyError, IndexError, TypeError):
            at = ".".join(map(str, path[: depth + 1]))
            raise DataError(f"the template names '{at}', and there is none in this request") from None
    return value


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
