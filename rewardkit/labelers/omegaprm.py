"""OmegaPRM (arXiv 2406.06592): a tree of prefixes, each search a bisection for the first error of one wrong rollout.

Follows the code of openr (``data/omegaPRM_v2/omegaprm.py``), pinned by its vectors: of all wrong rollouts of states
that are sometimes solved the one of highest Q + U is bisected; every prefix probed becomes a state with `k` rollouts.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field

from rewardkit.labelers.estimators import Ask, Estimate, Outcome, Plan, Steps


@dataclass(frozen=True, slots=True)
class Selection:
    """How OmegaPRM picks the next rollout to bisect; the defaults are openr's.

    Attributes:
        alpha: Q prefers states of high value, the more the smaller it is.
        beta: Q prefers short rollouts, the more the smaller it is.
        length: words at which a rollout's Q is `beta` times that of an empty one (L in the paper).
        c_puct: weight of U, which prefers states that were picked seldom.
    """

    alpha: float = 0.5
    beta: float = 0.9
    length: int = 500
    c_puct: float = 0.125

    def q(self, value: float, words: int) -> float:
        """alpha^(1 - value) * beta^(words / length).

        >>> round(Selection().q(0.5, 100), 6)
        0.692362
        """
        return float(self.alpha ** (1 - value) * self.beta ** (words / self.length))

    def u(self, visits: int, all_visits: int) -> float:
        """c_puct * sqrt(all visits) / (1 + visits), at least one visit in all.

        >>> Selection().u(1, 9)
        0.1875
        """
        return self.c_puct * math.sqrt(max(1, all_visits)) / (1 + visits)


@dataclass(slots=True)
class State:
    """A prefix of the tree.

    Attributes:
        prefix: its steps.
        value: the share of its rollouts that is right; None where none could be judged.
        right: rollouts that ended right.
        tried: rollouts with a verdict.
        wrong: its wrong rollouts, not yet bisected: the steps behind the prefix.
        visits: how often one was picked.
    """

    prefix: Steps
    value: float | None = None
    right: int = 0
    tried: int = 0
    wrong: list[Steps] = field(default_factory=list)
    visits: int = 0


def omegaprm(
    steps: Sequence[str],
    *,
    k: int = 16,
    searches: int = 20,
    rollouts: int = 200,
    outcome: bool | None = None,
    soft: bool = True,
    selection: Selection = Selection(),
    states: list[State] | None = None,
) -> Plan:
    """OmegaPRM from the problem of a trace; one that ended wrong is the first to be bisected.

    Soft estimates are the values of the states on the trace that were probed, None for the other steps. Hard ones say
    1.0 up to the last state on the trace with a right rollout, and 0.0 from the first state behind it without.

    Args:
        steps: of the trace.
        k: rollouts of each state.
        searches: bisections at most.
        rollouts: after which no further search begins.
        outcome: of the trace itself; None where it did not end.
        soft: see above.
        selection: of the next rollout.
        states: a list to which the tree's states are added in order, right rollouts as states of value 1.

    >>> from rewardkit.labelers.estimators import estimate
    >>> def scripted(prefix, n):
    ...     return [Outcome("bad" not in prefix and i < n / 2, ("end",)) for i in range(n)]
    >>> [e.value for e in estimate(omegaprm(("a", "b", "bad", "c"), k=2, searches=1, outcome=False), scripted)]
    [None, 0.5, 0.0, 0.0]
    """
    tree = _Tree(tuple(steps), k, selection, [] if states is None else states)
    root = yield from tree.probe(())
    if outcome is False and root.value and searches:
        yield from tree.bisect(root, tree.steps)
    for _ in range(searches - (outcome is False)):
        picked = tree.pick()
        if picked is None or tree.rollouts >= rollouts:
            break
        yield from tree.bisect(*picked)
    return tree.estimates(outcome, soft)


@dataclass(slots=True)
class _Tree:
    steps: Steps
    k: int
    selection: Selection
    states: list[State]
    known: dict[Steps, State] = field(default_factory=dict)
    rollouts: int = 0

    def probe(self, prefix: Steps) -> Generator[list[Ask], list[list[Outcome]], State]:
        """The state of a prefix, with its rollouts."""
        if prefix in self.known:
            return self.known[prefix]
        state = self.known[prefix] = State(prefix)
        self.states.append(state)
        [outcomes] = yield [Ask(prefix, self.k)]
        self.rollouts += self.k
        for outcome in outcomes:
            if outcome.correct is None:
                continue
            state.tried += 1
            state.right += outcome.correct
            if not outcome.correct:
                state.wrong.append(outcome.steps)
            elif all(other.prefix != prefix + outcome.steps for other in self.states):
                self.states.append(State(prefix + outcome.steps, 1.0, 1, 1))
        state.value = state.right / state.tried if state.tried else None
        return state

    def pick(self) -> tuple[State, Steps] | None:
        """The wrong rollout of highest Q + U, of the states that are sometimes solved and sometimes not."""
        visits = sum(state.visits for state in self.known.values())
        best: tuple[float, State, int] | None = None
        for state in self.known.values():
            if state.value is None or not 0 < state.value < 1:
                continue
            for i, rollout in enumerate(state.wrong):
                words = sum(len(step.split()) for step in rollout)
                score = self.selection.q(state.value, words) + self.selection.u(state.visits, visits)
                if best is None or score > best[0]:
                    best = score, state, i
        if best is None:
            return None
        best[1].visits += 1
        return best[1], best[1].wrong.pop(best[2])

    def bisect(self, state: State, rollout: Steps) -> Generator[list[Ask], list[list[Outcome]], None]:
        """Find the first error of a wrong rollout; every prefix looked at becomes a state."""
        left, right = 0, len(rollout) - 1
        while left <= right:
            middle = (left + right) // 2
            probed = yield from self.probe(state.prefix + rollout[: middle + 1])
            if probed.value is None:
                return
            if probed.value == 0:
                right = middle - 1
            else:
                left = middle + 1

    def estimates(self, outcome: bool | None, soft: bool) -> list[Estimate]:
        made: list[Estimate] = []
        for length in range(1, len(self.steps) + 1):
            state = self.known.get(self.steps[:length])
            made.append(Estimate(state.value, state.right, state.tried) if state else Estimate(None, note="not probed"))
        if outcome is not None and made:
            made[-1] = Estimate(float(outcome), int(outcome), 1, "the trace's own answer")
        return made if soft else _hard(made)


def _hard(made: Sequence[Estimate]) -> list[Estimate]:
    right = max((i for i, one in enumerate(made) if one.value), default=-1)
    wrong = next((i for i, one in enumerate(made) if one.value == 0 and i > right), len(made))
    return [
        Estimate(1.0 if i <= right else 0.0 if i >= wrong else None, one.right, one.tried, one.note)
        for i, one in enumerate(made)
    ]
