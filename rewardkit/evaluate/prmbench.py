"""PRM-Score as PRMBench defines it: two F1 over steps, one for the right steps and one for the wrong ones.

Song et al., "PRMBench" (arXiv 2501.03124) and ssmisya/PRMBench, ``mr_eval/tasks/prmtest_classified/task.py`` (the F1)
and ``mr_visualize/eval_res_view`` (their mean); theirs in percent, ours in [0, 1].
"""

from __future__ import annotations

from typing import NamedTuple

from numpy.typing import ArrayLike

from rewardkit.evaluate.arrays import Bools, binary, same_shape

CLASSES = {
    "redundency": "non-redundancy",
    "circular": "non-circular logic",
    "counterfactual": "empirical soundness",
    "step_contradiction": "step consistency",
    "domain_inconsistency": "domain consistency",
    "confidence": "confidence invariance",
    "missing_condition": "prerequisite sensitivity",
    "deception": "deception resistance",
    "multi_solutions": "multi-solution consistency",
}
"""From a class as the data names it (their spelling) to what the paper calls the ability."""

DIMENSIONS = {
    "simplicity": ("redundency", "circular"),
    "soundness": ("counterfactual", "step_contradiction", "domain_inconsistency", "confidence"),
    "sensitivity": ("missing_condition", "deception", "multi_solutions"),
}
"""The paper's groups of classes; a group's score is the mean of its classes'."""


class PRMScore(NamedTuple):
    """PRM-Score and the two F1 that it is made of; None where a kind of step is missing."""

    score: float
    f1: float | None
    error_f1: float | None


def prm_scores(judged_right: ArrayLike, right: ArrayLike) -> PRMScore:
    """F1 of the right steps, F1 of the wrong steps, and their mean, over all steps of some traces together.

    Formula: ``F1 = 2 TP / (2 TP + FP + FN)`` with the right step as positive, ``F1_neg`` the same with the wrong step,
    ``PRM-Score = F1 / 2 + F1_neg / 2``. Where all steps are right (the class ``multi_solutions``) it is F1 alone, as
    published. Where only right steps are flagged their code puts F1_neg at -1; it is 0 here.

    Args:
        judged_right: (steps,) 1 where the model takes the step for right.
        right: (steps,) 1 where it is.

    Raises:
        DataError: shapes differ, there is no step, or a value is neither 0 nor 1.

    >>> prm_scores([1, 1, 1, 0], [1, 1, 0, 0])
    PRMScore(score=0.7333333333333334, f1=0.8, error_f1=0.6666666666666666)
    >>> prm_scores([1, 0], [1, 1])
    PRMScore(score=0.6666666666666666, f1=0.6666666666666666, error_f1=None)
    """
    guess, true = binary(judged_right, "judged_right"), binary(right, "right")
    same_shape(judged_right=guess, right=true)
    f1, error_f1 = _f1(guess, true), _f1(~guess, ~true)
    known = [value for value in (f1, error_f1) if value is not None]
    return PRMScore(sum(known) / len(known), f1, error_f1)


def prm_score(judged_right: ArrayLike, right: ArrayLike) -> float:
    """PRM-Score alone, as `bootstrap` wants it.

    >>> prm_score([1, 0], [1, 0])
    1.0
    """
    return prm_scores(judged_right, right).score


def _f1(guess: Bools, true: Bools) -> float | None:
    if not true.any():
        return None
    hits = int((guess & true).sum())
    return 2 * hits / (int(guess.sum()) + int(true.sum()))
