"""The `proof` labeler: steps in the formal statement syntax, each put to a proof assistant.

A trace's steps are lines such as ``have s1: y = 24 from h1`` (see `rewardkit.verifiers.statements`), in `Step.formal`
or in the text itself. What a line cites, or else every fact and every proved step before it, are its premises; a
citation reaches back only. A line that is not proved is no premise of those that do not cite it. Every label's evidence
ends with what was found, in brackets, behind the sequent, so that another solver can check it again:

    x = 48; y = x / 2 |- y = 24 [proved by coq 8.16.1]
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from rewardkit.types import Meaning, Step, StepLabel, Trace
from rewardkit.verifiers.base import Verifier
from rewardkit.verifiers.formula import (
    Comparison,
    Connected,
    Formula,
    Node,
    Not,
    Number,
    Predicate,
    Variable,
    free_variables,
    walk,
)
from rewardkit.verifiers.models import model
from rewardkit.verifiers.plain import print_formula, print_sequent
from rewardkit.verifiers.statements import Statement, StatementError, parse_formula, parse_statement

MAX_LINES = 50  # of one step

Finding = tuple[float | None, str]


class ProofLabeler:
    """Labels each line of a formal solution: 1.0 proved, 0.0 refuted or citing what is not there, else None.

    A ``fact`` is what the solution takes from the problem: assumed, and so not labelled. Nor is a line that only names
    something new (``define y = x / 2``, or ``have s1: y = x / 2`` where no line before speaks of y); of a chain such as
    ``have s1: y = x / 2 = 24`` the rest is checked. A last line ``#### 72`` says what the last ``show`` speaks of.
    Premises that contradict each other prove nothing.

    Args:
        verifier: Coq's, unless another is given.

    Raises:
        VerifierError: when a step is to be checked and the verifier is not installed.
    """

    name = "proof"
    meaning: Meaning = "local"

    def __init__(self, verifier: Verifier | None = None) -> None:
        if verifier is None:
            from rewardkit.verifiers.coq import CoqVerifier

            verifier = CoqVerifier()
        self.verifier = verifier

    def label(self, trace: Trace) -> list[StepLabel]:
        """One label for every step, in order. Never raises for what the text says."""
        scope = _Scope(frozenset(re.findall(r"[0-9]+(?:\.[0-9]+)?", trace.problem.text.replace(",", ""))))
        labels = []
        for index, step in enumerate(trace.steps):
            p_correct, evidence = self._step(step, scope)
            labels.append(StepLabel(trace.id, index, p_correct, self.name, self.meaning, evidence))
        return labels

    def close(self) -> None:
        """End the verifier's process."""
        self.verifier.close()

    def _step(self, step: Step, scope: _Scope) -> Finding:
        text = step.text if step.formal is None else step.formal
        lines = [line for line in text[:100_000].splitlines() if line.strip()]
        if not lines or len(lines) > MAX_LINES:
            return None, f"[unparsed: {'no line' if not lines else 'too many lines'} in one step]"
        return _merged([self._line(line, scope) for line in lines])

    def _line(self, line: str, scope: _Scope) -> Finding:
        if line.lstrip().startswith("####"):
            return self._answer(line.strip(), scope)
        try:
            statement = parse_statement(line)
        except StatementError as error:
            return None, f"[unparsed: {error}]"
        if statement.kind == "fact" and symbols(statement.formula):  # one about numbers alone is a claim
            return scope.assume(statement)
        if statement.kind == "show":
            scope.shown = statement.formula
        definition, claim = scope.split(statement.formula)
        if definition is not None:
            scope.define(definition, statement.name if claim is None else "")
        if claim is None:
            assert definition is not None
            return None, f"nothing to check: defines {print_formula(definition)}"
        finding, solid = self._claim(claim, statement.cites, scope)
        scope.add(statement.name, claim, solid)
        return finding

    def _answer(self, line: str, scope: _Scope) -> Finding:
        """The final line, ``#### 72``: that what the last ``show`` speaks of comes to it."""
        shown = scope.shown
        while isinstance(shown, Connected):
            shown = shown.left
        if not isinstance(shown, Comparison):
            return None, "[unknown: no `show` line says what the answer is]"
        try:
            number = parse_formula(f"answer = {line.strip('#$ .').replace(',', '')}")
        except StatementError as error:
            return None, f"[unparsed: {error}]"
        if not isinstance(number, Comparison):
            return None, "[unparsed: the answer is no number]"
        return self._from_all(Comparison("=", shown.left, number.right), scope)[0]

    def _claim(self, claim: Formula, cites: Sequence[str], scope: _Scope) -> tuple[Finding, bool]:
        """What comes of a claim, and whether later steps may rest on it."""
        unknown = [name for name in cites if name not in scope.named]
        if unknown:
            return (0.0, f"{print_formula(claim)} [bad citation: no earlier line is called {unknown[0]}]"), False
        if not cites:
            return self._from_all(claim, scope)
        cited = [scope.named[name] for name in cites]
        solid = all(known.solid for known in cited)
        premises = relevant([*scope.definitions, *(known.formula for known in cited)], claim)
        finding = self._decide(premises, claim)
        if finding[0] is not None:
            return finding, solid and finding[0] == 1.0
        everything, follows = self._from_all(claim, scope)
        if everything[0] == 1.0:
            return (
                None,
                finding[1].replace("[unknown:", "[unknown: it follows, though not from what it cites;"),
            ), follows
        return (everything if solid else finding), False

    def _from_all(self, claim: Formula, scope: _Scope) -> tuple[Finding, bool]:
        finding = self._decide(relevant(scope.solid(), claim), claim)
        if finding[0] == 0.0 and scope.shaky(claim):
            sequent = finding[1].partition(" [")[0]
            return (None, f"{sequent} [unknown: false, perhaps by the fault of an earlier step]"), False
        return finding, finding[0] == 1.0

    def _decide(self, premises: Sequence[Formula], claim: Formula) -> Finding:
        verdict = self.verifier.verify(premises, claim)
        sequent = print_sequent(premises, claim)
        if verdict.status == "unknown":
            return None, f"{sequent} [unknown: {verdict.reason}]"
        if verdict.status == "refuted":
            return 0.0, f"{sequent} [refuted by {verdict.solver}]"
        # Whatever follows from contradictory premises, its negation does too. Premises with a model are none.
        doubtful = premises and model(premises, claim) is None
        if doubtful and self.verifier.verify(premises, Not(claim)).status == "proved":
            return None, f"{sequent} [unknown: the premises contradict each other]"
        return 1.0, f"{sequent} [proved by {verdict.solver}]"


