"""Is self-reward still sound? Figures of each training step, and a warning with its reason when it collapses.

    watch = CollapseWatch(base_pass=0.62, k=16)
    for step, results in enumerate(batches):
        for warning in watch.update(step, results): print(warning)

EVOL-RL's signature (arXiv 2509.15194): majority reward lifts pass@1 while pass@16 falls below the base model's. The
other signs need no reference: everybody agrees and entropy is gone, or nobody answers and is paid for it.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from math import comb
from statistics import fmean as mean
from statistics import variance

from rewardkit.errors import DataError
from rewardkit.rewards.base import GroupResult


@dataclass(frozen=True, slots=True)
class StepHealth:
    """Figures of the groups of one step; None where no group knows.

    Attributes:
        groups: how many.
        majority_share: mean share of the largest class.
        entropy: mean entropy of the votes in nats.
        distinct: mean number of different answers.
        answered: share of completions that have an answer.
        abstained: share of groups whose reward abstains throughout.
        ties: share of groups with a tie.
        label_accuracy: share of right labels, among groups with a reference and a label.
        reward_accuracy: share of rewards equal to the reference's, likewise.
        pass_at_1: mean share of right completions, among groups with a reference.
        pass_at_k: unbiased pass@k, likewise; None where no group has k completions.
        k: of `pass_at_k`.
    """

    groups: int
    majority_share: float | None
    entropy: float | None
    distinct: float | None
    answered: float
    abstained: float
    ties: float | None
    label_accuracy: float | None
    reward_accuracy: float | None
    pass_at_1: float | None
    pass_at_k: float | None
    k: int

    def metrics(self) -> dict[str, float]:
        """The figures that are known, by name, for a trainer's log; ``pass_at_k`` carries its k."""
        names = [n for n in self.__slots__ if n not in ("k", "pass_at_k", "groups")]
        known = {name: getattr(self, name) for name in names} | {f"pass_at_{self.k}": self.pass_at_k}
        return {name: float(value) for name, value in known.items() if value is not None}


def step_health(results: Sequence[GroupResult], *, k: int = 16) -> StepHealth:
    """The health of the groups of one step.

    Args:
        results: one a group, from a safe (not `compat`) reward.
        k: of pass@k.

    Raises:
        DataError: there is no result.

    >>> from rewardkit.rewards import Group
    >>> from rewardkit.rewards.self_vote import ttrl
    >>> health = step_health([ttrl(Group.create("p", ["#### 4", "#### 4", "#### 5"], reference="4"))], k=2)
    >>> health.label_accuracy, round(health.majority_share, 2), health.pass_at_k
    (1.0, 0.67, 1.0)
    """
    if not results:
        raise DataError("a step without groups has no health")
    sizes = [len(r.rewards) for r in results]
    answered = sum(sum(1 for a in r.answers if a) for r in results) / max(1, sum(sizes))
    right = [(int(r.stats["right"]), n) for r, n in zip(results, sizes, strict=True) if "right" in r.stats]
    return StepHealth(
        groups=len(results),
        majority_share=_mean(results, "majority_share"),
        entropy=_mean(results, "entropy"),
        distinct=_mean(results, "distinct"),
        answered=answered,
        abstained=sum(all(x is None for x in r.rewards) for r in results) / len(results),
        ties=_mean(results, "tie"),
        label_accuracy=_mean(results, "label_accuracy"),
        reward_accuracy=_mean(results, "reward_accuracy"),
        pass_at_1=_average([c / n for c, n in right]),
        pass_at_k=_average([pass_at_k(c, n, k) for c, n in right if n >= k]),
        k=k,
    )


def pass_at_k(right: int, total: int, k: int) -> float:
    """The chance that one of k completions drawn from `total`, of which `right` are right, is right (Chen et al. 2021).

    Raises:
        DataError: there are fewer than k completions.

    >>> pass_at_k(1, 4, 2), pass_at_k(0, 4, 2), pass_at_k(4, 4, 2)
    (0.5, 0.0, 1.0)
    """
    if not 1 <= k <= total:
        raise DataError(f"pass@{k} needs at least {k} completions, not {total}")
    return 1.0 - comb(total - right, k) / comb(total, k)


