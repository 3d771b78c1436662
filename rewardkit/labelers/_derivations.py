"""What can be said of one statement of algebra in its context: an identity, a consequence, a contradiction, or nothing.

Exact polynomial arithmetic answers first; what it leaves goes to a solver, where there is one. A statement is refuted
only where one equation in one unknown stands right before it, has real solutions, and shares none with it; or where two
numbers differ. That a statement does not follow is no refutation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from rewardkit.text.algebra import Statement
from rewardkit.verifiers.base import Verdict, Verifier
from rewardkit.verifiers.formula import (
    Comparison,
    Connected,
    Formula,
    Number,
    Operation,
    Term,
    Variable,
    free_variables,
    walk,
)
from rewardkit.verifiers.polynomial import Polynomial, coefficients, difference, identical
from rewardkit.verifiers.z3 import CONTRADICTION

MAX_PREMISES = 12
MAX_SOLVER_NODES = 400

PROVED_BY_CALCULATION = "exact arithmetic"
FOLLOWS_NOT = "it does not follow from what was read before"
SAID_BEFORE = "it was said before"
NUMBERS_DIFFER = "two numbers differ"


@dataclass(frozen=True, slots=True)
class Claim:
    """Statements joined by "or"; most often one.

    Attributes:
        statements: the alternatives.
        formula: their disjunction.
        names: of its variables.
        hypothetical: it is supposed, not asserted ("if x = 3").
        step: in which it stands, -1 for the problem.
    """

    statements: tuple[Statement, ...]
    formula: Formula
    names: frozenset[str]
    hypothetical: bool = False
    step: int = -1

    @classmethod
    def of(cls, statements: Sequence[Statement], hypothetical: bool = False, step: int = -1) -> Claim:
        whole = statements[0].formula
        for statement in statements[1:]:
            whole = Connected("or", whole, statement.formula)
        names = frozenset(v.name for v in free_variables(whole))
        return cls(tuple(statements), whole, names, hypothetical, step)

    @property
    def text(self) -> str:
        return " or ".join(s.text for s in self.statements)

    @property
    def equation(self) -> Comparison | None:
        """Its one equality, where it is that and nothing more."""
        if len(self.statements) == 1 and self.statements[0].relations == ("=",):
            return self.statements[0].links[0]
        return None

    @property
    def solved(self) -> bool:
        """Whether it says outright what a variable is: ``x = 3``, ``x = 2 or x = 5``, ``x > 3``."""
        return all(
            any(isinstance(t, Variable) for t in s.terms) and any(is_constant(t) for t in s.terms)
            for s in self.statements
        )


def is_constant(term: Term) -> bool:
    return not any(isinstance(node, Variable) for node in walk(term))


def is_algebra(claim: Claim) -> bool:
    """Whether there is a variable or a root in it; plain numbers are the `arithmetic` labeler's."""
    return bool(claim.names) or any(_has_root(link) for s in claim.statements for link in s.links)


class Judge:
    """Decides claims against what is known.

    Args:
        verifier: for what exact arithmetic leaves open; None decides less.
    """

    def __init__(self, verifier: Verifier | None) -> None:
        self.verifier = verifier

    def judge(self, claim: Claim, known: Sequence[Claim]) -> Verdict:
        """``known`` in the order of the text: problem, earlier steps, this step up to the claim."""
        verdicts = [self._identity(link) for s in claim.statements for link in s.links]
        if len(claim.statements) == 1 and all(v.status == "proved" for v in verdicts):
            return Verdict("proved", "an identity", solver=PROVED_BY_CALCULATION)
        for verdict in verdicts:
            if verdict.status == "refuted":
                return verdict
        contradiction = _contradiction(claim, known)
        if contradiction is not None:
            return contradiction
        return self._entailment(claim, relevant(known, claim.names))

    def _identity(self, link: Comparison) -> Verdict:
        same = identical(link.left, link.right) if link.relation == "=" else None
        if same:
            return Verdict("proved", "an identity", solver=PROVED_BY_CALCULATION)
        if same is False and is_constant(link.left) and is_constant(link.right) and _has_root(link):
            a, b = _about(link.left), _about(link.right)
            return Verdict("refuted", NUMBERS_DIFFER, f"{a} is not {b}", PROVED_BY_CALCULATION)
        return Verdict("unknown", "no identity")

    def _entailment(self, claim: Claim, premises: list[Claim]) -> Verdict:
        if any(p.formula == claim.formula for p in premises):
            return Verdict("unknown", SAID_BEFORE)
        exact = _follows_exactly(claim, premises)
        if exact is not None:
            return exact
        if self.verifier is None or not premises:
            return Verdict("unknown", FOLLOWS_NOT)
        near = [p for p in premises if p.step >= claim.step - 1]
        verdict = _solved(self.verifier, near, claim.formula) if near else None
        if (verdict is None or verdict.status != "proved") and len(near) < len(premises):
            verdict = _solved(self.verifier, premises, claim.formula)
        return verdict or Verdict("unknown", FOLLOWS_NOT)


