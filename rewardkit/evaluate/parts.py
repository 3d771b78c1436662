"""The parts of an evaluation, each from scored traces to figures and plots."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np

from rewardkit.errors import DataError
from rewardkit.evaluate.best_of_n import (
    best_of_n_accuracy,
    best_of_n_curves,
    first_sample_accuracy,
    majority_accuracy,
    mean_sample_accuracy,
    oracle_accuracy,
    weighted_vote_accuracy,
)
from rewardkit.evaluate.bootstrap import measure, paired_difference
from rewardkit.evaluate.calibration import brier, ece, nll, prior_nll, reliability_bins
from rewardkit.evaluate.figure import Figure
from rewardkit.evaluate.processbench import best_threshold, first_error_accuracies, first_error_f1, first_errors
from rewardkit.evaluate.report import BestOfN, Training
from rewardkit.evaluate.steps import precision_recall_points, roc_points, step_auroc, step_average_precision
from rewardkit.models.reduce import reduce_scores
from rewardkit.models.spec import Reducer
from rewardkit.store import LabelledTrace
from rewardkit.train.data import held_out


@dataclass(frozen=True, slots=True)
class HeldOut:
    """What the held-out part found.

    Attributes:
        figures: in the order to be shown.
        plots: the parts of `EvalReport` that are drawn.
        threshold: below which a step counts as wrong; None where it could not be chosen.
    """

    figures: list[Figure]
    plots: dict[str, Any]
    threshold: float | None


def held_out_part(
    rows: Sequence[LabelledTrace], sources: Sequence[str], threshold: float | None, resamples: int, seed: int
) -> HeldOut:
    """Ranking, calibration and first error over the labelled steps of held-out problems.

    The threshold of the first error is chosen on one half of the problems (by the hash of their id) and its F1 is
    reported on the other.

    Args:
        rows: scored traces with labels.
        sources: whose labels are the truth.
        threshold: a given one; None chooses it.
        resamples: of the bootstrap over problems.
        seed: of its draws.
    """
    scores, truth, groups = _labelled_steps(rows, sources)
    options: dict[str, Any] = {"n": resamples, "seed": seed}
    wrong = float((truth < 0.5).mean())
    prior = prior_nll(truth)
    figures = [
        measure("held-out step AUROC", step_auroc, [scores, truth], groups, **options),
        measure(
            "held-out step AP (wrong steps)",
            step_average_precision,
            [scores, truth],
            groups,
            note=f"at chance {wrong:.3f}",
            **options,
        ),
        measure(
            "held-out ECE (15 bins)", ece, [scores, truth], groups, note="resampling raises it a little", **options
        ),
        measure("held-out Brier score", brier, [scores, truth], groups, **options),
        measure("held-out NLL", nll, [scores, truth], groups, note=f"constant prior {prior:.3f}", **options),
    ]
    chosen = _threshold_part(rows, sources, threshold, options)
    plots = {
        "reliability": reliability_bins(scores, truth, 10, groups=groups, seed=seed),
        "roc": roc_points(scores, truth),
        "precision_recall": precision_recall_points(scores, truth),
    }
    return HeldOut([*figures, *chosen[0]], plots, chosen[1])


def processbench_part(
    rows: Sequence[LabelledTrace], threshold: float, note: str, resamples: int, seed: int
) -> list[Figure]:
    """ProcessBench's first-error F1 with its two accuracies, and AUROC over the steps up to the first error.

    Steps behind the first error are left out of the AUROC: the human label says nothing of them.
    """
    truth = np.array([_human_first_error(row) for row in rows])
    guess = first_errors([row.scores or () for row in rows], threshold)
    options: dict[str, Any] = {"n": resamples, "seed": seed}
    groups = [row.trace.problem.id for row in rows]
    steps = [
        (score, float(k != error), row.trace.problem.id)
        for row, error in zip(rows, truth, strict=True)
        for k, score in enumerate((row.scores or ())[: error + 1 if error >= 0 else None])
    ]
    values, right, owners = (list(column) for column in zip(*steps, strict=True))
    return [
        measure("ProcessBench first-error F1", first_error_f1, [guess, truth], groups, note=note, **options),
        measure("ProcessBench accuracy, traces with an error", _accuracy_with, [guess, truth], groups, **options),
        measure("ProcessBench accuracy, traces without", _accuracy_without, [guess, truth], groups, **options),
        measure("ProcessBench step AUROC, to the first error", step_auroc, [values, right], owners, **options),
    ]


def best_of_n_part(
    rows: Sequence[LabelledTrace], reducer: Reducer, resamples: int, seed: int
) -> tuple[list[Figure], BestOfN]:
    """Accuracy of choosing one of n solutions: by the model with each reducer, and by every reference strategy.

    Args:
        rows: scored traces, n a problem, each with ``meta["is_correct"]``.
        reducer: the one that the curves and the votes use.
        resamples: of the bootstrap over problems.
        seed: of its draws.

    Raises:
        DataError: problems have different numbers of solutions, or a solution is not marked right or wrong.
    """
    problems = _group(rows)
    n = len(problems[0])
    correct = np.array([[float(_is_correct(row)) for row in group] for group in problems])
    answers = np.array([_classes(group) for group in problems])
    scores = {
        name: np.array([[reduce_scores(row.scores or (), name) for row in group] for group in problems])
        for name in get_args(Reducer)
        if name != "sum"
    }
    main = scores.get(reducer, scores["min"])
    options: dict[str, Any] = {"n": resamples, "seed": seed}
    figures = [
        measure(f"best-of-{n} accuracy, {name}", best_of_n_accuracy, [s, correct], **options)
        for name, s in scores.items()
    ]
    figures += [
        measure(f"best-of-{n}: first sample", first_sample_accuracy, [correct], **options),
        measure(f"best-of-{n}: random sample", mean_sample_accuracy, [correct], **options),
        measure(f"best-of-{n}: majority", majority_accuracy, [answers, correct], **options),
        measure(f"best-of-{n}: weighted vote", weighted_vote_accuracy, [main, answers, correct], **options),
        measure(f"best-of-{n}: oracle", oracle_accuracy, [correct], **options),
    ]
    gain = paired_difference(
        best_of_n_accuracy, lambda s, c: mean_sample_accuracy(c), [main, correct], n=resamples, seed=seed
    )
    note = "paired; real at 95% where the interval leaves out 0"
    figures.append(
        Figure(f"best-of-{n}, {reducer}: gain over a random sample", gain.value, gain.low, gain.high, len(main), note)
    )
    sizes, curves = best_of_n_curves(main, answers, correct)
    return figures, BestOfN(n=tuple(sizes), curves={name: tuple(values) for name, values in curves.items()})


def training_part(model: str) -> Training | None:
    """The losses of the run that made a model folder; None for a service or a folder without ``training.json``."""
    path = Path(model) / "training.json"
    if not path.is_file():
        return None
    log = json.loads(path.read_text(encoding="utf-8"))["log"]
    return Training(
        loss=tuple((entry["step"], entry["loss"]) for entry in log if "loss" in entry),
        eval=tuple((entry["step"], entry["eval_loss"]) for entry in log if "eval_loss" in entry),
    )


def _labelled_steps(rows: Sequence[LabelledTrace], sources: Sequence[str]) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Scores, hard truth and problem ids of all steps with a verdict."""
    steps = [
        ((row.scores or ())[label.step], float(label.p_correct >= 0.5), row.trace.problem.id)
        for row in rows
        for label in row.labels
        if label.source in sources and label.p_correct is not None
    ]
    scores, truth, groups = zip(*steps, strict=True)
    return np.array(scores), np.array(truth), list(groups)


