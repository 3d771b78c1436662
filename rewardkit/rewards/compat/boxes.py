"""The inside of the last box, as the authors' own functions find it."""

from __future__ import annotations


def last_box(text: str) -> str:
    r"""Co-Reward's answer: the inside of the last box, "" where there is none or it is not closed.

    ``\boxed 7$`` anywhere wins over a box in braces, and ``\fbox{7}`` gives "" (verl's MATH score fails on it).

    >>> last_box(r"so \boxed{\frac{1}{2}}"), last_box(r"\boxed 7$ end"), last_box(r"\fbox{7}"), last_box("7")
    ('\\frac{1}{2}', '7', '', '')
    """
    if "\\boxed " in text:
        return text.split("\\boxed ")[-1].split("$")[0]
    start = text.rfind("\\boxed")
    if start < 0 or not text.startswith("\\boxed{", start):
        return ""
    opening = start + len("\\boxed{")
    end = _closing(text, opening)
    return "" if end is None else text[opening:end]


def mathruler_box(text: str) -> str:
    r"""MM-UPT's answer: the inside of the last ``\boxed{..}``, or the string "None".

    >>> mathruler_box(r"so \boxed{ 4 }"), mathruler_box("4")
    ('4', 'None')
    """
    start = text.rfind("\\boxed{")
    end = _closing(text, start + len("\\boxed{")) if start >= 0 else None
    return "None" if end is None else text[start + len("\\boxed{") : end].strip()


def _closing(text: str, at: int) -> int | None:
    """Where the brace closes whose inside begins at `at`."""
    depth = 1
    for place in range(at, len(text)):
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        if depth == 0:
            return place
    return None
