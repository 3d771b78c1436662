"""What a step is worth, from continuations: Math-Shepherd, OmegaPRM and an adaptive test, as pure plans.

A plan is a Python generator: it yields what it wants continued (a list of `Ask`), is sent the outcomes, and returns one
`Estimate` a step. `estimate` runs one plan over a ``continue_from(prefix, n)``; `run_plans` runs many side by side, one
batch a round. Nothing here knows what continues a prefix.

    estimates = estimate(adaptive(steps, outcome=False), continue_from)

OmegaPRM's search over a tree is in `rewardkit.labelers.omegaprm`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from rewardkit.errors import ConfigError

Steps = tuple[str, ...]


class Ask(NamedTuple):
    """`n` continuations wanted of a response that begins with the steps `prefix`."""

    prefix: Steps
    n: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one continuation ended.

    Attributes:
        correct: whether its final answer is right; None where nobody can say (an error, cut off): it is not counted.
        steps: what it wrote behind the prefix.
        tokens: that it cost.
    """

    correct: bool | None
    steps: Steps = ()
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class Estimate:
    """What is known of the prefix that ends with a step.

    Attributes:
        value: hard 0.0 or 1.0, soft the share of right continuations; None where nothing can be said.
        right: continuations that ended right.
        tried: continuations with a verdict.
        note: why the value is what it is, where the counts do not say it.
    """

    value: float | None
    right: int = 0
    tried: int = 0
    note: str = ""


ContinueFrom = Callable[[Steps, int], Sequence[Outcome]]
Plan = Generator[list[Ask], list[list[Outcome]], list[Estimate]]


def estimate(plan: Plan, continue_from: ContinueFrom) -> list[Estimate]:
    """Run one plan.

    >>> def lucky(prefix, n):
    ...     return [Outcome("bad" not in prefix)] * n
    >>> [e.value for e in estimate(math_shepherd(("a", "bad", "c"), n=4), lucky)]
    [1.0, 0.0, 0.0]
    """
    return run_plans([plan], lambda asks: [list(continue_from(ask.prefix, ask.n)) for _, ask in asks])[0]


def run_plans(
    plans: Sequence[Plan], answer: Callable[[list[tuple[int, Ask]]], list[list[Outcome]]]
) -> list[list[Estimate]]:
    """Run plans side by side.

    Args:
        plans: fresh ones.
        answer: gets all asks of a round, each with the number of its plan, and gives the outcomes of each.
    """
    done: dict[int, list[Estimate]] = {}
    waiting: dict[int, list[Ask]] = {}

    def go_on(number: int, outcomes: list[list[Outcome]] | None) -> None:
        try:
            plan = plans[number]
            waiting[number] = next(plan) if outcomes is None else plan.send(outcomes)
        except StopIteration as stop:
            waiting.pop(number, None)
            done[number] = stop.value

    for number in range(len(plans)):
        go_on(number, None)
    while waiting:
        asks = [(number, ask) for number, wanted in waiting.items() for ask in wanted]
        answers = iter(answer(asks))
        for number, wanted in list(waiting.items()):
            go_on(number, [next(answers) for _ in wanted])
    return [done[number] for number in range(len(plans))]


def math_shepherd(steps: Sequence[str], *, n: int = 16, soft: bool = False, outcome: bool | None = None) -> Plan:
    """Math-Shepherd (arXiv 2312.08935): `n` continuations of every prefix; hard is "any right", soft the share.

    Args:
        steps: of the trace.
        n: continuations a step (8 in the paper).
        soft: the share that is right, else whether one is.
        outcome: of the trace itself, the value of its last step, which then needs no continuation; None samples it.

    >>> [e.value for e in estimate(math_shepherd("ab", n=2, soft=True), lambda p, n: [Outcome(True), Outcome(False)])]
    [0.5, 0.5]
    """
    whole = tuple(steps)
    sampled = len(whole) - (outcome is not None)
    asks = [Ask(whole[: k + 1], n) for k in range(sampled)]
    answers = (yield asks) if asks else []
    made = [_counted([o.correct for o in outcomes], soft) for outcomes in answers]
    if outcome is not None and whole:
        made.append(Estimate(float(outcome), int(outcome), 1, "the trace's own answer"))
    return made