@dataclass(frozen=True, slots=True)
class _Known:
    """A formula that may be cited, and whether it is given or proved from what is."""

    formula: Formula
    solid: bool


@dataclass(slots=True)
class _Scope:
    """What the lines before have said."""

    numbers: frozenset[str]
    named: dict[str, _Known] = field(default_factory=dict)
    known: list[_Known] = field(default_factory=list)
    definitions: list[Formula] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)
    shown: Formula | None = None

    def shaky(self, claim: Formula) -> bool:
        """Whether a claim has to do with a line before that is not proved."""
        everything = [*self.definitions, *(known.formula for known in self.known)]
        return any(not known.solid and known.formula in relevant(everything, claim) for known in self.known)

    def solid(self) -> list[Formula]:
        return [*self.definitions, *(known.formula for known in self.known if known.solid)]

    def add(self, name: str, formula: Formula, solid: bool) -> None:
        self.seen |= symbols(formula)
        self.known.append(_Known(formula, solid))
        if name:
            self.named[name] = self.known[-1]

    def assume(self, statement: Statement) -> Finding:
        self.add(statement.name, statement.formula, True)
        # up to twenty it may be written in words
        written = {_written(n) for n in walk(statement.formula) if isinstance(n, Number) and n.value > 20}
        foreign = sorted(written - self.numbers)
        note = f"; the problem does not say {foreign[0]}" if foreign and self.numbers else ""
        return None, f"nothing to check: assumes {print_formula(statement.formula)}{note}"

    def define(self, definition: Comparison, name: str) -> None:
        self.seen |= symbols(definition)
        self.definitions.append(definition)
        for cited_as in (name, _defined(definition)):
            if cited_as:
                self.named[cited_as] = _Known(definition, True)

    def split(self, formula: Formula) -> tuple[Comparison | None, Formula | None]:
        """The part that names something new, and the part that claims something."""
        links: list[Formula] = [formula]
        while isinstance(links[0], Connected) and links[0].connective == "and":
            links[:1] = [links[0].left, links[0].right]
        first = links[0]
        if not isinstance(first, Comparison) or first.relation != "=" or not isinstance(first.left, Variable):
            return None, formula
        if first.left.name in self.seen or first.left in free_variables(first.right):
            return None, formula
        claim: Formula | None = None
        for link in links[1:]:
            claim = link if claim is None else Connected("and", claim, link)
        return first, claim


def relevant(premises: Iterable[Formula], goal: Formula) -> list[Formula]:
    """The premises that have a symbol in common with the goal, directly or through other premises.

    >>> from rewardkit.verifiers.statements import parse_formula
    >>> premises = [parse_formula(text) for text in ("x = y", "y = 2", "z = 3")]
    >>> [print_formula(p) for p in relevant(premises, parse_formula("x = 2"))]
    ['x = y', 'y = 2']
    """
    waiting = {premise: symbols(premise) for premise in premises}
    reached = symbols(goal)
    while True:
        new = [premise for premise, found in waiting.items() if found & reached and not found <= reached]
        if not new:
            return [premise for premise, found in waiting.items() if found & reached or not found]
        for premise in new:
            reached |= waiting[premise]


def symbols(formula: Node) -> set[str]:
    """The names of the free variables and the predicates of a formula.

    >>> from rewardkit.verifiers.statements import parse_formula
    >>> sorted(symbols(parse_formula("x + 1 = 2 and F(c)")))
    ['F', 'c', 'x']
    """
    predicates = {node.name for node in walk(formula) if isinstance(node, Predicate)}
    return predicates | {variable.name for variable in free_variables(formula)}


def _defined(definition: Comparison) -> str:
    assert isinstance(definition.left, Variable)
    return definition.left.name


def _written(number: Number) -> str:
    value = number.value
    return str(abs(value)) if value.denominator == 1 else f"{abs(float(value)):g}"


def _merged(findings: Sequence[Finding]) -> Finding:
    """A step of several lines is wrong if one is, right if those that are checked are right and none is in doubt."""
    for wanted in ("wrong", "doubt", "right"):
        for p_correct, evidence in findings:
            doubt = p_correct is None and re.search(r"\[(unknown|unparsed)", evidence) is not None
            kind = "doubt" if doubt else {0.0: "wrong", 1.0: "right"}.get(p_correct if p_correct is not None else -1)
            if kind == wanted:
                return p_correct, evidence
    return findings[0]
