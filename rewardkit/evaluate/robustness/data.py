"""The labelled steps of a robustness test as arrays: features, truth, and which trace and problem each belongs to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rewardkit.errors import DataError
from rewardkit.evaluate.features import FeatureReader
from rewardkit.store.dataset import LabelledTrace

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Steps:
    """Labelled steps in the order of their traces.

    Attributes:
        plain: (steps, width) features.
        marked: (steps, width) features of the same steps where every step of the trace carries the trigger.
        truth: (steps,) 1 right, 0 wrong.
        trace: (steps,) the number of the step's trace, rising.
        problems: (steps,) the id of its problem.
    """

    plain: Floats
    marked: Floats
    truth: NDArray[np.float64]
    trace: NDArray[np.int64]
    problems: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.truth)


def read_steps(
    rows: Sequence[LabelledTrace],
    sources: Sequence[str],
    reader: FeatureReader,
    trigger: str | None,
    progress: Callable[[int, int], None] | None = None,
) -> Steps:
    """Read the features of every labelled step, without the trigger and with it.

    Args:
        rows: traces that the reader can read.
        sources: label sources that count as the truth; of several on one step the first with an opinion.
        reader: of the features.
        trigger: appended to every step for `Steps.marked`; None: nobody asks for those, and they are the plain ones.
        progress: called with (traces read, traces to read), in each reading.

    Raises:
        DataError: a label is soft, or there is none.
    """
    traces = [row.trace for row in rows]
    plain = reader.read(traces, progress=progress)
    marked = plain if trigger is None else reader.read(traces, suffix=trigger, progress=progress)
    where = [(i, step, value) for i, row in enumerate(rows) for step, value in sorted(truths(row, sources).items())]
    if not where:
        raise DataError(f"no step has a label of {', '.join(sources)}")
    if any(value not in (0.0, 1.0) for _, _, value in where):
        raise DataError("robustness is measured on hard labels, 0 or 1; choose sources that give those")
    return Steps(
        plain=np.stack([plain[i][step] for i, step, _ in where]),
        marked=np.stack([marked[i][step] for i, step, _ in where]),
        truth=np.array([value for _, _, value in where]),
        trace=np.array([i for i, _, _ in where]),
        problems=np.array([rows[i].trace.problem.id for i, _, _ in where]),
    )


def truths(row: LabelledTrace, sources: Sequence[str]) -> dict[int, float]:
    """The verdict on each step that has one, from the first of the sources that gives it."""
    found: dict[int, float] = {}
    for source in reversed(sources):
        found.update({x.step: x.p_correct for x in row.labels if x.source == source and x.p_correct is not None})
    return found


def split(steps: Steps, chosen: NDArray[np.bool_]) -> Steps:
    """Some of the steps, their traces numbered anew."""
    return Steps(
        steps.plain[chosen],
        steps.marked[chosen],
        steps.truth[chosen],
        np.unique(steps.trace[chosen], return_inverse=True)[1].astype(np.int64),
        steps.problems[chosen],
    )


def reduced(train: Steps, test: Steps, width: int | None) -> tuple[Steps, Steps]:
    """Features standardised, and turned to their first principal components, both by the training steps' own.

    Args:
        train: to fit on.
        test: to transform as well.
        width: components to keep; None keeps the features.
    """
    from sklearn.decomposition import PCA
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    most = min(width or train.plain.shape[1], *train.plain.shape)
    turn = make_pipeline(StandardScaler(), PCA(most, random_state=0), StandardScaler()).fit(train.plain)

    def apply(steps: Steps) -> Steps:
        plain, marked = (turn.transform(x).astype(np.float32) for x in (steps.plain, steps.marked))
        return replace(steps, plain=plain, marked=marked)

    return apply(train), apply(test)


def clean_chances(train: Steps, seed: int = 0) -> NDArray[np.float64]:
    """Each training step's chance of being right, by a logistic regression on the clean labels of other problems.

    What an attacker who knows the truth would aim by; five folds by problem.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GroupKFold, cross_val_predict

    folds = GroupKFold(5, shuffle=True, random_state=seed)
    model = LogisticRegression(C=0.01, max_iter=1000)
    found = cross_val_predict(model, train.plain, train.truth, groups=train.problems, cv=folds, method="predict_proba")
    chances: NDArray[np.float64] = found[:, 1]
    return chances


def step_clusters(train: Steps, count: int = 20, seed: int = 0) -> NDArray[np.int64]:
    """A cluster for each training step: k-means over the features."""
    from sklearn.cluster import KMeans

    made: NDArray[np.int64] = KMeans(min(count, len(train)), n_init=1, random_state=seed).fit_predict(train.plain)
    return made
