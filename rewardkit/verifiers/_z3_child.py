"""What runs in the worker process of `rewardkit.verifiers.z3`: SMT-LIB text from `normalise`, never a model's own."""

from __future__ import annotations

import itertools
import time
from typing import Any

_RENEW = 500  # sequents for each incremental solver, so that what it learnt of old ones does not pile up
_UNIVERSE = 4  # objects of a counter-model that are shown
_solver: Any = None
_served = 0

PRELUDE = "(define-fun rk-abs ((x Real)) Real (ite (>= x 0.0) x (- x)))"


def prepare() -> None:
    """Import Z3, which takes a while."""
    import z3

    z3.Solver().check()


def version() -> str:
    """Of Z3."""
    import z3

    text: str = z3.get_version_string()
    return text


def check(sequents: list[list[Any]], milliseconds: int, budget: float) -> list[list[Any]]:
    """Decide sequents until `budget` seconds have passed; what is left is for the next call.

    Args:
        sequents: each ``[declarations, premises, goal, arithmetic]`` in SMT-LIB.
        milliseconds: for each sequent.
        budget: seconds after which no further sequent is begun.

    Returns:
        For each one decided ``[status, witness or reason, whether the premises contradict each other]``.
    """
    end = time.monotonic() + budget
    results: list[list[Any]] = []
    for declarations, premises, goal, arithmetic in sequents:
        results.append(_check(declarations, premises, goal, arithmetic, milliseconds))
        if time.monotonic() > end:
            break
    return results


def _check(declarations: str, premises: list[str], goal: str, arithmetic: bool, milliseconds: int) -> list[Any]:
    import z3

    head = declarations + (PRELUDE if arithmetic else "")
    given = "".join(f"(assert {premise})" for premise in premises)
    try:
        solver = z3.Solver() if arithmetic else _incremental()
        solver.set("timeout", milliseconds)
        solver.push()
        try:
            solver.add(z3.parse_smt2_string(f"{head}{given}(assert (not {goal}))"))
            answer = solver.check()
            if answer == z3.sat:
                return ["refuted", _witness(solver.model()), False]
            if answer == z3.unknown:
                return ["unknown", solver.reason_unknown(), False]
        finally:
            solver.pop()
        return ["proved", "", bool(premises) and _contradict(solver, head + given)]
    except z3.Z3Exception as error:
        _forget()
        return ["unknown", f"z3: {error}"[:200], False]


def _contradict(solver: Any, text: str) -> bool:
    import z3

    solver.push()
    try:
        solver.add(z3.parse_smt2_string(text))
        return bool(solver.check() == z3.unsat)
    finally:
        solver.pop()


def _incremental() -> Any:
    """One solver for many sequents: push and pop are some three times as fast as a fresh solver for each."""
    global _solver, _served
    import z3

    _served += 1
    if _solver is None or _served % _RENEW == 0:
        _solver = z3.SimpleSolver()
    return _solver


def _forget() -> None:
    global _solver
    _solver = None


def _witness(model: Any) -> str:
    """The counter-model in one line: numbers and propositions, then predicates over at most `_UNIVERSE` objects."""
    import z3

    parts: list[str] = []
    objects: dict[str, str] = {}
    for declared in sorted(model.decls(), key=lambda each: str(each.name())):
        if declared.arity() == 0 and declared.range().kind() == z3.Z3_UNINTERPRETED_SORT:
            objects.setdefault(str(model[declared]), str(declared.name()))
        elif declared.arity() == 0:
            parts.append(_value(str(declared.name()), model[declared]))
    universe = [each for sort in model.sorts() for each in model.get_universe(sort) or ()][:_UNIVERSE]
    names = {str(each): objects.get(str(each), f"#any{i + 1}") for i, each in enumerate(universe)}
    for declared in sorted((each for each in model.decls() if each.arity()), key=lambda each: str(each.name())):
        if declared.range() == z3.BoolSort() and declared.arity() <= 2:
            for chosen in itertools.product(universe, repeat=declared.arity()):
                called = f"{declared.name()}({', '.join(names[str(each)] for each in chosen)})"
                parts.append(_value(called, model.eval(declared(*chosen), model_completion=True)))
    return ", ".join(parts)[:400]


def _value(name: str, value: Any) -> str:
    import z3

    if z3.is_bool(value):
        return name if z3.is_true(value) else f"not {name}"
    return f"{name} = {value}"
