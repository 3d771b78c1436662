"""ProcessBench: does the model find the first wrong step, as people marked it?

Zheng et al., ACL 2025, arXiv 2412.06559; the metric is in `rewardkit.evaluate.processbench`. The paper chooses a
model's threshold on the GSM8K rows and reports those rows too; here the rows that chose a threshold are not reported.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import Field

from rewardkit.errors import ConfigError, DataError
from rewardkit.evaluate.bootstrap import measure
from rewardkit.evaluate.figure import Figure
from rewardkit.evaluate.processbench import best_threshold, first_error_accuracies, first_error_f1, first_errors
from rewardkit.evaluate.steps import precision_recall_points, roc_points, step_auroc
from rewardkit.evaluate.suites.base import (
    Measured,
    Part,
    Setting,
    SuiteConfig,
    Threshold,
    first_wrong,
    in_development,
    load_subsets,
)
from rewardkit.store import LabelledTrace, Loaded

HUB_SPLITS = ("gsm8k", "math", "olympiadbench", "omnimath")


class ProcessBenchConfig(SuiteConfig):
    """Configuration of `rewardkit eval processbench`.

    Attributes:
        data: a folder with a file a subset (``gsm8k.json``, ``math.json``, ...), one file, ``sample:NAME``, or a Hub id
            (``Qwen/ProcessBench``).
        subsets: which of them; None means all.
        max_rows: at most so many traces of each subset, drawn at random.
        threshold: below it a step counts as wrong; None chooses the one with the highest F1 ...
        threshold_on: ... on this subset, which is then not reported; None: on a share of each subset's problems.
        development: that share; by the hash of the problem, so that every run and model agrees.
    """

    output: str = "runs/eval-processbench"
    data: str = "sample:processbench-gsm8k"
    subsets: tuple[str, ...] | None = None
    max_rows: int | None = Field(None, ge=1)
    threshold: float | None = Field(None, ge=0, le=1)
    threshold_on: str | None = None
    development: float = Field(0.25, gt=0, lt=1)

    def parts(self) -> Sequence[Part]:
        return [ProcessBench(self)]


@dataclass(frozen=True, slots=True)
class ProcessBench:
    """The part that is scored and measured."""

    config: ProcessBenchConfig
    name: str = "processbench"
    steps: bool = True

    def load(self) -> Loaded[LabelledTrace]:
        config = self.config
        loaded = load_subsets(config.data, config.subsets, HUB_SPLITS, config.max_rows, config.seed)
        unlabelled = sum(not any(x.source == "human" for x in row.labels) for row in loaded.rows)
        if unlabelled:
            raise DataError(f"{config.data}: {unlabelled} rows have no first-error label (the key 'label')")
        held = sorted({str(row.trace.meta["subset"]) for row in loaded.rows})
        if config.threshold_on not in (None, *held):
            raise ConfigError(f"threshold_on: no subset {config.threshold_on} is read; there are: {', '.join(held)}")
        return loaded

    def measure(self, rows: Sequence[LabelledTrace], setting: Setting) -> Measured:
        threshold, reported, note = self._threshold(rows)
        if not reported:
            raise ConfigError("every row was used to choose the threshold; give more rows or threshold=NUMBER")
        subsets = _by_subset(reported)
        figures: list[Figure] = []
        for name, members in subsets.items():
            title = "ProcessBench" if len(subsets) == 1 else f"ProcessBench {name}"
            figures += subset_figures(title, members, threshold, note, setting)
        if len(subsets) > 1 and threshold is not None:
            figures.insert(0, _average(reported, threshold, setting))
        scores, right, _ = steps_to_first_error(reported)
        plots = {"roc": roc_points(scores, right), "precision_recall": precision_recall_points(scores, right)}
        return Measured(figures, plots, threshold)

    def _threshold(self, rows: Sequence[LabelledTrace]) -> tuple[Threshold | None, Sequence[LabelledTrace], str]:
        """The threshold, the rows that it was not chosen on, and the note that says so; or None and why."""
        if self.config.threshold is not None:
            given = Threshold(self.config.threshold, "given")
            return given, rows, str(given)
        chosen_on, where = self._development(rows)
        truth = [first_wrong(row, ("human",)) for row in chosen_on]
        try:
            value = best_threshold([row.scores or () for row in chosen_on], truth or [-1])
        except DataError:
            return None, rows, f"no threshold can be chosen on {where}; give more rows, or threshold=NUMBER"
        used = {row.trace.problem.id for row in chosen_on}
        chosen = Threshold(value, f"chosen on {where}")
        return chosen, [row for row in rows if row.trace.problem.id not in used], str(chosen)

    def _development(self, rows: Sequence[LabelledTrace]) -> tuple[list[LabelledTrace], str]:
        """The rows to choose a threshold on, and what they are."""
        subset = self.config.threshold_on
        if subset is not None:
            found = [row for row in rows if row.trace.meta["subset"] == subset]
            return found, f"the {len(found)} traces of {subset}, which is not reported"
        found = [row for row in rows if in_development(row.trace.problem.id, self.config.development)]
        return found, f"{len(found)} traces of other problems"


def subset_figures(
    title: str, rows: Sequence[LabelledTrace], threshold: Threshold | None, note: str, setting: Setting
) -> list[Figure]:
    """First-error F1 with its two accuracies, and AUROC over the steps up to the first error.

    Steps behind the first error are left out of the AUROC: the human label says nothing of them.

    Args:
        title: what stands before each figure's name.
        rows: scored, with human labels.
        threshold: None leaves the F1 undefined.
        note: how the threshold was chosen, or why it was not.
        setting: of the measurement.
    """
    values, right, owners = steps_to_first_error(rows)
    auroc = measure(f"{title} step AUROC, to the first error", step_auroc, [values, right], owners, **setting.draws)
    if threshold is None:
        return [Figure(f"{title} first-error F1", None, None, None, len(rows), note), auroc]
    arrays = _predictions(rows, threshold)
    groups = [row.trace.problem.id for row in rows]
    return [
        measure(f"{title} first-error F1", first_error_f1, arrays, groups, note=note, **setting.draws),
        measure(f"{title} accuracy, traces with an error", _accuracy_with, arrays, groups, **setting.draws),
        measure(f"{title} accuracy, traces without", _accuracy_without, arrays, groups, **setting.draws),
        auroc,
    ]


def steps_to_first_error(rows: Sequence[LabelledTrace]) -> tuple[list[float], list[float], list[str]]:
    """(score, 1 for right, problem) of every step up to the human's first error."""
    steps = [
        (score, float(step != error), row.trace.problem.id)
        for row, error in ((row, first_wrong(row, ("human",))) for row in rows)
        for step, score in enumerate((row.scores or ())[: error + 1 if error >= 0 else None])
    ]
    scores, right, owners = zip(*steps, strict=True)
    return list(scores), list(right), list(owners)


