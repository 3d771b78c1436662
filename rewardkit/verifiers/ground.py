"""First-order sequents without functions decided by truth tables: sound, complete for its fragment, and no process.

The premises and the denied goal are satisfiable exactly if they are so over a finite set of objects (Bernays and
Schönfinkel; Herbrand), as long as no "exists" stands inside a "forall" once negations are pushed inwards: each "exists"
gets an object of its own, each "forall" becomes the conjunction over all objects. What is left is propositional, and a
formula's truth table over 12 (else 16) atoms is one Python integer of 2**12 (2**16) bits. What lies outside the
fragment or its bounds is left to a solver.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from rewardkit.verifiers.formula import Connected, Formula, Not, Predicate, Quantified, Truth

CAPACITIES = (12, 16)  # atoms
MAX_WORK = 2000  # nodes visited while instances are worked out

Objects = Mapping[str, str]
Atom = tuple[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Decision:
    """What the truth table says.

    Attributes:
        entailed: the goal follows.
        contradiction: the premises contradict each other.
        model: where the goal does not follow, atoms and their truth in one counter-model. Objects without a name are
            called ``any1``, ``any2`` and so on, with a ``#`` in front.
    """

    entailed: bool
    contradiction: bool = False
    model: tuple[tuple[Atom, bool], ...] = ()


class _Outside(Exception):
    """Outside of the fragment or its bounds."""


def decide(premises: Sequence[Formula], goal: Formula) -> Decision | None:
    """Decide a sequent, or None where it is outside of the fragment or its bounds.

    >>> from rewardkit.verifiers.formula import Variable
    >>> x, a = Variable("x", "object"), Variable("a", "object")
    >>> rule = Quantified("forall", x, Connected("implies", Predicate("F", (x,)), Predicate("G", (x,))))
    >>> decide([rule, Predicate("F", (a,))], Predicate("G", (a,))).entailed
    True
    >>> decide([rule, Predicate("G", (a,))], Predicate("F", (a,))).model
    ((('F', ('a',)), False), (('G', ('a',)), True))
    """
    try:
        clauses = [_Clause(premise, True) for premise in premises]
        denied = _Clause(goal, False)
        objects = _objects([*clauses, denied])
    except (_Outside, RecursionError):
        return None
    for capacity in CAPACITIES:
        try:
            return _tabulate(clauses, denied, objects, capacity)
        except _Outside:
            continue
    return None


def _tabulate(clauses: list[_Clause], denied: _Clause, objects: list[str], capacity: int) -> Decision:
    tables = _Tables(objects, capacity)
    allowed = tables.full
    for clause in clauses:
        allowed &= tables.clause(clause)
    against = allowed & tables.clause(denied)
    if not against:
        return Decision(True, contradiction=not allowed)
    row = (against & -against).bit_length() - 1
    return Decision(False, model=tuple(sorted((atom, bool(row >> i & 1)) for atom, i in tables.atoms.items())))


class _Clause:
    """A formula that is asserted or denied, its outer "exists" given objects of their own."""

    def __init__(self, formula: Formula, sign: bool) -> None:
        self.formula, self.sign = formula, sign
        self.names: set[str] = set()
        self.witnesses: dict[int, str] = {}
        self._seen: set[int] = set()
        self._look(formula, sign, frozenset(), False)

    def _look(self, node: Formula, sign: bool | None, bound: frozenset[str], under_all: bool) -> None:
        """Find free names, and give each "exists" its object. A `sign` of None: both signs (under "iff")."""
        match node:
            case Predicate(_, arguments):
                for argument in arguments:
                    if argument.sort != "object":
                        raise _Outside
                    if argument.name not in bound:
                        self.names.add(argument.name)
            case Not(body):
                self._look(body, None if sign is None else not sign, bound, under_all)
            case Connected(connective, left, right):
                both = sign if connective != "iff" else None
                self._look(left, both if connective != "implies" or both is None else not both, bound, under_all)
                self._look(right, both, bound, under_all)
            case Quantified():
                self._quantified(node, sign, bound, under_all)
            case Truth():
                pass
            case _:
                raise _Outside

    def _quantified(self, node: Quantified, sign: bool | None, bound: frozenset[str], under_all: bool) -> None:
        if sign is None or node.variable.sort != "object" or id(node) in self._seen:
            raise _Outside  # one node in two places could have two signs
        self._seen.add(id(node))
        universal = (node.quantifier == "forall") == sign
        if not universal and under_all:
            raise _Outside  # the object would depend on others
        if not universal:
            self.witnesses[id(node)] = f"#any{len(self.witnesses) + 1}"
        self._look(node.body, sign, bound | {node.variable.name}, under_all or universal)


def _objects(clauses: list[_Clause]) -> list[str]:
    """Every object: the free names, and the witnesses, renumbered so that no two clauses share one."""
    names = sorted(set().union(*(clause.names for clause in clauses)))
    number = 0
    for clause in clauses:
        for node in clause.witnesses:
            number += 1
            clause.witnesses[node] = f"#any{number}"
    found = names + [f"#any{i}" for i in range(1, number + 1)]
    return found or ["#any1"]


class _Tables:
    """Truth tables over at most `capacity` atoms; bit r of a table is the truth in row r."""

    def __init__(self, objects: list[str], capacity: int) -> None:
        self.objects = objects
        self.atoms: dict[Atom, int] = {}
        self._columns, self.full = _columns(capacity)
        self._work = 0

    def clause(self, clause: _Clause) -> int:
        table = self._table(clause.formula, {}, clause)
        return table if clause.sign else self.full ^ table

    def _table(self, node: Formula, bound: Objects, clause: _Clause) -> int:
        self._work += 1
        if self._work > MAX_WORK:
            raise _Outside
        match node:
            case Predicate(name, arguments):
                return self._atom((name, tuple([bound.get(a.name, a.name) for a in arguments])))
            case Not(body):
                return self.full ^ self._table(body, bound, clause)
            case Connected(connective, left, right):
                first, second = self._table(left, bound, clause), self._table(right, bound, clause)
                return self._connect(connective, first, second)
            case Quantified():
                return self._quantified(node, bound, clause)
            case Truth(value):
                return self.full if value else 0
        raise _Outside

    def _connect(self, connective: str, first: int, second: int) -> int:
        if connective == "and":
            return first & second
        if connective == "or":
            return first | second
        return (self.full ^ first) | second if connective == "implies" else self.full ^ first ^ second

    def _quantified(self, node: Quantified, bound: Objects, clause: _Clause) -> int:
        name = node.variable.name
        witness = clause.witnesses.get(id(node))
        if witness is not None:
            return self._table(node.body, {**bound, name: witness}, clause)
        tables = [self._table(node.body, {**bound, name: each}, clause) for each in self.objects]
        result = tables[0]
        for table in tables[1:]:
            result = result & table if node.quantifier == "forall" else result | table
        return result

    def _atom(self, atom: Atom) -> int:
        index = self.atoms.get(atom)
        if index is None:
            index = len(self.atoms)
            if index >= len(self._columns):
                raise _Outside
            self.atoms[atom] = index
        return self._columns[index]


@lru_cache(maxsize=len(CAPACITIES))
def _columns(capacity: int) -> tuple[list[int], int]:
    """The truth table of each atom by itself, and that of "true"."""
    full = (1 << (1 << capacity)) - 1
    columns = []
    for index in range(capacity):
        block = 1 << index
        columns.append(full // ((1 << block) + 1) << block)
    return columns, full
