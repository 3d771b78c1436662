"""Held-out problems of the model's own data: ranking, calibration and the first error, by the labels it learnt from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rewardkit.errors import DataError
from rewardkit.evaluate.bootstrap import measure
from rewardkit.evaluate.calibration import reliability_bins
from rewardkit.evaluate.figure import Figure
from rewardkit.evaluate.processbench import best_threshold, first_error_f1, first_errors
from rewardkit.evaluate.steps import precision_recall_points, roc_points
from rewardkit.evaluate.suites.base import Measured, Setting, Threshold, draw, first_wrong, in_development
from rewardkit.evaluate.suites.calibration import calibration_figures, labelled_steps
from rewardkit.store import LabelledTrace, Loaded, load_traces
from rewardkit.train.data import held_out


@dataclass(frozen=True, slots=True)
class HeldOut:
    """The part that is scored and measured.

    The threshold of the first error is chosen on one half of the problems (by the hash of their id) and its F1 is
    reported on the other.

    Attributes:
        data: dataset folders.
        sources: whose labels are the truth.
        share: of the problems that training held out.
        threshold: a given one; None chooses it.
        most: at most so many traces.
        seed: of the draw.
    """

    data: tuple[str, ...]
    sources: tuple[str, ...]
    share: float = 0.2
    threshold: float | None = None
    most: int | None = None
    seed: int = 0
    name: str = "held-out"
    steps: bool = True

    def load(self) -> Loaded[LabelledTrace]:
        loaded = [load_traces(folder) for folder in self.data]
        rows = [
            row
            for found in loaded
            for row in found.rows
            if held_out(row.trace.problem.id, self.share)
            and any(x.source in self.sources and x.p_correct is not None for x in row.labels)
        ]
        if not rows:
            raise DataError(f"{', '.join(self.data)}: no held-out trace with a label of {', '.join(self.sources)}")
        bad = tuple(row for found in loaded for row in found.bad)
        return Loaded(tuple(draw(rows, self.most, self.seed)), bad, " ".join(found.digest for found in loaded))

    def measure(self, rows: Sequence[LabelledTrace], setting: Setting) -> Measured:
        steps = labelled_steps(rows, self.sources)
        figures = calibration_figures("held-out", steps, setting)
        first, threshold = self._first_error(rows, setting)
        plots = {
            "reliability": reliability_bins(steps.scores, steps.target, 10, groups=steps.problems, seed=setting.seed),
            "roc": roc_points(steps.scores, steps.right),
            "precision_recall": precision_recall_points(steps.scores, steps.right),
        }
        return Measured([*figures, first], plots, threshold)

    def _first_error(self, rows: Sequence[LabelledTrace], setting: Setting) -> tuple[Figure, Threshold | None]:
        name = "held-out first-error F1"
        report, threshold = list(rows), self.threshold
        note = "given"
        if threshold is None:
            choose = [row for row in rows if not in_development(row.trace.problem.id, 0.5)]
            report = [row for row in rows if in_development(row.trace.problem.id, 0.5)]
            truth = [first_wrong(row, self.sources) for row in choose]
            try:
                threshold = best_threshold([row.scores or () for row in choose], truth or [-1])
            except DataError as error:
                return Figure(name, None, None, None, len(report), str(error)), None
            note = f"chosen on {len(choose)} other held-out traces"
        chosen = Threshold(threshold, note)
        if not report:
            return Figure(name, None, None, None, 0, "no held-out problem is left to report on"), chosen
        guess = first_errors([row.scores or () for row in report], threshold)
        truth = [first_wrong(row, self.sources) for row in report]
        groups = [row.trace.problem.id for row in report]
        figure = measure(name, first_error_f1, [guess, truth], groups, note=str(chosen), **setting.draws)
        return figure, Threshold(threshold, note if note == "given" else "chosen on held-out problems")
