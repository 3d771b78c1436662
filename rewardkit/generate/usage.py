"""What a run's responses took: requests, tokens and money."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from rewardkit.generate.endpoint import Price

_COUNTED = ("requests", "failed", "cached", "prompt_tokens", "completion_tokens")
_HELD = "cached_prompt_tokens"


def usage(generations: Iterable[Mapping[str, Any]], price: Price | None = None) -> dict[str, Any]:
    """What generations took: ``requests``, ``failed``, ``cached``, and of the others tokens and cost.

    ``cached_prompt_tokens``, those that a prefix cache held, stand beside them where an engine told.

    Args:
        generations: as a run stores them.
        price: of a million tokens.

    >>> made = {"finish_reason": "stop", "prompt_tokens": 900, "tokens": 100}
    >>> usage([made, {**made, "cached": True}], Price(prompt=1.0, completion=6.0))["cost"]
    0.0015
    """
    counts = Counter[str]()
    for one in generations:
        counts["requests"] += 1
        counts["failed"] += one["finish_reason"] == "error"
        if one.get("cached"):
            counts["cached"] += 1
        else:
            counts["prompt_tokens"] += one.get("prompt_tokens", 0)
            counts["completion_tokens"] += one["tokens"]
            if one.get(_HELD) is not None:
                counts[_HELD] += one[_HELD]
    used: dict[str, Any] = {name: counts[name] for name in (*_COUNTED, *([_HELD] if _HELD in counts else []))}
    if price is not None:
        cost = used["prompt_tokens"] * price.prompt + used["completion_tokens"] * price.completion
        used["cost"] = round(cost / 1e6, 6)
    return used


def tokens(generations: Iterable[Mapping[str, Any]]) -> int:
    """The tokens of `usage`, read and written together: what a budget counts.

    >>> tokens([{"finish_reason": "stop", "prompt_tokens": 900, "tokens": 100}])
    1000
    """
    used = usage(generations)
    return int(used["prompt_tokens"] + used["completion_tokens"])


def hit_rate(used: Mapping[str, Any]) -> float | None:
    """The share of the prompts' tokens that a prefix cache held; None where no engine told.

    >>> hit_rate({"prompt_tokens": 400, "cached_prompt_tokens": 300}), hit_rate({"prompt_tokens": 400})
    (0.75, None)
    """
    held, read = used.get(_HELD), used.get("prompt_tokens", 0)
    return float(held / read) if held is not None and read else None
