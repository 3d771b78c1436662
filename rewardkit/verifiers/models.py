"""A model of some premises, found by working out what they define, in which a goal is then true or false.

What is false in one model of its premises does not follow from them, and of what is true in one the negation does not:
so a prover need not try that side. No label rests on it, only which proofs are tried.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction

from rewardkit.verifiers import ground
from rewardkit.verifiers.formula import Comparison, Connected, Formula, Not, Term, Truth, Variable, free_variables
from rewardkit.verifiers.values import value

Values = dict[str, Fraction]

_GENERIC = 97  # what nothing defines gets 97, 98, ...: numbers at which nothing holds by chance


def can_hold(premises: Sequence[Formula], goal: Formula) -> tuple[bool, bool]:
    """Whether the goal may follow from the premises, and whether its negation may; False only where a model denies it.

    >>> from rewardkit.verifiers.statements import parse_formula
    >>> can_hold([parse_formula("x = 48"), parse_formula("y = x / 2")], parse_formula("y = 25"))
    (False, True)
    """
    values = model(premises, goal)
    if values is not None:
        true = holds(goal, values)
        return true is not False, true is not True
    return _may_follow(premises, goal), _may_follow(premises, Not(goal))


def model(premises: Sequence[Formula], goal: Formula) -> Values | None:
    """Values at which every premise holds, those of the goal's variables among them; None where none is found.

    >>> from rewardkit.verifiers.statements import parse_formula
    >>> model([parse_formula("x = 48"), parse_formula("x / 2 = y")], parse_formula("y = 24"))
    {'x': Fraction(48, 1), 'y': Fraction(24, 1)}
    """
    try:
        return _model(premises, goal)
    except RecursionError:  # nested too deeply
        return None


def _model(premises: Sequence[Formula], goal: Formula) -> Values | None:
    variables = {v for formula in (*premises, goal) for v in free_variables(formula)}
    if len({v.name for v in variables}) < len(variables) or any(v.sort == "object" for v in variables):
        return None
    values: Values = {}
    equations = [pair for premise in premises for pair in _equations(premise)]
    _work_out(equations, values)
    for number, name in enumerate(sorted({v.name for v in variables} - values.keys())):
        if name not in values:
            values[name] = Fraction(_GENERIC + number)
            _work_out(equations, values)
    whole = all(values[v.name].denominator == 1 for v in variables if v.sort == "int")
    return values if whole and all(holds(premise, values) for premise in premises) else None


def holds(formula: Formula, values: Values) -> bool | None:
    """Whether a formula about numbers is true at a point; None where that is not plain.

    >>> from rewardkit.verifiers.statements import parse_formula
    >>> holds(parse_formula("1 / x = 2 or x = 3"), {"x": Fraction(0)}) is None
    True
    """
    match formula:
        case Truth():
            return formula.value
        case Comparison():
            return _compared(formula, values)
        case Not():
            inner = holds(formula.body, values)
            return None if inner is None else not inner
        case Connected():
            a, b = holds(formula.left, values), holds(formula.right, values)
            if a is None or b is None:
                return None
            return {"and": a and b, "or": a or b, "implies": not a or b, "iff": a == b}[formula.connective]
        case _:
            return None


def _compared(formula: Comparison, values: Values) -> bool | None:
    a, b = value(formula.left, values), value(formula.right, values)
    if a is None or b is None:
        return None
    true = {"=": a == b, "!=": a != b, "<": a < b, "<=": a <= b, ">": a > b, ">=": a >= b}
    return true[formula.relation]


def _equations(formula: Formula) -> Iterator[tuple[Variable, Term]]:
    """The variables that a premise says to equal a term."""
    if isinstance(formula, Connected) and formula.connective == "and":
        yield from _equations(formula.left)
        yield from _equations(formula.right)
    elif isinstance(formula, Comparison) and formula.relation == "=":
        for one, other in ((formula.left, formula.right), (formula.right, formula.left)):
            if isinstance(one, Variable):
                yield one, other


def _work_out(equations: Sequence[tuple[Variable, Term]], values: Values) -> None:
    """Give each variable its value once that of the term it equals is known."""
    before = -1
    while len(values) > before:
        before = len(values)
        for variable, term in equations:
            if variable.name not in values:
                found = value(term, values)
                if found is not None:
                    values[variable.name] = found


def _may_follow(premises: Sequence[Formula], goal: Formula) -> bool:
    decision = ground.decide(premises, goal)
    return decision is None or decision.entailed