def adaptive(
    steps: Sequence[str],
    *,
    outcome: bool | None = None,
    own: bool = False,
    low: float = 0.001,
    high: float = 0.15,
    alpha: float = 0.05,
    beta: float = 0.01,
    limit: int = 64,
    batch: int = 1,
    heals: bool = False,
) -> Plan:
    """Hard labels by a sequential test of each prefix, with a search for the first error.

    A prefix of value at most `low` is wrong, one of value at least `high` right. Continuations are drawn until the
    likelihood ratio of the two passes 1 / `alpha` or `beta` (Wald's sequential test, 1945, with the bounds of Ville's
    inequality, which hold in whatever order and from wherever outcomes come). So a test calls a wrong prefix right
    with a chance of at most `alpha`, a right one wrong with at most `beta`; between `low` and `high` it may say either.

    Nothing is sampled that is known: a continuation that goes on as the trace does counts for the longer prefixes that
    it passes through, with `own` the trace's own end for all of them; a prefix from which a right answer was reached
    makes every shorter one right, and one that is wrong every longer one. The last holds where errors do not heal;
    with `heals` every prefix is tested by itself.

    Args:
        steps: of the trace.
        outcome: whether the trace itself ended right; None where it did not end.
        own: the trace was sampled from the same policy, and not chosen for its outcome.
        low: a prefix is wrong up to this value: how often a lost one ends right by luck.
        high: it is right from this value on.
        alpha: the chance of calling a wrong prefix right.
        beta: the chance of calling a right prefix wrong.
        limit: continuations of one prefix at most; then it is left open (None).
        batch: continuations asked for at a time.
        heals: a longer prefix may be worth more than a wrong shorter one.

    Raises:
        ConfigError: the rates are no use.

    >>> asked = []
    >>> def flaky(prefix, n):
    ...     asked.append(len(prefix))
    ...     return [Outcome(len(prefix) < 3)] * n
    >>> [e.value for e in estimate(adaptive("abcdefgh", outcome=False), flaky)], len(asked)
    ([1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], 31)
    """
    test = SequentialTest(low, high, alpha, beta)
    if batch < 1 or limit < 1:
        raise ConfigError(f"batch={batch} and limit={limit} must be at least 1")
    return _adaptive(Tally(steps), outcome, own, test, limit, batch, heals)


@dataclass(frozen=True, slots=True)
class SequentialTest:
    """Wald's test of a share: at most `low`, or at least `high`?

    >>> test = SequentialTest(0.01, 0.25, 0.05, 0.01)
    >>> test.verdict(0, 16), test.verdict(0, 17), test.verdict(1, 1), test.verdict(1, 20)
    (None, False, True, None)
    """

    low: float
    high: float
    alpha: float
    beta: float

    def __post_init__(self) -> None:
        if not 0 < self.low < self.high < 1:
            raise ConfigError(f"low={self.low} and high={self.high} must be values with 0 < low < high < 1")
        if not (0 < self.alpha < 0.5 and 0 < self.beta < 0.5):
            raise ConfigError(f"alpha={self.alpha} and beta={self.beta} must be error rates between 0 and 0.5")

    def verdict(self, right: int, tried: int) -> bool | None:
        """True right, False wrong, None not yet known."""
        ratio = right * math.log(self.high / self.low) + (tried - right) * math.log((1 - self.high) / (1 - self.low))
        if ratio >= -math.log(self.alpha):
            return True
        return False if ratio <= math.log(self.beta) else None

    @property
    def failures(self) -> int:
        """Wrong continuations in a row that make a prefix wrong."""
        return math.ceil(math.log(self.beta) / math.log((1 - self.high) / (1 - self.low)))


class Tally:
    """Right and tried continuations of every prefix of a trace, those counted that only pass through it.

    >>> tally = Tally(("a", "b", "c"))
    >>> tally.add(1, Outcome(True, ("b", "x")))
    >>> tally.right, tally.tried
    ([0, 1, 1, 0], [0, 1, 1, 0])
    """

    def __init__(self, steps: Sequence[str]) -> None:
        self.steps = tuple(steps)
        self.right = [0] * (len(self.steps) + 1)
        self.tried = [0] * (len(self.steps) + 1)

    def add(self, length: int, outcome: Outcome) -> None:
        """Count a continuation of the first `length` steps."""
        if outcome.correct is None:
            return
        same = 0
        for ours, theirs in zip(self.steps[length:], outcome.steps, strict=False):
            if ours.strip() != theirs.strip():
                break
            same += 1
        for k in range(length, length + same + 1):
            self.tried[k] += 1
            self.right[k] += outcome.correct


