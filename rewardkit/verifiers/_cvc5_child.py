"""What runs in the worker process of `rewardkit.verifiers.cvc5`: SMT-LIB text from `normalise`, never a model's own."""

from __future__ import annotations

import time
from typing import Any

from rewardkit.verifiers._z3_child import PRELUDE


def prepare() -> None:
    """Import cvc5, which takes a while."""
    import cvc5

    cvc5.Solver(cvc5.TermManager())


def check(sequents: list[list[Any]], milliseconds: int, budget: float) -> list[list[Any]]:
    """As `rewardkit.verifiers._z3_child.check`, without witnesses."""
    end = time.monotonic() + budget
    results: list[list[Any]] = []
    for declarations, premises, goal, arithmetic in sequents:
        results.append(_check(declarations + (PRELUDE if arithmetic else ""), premises, goal, milliseconds))
        if time.monotonic() > end:
            break
    return results


def _check(head: str, premises: list[str], goal: str, milliseconds: int) -> list[Any]:
    given = head + "".join(f"(assert {premise})" for premise in premises)
    answer = "unknown"
    # The default finds proofs; counter-models of quantified formulas are found by looking for finite ones.
    for options in ({}, {"finite-model-find": "true"}):
        try:
            answer = _run(f"{given}(assert (not {goal}))", options, milliseconds)
        except RuntimeError as error:
            return ["unknown", f"cvc5: {error}"[:200], False]
        if answer == "unsat":
            return ["proved", "", bool(premises) and _run(given, {}, milliseconds) == "unsat"]
        if answer == "sat":
            return ["refuted", "", False]
    return ["unknown", "no answer in time", False]


def _run(text: str, options: dict[str, str], milliseconds: int) -> str:
    """The answer to ``(check-sat)`` after some commands."""
    import cvc5

    solver = cvc5.Solver(cvc5.TermManager())
    solver.setOption("tlimit-per", str(milliseconds))
    for name, value in options.items():
        solver.setOption(name, value)
    parser = cvc5.InputParser(solver)
    parser.setStringInput(cvc5.InputLanguage.SMT_LIB_2_6, f"(set-logic ALL){text}(check-sat)", "sequent")
    answer = ""
    while True:
        command = parser.nextCommand()
        if command.isNull():
            return answer
        answer = command.invoke(solver, parser.getSymbolManager()).strip() or answer
