"""The `logic` labeler: does each step of a deduction follow from what it cites? (FoVer's formal logic, done soundly.)

What is labelled how:

- The cited premises entail the conclusion: 1.0. They do not, which a counter-model shows: 0.0. Undecided: None.
- A reference that cannot count is a certain error of that step, 0.0: an undefined, later or circular one, the
  hypothesis as a premise; so is giving a new meaning to a name that is taken. Only facts and *earlier* steps are
  premises; an earlier step counts whether or not it is right (see `rewardkit.labels.derive.rests_on_error`).
- A formula without a name behind the arrow (``fact1 & fact2 -> {A} ;``) is judged like any other; nothing can cite it.
- What cannot be read gets None, that step alone; the rest of the response keeps its labels.
- Premises that contradict each other entail anything, which is formally right and teaches nothing: None, with that
  reason.
- ``-> hypothesis`` concludes the hypothesis, or its negation where the response's answer is DISPROVED.
- The answer needs a derivation: PROVED (DISPROVED) is right if an inference concludes the hypothesis (its negation) and
  it and all that it rests on are right. A gold label alone never makes it right; one that says otherwise makes a claim
  without a valid derivation wrong, and one against a valid derivation an abstention. UNKNOWN is right if the gold label
  says so or, without one, neither the hypothesis nor its negation follows from all facts.

FoVer (arXiv 2505.15960) labels all of these without scoping the references and takes "unknown" for right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

from rewardkit.labelers._deduction import Deduction, Node
from rewardkit.text.logic import Claim, FinalAnswer, Inference, Line, Prose, read_problem, read_step
from rewardkit.types import Meaning, StepLabel, Trace
from rewardkit.verifiers.base import Verdict, Verifier
from rewardkit.verifiers.formula import Formula, Not
from rewardkit.verifiers.z3 import CONTRADICTION, default_verifier

NOTHING = "nothing to check"
MAX_LINES = 300  # of a response

Found = tuple[float | None, str]


@dataclass(frozen=True, slots=True)
class LogicAnalysis:
    """Labels with what is needed to derive others from them, see `rewardkit.labels.derive`.

    Attributes:
        labels: one a step, local.
        citations: for each step the earlier steps that it cites.
        neutral: steps that state nothing.
    """

    labels: list[StepLabel]
    citations: list[frozenset[int]]
    neutral: frozenset[int]


class LogicLabeler:
    """Labels the steps of a formal deduction in the format of `rewardkit.text.logic`.

    The problem's facts and hypothesis come from its ``meta`` (``{"facts": {"fact1": "{A}"}, "hypothesis": "{B}",
    "label": "PROVED"}``, the label may be missing) or else from its prompt. Formulas are read by
    `rewardkit.verifiers.fol_parser`. A step of several lines is right if all are.

    Args:
        name: goes into `StepLabel.source`.
        verifier: decides the sequents; None takes the `Z3Verifier` that the process shares.

    >>> from rewardkit.types import Problem
    >>> problem = Problem.create("?", meta={"facts": {"fact1": "{A} -> {B}", "fact2": "{A}"}, "hypothesis": "{B}"})
    >>> steps = ["fact1 & fact2 -> int1: {B} ;", "int1 -> int2: {A} & {B} ;", "int1 -> hypothesis ;"]
    >>> steps.append("$proof_label$: PROVED")
    >>> with LogicLabeler() as labeler:
    ...     for label in labeler.label(Trace.create(problem, steps)):
    ...         print(label.p_correct, label.evidence)
    1.0 follows from fact1, fact2
    0.0 does not follow from int1: not A, B
    1.0 follows from int1
    1.0 the hypothesis is derived
    """

    meaning: Meaning = "local"

    def __init__(self, name: str = "logic", verifier: Verifier | None = None) -> None:
        self.name = name
        self.verifier = verifier or default_verifier()

    def label(self, trace: Trace) -> list[StepLabel]:
        """One label for every step, in order. Never raises because of what the text says.

        Raises:
            VerifierError: the solver is missing or its process cannot be started.
        """
        return self.analyse(trace).labels

    def analyse(self, trace: Trace) -> LogicAnalysis:
        """The labels, with each step's citations."""
        return self.analyse_many([trace])[0]

    def analyse_many(self, traces: Sequence[Trace]) -> list[LogicAnalysis]:
        """Analyse many traces; what needs the solver shares its calls."""
        works = [_Work(trace) for trace in traces]
        pairs = [pair for work in works for pair in work.sequents()]
        verdicts = iter(_verify_all(self.verifier, pairs))
        for work in works:
            work.take([next(verdicts) for _ in work.sequents()])
        return [work.analysis(self.name) for work in works]

    def close(self) -> None:
        """End the verifier's processes. A later call starts new ones."""
        self.verifier.close()

    def __enter__(self) -> LogicLabeler:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _verify_all(verifier: Verifier, pairs: list[tuple[list[Formula], Formula]]) -> list[Verdict]:
    many: Any = getattr(verifier, "verify_many", None)
    if many is not None:
        verdicts: list[Verdict] = many(pairs)
        return verdicts
    return [verifier.verify(premises, goal) for premises, goal in pairs]


