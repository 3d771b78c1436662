"""What a dataset holds, counted: rows and steps, and labels by source, verdict and reason to abstain."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from rewardkit.labels.abstentions import abstention
from rewardkit.types import StepLabel

if TYPE_CHECKING:
    from rewardkit.store.dataset import LabelledTrace


class DatasetCounts:
    """Counts rows, steps and labels as they stream by."""

    def __init__(self) -> None:
        self.traces = 0
        self.steps = 0
        self.labels: dict[str, Counter[str]] = {}
        self.abstentions: dict[str, Counter[str]] = {}
        self._problems: set[str] = set()

    def watch(self, rows: Iterable[LabelledTrace]) -> Iterator[LabelledTrace]:
        """Pass the rows through and count them."""
        for row in rows:
            self.traces += 1
            self.steps += len(row.trace.steps)
            self._problems.add(row.trace.problem.id)
            for label in row.labels:
                self.labels.setdefault(label.source, Counter())[verdict(label)] += 1
                if label.p_correct is None:
                    self.abstentions.setdefault(label.source, Counter())[abstention(label.evidence)] += 1
            yield row

    def as_dict(self) -> dict[str, Any]:
        """``{"problems", "traces", "steps", "labels": {source: {"correct", "wrong", "abstained"}}, "abstentions"}``.

        ``abstentions`` has the reasons: ``{source: {"unknown", "unparsed", "nothing"}}``.
        """
        names = ("correct", "wrong", "abstained")
        labels = {source: {name: found[name] for name in names} for source, found in sorted(self.labels.items())}
        reasons = {source: dict(sorted(found.items())) for source, found in sorted(self.abstentions.items())}
        return {
            "problems": len(self._problems),
            "traces": self.traces,
            "steps": self.steps,
            "labels": labels,
            "abstentions": reasons,
        }


def verdict(label: StepLabel) -> str:
    """``correct`` from 0.5 on, ``wrong`` below, ``abstained`` for None.

    >>> verdict(StepLabel("t", 0, None, "arithmetic", "local"))
    'abstained'
    """
    if label.p_correct is None:
        return "abstained"
    return "correct" if label.p_correct >= 0.5 else "wrong"


def counted(records: Iterable[Mapping[str, Any] | str]) -> Counter[str]:
    """``labels``, ``abstained`` among them, and ``errors``: the records that are but a reason.

    >>> counted([{"labels": [{"p_correct": None}, {"p_correct": 0.5}]}, "labeler x: KeyError: 1"])
    Counter({'labels': 2, 'abstained': 1, 'errors': 1})
    """
    counts: Counter[str] = Counter()
    for record in records:
        if isinstance(record, str):
            counts["errors"] += 1
            continue
        labels = record["labels"]
        counts["labels"] += len(labels)
        counts["abstained"] += sum(label["p_correct"] is None for label in labels)
    return counts
