"""An independent reader and checker of FLD proofs for the tests: its own parser, and truth tables.

Shares nothing with the package: a formula is nested tuples, a first-order one is grounded here over the constants that
occur and one new element for each existential (complete for monadic formulas with one leading quantifier).
"""

from __future__ import annotations

import itertools
import re

_TOKEN = re.compile(r"\s*(\(x\):|\(Ex\):|->|[&v¬()]|\{\w+\}(?:\{\w+\}|x)?)")


def parse(text):
    """``("var", "A", None)``, ``("not", f)``, ``("and" | "or" | "implies", f, g)``, ``("all" | "some", f)``."""
    tokens = _TOKEN.findall(text)
    assert "".join(tokens).replace(" ", "") == text.replace(" ", ""), text
    formula, rest = _binary(tokens)
    assert not rest, text
    return formula


def _binary(tokens):
    if tokens[0] in ("(x):", "(Ex):"):
        body, rest = _binary(tokens[1:])
        return ("all" if tokens[0] == "(x):" else "some", body), rest
    left, rest = _unary(tokens)
    if rest and rest[0] in ("->", "&", "v"):
        right, after = _unary(rest[1:])
        return ({"->": "implies", "&": "and", "v": "or"}[rest[0]], left, right), after
    return left, rest


def _unary(tokens):
    head, *rest = tokens
    if head == "¬":
        body, rest = _unary(rest)
        return ("not", body), rest
    if head == "(":
        body, rest = _binary(rest)
        assert rest[0] == ")"
        return body, rest[1:]
    name, argument = re.fullmatch(r"\{(\w+)\}(\{\w+\}|x)?", head).groups()
    return ("var", name, argument), rest


def entails(premises, goal):
    """Whether no assignment makes the premises true and the goal false: all of them are tried."""
    formulas = [*premises, ("not", goal)]
    formulas = _ground([_negation_inside(f) for f in formulas])
    atoms = sorted({a for f in formulas for a in _atoms(f)}, key=str)
    assert len(atoms) <= 20, "too many for a table"
    return not any(
        all(_value(f, dict(zip(atoms, values, strict=True))) for f in formulas)
        for values in itertools.product((False, True), repeat=len(atoms))
    )


def check_proof(facts, hypothesis, label, proof):
    """Every step of a proof: ``[(line, holds)]``; what a step cites must be a fact or stand before it."""
    known = {name: parse(text) for name, text in facts.items()}
    goal = parse(hypothesis)
    goal = ("not", goal) if label == "DISPROVED" else goal
    found = []
    for line in proof.splitlines():
        cited, _, result = line.removesuffix(" ;").partition(" -> ")
        if result == "hypothesis":
            conclusion = goal
        else:
            name, _, text = result.partition(": ")
            conclusion = parse(text)
        premises = [known.get(name_) for name_ in cited.split(" & ")]
        found.append((line, None not in premises and entails(premises, conclusion)))
        if result != "hypothesis":
            assert name not in known
            known[name] = conclusion
    return found


def _negation_inside(formula):
    if formula[0] == "not" and formula[1][0] == "not":
        return _negation_inside(formula[1][1])
    if formula[0] == "not" and formula[1][0] in ("all", "some"):
        return ("some" if formula[1][0] == "all" else "all", ("not", formula[1][1]))
    return formula


def _ground(formulas):
    constants = sorted({a[2] for f in formulas for a in _atoms(f)} - {None, "x"})
    new = [f"new{i}" for i, f in enumerate(formulas) if f[0] == "some"]
    grounded = []
    for i, formula in enumerate(formulas):
        if formula[0] == "some":
            grounded.append(_put(formula[1], f"new{i}"))
        elif formula[0] == "all":
            grounded += [_put(formula[1], c) for c in [*constants, *new] or ["new"]]
        else:
            grounded.append(formula)
    return grounded


def _put(formula, element):
    if formula[0] == "var":
        return ("var", formula[1], element if formula[2] == "x" else formula[2])
    return (formula[0], *(_put(part, element) for part in formula[1:]))


def _atoms(formula):
    if formula[0] == "var":
        return {formula}
    return set().union(*(_atoms(part) for part in formula[1:]))


def _value(formula, values):
    kind, *parts = formula
    if kind == "var":
        return values[formula]
    if kind == "not":
        return not _value(parts[0], values)
    left, right = (_value(part, values) for part in parts)
    return {"and": left and right, "or": left or right, "implies": not left or right}[kind]
