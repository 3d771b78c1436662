"""PRMBench: which kinds of wrong step does the model see? Nine classes of errors put into right solutions.

Song et al., arXiv 2501.03124; the metric is in `rewardkit.evaluate.prmbench`. The errors were put in by a language
model, and only a sample of them was checked by people.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from rewardkit.errors import ConfigError, DataError
from rewardkit.evaluate.bootstrap import measure
from rewardkit.evaluate.figure import Figure
from rewardkit.evaluate.prmbench import CLASSES, DIMENSIONS, prm_score, prm_scores
from rewardkit.evaluate.steps import precision_recall_points, roc_points, step_auroc
from rewardkit.evaluate.suites.base import (
    Measured,
    Part,
    Setting,
    SuiteConfig,
    Threshold,
    data_files,
    draw,
    in_development,
)
from rewardkit.store import BadRow, LabelledTrace, Loaded
from rewardkit.store.rows import Source, read_rows
from rewardkit.types import Problem, StepLabel, Trace, content_id

SOURCE = "prmbench"


class PRMBenchConfig(SuiteConfig):
    """Configuration of `rewardkit eval prmbench`.

    Attributes:
        data: a folder of PRMBench's .jsonl files, one file, or a Hub id (``hitsmy/PRMBench_Preview``).
        classes: which of the nine (``circular``, ...); None means all that the data has.
        max_rows: at most so many rows of each class, drawn at random.
        threshold: a step with a score below it counts as wrong; 0.5 is the published setting. None chooses the one with
            the highest PRM-Score on a share of the problems, which are then not reported.
        development: that share, by the hash of the problem.
    """

    output: str = "runs/eval-prmbench"
    data: str = "hitsmy/PRMBench_Preview"
    classes: tuple[str, ...] | None = None
    max_rows: int | None = Field(None, ge=1)
    threshold: float | None = Field(0.5, ge=0, le=1)
    development: float = Field(0.25, gt=0, lt=1)

    def parts(self) -> Sequence[Part]:
        unknown = [name for name in self.classes or () if name not in CLASSES]
        if unknown:
            raise ConfigError(f"PRMBench has no class '{unknown[0]}'; it has {', '.join(CLASSES)}")
        return [PRMBench(self)]


@dataclass(frozen=True, slots=True)
class _Steps:
    """Every step of some traces: score, 1 for right, class, and the problem that the trace was made from."""

    scores: NDArray[np.float64]
    right: NDArray[np.float64]
    classes: NDArray[np.str_]
    problems: NDArray[np.str_]

    def where(self, mask: Any) -> _Steps:
        return _Steps(self.scores[mask], self.right[mask], self.classes[mask], self.problems[mask])


@dataclass(frozen=True, slots=True)
class PRMBench:
    """The part that is scored and measured."""

    config: PRMBenchConfig
    name: str = "prmbench"
    steps: bool = True

    def load(self) -> Loaded[LabelledTrace]:
        config = self.config
        path = Source(config.data).path
        sources = [Source(config.data)] if path is None else [Source(str(f)) for f in data_files(path).values()]
        found: dict[tuple[str, str], LabelledTrace] = {}
        bad: list[BadRow] = []
        for where, row in (pair for source in sources for pair in read_rows(source)):
            try:
                trace = row if isinstance(row, BadRow) else prmbench_trace(row)
            except DataError as error:
                trace = BadRow(where, str(error))
            if isinstance(trace, BadRow):
                bad.append(trace)
            else:  # a repeated row counts once, as published
                found.setdefault((trace.trace.meta["class"], trace.trace.meta["id"]), trace)
        rows = [
            row
            for name in config.classes or CLASSES
            for row in draw([r for (c, _), r in found.items() if c == name], config.max_rows, config.seed)
        ]
        if not rows:
            first = f"; the first fault is at {bad[0].where}: {bad[0].reason}" if bad else ""
            raise DataError(f"{config.data} holds no row of the classes {', '.join(config.classes or CLASSES)}{first}")
        return Loaded(tuple(rows), tuple(bad), " ".join(source.digest() for source in sources))

    def measure(self, rows: Sequence[LabelledTrace], setting: Setting) -> Measured:
        steps = _steps(rows)
        threshold: Threshold | None = None
        if self.config.threshold is not None:
            threshold = Threshold(self.config.threshold, "given" if self.config.threshold != 0.5 else "as published")
        if threshold is None:
            chosen_on = np.array([in_development(name, self.config.development) for name in steps.problems])
            threshold = _best(steps.where(chosen_on))
            steps = steps.where(~chosen_on)
        if not len(steps.scores):
            raise ConfigError("every row was used to choose the threshold; give more rows or threshold=NUMBER")
        judged = (steps.scores >= threshold.value).astype(float)
        figures = [*_overall(steps, judged, threshold, setting), *_dimensions(steps, judged, setting)]
        for name in (c for c in CLASSES if c in steps.classes):
            figures += _class(name, steps, judged, setting)
        plots = {
            "roc": roc_points(steps.scores, steps.right),
            "precision_recall": precision_recall_points(steps.scores, steps.right),
        }
        return Measured(figures, plots, threshold)


def prmbench_trace(row: Mapping[str, Any]) -> LabelledTrace:
    """A row of PRMBench as a trace; each step has a ``local`` label: wrong where ``error_steps`` (from 1) has it.

    An error step that lies behind the last step (some rows have one) is passed over, as the published code does.

    Raises:
        DataError: a key is missing or of another type.

    >>> row = {"modified_question": "1+1?", "modified_process": ["1+1 = 3", "So 3."], "error_steps": [1],
    ...        "classification": "counterfactual", "idx": "a", "original_question": "1+1?"}
    >>> [label.p_correct for label in prmbench_trace(row).labels]
    [0.0, 1.0]
    """
    steps, errors = row.get("modified_process"), row.get("error_steps")
    question, name = row.get("modified_question"), row.get("classification")
    if not isinstance(steps, list) or not steps or not all(isinstance(step, str) for step in steps):
        raise DataError("modified_process must be a list of texts, at least one")
    if errors is None:
        errors = []
    if not isinstance(errors, list) or not all(isinstance(e, int) and e >= 1 for e in errors):
        raise DataError("error_steps must be a list of step numbers from 1")
    if not isinstance(question, str) or name not in CLASSES:
        raise DataError("modified_question must be text, and classification one of PRMBench's nine classes")
    original = str(row.get("original_question", question))
    number = row.get("idx")
    if number is None:  # rows without a number are told apart by what they hold
        number = content_id(question, steps)
    meta = {"class": name, "id": str(number), "original": content_id(original)}
    trace = Trace.create(Problem.create(question), steps, model="PRMBench", meta=meta)
    reason = str(row.get("reason") or "")
    labels = tuple(
        StepLabel(trace.id, k, float(k + 1 not in errors), SOURCE, "local", reason if k + 1 in errors else "")
        for k in range(len(steps))
    )
    return LabelledTrace(trace, labels)


def _steps(rows: Sequence[LabelledTrace]) -> _Steps:
    found = [
        (score, label.p_correct, row.trace.meta["class"], row.trace.meta["original"])
        for row in rows
        for score, label in zip(row.scores or (), row.labels, strict=True)
    ]
    scores, right, classes, problems = zip(*found, strict=True)
    return _Steps(np.array(scores), np.array(right, dtype=np.float64), np.array(classes), np.array(problems))


def _best(steps: _Steps) -> Threshold:
    """The threshold with the highest PRM-Score, of the values between two scores that lie next to each other."""
    if not len(steps.scores) or steps.right.all() or not steps.right.any():
        raise ConfigError("no threshold can be chosen: too few rows; give more, or threshold=NUMBER")
    scores = np.unique(steps.scores)
    places = np.unique(np.quantile(scores, np.linspace(0, 1, 201), method="nearest"))
    middles = (places[:-1] + places[1:]) / 2 if len(places) > 1 else places
    found = [prm_score(steps.scores >= t, steps.right) for t in middles]
    count = len(np.unique(steps.problems))
    return Threshold(float(middles[int(np.argmax(found))]), f"chosen on the rows of {count} other problems")


def _overall(steps: _Steps, judged: Any, threshold: Threshold, setting: Setting) -> list[Figure]:
    """Over all steps of all classes together: the paper's "Overall" is no mean over classes."""
    arrays, draws = [judged, steps.right], setting.draws
    wrong = f"{int((1 - steps.right).sum()):,} of the steps are wrong"
    return [
        measure("PRMBench PRM-Score", prm_score, arrays, steps.problems, note=str(threshold), **draws),
        measure("PRMBench F1, right steps", lambda a, b: prm_scores(a, b).f1, arrays, steps.problems, **draws),
        measure(
            "PRMBench F1, wrong steps",
            lambda a, b: prm_scores(a, b).error_f1,
            arrays,
            steps.problems,
            note=wrong,
            **draws,
        ),
        measure("PRMBench step AUROC", step_auroc, [steps.scores, steps.right], steps.problems, **draws),
    ]


