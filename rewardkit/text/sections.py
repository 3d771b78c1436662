"""Which steps of a response look and which think: VL-PRM's sections (arXiv 2509.23250).

Its responses hold a section ``[Visual Elements]``, whose steps say what is in the image, and one ``[Reasoning]``. Its
authors' labeller looks for ``[Perception]`` alone, and so misses every error there; both names are known here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal

Kind = Literal["perception", "reasoning"]

_HEADER = re.compile(r"\[(visual elements|perception|reasoning)\]", re.IGNORECASE)


def step_kinds(steps: Iterable[str]) -> list[Kind | None]:
    """The section of each step: that of its own header, the last where it holds several, or of the last one before it.

    Returns:
        One a step; None before the first header.

    >>> step_kinds(["Hm.", "[Visual Elements] a red cube", "a ball", "[Reasoning]", "so 2 things"])
    [None, 'perception', 'perception', 'reasoning', 'reasoning']
    """
    kind: Kind | None = None
    found: list[Kind | None] = []
    for text in steps:
        headers = _HEADER.findall(text)
        if headers:
            kind = "reasoning" if headers[-1].lower() == "reasoning" else "perception"
        found.append(kind)
    return found
