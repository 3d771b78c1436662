"""Where step labels come from: one file a source, each a class with one method.

`Labeler.label` sees one trace. `GroupLabeler.label_group` sees all traces of a problem, or of many: votes, and what
asks a generator in batches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from rewardkit.config import Config, validate
from rewardkit.errors import ConfigError
from rewardkit.registry import load
from rewardkit.types import Meaning, StepLabel, Trace

__all__ = ["LABELERS", "GroupLabeler", "Labeler", "load_labeler"]


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


class GroupLabeler(Protocol):
    """A source of labels that wants more than one trace at a time.

    Attributes:
        name: goes into `StepLabel.source`.
        meaning: what its labels say.
        unit: traces at a time, at least; always whole problems.
    """

    name: str
    meaning: Meaning
    unit: int

    def label_group(self, traces: Sequence[Trace]) -> list[StepLabel]:
        """Label traces: all of each problem that is among them. The labels name their traces, in any order."""
        ...


LABELERS: dict[str, str] = {
    "arithmetic": "rewardkit.labelers.arithmetic:ArithmeticLabeler",
    "algebra": "rewardkit.labelers.algebra:AlgebraLabeler",
    "code": "rewardkit.labelers.code:CodeLabeler",
    "answer": "rewardkit.labelers.answer:AnswerLabeler",
    "proof": "rewardkit.labelers.proof:ProofLabeler",
    "logic": "rewardkit.labelers.logic:LogicLabeler",
    "vote": "rewardkit.labelers.vote:VoteLabeler",
    "rollout": "rewardkit.labelers.rollout:RolloutLabeler",
    "judge": "rewardkit.labelers.judge:JudgeLabeler",
    "hybrid": "rewardkit.labelers.hybrid:HybridLabeler",
    "skills": "rewardkit.labelers.skills:SkillsLabeler",
    "rank": "rewardkit.labelers.rank:RankLabeler",
}


def load_labeler(name: str, *, allow_code: bool = False, options: Mapping[str, Any] | None = None) -> Any:
    """Make the labeler of that name (a key of `LABELERS`, or ``path/to/file.py:Class``).

    Args:
        name: of the labeler.
        options: for a class that takes some: it has an ``Options`` (a `Config`), and is called with one.
        allow_code: let it be one that runs programs which a model wrote (a class with ``runs_code = True``).

    Raises:
        ConfigError: there is none of that name, it runs programs and may not, or it has no such options.

    Returns:
        A `Labeler` or a `GroupLabeler`.

    >>> load_labeler("arithmetic").meaning
    'local'
    """
    kind = load(name, LABELERS, "labeler")
    if getattr(kind, "runs_code", False) and not allow_code:
        raise ConfigError(f"labeler '{name}' runs programs that a model wrote; to let it, set allow_code: true")
    taken = getattr(kind, "Options", None)
    if taken is not None:
        if not (isinstance(taken, type) and issubclass(taken, Config)):
            raise ConfigError(f"labeler '{name}': its Options is no class that inherits from rewardkit.config.Config")
        return kind(validate(taken, dict(options or {}), f"labeler_options.{name}"))
    if options:
        raise ConfigError(f"labeler '{name}' has no options; remove labeler_options.{name}")
    return kind()
