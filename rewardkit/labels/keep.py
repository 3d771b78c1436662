"""Filters by agreement: keep the traces that a source of labels is sure enough of, and count the others.

STAT (arXiv 2510.10023)        vote with min_votes=2 of 3 samples, kept where p_correct is above 0.5
ReasonRank (arXiv 2508.07050)  rank:ndcg10 above 0.4
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rewardkit.errors import ConfigError, DataError
from rewardkit.rewards.vote import majority
from rewardkit.store.dataset import LabelledTrace, iter_dataset, origin, write_dataset
from rewardkit.text.answers import AnswerChecker


def agreeing(answers: Sequence[str | None], least: int = 2, checker: AnswerChecker | None = None) -> list[int]:
    """Self-consistency: which answers agree with each other, if at least so many do; none in a tie.

    Args:
        answers: of samples of one problem, None or "" for none.
        least: how many must agree.
        checker: compares the answers; None takes the one that the process shares.

    Returns:
        Indices.

    >>> agreeing(["1/2", "0.5", "3"]), agreeing(["1", "2", "3"]), agreeing(["1", "1", "2", "2"])
    ([0, 1], [], [])
    """
    vote = majority(answers, checker=checker)
    return sorted(vote.members) if len(vote.members) >= least else []


def keep_traces(folder: str | Path, output: str | Path, source: str, above: float = 0.5) -> dict[str, Any]:
    """Write the traces whose last label of a source is above a bound; an abstention is not.

    Args:
        folder: the dataset.
        output: where the kept traces are written, with all their labels.
        source: whose labels.
        above: the bound; the label must be larger.

    Returns:
        The manifest as written, with ``kept``: ``{"source", "above", "kept", "below", "abstained", "unlabelled"}``.

    Raises:
        ConfigError: the source labels nothing in this dataset, or the output is the dataset itself.
        DataError: nothing is kept, or the dataset cannot be read.
    """
    if Path(folder).resolve() == Path(output).resolve():
        raise ConfigError("keep writes another dataset; choose an output that is not the dataset itself")
    counts = Counter[str](_fate(row, source, above) for row in iter_dataset(folder))
    if counts.total() == counts["unlabelled"]:
        raise ConfigError(f"there is no label of '{source}' in {folder}; `rewardkit show` lists the sources")
    if not counts["kept"]:
        others = ", ".join(f"{n:,} {name}" for name, n in sorted(counts.items()))
        raise DataError(f"{source} is above {above:g} at the end of no trace ({others}): nothing would be kept")

    def rows() -> Iterator[LabelledTrace]:
        return (row for row in iter_dataset(folder) if _fate(row, source, above) == "kept")

    found = {name: counts[name] for name in ("kept", "below", "abstained", "unlabelled")}
    return write_dataset(output, rows(), {**origin(folder), "kept": {"source": source, "above": above, **found}})


def _fate(row: LabelledTrace, source: str, above: float) -> str:
    labels = [label for label in row.labels if label.source == source]
    if not labels:
        return "unlabelled"
    p = max(labels, key=lambda label: label.step).p_correct
    return "abstained" if p is None else "kept" if p > above else "below"
