"""Why an engine did not start, in one line, from its log."""

from __future__ import annotations

import re

_ERROR = re.compile(r"\b\w*(?:Error|Exception)\b: (.+)")


def cause_of(log: str, code: int | None = None) -> str | None:
    """The first error of a log."""
    found = _ERROR.search(log)
    return found[1] if found else None