def _solved(verifier: Verifier, premises: list[Claim], goal: Formula) -> Verdict:
    """Ask the solver. A counter-model shows only that more was used than was read: no refutation."""
    formulas = [p.formula for p in premises]
    if sum(1 for f in [*formulas, goal] for _ in walk(f)) > MAX_SOLVER_NODES:
        return Verdict("unknown", "too large for the solver")
    verdict = verifier.verify(formulas, goal)
    if verdict.reason == CONTRADICTION:
        return Verdict("unknown", "what was said before contradicts itself", solver=verdict.solver)
    if verdict.status == "proved":
        return Verdict("proved", f"follows from {_cited(premises)}", solver=verdict.solver)
    why = FOLLOWS_NOT if verdict.status == "refuted" else f"the solver cannot tell ({verdict.reason})"
    return Verdict("unknown", why, verdict.witness, verdict.solver)


def relevant(known: Sequence[Claim], names: frozenset[str]) -> list[Claim]:
    """The latest claims that have to do with `names`, directly or through others, in the order of the text."""
    wanted = set(names)
    chosen: set[int] = set()
    for _ in range(3):
        for i in range(len(known) - 1, -1, -1):
            if len(chosen) >= MAX_PREMISES:
                break
            if i not in chosen and known[i].names & wanted:
                chosen.add(i)
        wanted |= {name for i in chosen for name in known[i].names}
    return [known[i] for i in sorted(chosen)]


def _follows_exactly(claim: Claim, premises: list[Claim]) -> Verdict | None:
    """Consequences of one linear equation in one unknown, without a solver."""
    goal = _univariate(claim)
    if goal is None:
        return None
    name, wanted = goal
    for premise in reversed(premises):
        given = _univariate(premise)
        if given is not None and given[0] == name and len(given[1]) == 2:
            root = -given[1][0] / given[1][1]
            if at(wanted, root) == 0 and not _divides(claim.formula) and _agree(premises, name, root):
                return Verdict("proved", f"follows from {premise.text}", solver=PROVED_BY_CALCULATION)
    return None


def _agree(premises: list[Claim], name: str, root: Fraction) -> bool:
    """Whether every premise about the unknown is an equation that `root` solves, so that none contradicts another."""
    given = [_univariate(p) for p in premises if name in p.names]
    return all(g is not None and at(g[1], root) == 0 for g in given) and not any(_divides(p.formula) for p in premises)


def _contradiction(claim: Claim, known: Sequence[Claim]) -> Verdict | None:
    """A claimed solution that does not solve the equation right before it."""
    if len(claim.names) != 1 or not all(s.exact for s in claim.statements):
        return None
    before = next((k for k in reversed(known) if k.names & claim.names), None)
    if before is None or before.names != claim.names or before.solved or before.hypothetical:
        return None
    if before is not known[-1] or not _continues(before, claim):
        return None
    given = _univariate(before)
    equation = before.equation
    if given is None or equation is None or not before.statements[0].exact or not has_real_root(given[1]):
        return None
    for statement in claim.statements:
        shown = _misses(statement, given, equation, before.text)
        if shown:
            return Verdict("refuted", "it contradicts the equation before it", shown, PROVED_BY_CALCULATION)
    return None


def _continues(before: Claim, claim: Claim) -> bool:
    """Whether a claim is meant as the next line of what stands before it."""
    if before.step == claim.step:
        return True
    return claim.solved and not _ELSEWHERE & set(claim.statements[0].words)


# What follows these words is taken from somewhere else than the line before.
_ELSEWHERE = frozenset("first second third other original from case factor factors equations".split())