def _threshold_part(
    rows: Sequence[LabelledTrace], sources: Sequence[str], threshold: float | None, options: dict[str, Any]
) -> tuple[list[Figure], float | None]:
    first = {row.trace.id: _first_wrong(row, sources) for row in rows}
    report = [row for row in rows if threshold is not None or held_out(row.trace.problem.id, 0.5, seed=1)]
    choose = [row for row in rows if not held_out(row.trace.problem.id, 0.5, seed=1)]
    if threshold is None:
        try:
            threshold = best_threshold([r.scores or () for r in choose], [first[r.trace.id] for r in choose])
        except DataError as error:
            return [Figure("held-out first-error F1", None, None, None, len(report), str(error))], None
    guess = first_errors([r.scores or () for r in report], threshold)
    truth = [first[r.trace.id] for r in report]
    note = f"threshold {threshold:.3f}, chosen on {len(choose)} other held-out traces"
    groups = [r.trace.problem.id for r in report]
    figure = measure("held-out first-error F1", first_error_f1, [guess, truth], groups, note=note, **options)
    return [figure], threshold


def _first_wrong(row: LabelledTrace, sources: Sequence[str]) -> int:
    wrong = [x.step for x in row.labels if x.source in sources and x.p_correct is not None and x.p_correct < 0.5]
    return min(wrong, default=-1)


def _human_first_error(row: LabelledTrace) -> int:
    return min((x.step for x in row.labels if x.source == "human" and x.p_correct == 0.0), default=-1)


def _accuracy_with(guess: Any, truth: Any) -> float | None:
    return first_error_accuracies(guess, truth).error_accuracy


def _accuracy_without(guess: Any, truth: Any) -> float | None:
    return first_error_accuracies(guess, truth).correct_accuracy


def _group(rows: Sequence[LabelledTrace]) -> list[list[LabelledTrace]]:
    groups: dict[str, list[LabelledTrace]] = defaultdict(list)
    for row in rows:
        groups[row.trace.problem.id].append(row)
    most = max(len(group) for group in groups.values())
    whole = [group for group in groups.values() if len(group) == most]
    if not whole or most < 2:
        raise DataError("best-of-n needs at least two solutions a problem")
    return whole


def _is_correct(row: LabelledTrace) -> bool:
    if "is_correct" not in row.trace.meta:
        raise DataError(f"trace {row.trace.id}: best-of-n needs solutions that are marked right or wrong (is_correct)")
    return bool(row.trace.meta["is_correct"])


def _classes(group: Sequence[LabelledTrace]) -> list[int]:
    """One number a solution, equal where the answers are; -1 where there is none, which never votes."""
    from rewardkit.text.answers import group_answers

    classes = [-1] * len(group)
    for number, members in enumerate(group_answers([row.trace.answer for row in group])):
        for index in members:
            if group[index].trace.answer is not None:
                classes[index] = number
    return classes
