"""Step-wise search under a reward model: beam search, DVTS, lookahead and guided greedy, many problems at once.

    plan = SearchPlan("dvts", n=16, width=4)
    results = search_steps(problems, generator, reward_model, plan)

In each round every open response of every problem grows by one step: one batch to the generator, one to the reward
model. Beam search keeps the best of all (Snell et al. 2024); DVTS (Beeching et al. 2024) grows n / width trees apart
and keeps the best of each, which leaves more different answers to vote on; greedy keeps one, by the reduced score of
the whole; guided greedy (VL-PRM's search, arXiv 2509.23250) keeps the one whose newest step is the best. With
``lookahead`` a candidate is scored as it stands some steps later. Nothing is thrown away: what was pruned, a duplicate
or an error is in `SearchResult.explored`, with its scores and the reason.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rewardkit.errors import ConfigError
from rewardkit.models import RewardModel
from rewardkit.models.each import score_each
from rewardkit.models.reduce import check_reducer
from rewardkit.search.choose import METHODS, Candidate, Choice, choose, response_score
from rewardkit.search.steps import Prefix, StepGenerator
from rewardkit.text.answers import AnswerChecker
from rewardkit.text.extract import extract_answer
from rewardkit.types import Problem, Trace

GREEDY = ("greedy", "guided_greedy")
KINDS = ("beam", "dvts", *GREEDY)


@dataclass(frozen=True, slots=True)
class SearchPlan:
    """How to search.

    Attributes:
        kind: ``beam``, ``dvts``, ``greedy`` or ``guided_greedy``.
        n: responses that are under way at a time; a multiple of `width`.
        width: continuations of each response that is kept; for greedy all n.
        rounds: steps of a response at most.
        lookahead: steps written ahead before a candidate is scored, and thrown away again.
        reducer: from step scores to one; None takes the reward model's own.
        choose: how the finished responses are chosen among.
        max_tokens: of one problem; then what is there is chosen among.

    Raises:
        ConfigError: a value is no use.

    >>> SearchPlan("beam", n=6, width=4)
    Traceback (most recent call last):
    ...
    rewardkit.errors.ConfigError: n=6 must be a positive multiple of width=4
    """

    kind: str = "beam"
    n: int = 16
    width: int = 4
    rounds: int = 40
    lookahead: int = 0
    reducer: str | None = None
    choose: str = "weighted_vote"
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        for value, allowed, what in ((self.kind, KINDS, "kind"), (self.choose, tuple(METHODS), "choose")):
            if value not in allowed:
                raise ConfigError(f"{what} is '{value}'; use one of {', '.join(allowed)}")
        if self.width < 1 or self.n < 1 or self.n % self.width:
            raise ConfigError(f"n={self.n} must be a positive multiple of width={self.width}")
        if self.rounds < 1 or self.lookahead < 0:
            raise ConfigError(f"rounds={self.rounds} must be at least 1, lookahead={self.lookahead} at least 0")
        if self.reducer is not None:
            check_reducer(self.reducer)

    @property
    def pools(self) -> int:
        """Trees that grow apart."""
        return self.n // self.width if self.kind == "dvts" else 1

    @property
    def kept(self) -> int:
        """Responses that are kept of each tree."""
        return self.n // self.width if self.kind == "beam" else 1

    @property
    def branches(self) -> int:
        """Continuations of each kept response."""
        return self.n if self.kind in GREEDY else self.width


@dataclass(frozen=True, slots=True)
class Node:
    """A response that was under way.

    Attributes:
        steps: their texts.
        scores: of the steps; empty where they could not be scored.
        score: the reduced score; None likewise.
        done: the model ended it.
        pool: the tree that it is of.
        reason: why it was not gone on with: "finished", "pruned in round 3", "duplicate", an error; "" while open.
        tokens: of its newest step.
    """

    steps: tuple[str, ...] = ()
    scores: tuple[float, ...] = ()
    score: float | None = None
    done: bool = False
    pool: int = 0
    reason: str = ""
    tokens: int = 0

    @property
    def text(self) -> str:
        """The response so far."""
        return "".join(self.steps)


@dataclass(frozen=True, slots=True)
class SearchResult:
    """What a search found for one problem.

    Attributes:
        problem: the problem.
        choice: among the finished responses, or the open ones where none finished (its note says so).
        explored: every response that was ever under way, in order, with scores and reasons.
        rounds: that it took.
        tokens: that were written, those of lookahead too.
    """

    problem: Problem
    choice: Choice
    explored: tuple[Node, ...]
    rounds: int
    tokens: int


class _Tree:
    """The search of one problem: what is open and what is closed."""

    def __init__(self, problem: Problem, plan: SearchPlan) -> None:
        self.problem, self.plan = problem, plan
        self.open = [Node(pool=pool) for pool in range(plan.pools)]
        self.closed: list[Node] = []
        self.finished: list[Node] = []
        self.rounds = self.tokens = self._drawn = 0

    @property
    def active(self) -> bool:
        spent = self.plan.max_tokens is not None and self.tokens >= self.plan.max_tokens
        return bool(self.open) and self.rounds < self.plan.rounds and len(self.finished) < self.plan.n and not spent

    def prefixes(self) -> list[tuple[Node, Prefix]]:
        """What to continue in this round: each open response `branches` times; first of all n responses."""
        times = self.plan.n // self.plan.pools if self.rounds == 0 else self.plan.branches
        made = []
        for node in self.open:
            for _ in range(times):
                made.append((node, Prefix(self.problem, node.steps, self._drawn)))
                self._drawn += 1
        return made

    def close(self, node: Node, reason: str) -> None:
        self.closed.append(replace(node, reason=node.reason or reason))
        if reason == "finished":
            self.finished.append(self.closed[-1])

    def keep(self, nodes: Sequence[Node]) -> None:
        """Close what ended, prune each pool to its best, and go on with the rest."""
        self.rounds += 1
        self.open = []
        for pool in range(self.plan.pools):
            guided = self.plan.kind == "guided_greedy"
            own = sorted((node for node in nodes if node.pool == pool), key=_rank_newest if guided else _rank)
            best, others = self._split(own)
            self.open += best
            for node in others:
                # Guided greedy follows one response: another that ended was passed over, not finished.
                ended = node.done and not (guided and node is not own[0])
                self.close(node, "finished" if ended else f"pruned in round {self.rounds}")

    def _split(self, own: list[Node]) -> tuple[list[Node], list[Node]]:
        """Of one pool: what to go on with, and what to close."""
        if self.plan.kind == "beam":
            running = [node for node in own if not node.done]
            kept = running[: self.plan.kept]
        else:  # one response a tree: where its best has ended, so has the tree
            kept = [node for node in own[:1] if not node.done]
        return kept, [node for node in own if node not in kept]

    def result(self, checker: AnswerChecker | None) -> SearchResult:
        left = [replace(node, reason="not finished") for node in self.open if node.steps]
        explored = (*self.closed, *left)
        usable = (
            self.finished or left or [node for node in self.closed if node.steps] or [Node(reason="nothing written")]
        )
        candidates = [_candidate(node) for node in usable]
        choice = choose(self.plan.choose, candidates, checker=checker)
        if not self.finished:
            choice = replace(choice, note="; ".join(filter(None, ("no response was finished", choice.note))))
        return SearchResult(self.problem, choice, explored, self.rounds, self.tokens)


def search_steps(
    problems: Sequence[Problem],
    generator: StepGenerator,
    model: RewardModel,
    plan: SearchPlan,
    *,
    checker: AnswerChecker | None = None,
) -> list[SearchResult]:
    """Search all problems at once; one result a problem, in order.

    Args:
        problems: to be solved.
        generator: writes steps.
        model: scores them.
        plan: how.
        checker: compares the answers in the final choice.

    Raises:
        ConfigError: the plan's reducer is missing and the model names none.
    """
    reducer = plan.reducer or model.spec.reducer
    trees = [_Tree(problem, plan) for problem in problems]
    while active := [tree for tree in trees if tree.active]:
        grown = _grow(active, generator)
        for tree, nodes in zip(active, _score(active, grown, generator, model, reducer), strict=True):
            tree.keep(nodes)
    return [tree.result(checker) for tree in trees]


def _grow(trees: Sequence[_Tree], generator: StepGenerator) -> list[list[Node]]:
    """One step more for every open response of every tree, in one batch; duplicates and errors are closed."""
    asked = [(tree, node, prefix) for tree in trees for node, prefix in tree.prefixes()]
    answers = generator.continue_steps([prefix for _, _, prefix in asked])
    grown: dict[int, dict[tuple[int, str], Node]] = {id(tree): {} for tree in trees}
    for (tree, node, _), answer in zip(asked, answers, strict=True):
        tree.tokens += answer.tokens
        steps = (*node.steps, answer.text) if answer.text else node.steps
        made = replace(node, steps=steps, done=answer.done, tokens=answer.tokens)
        if answer.error:
            tree.close(replace(made, reason=f"error: {answer.error}"), "error")
        elif not made.text.strip():
            tree.close(made, "empty")
        elif (made.pool, made.text) in grown[id(tree)]:
            tree.close(made, "duplicate")
        else:
            # A step that adds nothing and ends nothing would be asked for again without end.
            done = made.done or not answer.text
            grown[id(tree)][made.pool, made.text] = replace(made, done=done)
    return [list(grown[id(tree)].values()) for tree in trees]


def _score(
    trees: Sequence[_Tree], grown: list[list[Node]], generator: StepGenerator, model: RewardModel, reducer: str
) -> list[list[Node]]:
    """The scores of all grown responses, in one batch; with lookahead, of what they lead to."""
    flat = [(tree, node) for tree, nodes in zip(trees, grown, strict=True) for node in nodes]
    ahead = [node for _, node in flat]
    for _ in range(trees[0].plan.lookahead):
        ahead = _look(ahead, [tree for tree, _ in flat], generator)
    traces = [Trace.create(t.problem, n.steps, sample=i) for i, ((t, _), n) in enumerate(zip(flat, ahead, strict=True))]
    scored: dict[int, list[Node]] = {id(tree): [] for tree in trees}
    for (tree, node), (scores, why) in zip(flat, score_each(model, traces), strict=True):
        score = response_score(scores, reducer)
        scored[id(tree)].append(replace(node, scores=scores, score=score, reason=why))
    return [scored[id(tree)] for tree in trees]


def _look(nodes: list[Node], trees: Sequence[_Tree], generator: StepGenerator) -> list[Node]:
    """Each open response one step further, for its score alone."""
    places = [i for i, node in enumerate(nodes) if not node.done]
    if not places:
        return nodes
    answers = generator.continue_steps([Prefix(trees[i].problem, nodes[i].steps) for i in places])
    made = list(nodes)
    for i, answer in zip(places, answers, strict=True):
        trees[i].tokens += answer.tokens
        steps = (*made[i].steps, answer.text) if answer.text else made[i].steps
        made[i] = replace(made[i], steps=steps, done=answer.done or not answer.text)
    return made


def _rank(node: Node) -> tuple[bool, float]:
    """Best first; a score that is missing, NaN or infinite is behind every other."""
    usable = node.score is not None and math.isfinite(node.score)
    return (not usable, -(node.score or 0.0) if usable else 0.0)


def _rank_newest(node: Node) -> tuple[bool, bool, float]:
    """Best first, by the newest step alone: p^0.3 / tokens^0.6 where it is more likely right than wrong, and behind all
    of these the others by p (VL-PRM's code, ``reward_guided_search``)."""
    p = node.scores[-1] if node.scores else math.nan
    if not math.isfinite(p):
        return True, True, 0.0
    right = p >= 0.5
    return False, not right, -(p**0.3 / max(node.tokens, 1) ** 0.6) if right else -p


def _candidate(node: Node) -> Candidate:
    why = node.reason if node.reason.startswith("not scored") else ""
    return Candidate(node.text, extract_answer(node.text), node.score, node.scores, reason=why)
