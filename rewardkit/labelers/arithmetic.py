"""The `arithmetic` labeler: finds every calculation that a step asserts and checks it in exact rational arithmetic.

It is made for precision: where the text leaves room for another reading, it abstains. Of the first errors in
ProcessBench's GSM8K part it sees few, since most are errors of modelling (see `benchmarks/arithmetic_labeler.py`).
"""

from __future__ import annotations

import re

from rewardkit.labelers._asked import Asked, asked, check_answer, check_rewriting
from rewardkit.labelers._claims import RELATION, find_claims, settle
from rewardkit.labelers._names import Names
from rewardkit.labelers._tokens import tokenize
from rewardkit.labelers._verdicts import Check, Checker
from rewardkit.text.extract import extract_answer
from rewardkit.types import Meaning, StepLabel, Trace

__all__ = ["ArithmeticLabeler", "check_text"]

# Most steps of prose hold no relation at all, and need not be read.
_RELATION_WORD = re.compile(r"equal|\b(?:is|are|gives)\b")
_OPERATION = re.compile(r"[-−–+*/×÷%]|\\(?:times|cdot|div)|plus|minus|times|multiplied|divided")

MAX_TEXT = 200_000
"""Characters of a step; a longer one gets None, so that no step takes more than a fraction of a second."""


class ArithmeticLabeler:
    """Labels each step by the calculations in it: 0.0 if one is false, 1.0 if all that were checked are true.

    A step without a calculation that can be checked beyond doubt gets None. The evidence is the first false
    calculation ("48/2 is 24, not 16"), else the first true one ("48/2 = 24"), else why nothing was checked.

    >>> from rewardkit.types import Problem, Trace
    >>> trace = Trace.create(Problem.create("?"), ["So she sold 48/2 = 16 clips.", "That is 48 + 24 = 72.", "x = 3"])
    >>> [(label.p_correct, label.evidence) for label in ArithmeticLabeler().label(trace)]
    [(0.0, '48/2 is 24, not 16'), (1.0, '48 + 24 = 72'), (None, "'x' cannot be read")]
    """

    name = "arithmetic"
    meaning: Meaning = "local"

    def label(self, trace: Trace) -> list[StepLabel]:
        """One label for every step, in order. Never raises, on any text."""
        labels: list[StepLabel] = []
        problem = trace.problem.text[:MAX_TEXT]
        question = asked(problem)
        names = Names()
        if "=" in problem and question is None:
            names.replace(settle(tokenize(problem)), given=True)
        before = ""
        for index, step in enumerate(trace.steps):
            p_correct, evidence = check_text(_continued(before, step.text), names, strict=question is not None)
            before = step.text
            labels.append(StepLabel(trace.id, index, p_correct, self.name, self.meaning, evidence))
            if question is not None and p_correct != 0.0 and (check := check_rewriting(question, step.text, names)):
                labels[-1] = self._label(trace, index, check)
        if question is not None:
            self._check_answer(trace, question, labels)
        return labels

    def _check_answer(self, trace: Trace, question: Asked, labels: list[StepLabel]) -> None:
        """Hold the last answer that a step gives against the value of what the problem asks."""
        for index in range(len(labels) - 1, -1, -1):
            text = trace.steps[index].text
            answer = extract_answer(text) if len(text) <= MAX_TEXT else None
            if answer is None and len(labels) == 1 and _LONE_NUMBER.fullmatch(text):
                answer = text.strip(" \t\n=.")
            if answer is not None:
                check = check_answer(question, answer)
                if check.holds is not None and labels[index].p_correct != 0.0:
                    labels[index] = self._label(trace, index, check)
                return

    def _label(self, trace: Trace, index: int, check: Check) -> StepLabel:
        return StepLabel(trace.id, index, float(bool(check.holds)), self.name, self.meaning, check.evidence)


def check_text(text: str, names: Names | None = None, *, strict: bool = False) -> tuple[float | None, str]:
    """Check the calculations of one text: 0.0, 1.0 or None, and the evidence in one line.

    Args:
        text: any text.
        names: what names stand for by the texts before it ("A = 12"); learns from this one.
        strict: it is about numbers alone, so that "5 - 8 = 3" is no loose way to speak of a difference.

    >>> check_text("48 clips / 2 = 24 clips, and 20% of 50 = 10.")
    (1.0, '48 clips / 2 = 24')
    >>> check_text("5/0 = 7")
    (None, 'division by zero')
    """
    if len(text) > MAX_TEXT:
        return None, f"longer than {MAX_TEXT:,} characters"
    if "=" not in text and not RELATION.search(text) and not (_OPERATION.search(text) and _RELATION_WORD.search(text)):
        return None, "no calculation found"
    first_true = reason = ""
    checker = Checker(text, strict)
    names = Names() if names is None else names
    for claim in find_claims(text, names):
        check = checker.check(claim, show=not first_true)
        if check.holds is False:
            return 0.0, check.evidence + names.cited(claim.tokens[claim.left.start].start, claim.tokens[-1].end)
        if check.holds:
            first_true = first_true or check.evidence
        else:
            reason = reason or check.evidence
    if first_true:
        return 1.0, first_true
    return None, reason or "no calculation found"


_LONE_NUMBER = re.compile(r"\s{0,9}=?\s{0,9}[-−]?[0-9][0-9.,]{0,60}\s{0,9}")
_TAIL = re.compile(r"[-0-9+*/×÷·^(). ]{1,200}")


def _continued(before: str, text: str) -> str:
    """A step that begins with "=", behind what it continues: the last side of the step before, if plain numbers."""
    if not text.lstrip().startswith("=") or text.lstrip().startswith("=="):
        return text
    tail = before[-200:].rpartition("=")[2].strip().rstrip(".")
    return f"{tail} {text.lstrip()}" if _TAIL.fullmatch(tail) else text
