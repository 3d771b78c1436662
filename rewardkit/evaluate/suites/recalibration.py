"""What a temperature and a bias would make of a model's scores: before and after, held out by problem.

    score = sigmoid((log-odds + bias) / temperature)

Guo et al. 2017 (temperature), Platt 1999 (with a bias). Each step's score after calibration is by a map that was fitted
on other problems; the map that is written is fitted on all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from pydantic import Field

from rewardkit.errors import DataError
from rewardkit.evaluate.arrays import Floats
from rewardkit.evaluate.bootstrap import paired_difference
from rewardkit.evaluate.calibration import ece, nll, reliability_bins
from rewardkit.evaluate.figure import Figure
from rewardkit.evaluate.suites.base import Measured, Part, Setting
from rewardkit.evaluate.suites.calibration import (
    Calibration,
    CalibrationConfig,
    LabelledSteps,
    calibration_figures,
    labelled_steps,
)
from rewardkit.labels.calibrate import by_size, problem_folds, temperature_and_bias
from rewardkit.models.spec import RewardModelSpec
from rewardkit.store import LabelledTrace

_SURE = 1e-15
"""Scores are moved so far from 0 and 1 before their log-odds are taken: beyond that float64 has no difference to 1."""


class CalibrateConfig(CalibrationConfig):
    """Configuration of `rewardkit calibrate`; what is not said here is as in `rewardkit eval calibration`.

    Attributes:
        data: labelled traces that the model was not trained on; of dataset folders the held-out problems.
        sources: whose labels; None takes every source whose labels mean what the model's scores claim.
        method: ``temperature``, ``platt`` (a bias too), or ``auto``: a temperature alone below 100 labelled steps.
        folds: by problem, of the figures after calibration.
        write: whether the map goes into the model's ``reward_model.json`` (where it does not make the NLL worse).
    """

    output: str = "runs/calibrate"
    data: tuple[str, ...]
    method: Literal["auto", "temperature", "platt"] = "auto"
    folds: int = Field(5, ge=2)
    write: bool = True

    def parts(self) -> Sequence[Part]:
        return [Recalibration(self)]


@dataclass(frozen=True, slots=True)
class Recalibration:
    """The part that is scored and measured. Its last figures are the map: ``temperature`` and ``bias``."""

    config: CalibrateConfig
    name: str = "calibration"
    steps: bool = False

    def load(self) -> Any:
        return Calibration(self.config).load()

    def measure(self, rows: Sequence[LabelledTrace], setting: Setting) -> Measured:
        steps = _labelled(rows, self.config.sources, setting.spec)
        odds = log_odds(steps.scores, setting.spec)
        with_bias = self._with_bias(len(odds))
        after = replace(steps, scores=self._held_out(odds, steps, with_bias))
        figures = [
            *calibration_figures("before", steps, setting, self.config.bins),
            *calibration_figures("after", after, setting, self.config.bins),
            *_gains(steps, after, setting, self.config.bins),
            *_map(*temperature_and_bias(odds, steps.target, bias=with_bias), len(odds)),
        ]
        bins = {
            name: reliability_bins(one.scores, one.target, 10, groups=one.problems, seed=setting.seed)
            for name, one in (("before", steps), ("after", after))
        }
        return Measured(figures, {"reliability_by_source": bins})

    def _with_bias(self, n: int) -> bool:
        method = by_size(n) if self.config.method == "auto" else self.config.method
        return method != "temperature"

    def _held_out(self, odds: Floats, steps: LabelledSteps, with_bias: bool) -> Floats:
        from scipy.special import expit

        fold = problem_folds(steps.problems, steps.right, self.config.folds, self.config.seed)
        made = np.empty(len(odds))
        for number in np.unique(fold):
            out = fold == number
            temperature, bias = temperature_and_bias(odds[~out], steps.target[~out], bias=with_bias)
            made[out] = expit((odds[out] + bias) / temperature)
        return made


def log_odds(scores: Floats, spec: RewardModelSpec) -> Floats:
    """(steps,) what the model said before the calibration that its spec has now.

    >>> spec = RewardModelSpec(kind="outcome", temperature=2.0, bias=1.0)
    >>> log_odds(np.array([0.5]), spec).tolist()
    [-1.0]
    """
    p = np.clip(scores, _SURE, 1 - _SURE)
    return np.asarray(spec.temperature * (np.log(p) - np.log1p(-p)) - spec.bias, dtype=np.float64)


def _labelled(rows: Sequence[LabelledTrace], sources: Sequence[str] | None, spec: RewardModelSpec) -> LabelledSteps:
    """The labelled steps whose labels mean what the scores claim; of an outcome model the last step of each trace."""
    if not spec.scores_steps:
        rows = [_whole(row) for row in rows]
    found = {x.source: x.meaning for row in rows for x in row.labels if x.p_correct is not None}
    wanted = sources or [name for name, meaning in sorted(found.items()) if meaning == spec.meaning]
    others = [f"{name} is {meaning}" for name, meaning in sorted(found.items()) if meaning != spec.meaning]
    if not wanted or any(found.get(name, spec.meaning) != spec.meaning for name in wanted):
        raise DataError(
            f"the model's scores claim '{spec.meaning}', and labels of another meaning cannot calibrate them: "
            f"{', '.join(others)}; name others with sources=, or convert them with `rewardkit labels convert`"
        )
    return labelled_steps(rows, tuple(wanted))


def _whole(row: LabelledTrace) -> LabelledTrace:
    """A trace with the one score of its response at each step, and the labels of its last step."""
    last = len(row.trace.steps) - 1
    labels = tuple(label for label in row.labels if label.step == last)
    return replace(row, labels=labels, scores=((row.scores or ())[-1],) * len(row.trace.steps))


def _gains(before: LabelledSteps, after: LabelledSteps, setting: Setting, bins: int) -> list[Figure]:
    def figure(name: str, metric: Any) -> Figure:
        arrays = [before.scores, after.scores, before.target]
        found = paired_difference(
            lambda a, b, y: metric(a, y), lambda a, b, y: metric(b, y), arrays, before.problems, **setting.draws
        )
        note = "paired; real where the interval is above 0"
        return Figure(name, found.value, found.low, found.high, len(before.scores), note)

    return [
        figure("NLL saved by calibrating", nll),
        figure("ECE taken away by calibrating", lambda p, y: ece(p, y, bins)),
    ]


def _map(temperature: float, bias: float, n: int) -> list[Figure]:
    return [Figure("temperature", temperature, None, None, n, "fitted on all"), Figure("bias", bias, None, None, n)]