class CollapseWatch:
    """Warns once for each sign of collapse, over a window of steps.

    A few groups a step say little: where figures are compared, the steps of a window must differ by more than chance.

    Args:
        base_pass: the base model's pass@k on the same prompts; without it that sign is not looked for.
        k: of pass@k.
        window: steps that a sign must hold for, as means.
        margin: how far pass@k may fall below the base's before it counts.
        errors: how many standard errors of the window's means it, or a change, must go beyond.
        share: a mean majority share from which on votes say nothing more ...
        entropy: ... if their mean entropy is below this.
        answered: a share of answered completions below which nobody answers.
        abstained: a share of groups without any reward above which nothing is learned.

    >>> from rewardkit.rewards import Group
    >>> from rewardkit.rewards.self_vote import ttrl
    >>> watch = CollapseWatch(window=1)
    >>> same = ttrl(Group.create("p", ["#### 1"] * 8))
    >>> watch.update(3, [same])
    ['step 3: votes have collapsed: majority share 1.00, entropy 0.00 nats; it rewards all alike']
    >>> watch.update(4, [same])
    []
    """

    def __init__(
        self,
        *,
        base_pass: float | None = None,
        k: int = 16,
        window: int = 10,
        margin: float = 0.02,
        errors: float = 3.0,
        share: float = 0.95,
        entropy: float = 0.1,
        answered: float = 0.2,
        abstained: float = 0.9,
    ) -> None:
        self.base_pass, self.k, self.margin, self.errors = base_pass, k, margin, errors
        self.share, self.entropy, self.answered, self.abstained = share, entropy, answered, abstained
        self.history: list[tuple[int, StepHealth]] = []
        self._recent: deque[StepHealth] = deque(maxlen=window)
        self._warned: set[str] = set()

    def update(self, step: int, results: Sequence[GroupResult]) -> list[str]:
        """Take in a step; the warnings that are new with it."""
        health = step_health(results, k=self.k)
        self.history.append((step, health))
        self._recent.append(health)
        if len(self._recent) < (self._recent.maxlen or 1):
            return []
        found = {k: text for k, text in self._signs() if text}
        new = [f"step {step}: {text}" for sign, text in found.items() if sign not in self._warned]
        self._warned |= set(found)
        return new

    def _signs(self) -> tuple[tuple[str, str], ...]:
        return self._pass(), self._votes(), self._empty(), self._labels(), self._unrewarded()

    def _window(self, name: str) -> float | None:
        return _average([v for h in self._recent if (v := getattr(h, name)) is not None])

    def _pass(self) -> tuple[str, str]:
        known = [h.pass_at_k for h in self._recent if h.pass_at_k is not None]
        if self.base_pass is None or not known or not self._above([self.base_pass - self.margin], known):
            return "pass", ""
        return "pass", (
            f"pass@{self.k} {mean(known):.2f} has fallen below the base model's {self.base_pass:.2f}: the policy gives "
            "up answers that it had; add novelty (evol_rl), entropy or a higher upper clip, or stop"
        )

    def _votes(self) -> tuple[str, str]:
        share, spread = self._window("majority_share"), self._window("entropy")
        if share is None or spread is None or share < self.share or spread > self.entropy:
            return "votes", ""
        return "votes", (
            f"votes have collapsed: majority share {share:.2f}, entropy {spread:.2f} nats; it rewards all alike"
        )

    def _empty(self) -> tuple[str, str]:
        value = self._window("answered") or 0.0
        if value >= self.answered:
            return "empty", ""
        return "empty", f"only {value:.0%} of the completions have an answer; look at some before going on"

    def _unrewarded(self) -> tuple[str, str]:
        value = self._window("abstained") or 0.0
        if value <= self.abstained or self._empty()[1]:
            return "unrewarded", ""
        return "unrewarded", f"{value:.0%} of the groups get no reward at all: nothing is learned from them"

    def _labels(self) -> tuple[str, str]:
        """Agreement grows while the label gets worse: the policy teaches itself an error."""
        known = [
            (h.label_accuracy, h.majority_share)
            for _, h in self.history
            if h.label_accuracy is not None and h.majority_share is not None
        ]
        half = self._recent.maxlen or 1
        if len(known) < 2 * half:
            return "labels", ""
        (right, share), (right_now, share_now) = (zip(*part, strict=True) for part in (known[:half], known[-half:]))
        # Agreement only has to point the other way: it is near its limit soon, and a fall of labels is the sign.
        if not (self._above(right, right_now) and self._above(share_now, share, errors=1.0)):
            return "labels", ""
        return "labels", (
            f"label accuracy fell from {mean(right):.2f} to {mean(right_now):.2f} while agreement rose from "
            f"{mean(share):.2f} to {mean(share_now):.2f}: the policy agrees on errors"
        )

    def _above(self, high: Sequence[float], low: Sequence[float], errors: float | None = None) -> bool:
        """Is the mean of steps above that of others, by so many standard errors? A single value is taken as exact."""
        error = math.sqrt(sum(variance(part) / len(part) for part in (high, low) if len(part) > 1))
        return mean(high) - mean(low) > (self.errors if errors is None else errors) * error


def _mean(results: Sequence[GroupResult], name: str) -> float | None:
    return _average([r.stats[name] for r in results if name in r.stats])


def _average(values: Sequence[float]) -> float | None:
    return mean(values) if values else None
