"""Dawid-Skene, GLAD and MACE as crowd-kit has them, made fast for many steps.

Steps with equal votes get equal posteriors, so the model is fitted on a sample of steps that holds every pattern of
votes, and the others look theirs up. crowd-kit works in pandas; on a million steps it would take many minutes.
"""

from __future__ import annotations

import warnings
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rewardkit.errors import ConfigError, DataError

Floats = NDArray[np.float64]
Crowd = Literal["dawid-skene", "glad", "mace"]

NONE = -1
"""In an array of hard votes: no opinion. 0 is wrong, 1 right, 2 the class "abstains"."""


def crowd_posteriors(votes: NDArray[np.int64], model: Crowd | str, *, sample: int = 4000, seed: int = 0) -> Floats:
    """The chance that each step is right by a model of unreliable voters; NaN where nobody has an opinion.

    No verdict is used: on reasoning steps such models are overconfident, because judges err together; calibrate them.

    Args:
        votes: (steps, sources) 0, 1, 2 for "abstains" as an answer of its own, or `NONE`.
        model: ``dawid-skene`` (1979), ``glad`` (Whitehill et al. 2009) or ``mace`` (Hovy et al. 2013).
        sample: steps to fit on, at most, beside one of each pattern of votes.
        seed: of the sample and of MACE's restarts.

    Returns:
        (steps,) ``P(right) / (P(right) + P(wrong))``.

    Raises:
        ConfigError: crowd-kit is not installed, or there is no such model.
        DataError: no step has a vote, or all votes are the same.

    >>> found = crowd_posteriors(np.array([[1, 1, 1], [0, 0, 0], [1, 1, 0], [-1, -1, -1]] * 5), "dawid-skene")
    >>> bool(found[0] > 0.5), bool(found[1] < 0.5), bool(np.isnan(found[3]))
    (True, True, True)
    """
    # MACE draws a start for each source in turn: a fixed order makes its result the same in any order of the sources.
    votes = votes[:, sorted(range(votes.shape[1]), key=lambda source: votes[:, source].tobytes())]
    patterns, where = np.unique(votes, axis=0, return_inverse=True)
    where = where.reshape(-1)
    spoken = (patterns != NONE).any(axis=1)
    if not spoken.any():
        raise DataError("no source has an opinion on any step: there is nothing to merge")
    if len(np.unique(patterns[(patterns == 0) | (patterns == 1)])) < 2:
        raise DataError(f"every vote is the same, so {model} has nothing to tell voters by; add a source that differs")
    chosen = _sample(where, spoken, sample, seed)
    fitted = _fit(votes[chosen], model, seed)
    of_pattern = np.full(len(patterns), np.nan)
    of_pattern[where[chosen]] = fitted
    return np.asarray(of_pattern[where], dtype=np.float64)


def _sample(where: Any, spoken: Any, size: int, seed: int) -> Any:
    """One step of each pattern that holds a vote, and others at random up to the size."""
    _, first = np.unique(where, return_index=True)
    open_to = np.flatnonzero(spoken[where])
    if len(open_to) <= size:
        return open_to
    drawn = np.random.default_rng(seed).choice(open_to, size, replace=False)
    return np.union1d(first[spoken], drawn)


def _fit(votes: Any, model: str, seed: int) -> Floats:
    try:
        import pandas as pd
        from crowdkit.aggregation.classification import GLAD, MACE, DawidSkene
    except ImportError:
        raise ConfigError(f"{model} needs crowd-kit: pip install 'rewardkit[labels]'") from None
    makers = {
        "dawid-skene": lambda: DawidSkene(n_iter=100),
        "glad": lambda: GLAD(n_iter=20),
        "mace": lambda: MACE(n_restarts=3, n_iter=50, random_state=seed),
    }
    if model not in makers:
        raise ConfigError(f"there is no crowd model '{model}'; there are {', '.join(makers)}")
    task, worker = np.nonzero(votes != NONE)
    frame = pd.DataFrame({"task": task, "worker": worker, "label": votes[task, worker]})
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        # crowd-kit 1.4.2 calls pandas in ways that pandas 3 deprecates.
        warnings.simplefilter("ignore")
        proba = makers[model]().fit_predict_proba(frame).reindex(range(len(votes)))
    right, wrong = (proba[c].fillna(0.0).to_numpy() if c in proba else np.zeros(len(votes)) for c in (1, 0))
    total = right + wrong
    found: Floats = np.divide(right, total, out=np.full(len(votes), 0.5), where=total > 0)
    return found
