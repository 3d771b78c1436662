"""Search over whole responses: a fixed number, or as many as the choice needs to settle.

A vote that stands 7 to 1 needs no more samples. Adaptive sampling (Aggarwal et al. 2023) draws in batches and stops for
each problem when the leading answer will most likely stay ahead, or when a response scores well enough.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rewardkit.errors import ConfigError
from rewardkit.generate import Generation, GenerationRequest, Generator
from rewardkit.generate.prompt import PromptConfig, build_messages
from rewardkit.models import RewardModel
from rewardkit.models.each import score_each
from rewardkit.search.choose import METHODS, Candidate, Choice, choose, response_score
from rewardkit.text.answers import AnswerChecker, default_checker
from rewardkit.text.extract import extract_answer
from rewardkit.text.split import SplitRule, split_steps
from rewardkit.types import Problem, Trace, content_id


@dataclass(frozen=True, slots=True)
class SamplePlan:
    """How many responses, and how to choose.

    Attributes:
        choose: ``majority``, ``best_of_n`` or ``weighted_vote``.
        n: responses a problem at most.
        batch: drawn at a time; None draws all n at once.
        confidence: stop when the leading answer stays ahead with this probability; 1.0 only when it cannot lose.
        enough: stop when a response scores this much; None never.
        reducer: from step scores to one; None takes the reward model's own.
        split: how responses are cut into steps.
        seed: of the samples.

    Raises:
        ConfigError: a value is no use.
    """

    choose: str = "majority"
    n: int = 16
    batch: int | None = None
    confidence: float = 0.95
    enough: float | None = None
    reducer: str | None = None
    split: SplitRule = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.choose not in METHODS:
            raise ConfigError(f"choose is '{self.choose}'; use one of {', '.join(METHODS)}")
        if self.n < 1 or (self.batch is not None and not 1 <= self.batch <= self.n):
            raise ConfigError(f"n={self.n} must be at least 1 and batch={self.batch} between 1 and n")
        if not 0.5 < self.confidence <= 1.0:
            raise ConfigError(f"confidence={self.confidence} must lie in (0.5, 1]")


@dataclass(frozen=True, slots=True)
class SampleResult:
    """What was chosen for one problem.

    Attributes:
        problem: the problem.
        choice: with every candidate; one that could not be generated has its error as the reason.
        drawn: responses that were asked for.
        tokens: that were written.
        settled: why no more were drawn; "" where all n were.
    """

    problem: Problem
    choice: Choice
    drawn: int
    tokens: int
    settled: str = ""


def search_samples(
    problems: Sequence[Problem],
    generator: Generator,
    plan: SamplePlan,
    *,
    model: RewardModel | None = None,
    prompt: PromptConfig | None = None,
    checker: AnswerChecker | None = None,
) -> list[SampleResult]:
    """Draw, score and choose, for all problems at once; one result a problem, in order.

    Args:
        problems: to be solved.
        generator: writes whole responses.
        plan: how many, and how to choose.
        model: scores the steps; needed for all but the majority.
        prompt: how a question is put.
        checker: compares the answers.

    Raises:
        ConfigError: the choice needs scores and there is no reward model.
    """
    if model is None and (plan.choose != "majority" or plan.enough is not None):
        raise ConfigError(f"choose={plan.choose} needs a reward model: model=FOLDER or model=http://...")
    found: list[list[Candidate]] = [[] for _ in problems]
    settled = [""] * len(problems)
    batch = plan.batch or plan.n
    for start in range(0, plan.n, batch):
        open = [i for i, why in enumerate(settled) if not why]
        samples = range(start, min(start + batch, plan.n))
        drawn = _draw([problems[i] for i in open], samples, generator, plan, model, prompt or PromptConfig())
        for i, candidates in zip(open, drawn, strict=True):
            found[i] += candidates
            settled[i] = _settled(found[i], plan, checker) if len(found[i]) < plan.n else ""
        if all(settled):
            break
    return [
        SampleResult(
            problem,
            choose(plan.choose, candidates, checker=checker),
            len(candidates),
            sum(c.tokens for c in candidates),
            why,
        )
        for problem, candidates, why in zip(problems, found, settled, strict=True)
    ]


def stays_ahead(first: int, second: int) -> float:
    """The probability that an answer with `first` votes is more frequent than one with `second`, by a Beta posterior.

    >>> stays_ahead(3, 3), round(stays_ahead(7, 1), 3)
    (0.5, 0.98)
    """
    total = first + second + 1
    return sum(math.comb(total, k) for k in range(first + 1)) / float(2**total)


def _settled(candidates: Sequence[Candidate], plan: SamplePlan, checker: AnswerChecker | None) -> str:
    usable = [c.score if c.score is not None and math.isfinite(c.score) else None for c in candidates]
    best = max((score for score in usable if score is not None), default=None)
    if plan.enough is not None and best is not None and best >= plan.enough:
        return f"a response scores {best:.3f}, at least {plan.enough:g}"
    if plan.choose == "best_of_n":
        return ""
    groups = (checker or default_checker()).group([c.answer for c in candidates])
    classes = [group for group in groups if (candidates[group[0]].answer or "").strip()]
    weights = usable if plan.choose == "weighted_vote" and best is not None else [1.0] * len(usable)
    ranked = sorted(((math.fsum(weights[i] or 0.0 for i in group), len(group)) for group in classes), reverse=True)
    (first, votes), (second, _), *_ = ranked = [*ranked, (0.0, 0), (0.0, 0)]
    left = plan.n - len(candidates)
    # A response weighs at most 1; where scores are sums of steps, the largest so far stands for that.
    if first - second > left * max(1.0, *(weight or 0.0 for weight in weights)):
        return f"{first:.4g} votes to {second:.4g} cannot be overtaken by {left} more"
    rival = max(count for _, count in ranked[1:])
    if plan.confidence < 1.0 and stays_ahead(votes, rival) >= plan.confidence:
        return f"{votes} votes to {rival}: ahead with probability {stays_ahead(votes, rival):.2f}"
    return ""


def _draw(
    problems: Sequence[Problem],
    samples: range,
    generator: Generator,
    plan: SamplePlan,
    model: RewardModel | None,
    prompt: PromptConfig,
) -> list[list[Candidate]]:
    requests = [_request(problem, sample, plan.seed, prompt) for problem in problems for sample in samples]
    answers = generator.generate(requests)
    scores = _scores(requests, answers, plan, model)
    reducer = plan.reducer or (model.spec.reducer if model is not None else "min")
    made = [_candidate(answer, own, reducer) for answer, own in zip(answers, scores, strict=True)]
    size = len(samples)
    return [made[i : i + size] for i in range(0, len(made), size)]


def _request(problem: Problem, sample: int, seed: int, prompt: PromptConfig) -> GenerationRequest:
    id = content_id("search", problem.id, sample, seed)
    return GenerationRequest(id, problem, sample, build_messages(problem, prompt), int(id[:8], 16))


def _scores(
    requests: Sequence[GenerationRequest], answers: Sequence[Generation], plan: SamplePlan, model: RewardModel | None
) -> list[tuple[tuple[float, ...], str]]:
    """For each answer the scores of its steps, or why there are none."""
    if model is None:
        return [((), "")] * len(answers)
    pairs = enumerate(zip(requests, answers, strict=True))
    traces = [
        Trace.create(request.problem, [span.text for span in split_steps(answer.text, by=plan.split)], sample=i)
        for i, (request, answer) in pairs
    ]
    return score_each(model, traces)


def _candidate(answer: Generation, scored: tuple[tuple[float, ...], str], reducer: str) -> Candidate:
    scores, why = scored
    if answer.finish_reason == "error":
        return Candidate("", tokens=answer.tokens, reason=f"error: {answer.error}")
    score = response_score(scores, reducer)
    return Candidate(answer.text, extract_answer(answer.text), score, scores, answer.tokens, why)
