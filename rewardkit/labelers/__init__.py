"""Where step labels come from: one file a source, each a class with one method, `Labeler.label`."""

from __future__ import annotations

from typing import Protocol

from rewardkit.registry import load
from rewardkit.types import Meaning, StepLabel, Trace

__all__ = ["LABELERS", "Labeler", "load_labeler"]


class Labeler(Protocol):
    """A source of step labels.

    Attributes:
        name: goes into `StepLabel.source`.
        meaning: what its labels say, see `rewardkit.types.Meaning`.
    """

    name: str
    meaning: Meaning

    def label(self, trace: Trace) -> list[StepLabel]:
        """Label the steps of one trace: at most one label a step. Never raises because of what the text says."""
        ...


LABELERS: dict[str, str] = {
    "arithmetic": "rewardkit.labelers.arithmetic:ArithmeticLabeler",
    "answer": "rewardkit.labelers.answer:AnswerLabeler",
    "proof": "rewardkit.labelers.proof:ProofLabeler",
    "logic": "rewardkit.labelers.logic:LogicLabeler",
}


def load_labeler(name: str) -> Labeler:
    """Make the labeler of that name (a key of `LABELERS`, or ``path/to/file.py:Class``), with its defaults.

    Raises:
        ConfigError: there is none of that name.

    >>> load_labeler("arithmetic").meaning
    'local'
    """
    labeler: Labeler = load(name, LABELERS, "labeler")()
    return labeler
