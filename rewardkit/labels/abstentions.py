"""Why there is no label: what could not be read, what could not be decided, and where nothing was claimed."""

from __future__ import annotations

import re
from typing import Literal

Abstention = Literal["unknown", "unparsed", "nothing"]

_UNPARSED = re.compile(r"unparsed|cannot be read|not in the format|was read|states no formula|is no reference")
_NOTHING = re.compile(r"^(?:nothing|no calculation|no program|no algebra|no equation|no reference answer)")


def abstention(evidence: str) -> Abstention:
    """The kind of an abstention, from its evidence.

    ``unparsed`` the text, or what it cites, is not in the labeler's language; ``nothing`` there is nothing to check in
    it; ``unknown`` everything else: undecided, out of time, contradictory premises.

    >>> abstention("undecided: out of time"), abstention("int2 cannot be read: ..."), abstention("nothing to check")
    ('unknown', 'unparsed', 'nothing')
    """
    if _NOTHING.match(evidence):
        return "nothing"
    return "unparsed" if _UNPARSED.search(evidence) else "unknown"
