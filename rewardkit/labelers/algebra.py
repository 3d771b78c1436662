"""The `algebra` labeler: steps that solve, substitute, expand, factor, simplify or bound, checked against their context.

Every equation and inequality of a step is read by our own grammar (`rewardkit.text.algebra`). It is proved if it is an
identity, or follows from what the problem and the steps so far state; it is refuted if a claimed solution does not solve
the equation right before it, or two roots of numbers are not equal. Everything else is an abstention. Denominators are
obligations: a quotient is proved only where its denominator cannot be 0.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Literal

from rewardkit.labelers._derivations import NUMBERS_DIFFER, SAID_BEFORE, Claim, Judge, is_algebra
from rewardkit.text.algebra import Statement, find_statements
from rewardkit.types import Meaning, StepLabel, Trace
from rewardkit.verifiers.base import Verdict, Verifier
from rewardkit.verifiers.z3 import Z3Verifier

__all__ = ["AlgebraLabeler"]

MAX_STATEMENTS = 60  # of one step
MAX_KNOWN = 120  # that are kept of a trace
SECONDS = 1.0  # that the solver may take for one statement
MAX_TEXT = 100_000  # characters of a step that are read

_SUPPOSED = frozenset("if suppose supposing assume assuming when whenever case unless whether try trying guess".split())
_DEFINED = frozenset("let denote define call given set setting where consider want need must should for".split())
_TRIED = frozenset("gives makes yields works would satisfies satisfy into in leads results does fails".split())
_CONCLUDED = frozenset("then so thus hence therefore get gives implies means".split())
# In such a step a false statement may be meant to be false, or numbers may not be real ones.
_DOUBT = re.compile(
    r"\b(?:incorrect|wrong|contradict|impossible|mistake|error|false|invalid|inconsisten|extraneous|not|no|cannot|never|"
    r"however|but|instead|test|check|remainder|mod|base|round|plug|verif|satisf|whether|works?\b|see if)"
    r"|n't\b|\\pmod|\\bmod|\\equiv|\\approx|≡|≈|\\vec|\\mathbf",
    re.IGNORECASE,
)
_UNREAL = re.compile(r"\b(?:imaginary|complex|matri|vector|modulo|congruen)|\\pmod|\\bmod|\\equiv|≡|\\vec|\\mathbf|\\oplus")


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
        self._wanted = verifier
        self._judge: Judge | None = None

    def label(self, trace: Trace) -> list[StepLabel]:
        """One label for every step, in order. Never raises because of the text."""
        unreal = _UNREAL.search(trace.problem.text[:MAX_TEXT]) is not None
        known = [] if unreal else list(_claims(find_statements(trace.problem.text[:MAX_TEXT]), -1))
        labels = []
        for index, step in enumerate(trace.steps):
            text = step.text[:MAX_TEXT]
            real = not unreal and _UNREAL.search(text) is None
            verdict = self._step(text, known, index) if real else (None, "no algebra of real numbers")
            labels.append(StepLabel(trace.id, index, verdict[0], self.name, self.meaning, verdict[1][:300]))
        return labels

    def close(self) -> None:
        """End the solver's process, if one was started."""
        if self._judge is not None and self._judge.verifier is not None:
            self._judge.verifier.close()

    def _step(self, text: str, known: list[Claim], index: int) -> tuple[float | None, str]:
        claims = list(_claims(find_statements(text)[:MAX_STATEMENTS], index))
        if not claims:
            return None, "no equation or inequality was read"
        judged: list[tuple[Claim, Verdict]] = []
        for claim in claims:
            if not claim.hypothetical and is_algebra(claim):
                judged.append((claim, self._decide(claim, known)))
            known.append(claim)
        known[:] = [k for k in known if not k.hypothetical][-MAX_KNOWN:]
        return _summary(judged, text)

    def _decide(self, claim: Claim, known: Sequence[Claim]) -> Verdict:
        if self._judge is None:
            self._judge = Judge(Z3Verifier(seconds=SECONDS) if self._wanted == "z3" else self._wanted)
        return self._judge.judge(claim, known)


def _claims(statements: Sequence[Statement], step: int) -> Iterator[Claim]:
    """Statements as claims, those that "or" joins as one."""
    group: list[Statement] = []
    for statement in statements:
        if group and not statement.alternative:
            yield Claim.of(group, step >= 0 and _is_supposed(group[0]), step)
            group = []
        group.append(statement)
    if group:
        yield Claim.of(group, step >= 0 and _is_supposed(group[0]), step)


def _is_supposed(statement: Statement) -> bool:
    """Whether the sentence before it supposes or defines rather than asserts."""
    if statement.after in _TRIED:
        return True
    for word in reversed(statement.words):
        if word in _CONCLUDED:
            return False
        if word in _SUPPOSED or word in _DEFINED:
            return True
    return False


def _is_doubted(text: str, verdict: Verdict) -> bool:
    """Whether the step may say the refuted thing in order to refute it itself, as in "plugging in 1 gives 1 = 7"."""
    return _DOUBT.search(text) is not None or (verdict.reason == NUMBERS_DIFFER and "ubstitut" in text)


def _summary(judged: Sequence[tuple[Claim, Verdict]], text: str) -> tuple[float | None, str]:
    open_: str = ""
    proved = ""
    for claim, verdict in judged:
        if verdict.status == "refuted":
            if not _is_doubted(text, verdict):
                return 0.0, f"{claim.text}: {verdict.witness}"
            open_ = open_ or f"{claim.text}: it may not be asserted as true"
        elif verdict.status == "proved":
            proved = proved or f"{claim.text}: {verdict.reason}"
        elif verdict.reason != SAID_BEFORE:
            open_ = open_ or f"{claim.text}: {verdict.reason}"
    if proved and not open_:
        return 1.0, proved
    return None, open_ or "nothing new is claimed"
