"""Is a set of formulas consistent? Decided in plain Python, for the generator and as a check apart from the solvers.

Complete for propositional formulas, and for monadic ones with one leading quantifier (possibly negated) each: without
function symbols it is enough to ground them over the constants that occur and one new constant for each existential.
The grounded formulas become clauses (Tseitin), and those go to a DPLL search with unit propagation.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from rewardkit.verifiers.formula import Connected, Formula, Not, Predicate, Quantified, Truth, Variable, free_variables

Clause = tuple[int, ...]


def consistent(formulas: Iterable[Formula]) -> bool:
    """Whether the formulas can be true together.

    Raises:
        ValueError: a formula is outside the class that this decides.

    >>> a, b = Predicate("A"), Predicate("B")
    >>> consistent([Connected("implies", a, b), a]), consistent([Connected("implies", a, b), a, Not(b)])
    (True, False)
    """
    clauses = _Clauses()
    for formula in ground(list(formulas)):
        clauses.assert_(formula)
    return satisfiable(clauses.clauses)


def entails(premises: Iterable[Formula], goal: Formula) -> bool:
    """Whether the goal is true wherever the premises are; of the same class as `consistent`.

    >>> x, a = Variable("x", "object"), Variable("a", "object")
    >>> entails([Quantified("forall", x, Predicate("F", (x,)))], Predicate("F", (a,)))
    True
    """
    return not consistent([*premises, Not(goal)])


def ground(formulas: Sequence[Formula]) -> list[Formula]:
    """The formulas without quantifiers, over all constants and a new one for each existential."""
    constants = sorted({v for formula in formulas for v in free_variables(formula)}, key=lambda v: v.name)
    kinds = [_leading(formula) for formula in formulas]
    new = [Variable(f"new{i}", "object") for i, (kind, _) in enumerate(kinds) if kind == "exists"]
    universe = [*constants, *new] or [Variable("new", "object")]
    fresh = iter(new)
    grounded: list[Formula] = []
    for kind, formula in kinds:
        if not isinstance(formula, Quantified):
            grounded.append(formula)
        elif kind == "exists":
            grounded.append(substitute(formula.body, formula.variable, next(fresh)))
        else:
            grounded += [substitute(formula.body, formula.variable, c) for c in universe]
    return grounded


def substitute(formula: Formula, variable: Variable, by: Variable) -> Formula:
    """The formula with one variable replaced; formulas here are small and quantifier-free."""
    match formula:
        case Predicate(name, arguments):
            return Predicate(name, tuple(by if a == variable else a for a in arguments))
        case Not(body):
            return Not(substitute(body, variable, by))
        case Connected(connective, left, right):
            return Connected(connective, substitute(left, variable, by), substitute(right, variable, by))
        case Truth():
            return formula
        case _:
            raise ValueError(f"a {type(formula).__name__} below the leading quantifier cannot be decided here")


def satisfiable(clauses: Sequence[Clause]) -> bool:
    """Whether some assignment makes every clause true; a literal is a number, negative where it is negated.

    >>> satisfiable([(1, 2), (-1,)]), satisfiable([(1,), (-1,)])
    (True, False)
    """
    state = _Assignment(clauses)
    variables = sorted({abs(literal) for clause in clauses for literal in clause})
    decisions: list[tuple[int, int]] = []
    good = all(clauses) and state.assign([clause[0] for clause in clauses if len(clause) == 1])
    while True:
        while not good:
            if not decisions:
                return False
            length, literal = decisions.pop()
            state.undo(length)
            good = state.assign([-literal])
        free = next((v for v in variables if v not in state.true and -v not in state.true), None)
        if free is None:
            return True
        decisions.append((len(state.trail), -free))
        good = state.assign([-free])


class _Assignment:
    """The literals that are true now, in the order in which they became so."""

    def __init__(self, clauses: Sequence[Clause]) -> None:
        self.true: set[int] = set()
        self.trail: list[int] = []
        self._with: dict[int, list[Clause]] = defaultdict(list)
        for clause in clauses:
            for literal in clause:
                self._with[literal].append(clause)

    def assign(self, literals: list[int]) -> bool:
        """Make literals true with all that follows by unit propagation; False where a clause breaks."""
        waiting = list(literals)
        while waiting:
            literal = waiting.pop()
            if literal in self.true:
                continue
            if -literal in self.true:
                return False
            self.true.add(literal)
            self.trail.append(literal)
            for clause in self._with[-literal]:
                if any(x in self.true for x in clause):
                    continue
                left = [x for x in clause if -x not in self.true]
                if not left:
                    return False
                if len(left) == 1:
                    waiting.append(left[0])
        return True

    def undo(self, length: int) -> None:
        self.true.difference_update(self.trail[length:])
        del self.trail[length:]


class _Clauses:
    """Formulas as clauses: a new variable for each part of a formula."""

    def __init__(self) -> None:
        self.clauses: list[Clause] = []
        self._atoms: dict[Predicate, int] = {}
        self._count = 0

    def assert_(self, formula: Formula) -> None:
        self.clauses.append((self._literal(formula),))

    def _new(self) -> int:
        self._count += 1
        return self._count

    def _literal(self, formula: Formula) -> int:
        match formula:
            case Predicate():
                if formula not in self._atoms:
                    self._atoms[formula] = self._new()
                return self._atoms[formula]
            case Not(body):
                return -self._literal(body)
            case Truth(value):
                new = self._new()
                self.clauses.append((new if value else -new,))
                return new
            case Connected("iff", left, right):
                return self._iff(self._literal(left), self._literal(right))
            case Connected("and", left, right):
                return -self._or(-self._literal(left), -self._literal(right))
            case Connected("or", left, right):
                return self._or(self._literal(left), self._literal(right))
            case Connected("implies", left, right):
                return self._or(-self._literal(left), self._literal(right))
            case _:
                raise ValueError(f"a {type(formula).__name__} cannot be decided here")

    def _or(self, left: int, right: int) -> int:
        new = self._new()
        self.clauses += [(-new, left, right), (new, -left), (new, -right)]
        return new

    def _iff(self, left: int, right: int) -> int:
        new = self._new()
        self.clauses += [(-new, -left, right), (-new, left, -right), (new, left, right), (new, -left, -right)]
        return new


def _leading(formula: Formula) -> tuple[str, Formula]:
    """The leading quantifier, and the formula with a negation before it moved inside."""
    if isinstance(formula, Not) and isinstance(formula.body, Quantified):
        inner = formula.body
        other = "exists" if inner.quantifier == "forall" else "forall"
        return other, Quantified(other, inner.variable, Not(inner.body))  # type: ignore[arg-type]
    if isinstance(formula, Not) and isinstance(formula.body, Not):
        return _leading(formula.body.body)
    return (formula.quantifier if isinstance(formula, Quantified) else "", formula)
