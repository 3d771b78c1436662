"""Stored labels, proved again by another solver: what two programs that share no code agree on is worth more.

    report = recheck("runs/synth/fover-proof", sample=200, solver="z3")

- ``proof``: the sequent that stands in the label's evidence goes to the solver.
- ``logic``, ``algebra``: the labeler reads the trace again, with the solver in place of its own.
- ``arithmetic``: the calculations are found again, read by a second, smaller grammar, and go to the solver.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, Literal

from rewardkit.errors import DataError
from rewardkit.registry import load
from rewardkit.store.dataset import LabelledTrace, iter_dataset
from rewardkit.types import StepLabel, Trace
from rewardkit.verifiers.base import Verdict, Verifier
from rewardkit.verifiers.formula import Comparison, Number, Operation
from rewardkit.verifiers.plain import print_formula
from rewardkit.verifiers.statements import StatementError, parse_sequent

SOLVERS = {
    "coq": "rewardkit.verifiers.coq:CoqVerifier",
    "cvc5": "rewardkit.verifiers.cvc5:Cvc5Verifier",
    "isabelle": "rewardkit.verifiers.isabelle:IsabelleVerifier",
    "lean": "rewardkit.verifiers.lean:LeanVerifier",
    "z3": "rewardkit.verifiers.z3:Z3Verifier",
}

Outcome = Literal["agree", "disagree", "undecided"]


@dataclass(frozen=True, slots=True)
class Rechecked:
    """One label and what the other solver says of it.

    Attributes:
        label: as stored.
        outcome: ``undecided`` where the other solver does not know, or the step cannot be put to it.
        evidence: the other solver's, or why there is none.
    """

    label: StepLabel
    outcome: Outcome
    evidence: str


@dataclass(frozen=True, slots=True)
class RecheckReport:
    """What came of a sample of labels.

    Attributes:
        solver: its name.
        checked: one a label.
    """

    solver: str
    checked: tuple[Rechecked, ...]

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """For each source ``{"agree", "disagree", "undecided"}``."""
        found: dict[str, Counter[str]] = {}
        for one in self.checked:
            found.setdefault(one.label.source, Counter())[one.outcome] += 1
        return {s: {name: c[name] for name in ("agree", "disagree", "undecided")} for s, c in sorted(found.items())}

    @property
    def disagreements(self) -> list[Rechecked]:
        """Those worth a look."""
        return [one for one in self.checked if one.outcome == "disagree"]


def recheck(folder: str | Path, sample: int = 200, solver: str = "coq", seed: int = 0) -> RecheckReport:
    """Prove a random sample of the labels of a dataset again.

    Args:
        folder: a dataset that RewardKit wrote.
        sample: how many labels (abstentions are no labels).
        solver: a key of `SOLVERS`, or ``path/to/file.py:Class`` of a `Verifier`.
        seed: of the sample.

    Raises:
        ConfigError: there is no solver of that name.
        DataError: the folder is no dataset, or holds no label of a formal source.
        VerifierError: the solver is not installed.
    """
    make: Callable[[], Verifier] = load(solver, SOLVERS, "solver")
    picked = _sample(iter_dataset(folder), sample, random.Random(seed))
    if not picked:
        raise DataError(f"{folder} holds no label of {', '.join(sorted(_CHECKS))} that could be checked again")
    with closing(make()) as verifier:
        second = _Second(verifier)
        return RecheckReport(solver, tuple(_recheck(trace, label, second) for trace, label in picked))


def _sample(rows: Iterator[LabelledTrace], size: int, rng: random.Random) -> list[tuple[Trace, StepLabel]]:
    """A uniform sample in one pass (reservoir sampling)."""
    kept: list[tuple[Trace, StepLabel]] = []
    seen = 0
    for row in rows:
        for label in row.labels:
            if label.source in _CHECKS and label.p_correct is not None:
                seen += 1
                place = len(kept) if len(kept) < size else rng.randrange(seen)
                if place < size:
                    kept[place : place + 1] = [(row.trace, label)]
    return kept


@dataclass(frozen=True, slots=True)
class _Second:
    """The other solver, and what labelers say with it: each trace is labelled once, however many labels are asked."""

    verifier: Verifier
    known: dict[tuple[str, str], list[StepLabel]] = field(default_factory=dict)

    def labels(self, name: str, trace: Trace) -> list[StepLabel]:
        from rewardkit.labelers import LABELERS

        if (name, trace.id) not in self.known:
            labeler = load(name, LABELERS, "labeler")(verifier=self.verifier)
            self.known[name, trace.id] = labeler.label(trace)
        return self.known[name, trace.id]


def _recheck(trace: Trace, label: StepLabel, second: _Second) -> Rechecked:
    p_correct, evidence = _CHECKS[label.source](trace, label, second)
    outcome: Outcome = "undecided" if p_correct is None else "agree" if p_correct == label.p_correct else "disagree"
    return Rechecked(label, outcome, evidence)


Found = tuple[float | None, str]


def _by_sequent(trace: Trace, label: StepLabel, second: _Second) -> Found:
    if "[bad citation" in label.evidence:
        return None, "a bad citation is no matter of a solver"
    try:
        premises, goal = parse_sequent(label.evidence.rpartition(" [")[0])
    except StatementError as error:
        return None, f"the evidence holds no sequent: {error}"
    return _found(second.verifier.verify(premises, goal), "")


def _by_labeler(name: str, trace: Trace, label: StepLabel, second: _Second) -> Found:
    again = [x for x in second.labels(name, trace) if x.step == label.step]
    return (again[0].p_correct, again[0].evidence) if again else (None, "no label this time")


def _by_claims(trace: Trace, label: StepLabel, second: _Second) -> Found:
    """Each calculation that the labeler judges now, against the solver; none may be judged otherwise."""
    from rewardkit.labelers._claims import find_claims
    from rewardkit.labelers._verdicts import Checker

    text = trace.steps[label.step].text
    checker = Checker(text)
    wanted = label.p_correct == 1.0
    agreed: Found = (None, "no calculation plain enough to be read again")
    for claim in find_claims(text):
        if checker.check(claim).holds is wanted:
            p_correct, evidence = _claim(claim, second, rounded=wanted)
            if p_correct is not None and p_correct != label.p_correct:
                return p_correct, evidence
            if p_correct is not None:
                agreed = p_correct, evidence
    return agreed


def _claim(claim: Any, second: _Second, *, rounded: bool) -> Found:
    from rewardkit.labelers._claim_formula import claim_formula
    from rewardkit.labelers._doubts import mixes_units
    from rewardkit.labelers._expressions import read_operand
    from rewardkit.labelers._units import has_units

    right = read_operand(claim.tokens, claim.right.start, claim.right.end)
    left = read_operand(claim.tokens, claim.left.start, claim.left.end)
    formula = claim_formula(claim, right.last)
    if formula is None:
        return None, "not plain enough to be read again"
    found = _found(second.verifier.verify([], formula), f"{print_formula(formula)} ")
    if found[0] != 0.0 or not rounded:
        return found
    # It was taken for true, and is not so to the letter: between units, rounded, or read in another way.
    if has_units(claim) and mixes_units(claim.tokens[claim.left.start : claim.right.end]):
        return None, f"{print_formula(formula)} [its sides have different units]"
    if left.readings | right.readings or right.calculation or left.inexact or right.inexact:
        return None, f"{print_formula(formula)} [read in another way]"
    places = min(max(left.decimals, right.decimals), 7)  # with more, a floating-point number was copied
    difference = Operation("abs", (Operation("-", (formula.left, formula.right)),))
    near = Comparison("<=", difference, Number(Fraction(1, 10**places)))
    return _found(second.verifier.verify([], near), f"{print_formula(near)} ") if places else found


def _found(verdict: Verdict, before: str) -> Found:
    p_correct = {"proved": 1.0, "refuted": 0.0}.get(verdict.status)
    reason = f": {verdict.reason}" if verdict.status == "unknown" else f" by {verdict.solver}"
    return p_correct, f"{before}[{verdict.status}{reason}]"


_CHECKS: dict[str, Callable[[Trace, StepLabel, _Second], Found]] = {
    "proof": _by_sequent,
    "logic": partial(_by_labeler, "logic"),
    "algebra": partial(_by_labeler, "algebra"),
    "arithmetic": _by_claims,
}
