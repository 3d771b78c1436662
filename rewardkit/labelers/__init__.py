"""Where step labels come from: one file a source, each a class with one method, `Labeler.label`."""

from __future__ import annotations

from typing import Protocol

from rewardkit.errors import ConfigError
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
    "algebra": "rewardkit.labelers.algebra:AlgebraLabeler",
    "code": "rewardkit.labelers.code:CodeLabeler",
    "answer": "rewardkit.labelers.answer:AnswerLabeler",
    "proof": "rewardkit.labelers.proof:ProofLabeler",
    "logic": "rewardkit.labelers.logic:LogicLabeler",
}


def load_labeler(name: str, *, allow_code: bool = False) -> Labeler:
    """Make the labeler of that name (a key of `LABELERS`, or ``path/to/file.py:Class``), with its defaults.

    Args:
        name: of the labeler.
        allow_code: let it be one that runs programs which a model wrote (a class with ``runs_code = True``).

    Raises:
        ConfigError: there is none of that name, or it runs programs and may not.

    >>> load_labeler("arithmetic").meaning
    'local'
    """
    kind = load(name, LABELERS, "labeler")
    if getattr(kind, "runs_code", False) and not allow_code:
        raise ConfigError(f"labeler '{name}' runs programs that a model wrote; to let it, set allow_code: true")
    labeler: Labeler = kind()
    return labeler
