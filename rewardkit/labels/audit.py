"""Which labels are likely wrong? A ranking with evidence. Nothing is ever changed or deleted by it.

    model        confident learning (Northcutt et al. 2021, arXiv 1911.00068, by cleanlab): scores of models that were
                 trained on the labels of *other problems*, so that none has learnt the label that it doubts
    judges       the mean of other sources' votes (Nahum et al. 2024, arXiv 2410.18889)
    neighbours   the share of like steps of other problems whose label differs
    dynamics     the loss of the label over a training, where it was recorded

Each is a chance that the label is wrong; the suspicion is their mean, by `WEIGHTS`. The estimated share of
wrong labels is an upper bound: on simulated noise confident learning overestimated it by 1.6 to 2.7 times.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rewardkit.errors import ConfigError, DataError
from rewardkit.evaluate.arrays import unit

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

NEIGHBOURS = 15

WEIGHTS = {"neighbours": 0.25}
"""Of a signal in the mean; 1 for all others. Where the model reads the same features, neighbours repeat it with more
noise: on ProcessBench's human labels with planted errors full weight cost up to 0.05 of average precision."""


@dataclass(frozen=True, slots=True)
class Audit:
    """What was found of the labels.

    Attributes:
        suspicion: (steps,) 0 to 1, higher is worse; the mean of the signals that the step has.
        signals: by name, (steps,) each; NaN for a step where the signal has nothing to say.
        flagged: (steps,) True where confident learning alone would call the label wrong.
        rate: the share of wrong labels that confident learning estimates: an upper bound; None without its signal.
        noise: its ``P(given | true)``, rows given (wrong, right), columns true; None without its signal.
        warnings: what the user should know.
    """

    suspicion: Floats
    signals: dict[str, Floats]
    flagged: Mask
    rate: float | None
    noise: tuple[tuple[float, float], tuple[float, float]] | None
    warnings: tuple[str, ...]

    def order(self) -> Ints:
        """(steps,) the steps from the most to the least suspect."""
        return np.argsort(-self.suspicion, kind="stable").astype(np.int64)


def audit(
    given: ArrayLike,
    *,
    scores: ArrayLike | None = None,
    judges: Floats | None = None,
    neighbours: Floats | None = None,
    losses: Floats | None = None,
) -> Audit:
    """Rank labels by how likely they are wrong.

    Args:
        given: (steps,) labels, 0 or 1.
        scores: (steps,) the chance of being right by models of other problems (`out_of_fold`), or by a reward model
            that was not trained on these labels.
        judges: (steps, sources) votes of other sources, NaN for no opinion.
        neighbours: (steps,) share of like steps with another label, NaN where not asked; see `disagreeing_neighbours`.
        losses: (epochs, steps) losses of the given labels during a training.

    Raises:
        ConfigError: cleanlab is not installed.
        DataError: all labels say the same, no signal was given, or shapes differ.

    >>> found = audit([1, 1, 1, 0, 0, 0] * 5, scores=[0.9, 0.8, 0.1, 0.2, 0.1, 0.3] * 5)
    >>> int(found.order()[0]) % 6
    2
    """
    labels = np.asarray(unit(given, "given") >= 0.5, dtype=np.int64)
    if len(np.unique(labels)) < 2:
        side = "right" if labels[0] else "wrong"
        raise DataError(f"all {len(labels)} labels say {side}: there is nothing to compare them with")
    signals: dict[str, Floats] = {}
    said: list[str] = []
    flagged, rate, noise = np.zeros(len(labels), dtype=np.bool_), None, None
    if scores is not None:
        flagged, rate, noise, signals["model"] = _confident_learning(labels, unit(scores, "scores"))
    if judges is not None and judges.shape[1]:
        signals["judges"] = _doubt(labels, _mean_vote(judges))
        if np.isnan(signals["judges"]).all():
            said.append("the other sources abstain wherever there is a label: they say nothing")
    if neighbours is not None:
        signals["neighbours"] = neighbours
    if losses is not None:
        signals["dynamics"] = -np.expm1(-np.mean(np.maximum(losses, 0.0), axis=0))
    shapes = {name: values.shape for name, values in signals.items() if values.shape != labels.shape}
    if shapes:
        raise DataError(
            f"{', '.join(f'{n} {s}' for n, s in shapes.items())}: one value for each of {len(labels)} labels is needed"
        )
    if not signals or all(np.isnan(values).all() for values in signals.values()):
        raise DataError("an audit needs a signal: scores, votes of another source, neighbours or losses")
    return Audit(combine(signals), signals, flagged, rate, noise, tuple(said))


def combine(signals: dict[str, Floats]) -> Floats:
    """(steps,) the mean of the signals that each step has, by `WEIGHTS`; 0 where it has none.

    >>> combine({"a": np.array([0.2, np.nan]), "b": np.array([0.4, np.nan])}).round(2).tolist()
    [0.3, 0.0]
    """
    table = np.stack(list(signals.values()))
    given = ~np.isnan(table)
    weights = np.array([WEIGHTS.get(name, 1.0) for name in signals])
    total = weights @ given
    found: Floats = np.divide(weights @ np.where(given, table, 0.0), total, out=np.zeros(len(total)), where=total > 0)
    return found


