"""The `logic` labeler finds every gold proof right, and every gold proof with a planted fault wrong."""

from __future__ import annotations

import itertools
import random

import pytest

from rewardkit.labelers.logic import LogicLabeler
from rewardkit.problems.deduction import deductions
from rewardkit.types import Problem, Trace


@pytest.fixture(scope="module")
def labeler():
    with LogicLabeler() as made:
        yield made


def gold_trace(problem, lines=None):
    steps = lines or problem.meta["gold_proof"].splitlines()
    return Trace.create(problem, [*(line + "\n" for line in steps), f"$proof_label$: {problem.answer}"])


@pytest.mark.parametrize("logic", ["propositional", "monadic"])
@pytest.mark.parametrize("depth", range(1, 9))
def test_gold_proofs_are_right_from_the_first_step_to_the_answer(labeler, logic, depth):
    for problem in itertools.islice(deductions(depth=depth, distractors=5, logic=logic, seed=depth), 30):
        labels = labeler.label(gold_trace(problem))
        assert [label.evidence for label in labels if label.p_correct != 1.0] == []


def test_the_prompt_alone_says_all_that_the_labeler_needs(labeler):
    for problem in itertools.islice(deductions(depth=4), 30):
        bare = Problem.create(problem.prompt, problem.answer)
        labels = labeler.label(gold_trace(bare, problem.meta["gold_proof"].splitlines()))
        assert all(label.p_correct == 1.0 for label in labels)


@pytest.mark.parametrize("logic", ["propositional", "monadic"])
def test_a_step_that_lacks_a_premise_is_never_right(labeler, logic):
    draw = random.Random(1)
    for problem in itertools.islice(deductions(depth=5, logic=logic, labels=["PROVED", "DISPROVED"], seed=2), 40):
        lines = problem.meta["gold_proof"].splitlines()
        several = [i for i, line in enumerate(lines) if " & " in line.split(" -> ")[0]]
        at = draw.choice(several)
        premises, _, result = lines[at].partition(" -> ")
        lines[at] = f"{' & '.join(premises.split(' & ')[1:])} -> {result}"
        assert labeler.label(gold_trace(problem, lines))[at].p_correct == 0.0


def test_a_claim_against_the_label_is_wrong(labeler):
    for problem in itertools.islice(deductions(depth=3, labels=["UNKNOWN"]), 20):
        steps = problem.meta["gold_proof"].splitlines()
        trace = Trace.create(problem, [*steps, "$proof_label$: PROVED"])
        assert labeler.label(trace)[-1].p_correct == 0.0
