"""The `hybrid` labeler: rollouts and judges on the same steps, combined by VL-PRM's rule or by a label model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Literal

from pydantic import Field, model_validator

from rewardkit.config import Config
from rewardkit.generate.begun import continuing
from rewardkit.labelers.asker import Asker
from rewardkit.labelers.judge import JudgeLabeler, JudgeOptions, Marks, Verdict, generators
from rewardkit.labelers.rollout import RolloutLabeler, RolloutOptions
from rewardkit.text.sections import step_kinds
from rewardkit.types import Meaning, StepLabel, Trace

Values = Sequence[float | None]
Model = Literal["average", "majority", "count"]

ABOVE = 0.125
"""A value up to which a step is lost, where a lucky guess is more likely than a step that is right and this hard."""


class HybridOptions(Config):
    """Who values steps and who judges them, and how the two are combined.

    Attributes:
        rollout: see `rewardkit.labelers.rollout.RolloutOptions`.
        judge: see `rewardkit.labelers.judge.JudgeOptions`; it marks the first error.
        rule: ``labels`` reads the rollouts as prefix labels (a value of at most `above` is an error, and so is all
            behind it) and merges them with the judges' by `model`; ``vl_prm`` is the published rule, see `vl_prm`.
        model: a label model that needs no gold, of `rewardkit.labels.aggregate`. Where there is gold, `rewardkit labels
            merge` calibrates: the parts are in the dataset too, as ``hybrid:rollout`` and ``hybrid:judge``.
        above: the value up to which a step is lost; None for 0 in ``vl_prm``, as published, and for `ABOVE` in
            ``labels``, so that an answer that is right by luck does not make a lost step right (benchmarks/hybrid.py).
        unit: traces that are labelled side by side.
    """

    rollout: RolloutOptions
    judge: JudgeOptions
    rule: Literal["labels", "vl_prm"] = "labels"
    model: Model = "average"
    above: float | None = Field(default=None, ge=0.0, lt=1.0)
    unit: int = Field(default=64, ge=1)

    @model_validator(mode="after")
    def _fit(self) -> HybridOptions:
        if self.judge.marks != "first_error":
            raise ValueError("hybrid needs judge.marks=first_error")
        if self.rule == "vl_prm" and (self.rollout.method != "math_shepherd" or not self.rollout.soft):
            raise ValueError(
                "rule=vl_prm needs rollout.method=math_shepherd and rollout.soft=true: a value of each step"
            )
        return self


class HybridLabeler:
    """Prefix labels from both; the labels of each part stand beside them, and the evidence tells looking from thinking.

    Traces of problems with images need generators that see them. Steps are told apart by
    `rewardkit.text.sections.step_kinds`.

    Args:
        options: see `HybridOptions`.
    """

    Options = HybridOptions
    name = "hybrid"
    meaning: Meaning = "prefix"

    def __init__(self, options: HybridOptions) -> None:
        self.options = options
        self.unit = options.unit
        self.asker = Asker([continuing(options.rollout.generator), *generators(options.judge)])
        self._rollout = RolloutLabeler(options.rollout, self.asker)
        self._judge = JudgeLabeler(options.judge, self.asker, first=1)

    def label_group(self, traces: Sequence[Trace]) -> list[StepLabel]:
        """Of each step a combined label and one of each part."""
        values: dict[str, list[StepLabel]] = {trace.id: [] for trace in traces}
        for label in self._rollout.label_group(traces):
            values[label.trace_id].append(replace(label, source=f"{self.name}:rollout"))
        labels: list[StepLabel] = []
        for trace, said in self._judge.verdicts(traces):
            rolled = sorted(values[trace.id], key=lambda label: label.step)
            judged = [replace(x, source=f"{self.name}:judge") for x in self._judge.labels(trace, said)]
            labels += [*self._combined(trace, rolled, judged, said), *rolled, *judged]
        return labels

    def close(self) -> None:
        """End the generators."""
        self.asker.close()

    def _combined(
        self, trace: Trace, rolled: Sequence[StepLabel], judged: Sequence[StepLabel], said: Sequence[Verdict | None]
    ) -> Iterator[StepLabel]:
        values = [label.p_correct for label in rolled]
        above, model = self.options.above, self.options.model
        if self.options.rule == "vl_prm":
            merged, why = vl_prm(values, [verdict and verdict.marks for verdict in said], above or 0.0)
        else:
            merged, why = merge_parts(rolled, judged, model, ABOVE if above is None else above), model
        kinds = step_kinds(step.text for step in trace.steps)
        for step, p in enumerate(merged):
            parts = f"rollout {_written(values[step])}, judge {_written(judged[step].p_correct)} ({why})"
            kind = f"{kinds[step]} step: " if kinds[step] else ""
            yield StepLabel(trace.id, step, p, self.name, self.meaning, kind + parts)


def vl_prm(values: Values, verdicts: Sequence[Marks | None], above: float = 0.0) -> tuple[list[float | None], str]:
    """VL-PRM's rule from Monte-Carlo values and a judge to labels (arXiv 2509.23250; as its code has it).

    A trace is dropped where any verdict is missing. The first judge decides: where it finds an error, the steps before
    are right, that one is wrong and the rest is not labelled, whatever the values say; where it finds none, all steps
    are right if all values are above the bound, else the trace is dropped.

    Args:
        values: of each step, the share of continuations that end right.
        verdicts: for each judge and sample, whether each prefix is right; None where there is no verdict.
        above: the bound.

    Returns:
        A label for each step, None where there is none, and why.

    >>> vl_prm([0.9, 0.4, 0.0], [(True, False, False)])
    ([1.0, 0.0, None], 'the judge finds the first error at step 2')
    >>> vl_prm([0.9, 0.4, 0.0], [(True, True, True)])
    ([None, None, None], 'dropped: the judge finds no error, a value is not above 0')
    """
    nothing: list[float | None] = [None] * len(values)
    if not verdicts or any(marks is None for marks in verdicts):
        return nothing, "dropped: a judge gives no verdict"
    marks = list(verdicts[0] or ())
    if False in marks:
        first = marks.index(False)
        found: list[float | None] = [*[1.0] * first, 0.0, *nothing[first + 1 :]]
        return found, f"the judge finds the first error at step {first + 1}"
    if all(value is not None and value > above for value in values):
        sound: list[float | None] = [1.0] * len(values)
        return sound, f"the judge finds no error, and all values are above {above:g}"
    return nothing, f"dropped: the judge finds no error, a value is not above {above:g}"


def merge_parts(
    rolled: Sequence[StepLabel], judged: Sequence[StepLabel], model: str = "average", above: float = ABOVE
) -> list[float | None]:
    """Rollouts read as prefix labels, merged with a judge's by a label model; None where neither says anything.

    >>> rolled = [StepLabel("t", i, p, "rollout", "value") for i, p in enumerate([0.5, 0.0, None])]
    >>> judged = [StepLabel("t", i, p, "judge", "prefix") for i, p in enumerate([1.0, 0.5, None])]
    >>> merge_parts(rolled, judged)
    [1.0, 0.25, 0.0]
    """
    import numpy as np

    from rewardkit.labels.aggregate import unsupervised
    from rewardkit.labels.convert import value_to_prefix

    columns = [[x.p_correct for x in value_to_prefix(rolled, above)], [x.p_correct for x in judged]]
    votes = np.array(columns, dtype=np.float64).T
    if np.isnan(votes).all():
        return [None] * len(rolled)
    return [None if np.isnan(p) else float(p) for p in unsupervised(votes, model)]


def _written(p: float | None) -> str:
    return "none" if p is None else f"{p:.2f}"
