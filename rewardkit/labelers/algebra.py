"""The `algebra` labeler: steps that solve, substitute, expand, factor, simplify or bound, checked in their context.

Every equation and inequality of a step is read by our own grammar (`rewardkit.text.algebra`). It is proved if it is an
identity, or follows from what the problem and the steps so far state. It is refuted if it excludes the equation right
before it, of which it claims to be the next line or a solution; if roots of numbers are not equal; or if it rewrites an
expression into another one. Everything else is an abstention. A quotient follows only where
its denominator cannot be 0.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Literal

from rewardkit.labelers._algebra_claims import Claim, Role, is_algebra
from rewardkit.labelers._derivations import IDENTITY, NUMBERS_DIFFER, SAID_BEFORE, TAKEN, Judge
from rewardkit.text._terms import words
from rewardkit.text.algebra import Statement, find_statements
from rewardkit.types import Meaning, StepLabel, Trace
from rewardkit.verifiers.base import Verdict, Verifier
from rewardkit.verifiers.z3 import Z3Verifier

__all__ = ["AlgebraLabeler"]

MAX_STATEMENTS = 60  # of one step
MAX_KNOWN = 120  # that are kept of a trace
SECONDS = 1.0  # that the solver may take for one statement
TRACE_SECONDS = 20.0  # after which the solver is asked no more about a trace
MAX_TEXT = 100_000  # characters of a step that are read

_SUPPOSED = words("if suppose supposing assume assuming when whenever case unless whether try trying guess")
_DEFINED = words("let denote define call given set setting where consider want need must should")
_SOLVING = words("solve solving isolate isolating")
_TRIED = words("gives makes yields works would satisfies satisfy into in leads results does fails")
_CONCLUDED = words("then so thus hence therefore get gives implies means")
# In such a step a false statement may be meant to be false, or numbers may not be real ones.
_DOUBT = re.compile(
    r"\b(?:incorrect|wrong|contradict|impossible|mistake|error|false|invalid|inconsisten|extraneous|not|no|cannot|never|"
    r"however|but|instead|test|check|remainder|mod|base|round|plug|verif|satisf|whether|works?\b|see if)"
    r"|n't\b|\\pmod|\\bmod|\\equiv|\\approx|≡|≈|\\vec|\\mathbf",
    re.IGNORECASE,
)
_UNREAL = re.compile(
    r"\b(?:imaginary|complex|matri|vector|modulo|congruen)|\\pmod|\\bmod|\\equiv|≡|\\vec|\\mathbf|\\oplus"
)


class AlgebraLabeler:
    """Labels each step by the algebra in it: 0.0 if a statement is refuted, 1.0 if all that are asserted are proved.

    Statements that only repeat what is known, define a name ("let x be ...") or suppose something ("if x = 3") are not
    judged. The evidence shows the statement and why.

    Args:
        verifier: decides what exact arithmetic leaves open; ``"z3"`` starts `Z3Verifier` on first use, None uses none.

    >>> from rewardkit.types import Problem, Trace
    >>> labeler = AlgebraLabeler(verifier=None)
    >>> trace = Trace.create(Problem.create("Solve 2x + 3 = 7."), ["2x = 4", "x = 3"])
    >>> [(label.p_correct, label.evidence) for label in labeler.label(trace)]
    [(1.0, '2x = 4: follows from 2x + 3 = 7'), (0.0, 'x = 3: x = 3 makes 2x = 4 into 6 = 4')]
    """

    name = "algebra"
    meaning: Meaning = "local"

    def __init__(self, verifier: Verifier | Literal["z3"] | None = "z3") -> None:
        self._judge = Judge(Z3Verifier(seconds=SECONDS) if verifier == "z3" else verifier)

    def label(self, trace: Trace) -> list[StepLabel]:
        """One label for every step, in order. Never raises because of the text."""
        unreal = _UNREAL.search(trace.problem.text[:MAX_TEXT]) is not None
        known = [] if unreal else list(_claims(find_statements(trace.problem.text[:MAX_TEXT]), -1))
        labels = []
        self._judge.deadline = time.monotonic() + TRACE_SECONDS
        for index, step in enumerate(trace.steps):
            text = step.text[:MAX_TEXT]
            real = not unreal and _UNREAL.search(text) is None
            verdict = self._step(text, known, index) if real else (None, "no algebra of real numbers")
            labels.append(StepLabel(trace.id, index, verdict[0], self.name, self.meaning, verdict[1][:300]))
        return labels

    def close(self) -> None:
        """End the solver's process, if one was started."""
        if self._judge.verifier is not None:
            self._judge.verifier.close()

    def _step(self, text: str, known: list[Claim], index: int) -> tuple[float | None, str]:
        claims = list(_claims(find_statements(text)[:MAX_STATEMENTS], index))
        if not claims:
            return None, "no equation or inequality was read"
        judged: list[tuple[Claim, Verdict]] = []
        for claim in claims:
            if claim.role == "asserted" and is_algebra(claim):
                verdict = self._judge.judge(claim, known)
                judged.append((claim, verdict))
                claim = replace(claim, refuted=verdict.status == "refuted")
            known.append(claim)
        known[:] = [k for k in known if k.role != "supposed"][-MAX_KNOWN:]
        return _summary(judged, text)


