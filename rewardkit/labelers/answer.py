"""The answer labeler: an outcome label, the final answer against the problem's reference."""

from __future__ import annotations

from rewardkit.text.answers import AnswerChecker, default_checker, extract_answer
from rewardkit.types import Meaning, StepLabel, Trace


class AnswerLabeler:
    """Labels the last step 1.0 where the final answer matches the reference and 0.0 where it differs.

    A value label at the last step is the outcome itself: no continuation follows that could change it. It abstains
    (None, with the reason as evidence) where the problem has no reference, no final answer was found (a response that
    was cut off says nothing of its reasoning), or the two could not be compared.

    Args:
        name: goes into `StepLabel.source`.
        checker: compares the answers; None takes the one that the process shares.

    >>> from rewardkit.types import Problem
    >>> trace = Trace.create(Problem.create("9 * 2?", "18"), ["9 * 2 = 18\\n", "#### 18"], "18")
    >>> [(label.step, label.p_correct, label.evidence) for label in AnswerLabeler().label(trace)]
    [(1, 1.0, 'final answer 18, reference 18')]
    """

    meaning: Meaning = "value"

    def __init__(self, name: str = "answer", checker: AnswerChecker | None = None) -> None:
        self.name = name
        self._checker = checker

    def label(self, trace: Trace) -> list[StepLabel]:
        """One label, for the last step; none for a trace without steps.

        Raises:
            VerifierError: the process that compares formulas cannot be started.
        """
        if not trace.steps:
            return []
        p_correct, evidence = self._judge(trace)
        return [StepLabel(trace.id, len(trace.steps) - 1, p_correct, self.name, self.meaning, evidence)]

    def _judge(self, trace: Trace) -> tuple[float | None, str]:
        written = trace.problem.answer
        reference = (extract_answer(written) or written.strip()) if written else ""
        if not reference:
            return None, "no reference answer"
        answer = trace.answer or extract_answer(trace.response)
        if not answer:
            return None, "no final answer found"
        evidence = f"final answer {_short(answer)}, reference {_short(reference)}"
        verdict = (self._checker or default_checker()).matches_reference(answer, reference)
        return (None, f"{evidence}: could not be compared") if verdict is None else (float(verdict), evidence)


def _short(text: str, length: int = 80) -> str:
    """The text on one line, cut to `length` characters."""
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 3] + "..."
