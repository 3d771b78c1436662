"""What a verifier is: one method, three answers. "Not proved" is not "refuted", and neither is a time-out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from rewardkit.verifiers.formula import Formula

Status = Literal["proved", "refuted", "unknown"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a verifier found.

    Attributes:
        status: ``proved`` the goal follows from the premises; ``refuted`` it does not (see `witness`); ``unknown`` for
            everything else: time, memory, an incomplete theory. Unknown becomes an abstention, never a label.
        reason: one line for a person.
        witness: what shows a refutation, such as a counter-model ``x = 3``; or the piece that failed.
        solver: its name and version, such as ``z3 5.4.1``.
        seconds: of wall-clock time; 0.0 where the answer came from a cache.
    """

    status: Status
    reason: str = ""
    witness: str = ""
    solver: str = ""
    seconds: float = 0.0


class Verifier(Protocol):
    """Decides whether premises entail a goal.

    Attributes:
        name: of the solver, as it appears in labels.
    """

    name: str

    def verify(self, premises: Sequence[Formula], goal: Formula) -> Verdict:
        """Decide one sequent. Never raises for what a model wrote; `VerifierError` where the solver is missing."""
        ...

    def close(self) -> None:
        """End the worker process, where there is one."""
        ...
