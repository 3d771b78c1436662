"""Near-duplicate texts by MinHash: problems that stand in two datasets leak from training into evaluation.

Broder 1997; datasketch's LSH over sets of five-character pieces of the lower-cased text without white space.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rewardkit.errors import ConfigError

_PERMUTATIONS = 128


def near_duplicates(
    texts: Sequence[str], others: Sequence[str] | None = None, *, threshold: float = 0.8, seed: int = 1
) -> list[tuple[int, int, float]]:
    """Pairs of texts whose sets of pieces overlap: ``(index, index in others, estimated Jaccard similarity)``.

    Args:
        texts: of one dataset.
        others: of another; None to compare `texts` with themselves, each pair once.
        threshold: of the similarity; the search is approximate around it.
        seed: of the hash functions.

    Raises:
        ConfigError: datasketch is not installed, or the threshold is not in (0, 1].

    >>> [pair[:2] for pair in near_duplicates(["How many apples has Ann?", "Pi?"], ["how many apples  has Ann ?"])]
    [(0, 0)]
    """
    if not 0 < threshold <= 1:
        raise ConfigError(f"threshold must lie in (0, 1], not {threshold}")
    try:
        from datasketch import MinHashLSH
    except ImportError:
        raise ConfigError("near-duplicates need datasketch: pip install 'rewardkit[labels]'") from None
    known = [_hashed(text, seed) for text in (texts if others is None else others)]
    index: Any = MinHashLSH(threshold=min(threshold, 0.999), num_perm=_PERMUTATIONS)
    for number, value in enumerate(known):
        index.insert(number, value)
    asked = known if others is None else (_hashed(text, seed) for text in texts)
    return list(_pairs(asked, known, index, threshold, within=others is None))


def _pairs(
    asked: Any, known: list[Any], index: Any, threshold: float, *, within: bool
) -> Iterator[tuple[int, int, float]]:
    for first, value in enumerate(asked):
        for second in sorted(index.query(value)):
            if within and second <= first:
                continue
            similarity = float(value.jaccard(known[second]))
            if similarity >= threshold:
                yield first, second, similarity


def _hashed(text: str, seed: int) -> Any:
    from datasketch import MinHash

    squeezed = "".join(text.lower().split())
    pieces = {squeezed[i : i + 5] for i in range(max(1, len(squeezed) - 4))}
    value = MinHash(num_perm=_PERMUTATIONS, seed=seed)
    value.update_batch([piece.encode("utf-8", "surrogatepass") for piece in sorted(pieces)])
    return value