def _claims(statements: Sequence[Statement], step: int) -> Iterator[Claim]:
    """Statements as claims, those that "or" joins as one."""
    group: list[Statement] = []
    for statement in statements:
        if group and not statement.alternative:
            yield Claim.of(group, _role(group[0]) if step >= 0 else "asserted", step)
            group = []
        group.append(statement)
    if group:
        yield Claim.of(group, _role(group[0]) if step >= 0 else "asserted", step)


def _role(statement: Statement) -> Role:
    """Whether the sentence before a statement asserts, defines or supposes it."""
    if statement.after in _TRIED:
        return "supposed"
    said = statement.words
    for i in range(len(said) - 1, -1, -1):
        if said[i] in _CONCLUDED:
            return "asserted"
        if said[i] in _SUPPOSED or said[i] == "for" and said[i - 1] not in _SOLVING:
            return "supposed"
        if said[i] in _DEFINED:
            return "defined"
    return "asserted"


def _is_doubted(text: str, verdict: Verdict) -> bool:
    """Whether the step may say the refuted thing in order to refute it itself, as in "plugging in 1 gives 1 = 7"."""
    return _DOUBT.search(text) is not None or (verdict.reason == NUMBERS_DIFFER and "ubstitut" in text)


def _used(judged: Sequence[tuple[Claim, Verdict]]) -> set[str]:
    """The variables of what was derived in a step, and of what it was derived from."""
    used = {name for claim, v in judged if v.status == "proved" and v.reason != IDENTITY for name in claim.names}
    for _ in judged:
        more = {name for claim, v in judged if v.reason == TAKEN and claim.names & used for name in claim.names}
        if more <= used:
            break
        used |= more
    return used


def _summary(judged: Sequence[tuple[Claim, Verdict]], text: str) -> tuple[float | None, str]:
    """The label of a step and its evidence, from the verdicts on its claims."""
    for claim, verdict in judged:
        if verdict.status == "refuted":
            doubted = _is_doubted(text, verdict)
            said = "it may not be asserted as true" if doubted else verdict.witness
            return None if doubted else 0.0, f"{claim.text}: {said}"
    used = _used(judged)
    for claim, verdict in judged:
        excused = verdict.reason == SAID_BEFORE or (verdict.reason == TAKEN and claim.names & used)
        if verdict.status == "unknown" and not excused:
            return None, f"{claim.text}: {verdict.reason}"
    for claim, verdict in judged:
        if verdict.status == "proved":
            return 1.0, f"{claim.text}: {verdict.reason}"
    return None, "nothing new is claimed"
