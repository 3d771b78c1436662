"""What can be said of one statement of algebra in its context: an identity, a consequence, a contradiction, or nothing.

Exact polynomial arithmetic answers first; what it leaves goes to a solver, where there is one. A statement is refuted
only where one equation in one unknown stands right before it, has real solutions, and shares none with it; or where two
numbers differ. That a statement does not follow is no refutation.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from fractions import Fraction

from rewardkit.labelers._algebra_claims import Claim, divides, has_root, is_constant, is_exact, univariate
from rewardkit.text._terms import words
from rewardkit.text.algebra import Statement
from rewardkit.verifiers.base import Verdict, Verifier
from rewardkit.verifiers.formula import Comparison, Formula, Not, Operation, free_variables, walk
from rewardkit.verifiers.polynomial import at, common_factor, has_real_root, identical
from rewardkit.verifiers.values import decimal, value
from rewardkit.verifiers.z3 import CONTRADICTION

MAX_PREMISES = 12
MAX_SOLVER_NODES = 400

PROVED_BY_CALCULATION = "exact arithmetic"
FOLLOWS_NOT = "it does not follow from what was read before"
SAID_BEFORE = "it was said before"
IDENTITY = "an identity"
TAKEN = "it is taken as given"
NUMBERS_DIFFER = "two numbers differ"


class Judge:
    """Decides claims against what is known.

    Args:
        verifier: for what exact arithmetic leaves open; None decides less.
    """

    def __init__(self, verifier: Verifier | None) -> None:
        self.verifier = verifier
        self.deadline = float("inf")  # of `time.monotonic`; behind it the solver is not asked

    def judge(self, claim: Claim, known: Sequence[Claim]) -> Verdict:
        """``known`` in the order of the text: problem, earlier steps, this step up to the claim."""
        # The numbers of a line without a variable are the `arithmetic` labeler's.
        numbers = bool(claim.names) and is_exact(claim)
        verdicts = [self._identity(link, numbers) for s in claim.statements for link in s.links]
        if len(claim.statements) == 1 and all(v.status == "proved" for v in verdicts):
            return Verdict("proved", IDENTITY, solver=PROVED_BY_CALCULATION)
        for verdict in verdicts:
            if verdict.status == "refuted":
                return verdict
        contradiction = _contradiction(claim, known) or _rewritten(claim, verdicts, known)
        if contradiction is not None:
            return contradiction
        verdict = self._entailment(claim, relevant([k for k in known if not k.refuted], claim.names))
        if verdict.reason != FOLLOWS_NOT:
            return verdict
        fresh = not any(k.names & claim.names for k in known if k.step < claim.step)
        return self._system(claim, known) or (Verdict("unknown", TAKEN) if fresh else verdict)

    def _identity(self, link: Comparison, numbers: bool) -> Verdict:
        same = identical(link.left, link.right) if link.relation == "=" else None
        if same:
            return Verdict("proved", IDENTITY, solver=PROVED_BY_CALCULATION)
        if same is False and is_constant(link.left) and is_constant(link.right) and (numbers or has_root(link)):
            a, b = decimal(link.left), decimal(link.right)
            return Verdict("refuted", NUMBERS_DIFFER, f"{a} is not {b}", PROVED_BY_CALCULATION)
        return Verdict("unknown", "no identity")

    def _entailment(self, claim: Claim, premises: list[Claim]) -> Verdict:
        if any(p.formula == claim.formula for p in premises):
            return Verdict("unknown", SAID_BEFORE)
        exact = _follows_exactly(claim, premises)
        if exact is not None:
            return exact
        if not premises:
            return Verdict("unknown", FOLLOWS_NOT)
        near = [p for p in premises if p.step >= claim.step - 1]
        verdict = self._solved(near, claim.formula) if near else None
        if (verdict is None or verdict.status != "proved") and len(near) < len(premises):
            verdict = self._solved(premises, claim.formula)
        return verdict or Verdict("unknown", FOLLOWS_NOT)

    def _solved(self, premises: list[Claim], goal: Formula) -> Verdict:
        """Ask the solver. A counter-model shows only that more was used than was read: no refutation."""
        verdict = self._ask(premises, goal)
        if verdict.reason == CONTRADICTION:
            return Verdict("unknown", "what was said before contradicts itself", solver=verdict.solver)
        if verdict.status == "proved":
            return Verdict("proved", f"follows from {_cited(premises)}", solver=verdict.solver)
        why = FOLLOWS_NOT if verdict.status == "refuted" else verdict.reason
        return Verdict("unknown", why, verdict.witness, verdict.solver)

    def _ask(self, premises: list[Claim], goal: Formula) -> Verdict:
        formulas = [p.formula for p in premises]
        if self.verifier is None:
            return Verdict("refuted")  # nobody to ask: it does not follow, as far as can be told
        if sum(1 for f in [*formulas, goal] for _ in walk(f)) > MAX_SOLVER_NODES:
            return Verdict("unknown", "too large for the solver")
        if time.monotonic() > self.deadline:
            return Verdict("unknown", "no time was left for it")
        return self.verifier.verify(formulas, goal)

    def _system(self, claim: Claim, known: Sequence[Claim]) -> Verdict | None:
        """A claimed value that the equations right before it, taken together, exclude."""
        if not claim.solved or claim.equation is None or not is_exact(claim):
            return None
        run = _run_of_equations(claim, known)
        if len(run) < 2 or set(claim.statements[0].words) & _ELSEWHERE:
            return None
        verdict = self._ask(run, Not(claim.formula))
        if verdict.status != "proved" or verdict.reason == CONTRADICTION:
            return None
        return Verdict("refuted", "it contradicts the equations before it", f"not with {_cited(run)}", verdict.solver)


def _run_of_equations(claim: Claim, known: Sequence[Claim]) -> list[Claim]:
    """The unsolved equations that stand without a break right before a claim and share unknowns with it."""
    run: list[Claim] = []
    names = set(claim.names)
    for before in reversed(known[-4:]):
        usable = before.equation is not None and before.names and before.role != "supposed" and is_exact(before)
        if not usable or before.solved or not before.names & names or before.step < claim.step - 1:
            break
        names |= before.names
        run.append(before)
    return run[::-1]


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
    goal = univariate(claim)
    if goal is None:
        return None
    name, wanted = goal
    for premise in reversed(premises):
        given = univariate(premise)
        if given is not None and given[0] == name and len(given[1]) == 2:
            root = -given[1][0] / given[1][1]
            if at(wanted, root) == 0 and not divides(claim.formula) and _agree(premises, name, root):
                return Verdict("proved", f"follows from {premise.text}", solver=PROVED_BY_CALCULATION)
    return None


def _agree(premises: list[Claim], name: str, root: Fraction) -> bool:
    """Whether every premise about the unknown is an equation that `root` solves, so that none contradicts another."""
    given = [univariate(p) for p in premises if name in p.names]
    return all(g is not None and at(g[1], root) == 0 for g in given) and not any(divides(p.formula) for p in premises)


def _contradiction(claim: Claim, known: Sequence[Claim]) -> Verdict | None:
    """A next line, most often a solution, that has no root in common with the equation right before it."""
    before = known[-1] if known else None
    if before is None or len(claim.names) != 1 or before.names != claim.names or not _continues(before, claim):
        return None
    given = univariate(before)
    if given is None or before.solved or before.role == "supposed" or not is_exact(before) or not is_exact(claim):
        return None
    for statement in claim.statements:
        goal = univariate(Claim.of([statement]))
        if goal is not None and len(common_factor(goal[1], given[1])) == 1 and has_real_root(given[1]):
            shown = _miss(goal[1], given, before, statement)
            return Verdict("refuted", "it contradicts the equation before it", shown, PROVED_BY_CALCULATION)
    return None


def _rewritten(claim: Claim, verdicts: Sequence[Verdict], known: Sequence[Claim]) -> Verdict | None:
    """A chain that rewrites an expression, here rightly and there wrongly, with nothing known of its variables."""
    if len(claim.statements) > 1 or not is_exact(claim) or relevant(known, claim.names):
        return None
    if not any(v.status == "proved" for v in verdicts):
        return None
    for link, verdict in zip(claim.statements[0].links, verdicts, strict=True):
        names = [{v.name for v in free_variables(side)} for side in (link.left, link.right)]
        compound = isinstance(link.left, Operation) and isinstance(link.right, Operation)
        if verdict.status == "unknown" and link.relation == "=" and names[0] == names[1] != set() and compound:
            shown = _witness(link, sorted(names[0]))
            if shown:
                return Verdict("refuted", "it is no identity", shown, PROVED_BY_CALCULATION)
    return None


def _witness(link: Comparison, names: list[str]) -> str:
    """Values at which the two sides of an identity differ, "" where none is found."""
    for start in (1, 2, 5, 7):
        values = {name: Fraction(start + i) for i, name in enumerate(names)}
        left, right = value(link.left, values), value(link.right, values)
        if left is not None and right is not None and left != right:
            return f"at {', '.join(f'{n} = {v}' for n, v in values.items())} the sides are {left} and {right}"
    return ""


# What stands behind these words is taken from somewhere else than the line before.
_ELSEWHERE = words(
    "first second third other original case factor factors equations either another similarly also consider"
)
_REWRITES = words(
    """simplify simplifying simplifies expand expanding rearrange rearranging distribute distributing combine combining
    subtract subtracting add adding divide dividing multiply multiplying isolate isolating"""
)


def _continues(before: Claim, claim: Claim) -> bool:
    """Whether a claim is meant as the next line of what stands before it."""
    words = set(claim.statements[0].words)
    if words & _ELSEWHERE or claim.statements[0].listed:
        return False
    return before.step == claim.step or claim.solved or bool(words & _REWRITES)


def _miss(wanted: list[Fraction], given: tuple[str, list[Fraction]], before: Claim, statement: Statement) -> str:
    """Why a line and the equation before it have no solution in common."""
    name, equation = given[0], before.equation
    if len(wanted) == 2 and equation is not None:
        root = -wanted[0] / wanted[1]
        left, right = value(equation.left, {name: root}), value(equation.right, {name: root})
        if left is not None and right is not None:
            return f"{name} = {root} makes {before.text} into {left} = {right}"
    if len(given[1]) == 2:
        return f"{name} = {-given[1][0] / given[1][1]} solves {before.text} but not {statement.text}"
    return f"no {name} solves both {before.text} and {statement.text}"


def _cited(premises: list[Claim]) -> str:
    return "; ".join(p.text for p in premises[-3:])[:120]
