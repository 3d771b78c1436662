"""Merge what several sources say of the same steps into one calibrated label.

    stack        logistic regression on all votes, fitted on the steps with gold labels (default)
    average      mean of the votes that there are
    majority     share of hard votes
    count        rule of succession: (right votes + prior) / (votes + 1)
    dawid-skene, glad, mace    models of unreliable voters, by crowd-kit

All but `stack` need no gold labels, and all are calibrated on those that there are. Gold is what a verifier decided;
everything else is a noisy voter. Judges err together: no vote counter knows that, the stack does where gold is.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rewardkit.errors import ConfigError, DataError
from rewardkit.labels.calibrate import problem_folds
from rewardkit.labels.votes import Votes

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Policy = Literal["ignore", "zero", "one", "soft", "class"]

MODELS = ("stack", "average", "majority", "count", "dawid-skene", "glad", "mace")
POLICIES = ("ignore", "zero", "one", "soft", "class")
CROWD = ("dawid-skene", "glad", "mace")

_EDGE = 0.02
"""Votes are moved this far from 0 and 1 before they become logits."""


def with_policy(p: Floats, policy: Policy | str) -> Floats:
    """Votes with abstentions handled as CheXpert does (Irvin et al. 2019, arXiv 1901.07031).

    Args:
        p: (steps, sources) votes, NaN for no opinion.
        policy: ``ignore`` and ``class`` leave them out (``class`` lets the model see *that* a source abstained),
            ``zero`` and ``one`` call the step wrong or right, ``soft`` puts in the mean of what the source says else.

    Raises:
        ConfigError: no such policy.

    >>> with_policy(np.array([[1.0], [0.0], [np.nan]]), "soft").ravel().tolist()
    [1.0, 0.0, 0.5]
    """
    if policy not in POLICIES:
        raise ConfigError(f"there is no policy '{policy}' for abstentions; there are {', '.join(POLICIES)}")
    if policy in ("ignore", "class"):
        return p
    given = ~np.isnan(p)
    mean = np.divide(np.where(given, p, 0.0).sum(axis=0), given.sum(axis=0), where=given.any(axis=0), out=p[0] * np.nan)
    return np.where(given, p, {"zero": 0.0, "one": 1.0}.get(policy, mean))


def hard(p: Floats) -> Ints:
    """(steps, sources) 1 from 0.5 on, 0 below, -1 for no opinion.

    >>> hard(np.array([[0.9, 0.1, np.nan]])).tolist()
    [[1, 0, -1]]
    """
    return np.where(np.isnan(p), -1, (p >= 0.5).astype(np.int64))


def unsupervised(
    p: Floats, model: str, policy: Policy | str = "ignore", *, prior: float = 0.5, seed: int = 0
) -> Floats:
    """Merged scores of a model that needs no gold labels, before calibration; NaN where no source has an opinion.

    Args:
        p: (steps, sources) votes, NaN for no opinion.
        model: of `MODELS`, but ``stack``.
        policy: for abstentions; ``class`` only with a crowd model.
        prior: the share of right steps that ``count`` leans to, worth one vote.
        seed: of crowd models.

    Raises:
        ConfigError: no such model, or the policy does not go with it.
        DataError: nothing to merge.

    >>> unsupervised(np.array([[1.0, 0.6], [0.2, np.nan]]), "average").tolist()
    [0.8, 0.2]
    """
    if model not in MODELS or model == "stack":
        raise ConfigError(f"there is no model '{model}' that needs no gold; there are {', '.join(MODELS[1:])}")
    if policy == "class" and model not in CROWD:
        raise ConfigError(f"abstain=class goes with stack, {', '.join(CROWD)}; {model} takes ignore, zero, one or soft")
    votes = with_policy(p, policy)
    if np.isnan(votes).all():
        raise DataError("every source abstains on every step: there is nothing to merge")
    if model in CROWD:
        from rewardkit.labels.crowd import crowd_posteriors

        answers = hard(votes)
        silent = np.all(answers < 0, axis=1)
        if policy == "class":
            answers = np.where((answers < 0) & ~silent[:, None], 2, answers)
        return crowd_posteriors(answers, model, seed=seed)
    given = ~np.isnan(votes)
    said = np.where(given, votes if model == "average" else votes >= 0.5, 0.0).sum(axis=1)
    count = given.sum(axis=1)
    if model == "count":
        said, extra = said + prior, 1
    else:
        extra = 0
    found: Floats = np.divide(said, count + extra, out=np.full(len(votes), np.nan), where=count > 0)
    return found


def stack_features(votes: Floats, place: Floats, policy: Policy | str = "class") -> Floats:
    """(steps, features) the stack's inputs: each source's logit (0: no opinion), whether it has one, the step's place.

    The flags of who abstained come with the policy ``class``, the default: what a verifier cannot read is no coin toss.

    Args:
        votes: (steps, sources), NaN for no opinion.
        place: (steps,) where in its trace each step stands, from 0 to 1.
        policy: of `POLICIES`.
    """
    p = with_policy(votes, policy)
    inner = np.clip(np.where(np.isnan(p), 0.5, p), _EDGE, 1 - _EDGE)
    logits = np.log(inner) - np.log1p(-inner)
    flags = [np.isnan(votes).astype(np.float64)] if policy == "class" else []
    return np.column_stack([logits, *flags, place])


def stacked(features: Floats, gold: Floats, fold: Ints) -> Floats:
    """Scores of a logistic regression (C=1) on the votes, cross-fitted by problem.

    A step with a gold label is scored by the model of the other folds, so that the scores can be calibrated and judged
    on gold; a step without one by the mean of the folds' models.

    Args:
        features: (steps, features), see `stack_features`.
        gold: (steps,) verdicts, 0 or 1; NaN where there is none.
        fold: (gold steps,) the fold of each gold step, see `gold_folds`.

    Returns:
        (steps,) scores, not yet calibrated.
    """
    from sklearn.linear_model import LogisticRegression

    known = ~np.isnan(gold)
    inside, right, others = features[known], gold[known], features[~known]
    made, scores = np.zeros(len(gold)), np.empty(len(right))
    numbers = np.unique(fold)
    for number in numbers:
        out = fold == number
        model: Any = LogisticRegression(C=1.0, max_iter=1000).fit(inside[~out], right[~out])
        scores[out] = model.predict_proba(inside[out])[:, 1]
        if len(others):
            made[~known] += model.predict_proba(others)[:, 1] / len(numbers)
    made[known] = scores
    return made


def gold_folds(gold: Floats, groups: Ints, folds: int = 5, seed: int = 0) -> Ints:
    """(gold steps,) the fold of each step that has a gold label, by problem; see `problem_folds`.

    Raises:
        DataError: gold has one class only, or fewer than two problems with each.
    """
    check_gold(gold)
    known = ~np.isnan(gold)
    return problem_folds(groups[known], gold[known], folds, seed)


def check_gold(gold: Floats) -> None:
    """Raise unless gold holds both verdicts.

    Raises:
        DataError: there is no gold label, or all say the same.
    """
    known = gold[~np.isnan(gold)]
    if not len(known):
        raise DataError("no step has a gold label; name gold=SOURCE that decides some steps, or choose another method")
    if len(np.unique(known)) < 2:
        kind = "right" if known[0] == 1 else "wrong"
        raise DataError(f"all {len(known)} gold labels say {kind}: nothing can be fitted or calibrated on one class")


def gold_verdicts(votes: Votes) -> tuple[Floats, int]:
    """One verdict a step from sources that count as the truth: 1, 0, or NaN where they are silent or contradict.

    Args:
        votes: of the gold sources alone.

    Returns:
        (steps,) verdicts and how many steps were left out because gold contradicts itself.

    Raises:
        DataError: a gold label is soft: a truth is 0 or 1.
    """
    p = votes.p
    given = ~np.isnan(p)
    right, wrong = (given & (p == 1)).any(axis=1), (given & (p == 0)).any(axis=1)
    soft = given & (p != 0) & (p != 1)
    # The mean of a 1 and a 0 lies between them too: that is no soft label, but a contradiction.
    if (soft.sum(axis=0) > np.array(votes.contradictions)).any():
        raise DataError(
            f"{int(soft.any(axis=1).sum())} gold labels lie between 0 and 1; a gold source must decide: "
            "name a verifier or a person"
        )
    torn = soft.any(axis=1) | (right & wrong)
    verdict = np.where(right, 1.0, np.where(wrong, 0.0, np.nan))
    return np.where(torn, np.nan, verdict), int(torn.sum())