def _dimensions(steps: _Steps, judged: Any, setting: Setting) -> list[Figure]:
    figures = []
    for name, classes in DIMENSIONS.items():
        present = [c for c in classes if c in steps.classes]
        if not present:
            continue
        mask = np.isin(steps.classes, present)
        missing = [c for c in classes if c not in present]
        note = f"mean over {', '.join(present)}" + (f"; no rows of {', '.join(missing)}" if missing else "")
        part = steps.where(mask)
        arrays = [judged[mask], part.right, part.classes]
        figures.append(
            measure(f"PRMBench {name}: PRM-Score", _class_mean, arrays, part.problems, note=note, **setting.draws)
        )
    return figures


def _class_mean(judged: Any, right: Any, classes: Any) -> float:
    return float(np.mean([prm_score(judged[classes == c], right[classes == c]) for c in np.unique(classes)]))


def _class(name: str, steps: _Steps, judged: Any, setting: Setting) -> list[Figure]:
    mask = steps.classes == name
    part, guess = steps.where(mask), judged[mask]
    found = prm_scores(guess, part.right)
    note = CLASSES[name] + (
        "; no wrong steps: F1 alone" if found.error_f1 is None else f"; F1 of the wrong steps {found.error_f1:.3f}"
    )
    title, draws = f"PRMBench {name}", setting.draws
    figures = [measure(f"{title}: PRM-Score", prm_score, [guess, part.right], part.problems, note=note, **draws)]
    if found.error_f1 is not None:
        figures.append(measure(f"{title}: step AUROC", step_auroc, [part.scores, part.right], part.problems, **draws))
    return figures