def _misses(statement: Statement, given: tuple[str, list[Fraction]], equation: Comparison, text: str) -> str:
    """How a solution misses an equation, "" where it may be right."""
    alone = Claim.of([statement])
    goal = _univariate(alone)
    if goal is None or goal[0] != given[0]:
        return ""
    name = given[0]
    if len(goal[1]) == 2:
        root = -goal[1][0] / goal[1][1]
        if at(given[1], root) == 0:
            return ""
        left, right = value(equation.left, {name: root}), value(equation.right, {name: root})
        if left is None or right is None:
            return ""
        return f"{name} = {root} makes {text} into {left} = {right}"
    if len(given[1]) == 2 and has_real_root(goal[1]):
        root = -given[1][0] / given[1][1]
        return "" if at(goal[1], root) == 0 else f"{name} = {root} solves {text} but not {statement.text}"
    return ""


def _univariate(claim: Claim) -> tuple[str, list[Fraction]] | None:
    """The unknown and coefficients of an equation in one unknown, else None."""
    equation = claim.equation
    if equation is None:
        return None
    poly: Polynomial | None = difference(equation.left, equation.right)
    found = coefficients(poly) if poly else None
    return found if found is not None and len(found[1]) > 1 else None


def at(coefficients_: list[Fraction], x: Fraction) -> Fraction:
    """The value of a polynomial, constant coefficient first.

    >>> at([Fraction(3), Fraction(2)], Fraction(5))
    Fraction(13, 1)
    """
    total = Fraction(0)
    for c in reversed(coefficients_):
        total = total * x + c
    return total


def has_real_root(coefficients_: list[Fraction]) -> bool:
    """Whether a polynomial surely has a real root; False where that is not plain.

    >>> has_real_root([Fraction(1), Fraction(0), Fraction(1)])
    False
    """
    degree = len(coefficients_) - 1
    if degree == 2:
        c, b, a = coefficients_
        return b * b - 4 * a * c >= 0
    return degree % 2 == 1 or coefficients_[0] * coefficients_[-1] < 0


def value(term: Term, values: dict[str, Fraction]) -> Fraction | None:
    """The exact value of a term; None where it has none, or it is no fraction."""
    if isinstance(term, Number):
        return term.value
    if isinstance(term, Variable):
        return values.get(term.name)
    parts = [value(argument, values) for argument in term.arguments]
    if any(p is None for p in parts):
        return None
    return _applied(term.operator, [p for p in parts if p is not None])


def _applied(operator: str, parts: list[Fraction]) -> Fraction | None:
    a, b = parts[0], parts[-1]
    if operator == "/":
        return a / b if b else None
    if operator == "^":
        small = b.denominator == 1 and 0 <= b <= 40 and max(a.numerator.bit_length(), a.denominator.bit_length()) < 200
        return a ** int(b) if small else None
    if operator in ("neg", "abs"):
        return -a if operator == "neg" else abs(a)
    if operator == "sqrt":
        return None
    return a + b if operator == "+" else a - b if operator == "-" else a * b


def _divides(formula: Formula) -> bool:
    """Whether a denominator holds a variable."""
    return any(
        isinstance(node, Operation) and node.operator == "/" and not is_constant(node.arguments[1])
        for node in walk(formula)
    )


def _has_root(link: Comparison) -> bool:
    return any(isinstance(node, Operation) and node.operator == "sqrt" for node in walk(link))


def _about(term: Term) -> str:
    """A constant term as a short decimal."""
    return f"{_float(term):.6g}"


def _float(term: Term) -> float:
    if isinstance(term, Number):
        return float(term.value)
    assert isinstance(term, Operation)
    parts = [_float(argument) for argument in term.arguments]
    if term.operator in ("neg", "abs"):
        return -parts[0] if term.operator == "neg" else abs(parts[0])
    if term.operator == "sqrt":
        return float(abs(parts[0]) ** 0.5)
    exact = {"+": parts[0] + parts[-1], "-": parts[0] - parts[-1], "*": parts[0] * parts[-1]}
    if term.operator in exact:
        return exact[term.operator]
    return parts[0] / parts[1] if term.operator == "/" else float(parts[0] ** parts[1])


def _cited(premises: list[Claim]) -> str:
    return "; ".join(p.text for p in premises[-3:])[:120]


__all__ = ["Claim", "Judge", "at", "has_real_root", "is_algebra", "relevant", "value"]