def _predictions(rows: Sequence[LabelledTrace], threshold: Threshold) -> tuple[Any, Any]:
    guess = first_errors([row.scores or () for row in rows], threshold.value)
    return guess, np.array([first_wrong(row, ("human",)) for row in rows])


def _by_subset(rows: Sequence[LabelledTrace]) -> dict[str, list[LabelledTrace]]:
    found: dict[str, list[LabelledTrace]] = {}
    for row in rows:
        found.setdefault(str(row.trace.meta["subset"]), []).append(row)
    return found


def _average(rows: Sequence[LabelledTrace], threshold: Threshold, setting: Setting) -> Figure:
    """The mean of the subsets' F1, as the paper's last column has it."""
    guess, truth = _predictions(rows, threshold)
    names = np.array([str(row.trace.meta["subset"]) for row in rows])

    def mean_f1(guess: Any, truth: Any, names: Any) -> float | None:
        found = [first_error_f1(guess[names == name], truth[names == name]) for name in np.unique(names)]
        values = [f1 for f1 in found if f1 is not None]
        return float(np.mean(values)) if len(values) == len(found) else None

    count = len(np.unique(names))
    groups = [row.trace.problem.id for row in rows]
    title = f"ProcessBench first-error F1, mean of {count} subsets"
    return measure(title, mean_f1, [guess, truth, names], groups, note=str(threshold), **setting.draws)


def _accuracy_with(guess: Any, truth: Any) -> float | None:
    return first_error_accuracies(guess, truth).error_accuracy


def _accuracy_without(guess: Any, truth: Any) -> float | None:
    return first_error_accuracies(guess, truth).correct_accuracy
