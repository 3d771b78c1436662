"""Multi-step deductions with gold proofs, made from a seed: as many as wanted, in the syntax of FLD.

A proof is grown backwards from a conclusion by rules of natural deduction; its leaves become the facts, new names
everywhere. Distractors are added; then a decision procedure (`rewardkit.problems.consistency`) makes sure that the
facts are consistent and that the label is right. What is made has no text: the problems are symbols. Inspired by
FLD (Morishita et al., 2023, arXiv 2308.07336), whose generator this is not: fewer rules, and no deeper search for a
shorter proof than the gold one.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, get_args

from rewardkit.errors import DataError
from rewardkit.problems._rules import Maker, Node, negate
from rewardkit.problems.consistency import consistent
from rewardkit.problems.fld import deduction_problem, formula_text
from rewardkit.types import Problem
from rewardkit.verifiers.formula import Formula, Not

Label = Literal["PROVED", "DISPROVED", "UNKNOWN"]
Logic = Literal["propositional", "monadic", "mixed"]
LABELS: tuple[Label, ...] = get_args(Label)
MAX_DEPTH = 20
MAX_DISTRACTORS = 60


@dataclass(frozen=True, slots=True)
class Deduction:
    """One problem with its proof.

    Attributes:
        facts: from ``fact1`` on.
        hypothesis: what is asked.
        label: ``PROVED`` the facts entail it; ``DISPROVED`` they entail its negation; ``UNKNOWN`` neither.
        proof: lines such as ``fact1 & int1 -> int2: {A}``. The last ends in ``-> hypothesis``, which stands for its
            negation where the label is DISPROVED; of an unknown hypothesis the lines are what does follow.
        depth: steps on the longest way from a fact to the conclusion of the full proof.
    """

    facts: dict[str, Formula]
    hypothesis: Formula
    label: Label
    proof: tuple[str, ...]
    depth: int


def deductions(
    depth: int | list[int] = 3,
    distractors: int | list[int] = 3,
    logic: Logic = "mixed",
    labels: tuple[Label, ...] | list[Label] = LABELS,
    seed: int = 0,
) -> Iterator[Problem]:
    """Problems without end; the n-th depends on the options and n alone, and the labels take turns.

    Args:
        depth: of the proofs, or ``[least, most]``; at most 20.
        distractors: facts that the proof does not use, or ``[least, most]``; at most 60.
        logic: ``propositional``, ``monadic`` (one leading quantifier, predicates of one argument), or ``mixed``.
        labels: which ones to make.
        seed: another seed, other problems.

    Raises:
        DataError: an option out of its range.

    >>> problem = next(deductions(depth=1, distractors=0, logic="propositional", seed=4))
    >>> print(problem.prompt)
    $hypothesis$: {A}
    $facts$:
    fact1: {B}
    fact2: {B} -> {A}
    >>> problem.answer, problem.meta["gold_proof"]
    ('PROVED', 'fact1 & fact2 -> hypothesis ;')
    """
    depths = _range("depth", depth, 1, MAX_DEPTH)
    counts = _range("distractors", distractors, 0, MAX_DISTRACTORS)
    if logic not in get_args(Logic):
        raise DataError(f"logic is {logic!r}; there are {', '.join(get_args(Logic))}")
    if not labels or not set(labels) <= set(LABELS):
        raise DataError(f"labels are {list(labels)}; there are {', '.join(LABELS)}")
    return _deductions(depths, counts, logic, tuple(labels), seed)


def _deductions(
    depths: tuple[int, int], counts: tuple[int, int], logic: Logic, labels: tuple[Label, ...], seed: int
) -> Iterator[Problem]:
    number = 0
    while True:
        draw = random.Random(f"deduction {seed} {number}")
        monadic = logic == "monadic" or (logic == "mixed" and draw.random() < 0.5)
        label = labels[number % len(labels)]
        made = make_deduction(draw, draw.randint(*depths), draw.randint(*counts), monadic, label)
        yield deduction_problem(
            facts={name: formula_text(fact) for name, fact in made.facts.items()},
            hypothesis=formula_text(made.hypothesis),
            label=made.label,
            gold_proof="\n".join(made.proof),
            meta={"depth": made.depth, "logic": "monadic" if monadic else "propositional"},
        )
        number += 1


def make_deduction(draw: random.Random, depth: int, distractors: int, monadic: bool, label: Label) -> Deduction:
    """One deduction; drawn anew until the facts are consistent and the label is right (most often at once)."""
    for _ in range(200):
        made = _attempt(draw, depth, distractors, monadic, label)
        if made is not None:
            return made
    raise DataError(f"no consistent deduction of depth {depth} with {distractors} distractors in 200 attempts")


def _attempt(draw: random.Random, depth: int, distractors: int, monadic: bool, label: Label) -> Deduction | None:
    maker = Maker(draw, monadic)
    root = maker.prove(maker.conclusion(), depth)
    leaves = [node.formula for node in root.walk() if not node.premises]
    missing = _missing(draw, root) if label == "UNKNOWN" else None
    facts = [leaf for leaf in leaves if leaf != missing]
    known = [node.formula for node in root.walk()]
    facts += [maker.distractor(known) for _ in range(distractors)]
    draw.shuffle(facts)
    disproved = label == "DISPROVED" or (label == "UNKNOWN" and draw.random() < 0.5)
    hypothesis = negate(root.formula) if disproved else root.formula
    if not _is_right(facts, root.formula, label):
        return None
    named = {f"fact{i}": fact for i, fact in enumerate(facts, 1)}
    return Deduction(named, hypothesis, label, _Writer(named).lines(root), depth)


def _missing(draw: random.Random, root: Node) -> Formula:
    """The fact to leave out: best one that the last step uses, so that what comes before it still follows."""
    last = [node.formula for node in root.premises if not node.premises]
    every = [node.formula for node in root.walk() if not node.premises]
    return draw.choice(last or every)


def _is_right(facts: list[Formula], conclusion: Formula, label: Label) -> bool:
    if len(set(facts)) < len(facts):
        return False
    if label == "UNKNOWN":
        return consistent([*facts, conclusion]) and consistent([*facts, Not(conclusion)])
    return consistent(facts)


@dataclass(slots=True)
class _Writer:
    """Writes a proof line by line, each after what it cites; a step that lacks a fact is left out."""

    facts: dict[str, Formula]
    written: list[str] = field(default_factory=list)
    count: int = 0

    def lines(self, root: Node) -> tuple[str, ...]:
        names = {fact: name for name, fact in self.facts.items()}
        cited = [self._name(node, names) for node in root.premises]
        if None not in cited:
            self.written.append(f"{' & '.join(map(str, cited))} -> hypothesis ;")
        return tuple(self.written)

    def _name(self, node: Node, names: dict[Formula, str]) -> str | None:
        if not node.premises:
            return names.get(node.formula)
        cited = [self._name(premise, names) for premise in node.premises]
        if None in cited:
            return None
        self.count += 1
        self.written.append(f"{' & '.join(map(str, cited))} -> int{self.count}: {formula_text(node.formula)} ;")
        return f"int{self.count}"


def _range(name: str, value: int | list[int], least: int, most: int) -> tuple[int, int]:
    pair = (value, value) if isinstance(value, int) else tuple(value)
    if len(pair) != 2 or not all(isinstance(n, int) for n in pair) or not least <= pair[0] <= pair[1] <= most:
        raise DataError(f"{name} is {value}; give a number from {least} to {most}, or [least, most]")
    return pair[0], pair[1]
