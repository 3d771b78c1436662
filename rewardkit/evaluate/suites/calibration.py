"""Calibration: does a step with a score of 0.8 turn out right in eight of ten cases?

One set of figures for each source of labels, since what they call right differs; see `rewardkit.evaluate.calibration`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from rewardkit.errors import DataError
from rewardkit.evaluate.bootstrap import measure
from rewardkit.evaluate.calibration import brier, ece, nll, prior_brier, prior_nll, reliability_bins
from rewardkit.evaluate.figure import Figure
from rewardkit.evaluate.steps import step_auroc, step_average_precision
from rewardkit.evaluate.suites.base import Measured, Part, Setting, SuiteConfig, draw
from rewardkit.store import LabelledTrace, Loaded, load_traces
from rewardkit.train.data import choose_labels, held_out


class CalibrationConfig(SuiteConfig):
    """Configuration of `rewardkit eval calibration`.

    No baseline by default: each loss has the constant prior of its own source in its note, and what is saved over it.

    Attributes:
        data: labelled traces: dataset folders, files, ``sample:NAME`` or Hub ids.
        sources: whose labels; None takes every source that has verdicts, each measured by itself.
        held_out: of dataset folders only the problems that training held out, by this share, are used; it must be that
            of `rewardkit train`. null uses all problems: only for data that the model was not trained on.
        max_rows: at most so many traces, drawn at random.
        bins: of the expected calibration error.
    """

    output: str = "runs/eval-calibration"
    baselines: tuple[str, ...] = ()
    data: tuple[str, ...] = ("sample:processbench-gsm8k",)
    sources: tuple[str, ...] | None = None
    held_out: float | None = Field(0.2, gt=0, lt=1)
    max_rows: int | None = Field(None, ge=1)
    bins: int = Field(15, ge=2)

    def parts(self) -> Sequence[Part]:
        return [Calibration(self)]


@dataclass(frozen=True, slots=True)
class LabelledSteps:
    """The steps that one source has a verdict on.

    Attributes:
        scores: (steps,) the model's.
        target: (steps,) the label, which may be soft.
        problems: (steps,) the id of the problem, for resampling.
        meaning: of the labels; several would be several sources.
    """

    scores: NDArray[np.float64]
    target: NDArray[np.float64]
    problems: list[str]
    meaning: str

    @property
    def right(self) -> NDArray[np.float64]:
        """The label as a verdict, 1 or 0."""
        return (self.target >= 0.5).astype(np.float64)


@dataclass(frozen=True, slots=True)
class Calibration:
    """The part that is scored and measured."""

    config: CalibrationConfig
    name: str = "calibration"
    steps: bool = True

    def load(self) -> Loaded[LabelledTrace]:
        config = self.config
        loaded = [(source, load_traces(source)) for source in config.data]
        rows = [row for source, found in loaded for row in found.rows if self._use(source, row)]
        if not rows:
            wanted = ", ".join(config.sources) if config.sources else "any source"
            raise DataError(f"{', '.join(config.data)}: no trace (of a held-out problem) has a label of {wanted}")
        kept = draw(rows, config.max_rows, config.seed)
        bad = tuple(row for _, found in loaded for row in found.bad)
        return Loaded(tuple(kept), bad, " ".join(found.digest for _, found in loaded))

    def measure(self, rows: Sequence[LabelledTrace], setting: Setting) -> Measured:
        names = self.config.sources or sorted({x.source for r in rows for x in r.labels if x.p_correct is not None})
        figures: list[Figure] = []
        bins: dict[str, Any] = {}
        for name in names:
            steps = labelled_steps(rows, (name,))
            figures += calibration_figures(name, steps, setting, self.config.bins)
            bins[name] = reliability_bins(steps.scores, steps.target, 10, groups=steps.problems, seed=setting.seed)
        return Measured(figures, {"reliability_by_source": bins})

    def _use(self, source: str, row: LabelledTrace) -> bool:
        config = self.config
        if not any(x.p_correct is not None and x.source in (config.sources or (x.source,)) for x in row.labels):
            return False
        trained_on = config.held_out is not None and Path(source).is_dir()
        return not trained_on or held_out(row.trace.problem.id, config.held_out or 0.0)


def calibration_figures(title: str, steps: LabelledSteps, setting: Setting, bins: int = 15) -> list[Figure]:
    """Ranking first, then calibration, each beside what a constant would get.

    Args:
        title: what stands before each figure's name.
        steps: that have a verdict.
        setting: of the measurement.
        bins: of the ECE.
    """
    scores, target, right, groups = steps.scores, steps.target, steps.right, steps.problems
    draws = setting.draws
    claims = setting.spec.meaning
    odd = f"labels mean '{steps.meaning}', the model's scores claim '{claims}'" if steps.meaning != claims else ""
    wrong = float((right < 0.5).mean())

    def calibration_error(p: Any, y: Any) -> float:
        return ece(p, y, bins)

    rising = "resampling raises it a little"
    measured: list[tuple[str, Any, Sequence[Any], str]] = [
        ("step AUROC", step_auroc, [scores, right], odd),
        ("step AP (wrong steps)", step_average_precision, [scores, right], f"at chance {wrong:.3f}"),
        (f"ECE ({bins} bins)", calibration_error, [scores, target], rising),
        ("Brier score", brier, [scores, target], f"constant prior {prior_brier(target):.3f}"),
        ("NLL", nll, [scores, target], f"constant prior {prior_nll(target):.3f}"),
        (
            "NLL saved over the constant prior",
            _saved,
            [scores, target],
            "paired; real where the interval is above 0",
        ),
    ]
    return [measure(f"{title} {name}", f, arrays, groups, note=note, **draws) for name, f, arrays, note in measured]


def labelled_steps(rows: Sequence[LabelledTrace], sources: Sequence[str]) -> LabelledSteps:
    """Every step that one of the sources has a verdict on, once: by the first that has, as training takes it.

    Raises:
        DataError: there is none, or their labels have different meanings, which are never merged.
    """
    found = [
        ((row.scores or ())[label.step], label.p_correct, row.trace.problem.id, label.meaning)
        for row in rows
        for label in choose_labels(row.labels, sources).values()
    ]
    if not found:
        raise DataError(f"no scored step has a verdict of {', '.join(sources)}")
    scores, target, groups, meanings = zip(*found, strict=True)
    if len(set(meanings)) > 1:
        raise DataError(f"labels of {', '.join(sources)} have different meanings: {', '.join(sorted(set(meanings)))}")
    return LabelledSteps(np.array(scores), np.array(target, dtype=np.float64), list(groups), meanings[0])


def _saved(scores: Any, target: Any) -> float:
    return prior_nll(target) - nll(scores, target)