class _Work:
    """One trace on its way through: read, decided, put together."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.lines: list[tuple[int, Line]] = [
            (index, line) for index, step in enumerate(trace.steps) for line in read_step(step.text)
        ]
        if len(self.lines) > MAX_LINES:  # a part alone would make references look wrong that are not
            self.lines = [(index, Prose(f"a response of more than {MAX_LINES} lines")) for index, _ in self.lines]
        self.problem = read_problem(trace.problem)
        self.deduction = Deduction(self.problem, self.lines)
        self._derivations = {claim: self.deduction.derivations(claim) for claim in get_args(Claim)}
        self._open = [node for node in self.deduction.nodes if node.open]
        self._wide = self._unknown_sequents()
        self._wide_verdicts: list[Verdict] = []
        self._chains: list[tuple[float | None, int]] = []

    def sequents(self) -> list[tuple[list[Formula], Formula]]:
        """What a verifier has to decide: the inferences, then what an answer of UNKNOWN asks for."""
        return [(node.premises, _goal(node)) for node in self._open] + self._wide

    def take(self, verdicts: list[Verdict]) -> None:
        """The verdicts on `sequents`, in order."""
        for node, verdict in zip(self._open, verdicts, strict=False):
            node.settle(*_judge(verdict, node))
        self._wide_verdicts = verdicts[len(self._open) :]
        self._chains = self.deduction.chains()

    def analysis(self, source: str) -> LogicAnalysis:
        found: list[list[Found]] = [[] for _ in self.trace.steps]
        cites: list[set[int]] = [set() for _ in self.trace.steps]
        nodes = iter(self.deduction.nodes)
        before = 0
        for step, line in self.lines:
            if isinstance(line, Inference):
                node = next(nodes)
                before += 1
                found[step].append((node.p_correct, node.evidence))
                cites[step] |= {self.deduction.nodes[i].step for i in node.parents}
            elif isinstance(line, FinalAnswer):
                found[step].append(self._answer(line.claim, before))
                used = self._derivations[line.claim]
                cites[step] |= {self.deduction.nodes[i].step for i in used if i < before}
            else:
                found[step].append((None, f"not in the format of a step: '{line.text[:60]}'"))
        labels = [self._label(i, each, source) for i, each in enumerate(found)]
        neutral = frozenset(i for i, each in enumerate(found) if not each)
        return LogicAnalysis(labels, [frozenset(c - {i}) for i, c in enumerate(cites)], neutral)

    def _label(self, step: int, found: list[Found], source: str) -> StepLabel:
        p_correct, evidence = _all(found)
        return StepLabel(self.trace.id, step, p_correct, source, "local", " ".join(evidence.split())[:300])

    def _unknown_sequents(self) -> list[tuple[list[Formula], Formula]]:
        """Hypothesis and negation from all facts, if an answer of UNKNOWN has no gold label to go by."""
        claimed = any(isinstance(line, FinalAnswer) and line.claim == "UNKNOWN" for _, line in self.lines)
        facts, hypothesis = self.deduction.all_facts(), self.deduction.hypothesis
        if not claimed or self.problem.label or facts is None or hypothesis is None:
            return []
        return [(facts, hypothesis), (facts, Not(hypothesis))]

    def _answer(self, claim: Claim, before: int) -> Found:
        if claim == "UNKNOWN":
            return self._answer_unknown(before)
        gold = self.problem.label
        what = "the hypothesis" if claim == "PROVED" else "the negation of the hypothesis"
        if self.deduction.hypothesis is None:
            return None, "the problem's hypothesis is not given or cannot be read"
        chains = [self._chains[i] for i in self._derivations[claim] if i < before]
        if not chains:
            return 0.0, f"{what} is never derived"
        right, step = max(chains, key=lambda chain: {1.0: 2, None: 1, 0.0: 0}[chain[0]])
        if right == 1.0:
            return (
                (1.0, f"{what} is derived") if gold in (None, claim) else (None, f"{what} is derived, but gold: {gold}")
            )
        if gold not in (None, claim):
            return 0.0, f"the gold label is {gold}"
        why = "is wrong" if right == 0.0 else "has no label"
        return right, f"{what} is derived through step {step}, which {why}"

    def _answer_unknown(self, before: int) -> Found:
        for claim in ("PROVED", "DISPROVED"):
            for index in self._derivations[claim]:
                if index < before and self._chains[index][0] == 1.0:
                    return 0.0, f"the steps show that the hypothesis is {claim}"
        gold = self.problem.label
        if gold is not None:
            return (1.0 if gold == "UNKNOWN" else 0.0), f"the gold label is {gold}"
        if not self._wide_verdicts:
            return None, "the facts or the hypothesis are not given or cannot be read"
        if any(each.status == "proved" for each in self._wide_verdicts):
            reason = next(each.reason for each in self._wide_verdicts if each.status == "proved")
            return (None, "the facts contradict each other") if reason else (0.0, "the facts decide the hypothesis")
        if all(each.status == "refuted" for each in self._wide_verdicts):
            return 1.0, "neither the hypothesis nor its negation follows from the facts"
        return None, "undecided whether the hypothesis follows from the facts"


def _goal(node: Node) -> Formula:
    assert node.goal is not None
    return node.goal


def _judge(verdict: Verdict, node: Node) -> Found:
    cited = ", ".join(node.line.cites)
    if verdict.status == "proved":
        if verdict.reason == CONTRADICTION:
            return None, f"the premises contradict each other: {cited}"
        return 1.0, f"follows from {cited}" if cited else "holds without premises"
    if verdict.status == "refuted":
        return 0.0, f"does not follow from {cited or 'no premises'}: {verdict.witness}"
    return None, f"undecided: {verdict.reason}"


def _all(found: list[Found]) -> Found:
    """A step of several lines: wrong if one is, right if all are."""
    if not found:
        return None, NOTHING
    for wanted in (0.0, None):
        for p_correct, evidence in found:
            if p_correct == wanted:
                return p_correct, evidence
    return found[0]
