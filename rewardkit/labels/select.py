"""Which steps or traces should the costly verifier see next? Scores and draws; a random share always goes along.

    random      every candidate alike
    uncertain   entropy of p, drawn without replacement with sharpened weights
    rad         Robust Active Distillation, closed form (arXiv 2210.01213): robust to verifications that come to nothing
    llkd        teacher sure and student unsure (arXiv 2411.08028)
    disagree    sources that contradict each other
    diverse     far from each other in features (greedy k-centre)
    skills      where the model lacks a skill

The random share gives unbiased calibration and the chance of each step to be verified; nothing else does.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rewardkit.errors import ConfigError, DataError
from rewardkit.evaluate.arrays import unit

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

POLICIES = ("random", "rad", "uncertain", "disagree", "llkd", "diverse")


def with_random_share(chosen: ArrayLike, candidates: int, count: int, *, share: float = 0.2, seed: int = 0) -> Ints:
    """The first of a ranking or draw, and a random share of all candidates, none twice.

    Args:
        chosen: candidates in the order in which a policy wants them.
        candidates: how many there are in all.
        count: how many to take.
        share: of `count` drawn at random from all candidates, at least one.
        seed: of the draw.

    Raises:
        DataError: more are wanted than there are, or the share is none.

    >>> len(set(with_random_share([3, 1, 2, 0], 4, 3).tolist()))
    3
    """
    if not 0 <= share <= 1 or not 0 < count <= candidates:
        raise DataError(
            f"{count} of {candidates} candidates with a random share of {share}: take 1 to all, share 0 to 1"
        )
    free = np.random.default_rng(seed).permutation(candidates)[: max(1, round(share * count)) if share else 0]
    rest = [i for i in np.asarray(chosen, dtype=np.int64).tolist() if i not in set(free.tolist())]
    found = np.array([*free.tolist(), *rest[: count - len(free)]], dtype=np.int64)
    if len(found) == count:
        return found
    others = np.setdiff1d(np.arange(candidates), found)  # the policy wanted fewer: fill up at random
    return np.concatenate([found, np.random.default_rng(seed + 1).permutation(others)[: count - len(found)]])


def rad_weights(p: ArrayLike, useless: float = 0.1, batch: int | None = None) -> Floats:
    """The chance of each candidate to be drawn by Robust Active Distillation, in closed form; they sum to 1.

    The gain of a candidate is ``g = 1 - |2p - 1|``. An adversary makes the r most likely draws come to nothing (the
    verifier cannot read the step, or runs out of time); against it the best draw is ``proportional to 1/g`` on the k
    largest gains, ``k = argmax (k - r) / sum_{j<=k} 1/g_j``. Equal to the linear program (see the tests).

    Args:
        p: (candidates,) the chance of being right as it is believed now.
        useless: the share of verifications that come to nothing.
        batch: how many are drawn together; r is ``ceil(batch * useless)``. None: one in all.

    Raises:
        DataError: no candidate has a gain, or the useless outnumber the candidates.

    >>> rad_weights([0.5, 0.6, 0.99], useless=0.0).round(2).tolist()
    [1.0, 0.0, 0.0]
    """
    gain = 1 - np.abs(2 * unit(p, "p") - 1)
    order = np.argsort(-gain, kind="stable")
    order = order[gain[order] > 0]
    r = int(np.ceil((batch or 1) * useless))
    if len(order) <= r:
        raise DataError(f"{len(order)} candidates have anything to gain, and {r} verifications may come to nothing")
    costs = np.cumsum(1 / gain[order])
    k = np.arange(1, len(order) + 1)
    best = int(np.argmax(np.where(k > r, (k - r) / costs, -np.inf))) + 1
    weights = np.zeros(len(gain))
    weights[order[:best]] = 1 / gain[order[:best]]
    return np.asarray(weights / weights.sum(), dtype=np.float64)


def uncertain_weights(p: ArrayLike, sharpness: float = 4.0) -> Floats:
    """Weights ``H(p)^sharpness``, H the entropy: draw without replacement by them; they sum to 1.

    >>> uncertain_weights([0.5, 1.0]).tolist()
    [1.0, 0.0]
    """
    inner = np.clip(unit(p, "p"), 1e-12, 1 - 1e-12)
    entropy = -(inner * np.log(inner) + (1 - inner) * np.log1p(-inner))
    raw = np.where(entropy < 1e-9, 0.0, entropy) ** sharpness
    return np.full(len(raw), 1 / len(raw)) if raw.sum() <= 0 else np.asarray(raw / raw.sum(), dtype=np.float64)


def llkd(teacher: ArrayLike, student: ArrayLike) -> tuple[Mask, Floats]:
    """LLKD: keep what the teacher is sure of and the student is not, by thresholds of a class.

    The thresholds are the class means of this batch; the paper moves them over training steps. Their form is our
    reading of its abstract and figures, not of its code.

    Args:
        teacher: (steps,) chance of being right by the judge whose labels are to be learnt.
        student: (steps,) the same by the model that learns.

    Returns:
        (steps,) True for those to keep, and (steps,) their weight, confidence times uncertainty.

    >>> llkd([0.99, 0.99, 0.6], [0.5, 0.99, 0.5])[0].tolist()
    [True, False, False]
    """
    c, s = unit(teacher, "teacher"), unit(student, "student")
    confidence, uncertainty = np.maximum(c, 1 - c), 1 - np.maximum(s, 1 - s)
    kept = np.ones(len(c), dtype=np.bool_)
    for side in (c >= 0.5, c < 0.5):
        if side.any():
            kept[side] &= (confidence[side] >= confidence[side].mean()) & (
                uncertainty[side] >= uncertainty[side].mean()
            )
    return kept, confidence * uncertainty


def silver(features: Floats, labels: ArrayLike, p: ArrayLike, k: int = 15) -> Mask:
    """HAST: which pseudo-labels to accept beside the verified ones.

    Accepted where the majority of the k nearest verified steps (cosine) agrees with the prediction, more than half of
    them do, and the prediction is surer than half.

    Args:
        features: (verified + candidates, width), the verified ones first.
        labels: (verified,) verdicts, 0 or 1.
        p: (candidates,) predictions.
        k: neighbours.

    >>> silver(np.array([[1.0, 0], [0, 1], [1, 0.1], [1, 0.1]]), [1, 0], [0.9, 0.1], k=1).tolist()
    [True, False]
    """
    verdicts, predicted = unit(labels, "labels"), unit(p, "p")
    unitary = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    near = unitary[len(verdicts) :] @ unitary[: len(verdicts)].T
    nearest = np.argsort(-near, axis=1, kind="stable")[:, :k]
    share = verdicts[nearest].mean(axis=1)
    return np.asarray(((share > 0.5) & (predicted > 0.5)) | ((share < 0.5) & (predicted < 0.5)), dtype=np.bool_)


def diverse(features: Floats, count: int, seed: int = 0) -> Ints:
    """Greedy k-centre (Gonzalez 1985): each next candidate is the one farthest from those chosen so far.

    >>> diverse(np.array([[0.0], [0.1], [5.0], [9.0]]), 3, seed=1).shape
    (3,)
    """
    chosen = [int(np.random.default_rng(seed).integers(len(features)))]
    far = np.linalg.norm(features - features[chosen[0]], axis=1)
    while len(chosen) < min(count, len(features)):
        far[chosen] = -1.0
        chosen.append(int(np.argmax(far)))
        far = np.minimum(far, np.linalg.norm(features - features[chosen[-1]], axis=1))
    return np.array(chosen, dtype=np.int64)


def skill_weights(failures: dict[str, int], skills: list[set[str]]) -> Floats:
    """STAT's profile: the weight of each problem is how often the model failed the skills that it needs; sums to 1.

    Args:
        failures: from a skill to how often it was missing, counted on problems that are *not* those measured later.
        skills: of each candidate.

    >>> skill_weights({"fractions": 3, "units": 1}, [{"fractions"}, {"units"}, set()]).tolist()
    [0.75, 0.25, 0.0]
    """
    raw = np.array([float(sum(failures.get(skill, 0) for skill in own)) for own in skills])
    if raw.sum() <= 0:
        raise DataError("no candidate needs a skill that was missing: there is no profile to follow")
    return np.asarray(raw / raw.sum(), dtype=np.float64)


def disagreement(votes: Floats) -> Floats:
    """(steps,) how far hard votes are from unanimous, 0 to 1; 0 with fewer than two votes.

    >>> disagreement(np.array([[1.0, 0.0], [1.0, 0.9], [1.0, np.nan]])).tolist()
    [1.0, 0.0, 0.0]
    """
    given = ~np.isnan(votes)
    count = given.sum(axis=1)
    share = np.where(given, votes >= 0.5, False).sum(axis=1) / np.maximum(count, 1)
    return np.where(count > 1, 1 - np.abs(2 * share - 1), 0.0)


def trace_values(step_values: ArrayLike, trace: Ints, traces: int, top: int = 3) -> Floats:
    """(traces,) the mean of each trace's `top` highest step values; 0 for a trace without steps.

    >>> trace_values([0.1, 0.9, 0.5], np.array([0, 0, 1]), 3, top=1).tolist()
    [0.9, 0.5, 0.0]
    """
    values = np.asarray(step_values, dtype=np.float64)
    order = np.lexsort((-values, trace))
    sorted_trace = trace[order]
    first = np.searchsorted(sorted_trace, np.arange(traces))
    rank = np.arange(len(order)) - first[sorted_trace]
    kept = order[rank < top]
    total = np.bincount(trace[kept], weights=values[kept], minlength=traces)
    return np.asarray(total / np.maximum(np.bincount(trace[kept], minlength=traces), 1), dtype=np.float64)


def rank(
    policy: str, p: Floats, votes: Floats, features: Floats, count: int, *, useless: float = 0.1, seed: int = 0
) -> Ints:
    """Candidates in the order in which a policy wants them.

    Args:
        policy: of `POLICIES`.
        p: (candidates,) the chance of being right as believed now.
        votes: (candidates, sources), for ``disagree`` and ``llkd`` (the first source is the teacher there).
        features: (candidates, width), for ``diverse``.
        count: how many are wanted.
        useless: see `rad_weights`.
        seed: of draws.

    Raises:
        ConfigError: no such policy.
        DataError: see the policy.
    """
    draw = np.random.default_rng(seed)
    if policy == "random":
        return draw.permutation(len(p)).astype(np.int64)
    if policy == "diverse":
        return diverse(features, count, seed)
    if policy in ("rad", "uncertain"):
        weights = rad_weights(p, useless, count) if policy == "rad" else uncertain_weights(p)
        # Drawing without replacement by weights is sorting by exponential clocks (Efraimidis and Spirakis 2006).
        clocks = draw.exponential(size=len(p)) / np.maximum(weights, 1e-300)
        return np.argsort(clocks, kind="stable")[: int((weights > 0).sum())].astype(np.int64)
    if policy == "disagree":
        return np.argsort(-disagreement(votes) - 1e-6 * draw.random(len(p)), kind="stable").astype(np.int64)
    if policy == "llkd":
        kept, weights = llkd(np.where(np.isnan(votes[:, 0]), 0.5, votes[:, 0]), p)
        return np.argsort(-np.where(kept, weights + 1, weights), kind="stable").astype(np.int64)
    raise ConfigError(f"there is no policy '{policy}'; there are {', '.join(POLICIES)}")