def _adaptive(
    tally: Tally, outcome: bool | None, own: bool, test: SequentialTest, limit: int, batch: int, heals: bool
) -> Plan:
    size = len(tally.steps)
    verdicts: dict[int, bool] = {}
    if outcome is not None:
        if own:
            tally.add(0, Outcome(outcome, tally.steps))
        verdicts[size] = outcome
    yield from _each(tally, verdicts, test, limit, batch) if heals else _search(tally, verdicts, test, limit, batch)
    bounds = None if heals else _bounds(tally, verdicts, test)
    return [_told(tally, k, verdicts.get(k), bounds) for k in range(1, size + 1)]


def _test(
    tally: Tally, length: int, test: SequentialTest, limit: int, batch: int
) -> Generator[list[Ask], list[list[Outcome]], bool | None]:
    asked = 0
    while (verdict := test.verdict(tally.right[length], tally.tried[length])) is None and asked < limit:
        n = min(batch, limit - asked)
        asked += n
        for outcome in (yield [Ask(tally.steps[:length], n)])[0]:
            tally.add(length, outcome)
    return verdict


Search = Generator[list[Ask], list[list[Outcome]], None]


def _each(tally: Tally, verdicts: dict[int, bool], test: SequentialTest, limit: int, batch: int) -> Search:
    for length in range(1, len(tally.steps) + 1):
        if length not in verdicts:
            verdict = yield from _test(tally, length, test, limit, batch)
            if verdict is not None:
                verdicts[length] = verdict


def _search(tally: Tally, verdicts: dict[int, bool], test: SequentialTest, limit: int, batch: int) -> Search:
    while True:
        right, wrong = _bounds(tally, verdicts, test)
        if wrong - right <= 1:
            return
        length = right + _probe(wrong - right - 1, test.failures)
        verdict = yield from _test(tally, length, test, limit, batch)
        if verdict is None:
            return
        verdicts[length] = verdict


def _bounds(tally: Tally, verdicts: dict[int, bool], test: SequentialTest) -> tuple[int, int]:
    """The longest prefix that is right, by its verdict or by what passed through it, and the next that is wrong."""
    size = len(tally.steps)
    known = {k: test.verdict(tally.right[k], tally.tried[k]) for k in range(1, size + 1)} | verdicts
    right = max((k for k, verdict in known.items() if verdict), default=0)
    return right, min((k for k, verdict in known.items() if verdict is False and k > right), default=size + 1)


_WIDEST = 100  # open prefixes that are planned for one by one


def _probe(open_: int, failures: int) -> int:
    """Which of `open_` prefixes to test next: a right one costs two continuations, a wrong one `failures`.

    The cheapest search when each place of the first error is as likely: the dearer a wrong one, the further left.

    >>> _probe(7, 17), _probe(7, 6), _probe(7, 2)
    (1, 2, 4)
    """
    probes = _probes(failures)
    if open_ <= _WIDEST:
        return probes[open_]
    return max(1, open_ * probes[_WIDEST] // _WIDEST)


@lru_cache(maxsize=64)
def _probes(failures: int) -> list[int]:
    least, probes = [0.0], [0]
    for width in range(1, _WIDEST + 1):
        costs = {}
        for i in range(1, width + 1):
            wrong = i / (width + 1)
            costs[i] = wrong * (failures + least[i - 1]) + (1 - wrong) * (2 + least[width - i])
        probes.append(min(costs, key=costs.__getitem__))
        least.append(costs[probes[-1]])
    return probes


def _told(tally: Tally, length: int, verdict: bool | None, bounds: tuple[int, int] | None) -> Estimate:
    counts = tally.right[length], tally.tried[length]
    if bounds is not None:
        right, wrong = bounds
        verdict = True if length <= right else False if length >= wrong else None
        if verdict is not None and length not in bounds:
            note = f"a right answer is reached from step {right}" if verdict else f"none is from step {wrong}"
            return Estimate(float(verdict), *counts, note)
    return Estimate(None, *counts, "not decided") if verdict is None else Estimate(float(verdict), *counts)


def _counted(verdicts: Sequence[bool | None], soft: bool) -> Estimate:
    known = [verdict for verdict in verdicts if verdict is not None]
    if not known:
        return Estimate(None, note="no continuation could be judged")
    right = sum(known)
    return Estimate(right / len(known) if soft else float(right > 0), right, len(known))