def out_of_fold(features: Any, given: Ints, groups: Ints, *, folds: int = 5, seed: int = 0) -> Floats:
    """Scores of a logistic regression on the given labels of other problems: (steps,) chances of being right.

    Args:
        features: (steps, width), dense or sparse.
        given: (steps,) labels, 0 or 1.
        groups: (steps,) a problem for each step.
        folds: how many.
        seed: of the folds.

    Raises:
        DataError: fewer than two problems have a label of each kind.
    """
    from sklearn.linear_model import LogisticRegression

    from rewardkit.labels.calibrate import problem_folds

    fold = problem_folds(groups, given, folds, seed)
    made = np.empty(len(given))
    for number in np.unique(fold):
        out = fold == number
        model = LogisticRegression(C=1.0, max_iter=1000).fit(features[~out], given[~out])
        made[out] = model.predict_proba(features[out])[:, 1]
    return made


def text_features(texts: list[str], place: Floats) -> Any:
    """(steps, width) sparse: TF-IDF of words and word pairs, and the step's place. Cheap, and blind to arithmetic."""
    import scipy.sparse
    from sklearn.feature_extraction.text import TfidfVectorizer

    reader = TfidfVectorizer(
        ngram_range=(1, 2), min_df=2, max_features=50_000, sublinear_tf=True, token_pattern=r"\w+|[^\w\s]"
    )
    try:
        table = reader.fit_transform(texts)
    except ValueError:  # no word occurs twice
        raise DataError("the steps share no word, so their texts say nothing of their labels") from None
    return scipy.sparse.hstack([table, place[:, None]], format="csr")


def disagreeing_neighbours(
    features: Any, given: Ints, groups: Ints, asked: Ints | None = None, *, k: int = NEIGHBOURS, seed: int = 0
) -> Floats:
    """The share of the k most similar steps of other problems whose label differs; NaN where not asked.

    Similarity is the cosine of 64 principal components. At most 20,000 steps, drawn at random, serve as neighbours.

    Args:
        features: (steps, width), dense or sparse.
        given: (steps,) labels, 0 or 1.
        groups: (steps,) a problem for each step.
        asked: indices of steps to ask for; None for all.
        k: neighbours.
        seed: of the components and of the draw.
    """
    n = len(given)
    made = np.full(n, np.nan)
    view = directions(features, seed)
    pool = np.sort(np.random.default_rng(seed).permutation(n)[:20_000])
    asked = np.arange(n) if asked is None else asked
    for start in range(0, len(asked), 2000):
        rows = asked[start : start + 2000]
        near = view[rows] @ view[pool].T
        near[groups[rows][:, None] == groups[pool][None, :]] = -np.inf
        nearest = np.argpartition(-near, min(k, len(pool)) - 1, axis=1)[:, :k]
        usable = np.take_along_axis(near, nearest, axis=1) > -np.inf
        differs = (given[pool][nearest] != given[rows][:, None]) & usable
        count = usable.sum(axis=1)
        made[rows] = np.divide(differs.sum(axis=1), count, out=np.full(len(rows), np.nan), where=count > 0)
    return made


def directions(features: Any, seed: int) -> NDArray[np.float32]:
    """(steps, 64 at most) of length 1, by principal components where there are more columns."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.preprocessing import normalize

    if features.shape[1] > 64 and features.shape[0] > 64:
        view = TruncatedSVD(64, random_state=seed).fit_transform(features)
    else:
        dense = features.toarray() if hasattr(features, "toarray") else np.asarray(features)
        view = dense - dense.mean(axis=0)
    return np.asarray(normalize(view), dtype=np.float32)


def _confident_learning(labels: Ints, p: Floats) -> tuple[Mask, float, Any, Floats]:
    """Its flags, the rate of wrong labels, P(given | true), and the model's doubt in each label."""
    try:
        from cleanlab.count import compute_confident_joint
        from cleanlab.filter import find_label_issues
        from cleanlab.rank import get_label_quality_scores
    except ImportError:
        raise ConfigError("confident learning needs cleanlab: pip install 'rewardkit[labels]'") from None
    pair = np.column_stack([1 - p, p])
    joint = compute_confident_joint(labels, pair).astype(np.float64)
    share = joint / joint.sum()
    flags = find_label_issues(
        labels, pair, filter_by="prune_by_noise_rate", confident_joint=joint.astype(int), n_jobs=1
    )
    columns = np.maximum(share.sum(axis=0), 1e-12)
    noise = tuple(tuple(float(x) for x in row) for row in share / columns)
    return (
        np.asarray(flags, dtype=np.bool_),
        float(1 - np.trace(share)),
        noise,
        1 - get_label_quality_scores(labels, pair),
    )


def _mean_vote(judges: Floats) -> Floats:
    given = ~np.isnan(judges)
    count = given.sum(axis=1)
    found: Floats = np.divide(
        np.where(given, judges, 0.0).sum(axis=1), count, out=np.full(len(judges), np.nan), where=count > 0
    )
    return found


def _doubt(labels: Ints, p: Floats) -> Floats:
    return np.where(labels == 1, 1 - p, p)
