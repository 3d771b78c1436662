"""Proofs grown backwards: from a conclusion to premises that entail it, by rules of natural deduction."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from rewardkit.problems.consistency import substitute
from rewardkit.verifiers.formula import Connected, Formula, Not, Predicate, Quantified, Variable, free_variables

Use = Literal["any", "given", "fact"]
"""How a premise may be proved on: by any rule; by none that introduces its connective (it is there to be taken apart,
and proving it from its parts would go in a circle); not at all."""
Premises = list[tuple[Formula, Use]]

X = Variable("x", "object")
_LETTERS = "ABCDEFGHIJKLMNOPQRSTU"
_SIDE_PROOF = 0.3


@dataclass(frozen=True, slots=True)
class Node:
    """A formula with what it was concluded from; a leaf is a fact."""

    formula: Formula
    premises: tuple[Node, ...] = ()

    def walk(self) -> Iterator[Node]:
        """This node and all below it."""
        yield self
        for premise in self.premises:
            yield from premise.walk()


class Maker:
    """Makes proofs and distractors with names that are new each time.

    Args:
        draw: the source of chance.
        monadic: predicates of one argument and quantifiers, rather than propositions.
    """

    def __init__(self, draw: random.Random, monadic: bool) -> None:
        self.draw = draw
        self.monadic = monadic
        pairs = ["".join(pair) for pair in itertools.product(_LETTERS[:11], _LETTERS)]
        # The order is drawn within the length, so that short problems have short names.
        self._names = iter([*_LETTERS, *draw.sample(pairs, len(pairs))])
        self._constants = [Variable(c, "object") for c in "abcdefgh"]

    def conclusion(self) -> Formula:
        """Something to prove: most often a literal."""
        shape = self.draw.choices(["literal", "and", "or", "exists"], [7, 1, 1, 1 if self.monadic else 0])[0]
        if shape == "exists":
            return Quantified("exists", X, self._literal(X))
        if shape == "literal":
            return self._literal(self._constant())
        at = self._constant()
        return Connected("and" if shape == "and" else "or", self._literal(at), self._literal(at))

    def prove(self, goal: Formula, depth: int, use: Use = "any") -> Node:
        """A proof whose longest way from a fact to the goal takes `depth` steps."""
        if depth == 0:
            return Node(goal)
        premises = self.draw.choice(self._rules(goal, use))(goal)
        can = [i for i, (_, kind) in enumerate(premises) if kind != "fact"]
        main = self.draw.choice(can) if can else -1
        if depth > 1 and main < 0:
            return self.prove(goal, depth, use)
        nodes = []
        for i, (formula, kind) in enumerate(premises):
            below = depth - 1 if i == main else self._side(depth) if kind != "fact" else 0
            nodes.append(self.prove(formula, below, kind))
        return Node(goal, tuple(nodes))

    def distractor(self, known: list[Formula]) -> Formula:
        """A fact that helps nothing: of new names alone, or a rule between a new name and one of the proof."""
        new = self._literal(self._constant())
        old = self.draw.choice([f for f in known if _is_literal(f)] or [new])
        match self.draw.randrange(4):
            case 0:
                return new
            case 1:
                return Connected("or", new, self._literal(self._constant()))
            case 2:
                return self._rule(self._literal(_constant_of(old)), old)
            case _:
                return self._rule(old, self._literal(_constant_of(old)))

    def _side(self, depth: int) -> int:
        return self.draw.randrange(depth) if self.draw.random() < _SIDE_PROOF else 0

    def _rules(self, goal: Formula, use: Use) -> list[Callable[[Formula], Premises]]:
        match goal:
            case Quantified("forall"):
                return [self._syllogism]
            case Quantified("exists"):
                return [self._witness, self._exists_on]
            case Connected("implies"):
                return [self._chain]
            case Connected("and") if use == "any":
                return [self._join, self._modus_ponens]
            case Connected("or") if use == "any":
                return [self._weaken, self._modus_ponens]
            case Connected():
                return [self._modus_ponens]
            case Not():
                return [self._modus_ponens, self._modus_ponens, self._modus_tollens, self._exclude, self._take]
            case _:
                return [self._modus_ponens, self._modus_ponens, self._exclude, self._take, self._cases]

    def _modus_ponens(self, goal: Formula) -> Premises:
        """P, P -> goal; P may be a conjunction or a disjunction."""
        at = _constant_of(goal)
        condition = self._literal(at)
        if self.draw.random() < 0.3:
            connective: Literal["and", "or"] = self.draw.choice(["and", "or"])
            condition = Connected(connective, condition, self._literal(at))
        return [(condition, "any"), (self._rule(condition, goal), "any")]

    def _modus_tollens(self, goal: Formula) -> Premises:
        """goal = ¬P: P -> Q, ¬Q."""
        after = self._literal(_constant_of(goal))
        return [(self._rule(negate(goal), after), "any"), (negate(after), "any")]

    def _exclude(self, goal: Formula) -> Premises:
        """goal v Q, ¬Q."""
        other = self._literal(_constant_of(goal))
        return [(Connected("or", goal, other), "given"), (negate(other), "any")]

    def _take(self, goal: Formula) -> Premises:
        """goal & Q, or in monadic logic sometimes (x): goal."""
        if self.monadic and self.draw.random() < 0.3:
            return [(_lift(goal, _constant_of(goal)), "fact")]
        return [(Connected("and", goal, self._literal(_constant_of(goal))), "given")]

    def _cases(self, goal: Formula) -> Premises:
        """P v Q, P -> goal, Q -> goal."""
        at = _constant_of(goal)
        left, right = self._literal(at), self._literal(at)
        rules = [self._rule(left, goal), self._rule(right, goal)]
        return [(Connected("or", left, right), "given"), *((rule, "any") for rule in rules)]

    def _join(self, goal: Formula) -> Premises:
        assert isinstance(goal, Connected)
        return [(goal.left, "any"), (goal.right, "any")]

    def _weaken(self, goal: Formula) -> Premises:
        assert isinstance(goal, Connected)
        return [(self.draw.choice([goal.left, goal.right]), "any")]

    def _chain(self, goal: Formula) -> Premises:
        """goal = P -> R: P -> Q, Q -> R."""
        assert isinstance(goal, Connected)
        middle = self._literal(_constant_of(goal))
        return [(Connected("implies", goal.left, middle), "any"), (Connected("implies", middle, goal.right), "any")]

    def _syllogism(self, goal: Formula) -> Premises:
        """goal = (x): Fx -> Hx: (x): Fx -> Gx, (x): Gx -> Hx."""
        assert isinstance(goal, Quantified) and isinstance(goal.body, Connected)
        parts = self._chain(goal.body)
        return [(Quantified("forall", X, part), use) for part, use in parts]

    def _witness(self, goal: Formula) -> Premises:
        """goal = (Ex): Fx: Fa."""
        assert isinstance(goal, Quantified)
        return [(substitute(goal.body, X, self.draw.choice(self._constants)), "any")]

    def _exists_on(self, goal: Formula) -> Premises:
        """goal = (Ex): Gx: (Ex): Fx, (x): Fx -> Gx."""
        assert isinstance(goal, Quantified)
        before = self._literal(X)
        rule = Quantified("forall", X, Connected("implies", before, goal.body))
        return [(Quantified("exists", X, before), "any"), (rule, "any")]

    def _rule(self, condition: Formula, result: Formula) -> Formula:
        """``condition -> result``; in monadic logic mostly for every x."""
        made = Connected("implies", condition, result)
        at = _constant_of(made)
        return _lift(made, at) if at is not None and self.draw.random() < 0.75 else made

    def _literal(self, at: Variable | None) -> Formula:
        """A new proposition or predicate, negated now and then."""
        atom = Predicate(next(self._names), () if at is None else (at,))
        return Not(atom) if self.draw.random() < 0.25 else atom

    def _constant(self) -> Variable | None:
        return self.draw.choice(self._constants) if self.monadic else None


def negate(formula: Formula) -> Formula:
    """The negation, without a double one."""
    return formula.body if isinstance(formula, Not) else Not(formula)


def _is_literal(formula: Formula) -> bool:
    return isinstance(formula, Predicate) or (isinstance(formula, Not) and isinstance(formula.body, Predicate))


def _constant_of(formula: Formula) -> Variable | None:
    """The one constant that a formula speaks of (`X` in the body of a quantifier), None for propositions."""
    return min(free_variables(formula), key=lambda v: v.name, default=None)


def _lift(formula: Formula, constant: Variable | None) -> Formula:
    """``(x): formula``, of one constant. What is already of x, below a quantifier, stays as it is."""
    if constant is None or constant == X:
        return formula
    return Quantified("forall", X, substitute(formula, constant, X))
