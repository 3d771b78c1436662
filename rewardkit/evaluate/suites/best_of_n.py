"""Best of n: how good is the answer that the model chooses among n sampled ones?

Measured beside the first sample, a random one, the majority, and an oracle; see `rewardkit.evaluate.best_of_n`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from rewardkit.errors import DataError
from rewardkit.evaluate.best_of_n import (
    best_of_n_accuracy,
    best_of_n_curves,
    first_sample_accuracy,
    majority_accuracy,
    mean_distinct_accuracy,
    mean_sample_accuracy,
    oracle_accuracy,
    weighted_vote_accuracy,
    within_problem_auroc,
)
from rewardkit.evaluate.bootstrap import measure, paired_difference
from rewardkit.evaluate.figure import Figure
from rewardkit.evaluate.report import BestOfN
from rewardkit.evaluate.suites.base import Measured, Part, Setting, SuiteConfig, draw, solved
from rewardkit.models.reduce import REDUCERS, reduce_scores
from rewardkit.store import LabelledTrace, Loaded, load_traces

Floats = NDArray[np.float64]


class BestOfNConfig(SuiteConfig):
    """Configuration of `rewardkit eval best-of-n`.

    Attributes:
        data: several solutions of each problem: a dataset folder, a file, ``sample:NAME`` or a Hub id. A solution is
            right where its source says so (``is_correct``), else where its answer equals the problem's reference.
        split: of a data set on the Hub.
        n: samples a problem; None takes the most frequent number. Of more the first n count; problems with fewer are
            left out.
        max_problems: at most so many, drawn at random.
    """

    output: str = "runs/eval-best-of-n"
    data: str = "sample:gsm8k-solutions"
    split: str = "train"
    n: int | None = Field(None, ge=2)
    max_problems: int | None = Field(None, ge=2)

    def parts(self) -> Sequence[Part]:
        return [BestOf(self.data, self.n, self.max_problems, self.seed, self.split)]


@dataclass(frozen=True, slots=True)
class BestOf:
    """The part that is scored and measured; see `BestOfNConfig`."""

    data: str
    n: int | None = None
    max_problems: int | None = None
    seed: int = 0
    split: str = "train"
    name: str = "best-of-n"
    steps: bool = False

    def load(self) -> Loaded[LabelledTrace]:
        loaded = load_traces(self.data, split=self.split)
        problems: dict[str, list[LabelledTrace]] = defaultdict(list)
        for row in loaded.rows:
            problems[row.trace.problem.id].append(row)
        chosen = set(draw(sorted(problems), self.max_problems, self.seed))
        rows = tuple(row for row in loaded.rows if row.trace.problem.id in chosen)
        return Loaded(rows, loaded.bad, loaded.digest)

    def measure(self, rows: Sequence[LabelledTrace], setting: Setting) -> Measured:
        groups, note = samples_of(rows, self.n)
        correct = np.array([[float(bool(solved(row.trace))) for row in group] for group in groups])
        answers = np.array([classes_of(group) for group in groups])
        scores = _scores(groups, setting)
        main = scores.get(setting.reducer, next(iter(scores.values())))
        figures = _figures(main, scores, groups, answers, correct, note, setting)
        sizes, curves = best_of_n_curves(main, answers, correct, seed=setting.seed)
        kept = {name: tuple(values) for name, values in curves.items()}
        return Measured(figures, {"best_of_n": BestOfN(n=tuple(sizes), curves=kept)})


def _figures(
    main: Floats,
    scores: dict[str, Floats],
    groups: Sequence[Sequence[LabelledTrace]],
    answers: Floats,
    correct: Floats,
    note: str,
    setting: Setting,
) -> list[Figure]:
    n, draws = correct.shape[1], setting.draws
    figures = [
        measure(f"best-of-{n} accuracy, {name}", best_of_n_accuracy, [s, correct], note=note, **draws)
        for name, s in scores.items()
    ]
    figures += [
        measure(f"best-of-{n}: first sample", first_sample_accuracy, [correct], **draws),
        measure(f"best-of-{n}: random sample", mean_sample_accuracy, [correct], **draws),
        measure(f"best-of-{n}: majority", majority_accuracy, [answers, correct], **draws),
        measure(f"best-of-{n}: weighted vote", weighted_vote_accuracy, [main, answers, correct], **draws),
        measure(f"best-of-{n}: oracle", oracle_accuracy, [correct], **draws),
    ]
    about = "paired; real at 95% where the interval leaves out 0"
    gain = paired_difference(best_of_n_accuracy, lambda s, c: mean_sample_accuracy(c), [main, correct], **draws)
    title = f"best-of-{n}, {_name(scores, setting)}: gain over a random sample"
    figures.append(Figure(title, gain.value, gain.low, gain.high, len(main), about))
    return [*figures, *inner_figures(f"best-of-{n}", main, groups, correct, setting)]


def inner_figures(
    title: str, scores: Floats, groups: Sequence[Sequence[LabelledTrace]], correct: Floats, setting: Setting
) -> list[Figure]:
    """What tells a score that knows answers apart from one that knows problems: see `within_problem_auroc`."""
    texts = np.array([_numbered([row.trace.response for row in group]) for group in groups])
    both = int(((correct.max(axis=1) > 0) & (correct.min(axis=1) < 1)).sum())
    within = measure(f"{title}: AUROC within problems", within_problem_auroc, [scores, correct], **setting.draws)
    blind = "what a score that knows nothing comes to"
    return [
        replace(within, n=both, note=within.note or "problems with right and wrong answers"),
        measure(
            f"{title}: random distinct response", mean_distinct_accuracy, [texts, correct], note=blind, **setting.draws
        ),
    ]


def _numbered(texts: Sequence[str]) -> list[int]:
    seen: dict[str, int] = {}
    return [seen.setdefault(text, len(seen)) for text in texts]


def _name(scores: dict[str, Floats], setting: Setting) -> str:
    return setting.reducer if setting.reducer in scores else next(iter(scores))


def _scores(groups: Sequence[Sequence[LabelledTrace]], setting: Setting) -> dict[str, Floats]:
    """(problems, n) by reducer; of an outcome model its one score. A sum of steps is no weight of a vote."""
    if not setting.spec.scores_steps:
        return {"outcome": np.array([[setting.response_score(row.scores) for row in group] for group in groups])}
    return {
        name: np.array([[reduce_scores(row.scores or (), name) for row in group] for group in groups])
        for name in dict.fromkeys([*REDUCERS, setting.reducer])
        if name != "sum"
    }


def samples_of(rows: Sequence[LabelledTrace], n: int | None) -> tuple[list[list[LabelledTrace]], str]:
    """n samples of each problem that has as many, and what was left out."""
    problems: dict[str, list[LabelledTrace]] = defaultdict(list)
    undecided = {row.trace.problem.id for row in rows if solved(row.trace) is None}
    for row in rows:
        if row.trace.problem.id not in undecided:
            problems[row.trace.problem.id].append(row)
    if not problems:
        raise DataError("best-of-n needs solutions that are marked right or wrong (is_correct), or reference answers")
    sizes = Counter(len(group) for group in problems.values())
    wanted = n or max(sizes, key=lambda size: (sizes[size], size))
    whole = [group[:wanted] for group in problems.values() if len(group) >= wanted]
    if not whole or wanted < 2:
        raise DataError(f"best-of-n needs problems with at least {max(2, n or 2)} solutions; most have {wanted}")
    left = len(problems) - len(whole)
    notes = [f"problems with fewer samples left out: {left}"] if left else []
    if undecided:
        notes.append(f"problems with an undecided answer left out: {len(undecided)}")
    return whole, "; ".join(notes)


def classes_of(group: Sequence[LabelledTrace]) -> list[int]:
    """One number a solution, equal where the answers are; -1 where there is none or an empty one: it never votes."""
    from rewardkit.text.answers import group_answers

    classes = [-1] * len(group)
    for number, members in enumerate(group_answers([row.trace.answer for row in group])):
        for index in members:
            if (group[index].trace.answer or "").strip():
                classes[index] = number
    return classes
