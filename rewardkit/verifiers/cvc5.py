"""Entailment decided by cvc5: a second opinion on what Z3 or the truth tables said. Needs ``pip install cvc5``."""

from __future__ import annotations

from rewardkit.verifiers.z3 import Z3Verifier


class Cvc5Verifier(Z3Verifier):
    """As `Z3Verifier`, with cvc5 in the worker process, without counter-models, and by default without truth tables.

    Args:
        seconds: for each sequent.
        memory_mb: address space of each child process, MiB.
        workers: number of child processes that a batch is spread over.
        tables: True decides small sequents of pure logic by truth tables instead.
        cache_size: answers kept; 0 keeps none.
    """

    name = "cvc5"
    _child = "rewardkit.verifiers._cvc5_child"
    _package = "cvc5"
    _oldest = "1.2"

    def __init__(
        self,
        seconds: float = 2.0,
        memory_mb: int = 1024,
        workers: int = 1,
        tables: bool = False,
        cache_size: int = 200_000,
    ) -> None:
        super().__init__(seconds, memory_mb, workers, tables, cache_size)
