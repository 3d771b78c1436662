"""The syntax and the prompts of FLD, and its rows: ``{A}``, ``{A}{a}``, ``(x): {F}x -> {G}x``, ``(Ex): {F}x``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from rewardkit.errors import DataError
from rewardkit.types import Problem
from rewardkit.verifiers.formula import Connected, Formula, Not, Predicate, Quantified, Variable

_SIGNS = {"and": "&", "or": "v", "implies": "->", "iff": "<->"}
_FACT = re.compile(r"\b(fact\d{1,4}):")
_LABEL = re.compile(r"_*(PROVED|DISPROVED|UNKNOWN)_*")


def formula_text(formula: Formula) -> str:
    """A formula in FLD's syntax; every inner connective stands in brackets.

    >>> a, b = Predicate("A"), Predicate("B")
    >>> formula_text(Connected("implies", Connected("and", a, Not(b)), b))
    '({A} & ¬{B}) -> {B}'
    >>> x = Variable("x", "object")
    >>> formula_text(Quantified("exists", x, Predicate("F", (x,))))
    '(Ex): {F}x'
    """
    match formula:
        case Connected(connective, left, right):
            return f"{_inner(left)} {_SIGNS[connective]} {_inner(right)}"
        case Quantified(quantifier, variable, body):
            mark = f"({variable.name})" if quantifier == "forall" else f"(E{variable.name})"
            return f"{mark}: {formula_text(body) if quantifier == 'forall' else _inner(body)}"
        case Not(body):
            return f"¬{_inner(body)}"
        case Predicate(name, arguments):
            return f"{{{name}}}" + "".join(_argument(a) for a in arguments)
        case _:
            raise ValueError(f"FLD's syntax has no {type(formula).__name__}")


def deduction_problem(
    facts: Mapping[str, str], hypothesis: str, label: str | None, gold_proof: str, meta: Mapping[str, Any] | None = None
) -> Problem:
    """A problem whose prompt is its facts and hypothesis, and whose meta holds them for the ``logic`` labeler.

    >>> deduction_problem({"fact1": "{A}"}, "{A}", "PROVED", "fact1 -> hypothesis ;").answer
    'PROVED'
    """
    lines = [f"$hypothesis$: {hypothesis}", "$facts$:", *(f"{name}: {text}" for name, text in facts.items())]
    known = {"facts": dict(facts), "hypothesis": hypothesis, "label": label, "gold_proof": gold_proof}
    return Problem.create("\n".join(lines), label, meta={**known, **(meta or {})})


def is_fld(row: Mapping[str, Any]) -> bool:
    """Whether a row has FLD's and FLDx2's columns."""
    return "hypothesis_formula" in row and "facts_formula" in row


def problem_from_fld(row: Mapping[str, Any]) -> Problem:
    """A problem of a row of FLD or FLDx2, in symbols (the columns ``*_formula``).

    Facts that FLD itself marks as ``fake_formula`` are dropped. A proof that assumes something for a contradiction
    (``assump1``) has steps that do not follow from the facts alone; it is left out, the problem stays.

    Raises:
        DataError: a column is missing or not as documented.

    >>> row = {"hypothesis_formula": "{B}", "facts_formula": "fact1: {A} fact2: {A} -> {B}",
    ...        "proof_label": "__PROVED__", "proofs_formula": ["fact1 & fact2 -> hypothesis;"]}
    >>> problem_from_fld(row).meta["facts"], problem_from_fld(row).answer
    ({'fact1': '{A}', 'fact2': '{A} -> {B}'}, 'PROVED')
    """
    hypothesis = row["hypothesis_formula"]
    if not isinstance(hypothesis, str) or not hypothesis.strip():
        raise DataError("hypothesis_formula is not a text")
    facts = {k: v for k, v in split_facts(row["facts_formula"]).items() if "fake_formula" not in v}
    if not facts:
        raise DataError("facts_formula holds no facts such as 'fact1: {A}'")
    written = row.get("proof_label") or row.get("world_assump_label")
    label = _LABEL.fullmatch(str(written).strip()) if written else None
    if written and label is None:
        raise DataError(f"proof_label is {written!r}; it must be PROVED, DISPROVED or UNKNOWN")
    proofs = row.get("proofs_formula") or []
    first = proofs if isinstance(proofs, str) else next((p for p in proofs if isinstance(p, str)), "")
    gold = "" if "assump" in first else proof_lines(first)
    kept = {k: row[k] for k in ("id", "depth", "original_tree_depth", "version") if k in row}
    return deduction_problem(facts, hypothesis.strip(), label[1] if label else None, gold, kept)


def split_facts(text: Any) -> dict[str, str]:
    """``fact1: {A} fact2: {B}`` in one line, or one a line, as a dict.

    Raises:
        DataError: not a text, or a name stands twice.

    >>> split_facts("fact1: {A} & {B}\\nfact2: ¬{C}")
    {'fact1': '{A} & {B}', 'fact2': '¬{C}'}
    """
    if not isinstance(text, str):
        raise DataError("the facts are not a text")
    parts = _FACT.split(text)
    names, texts = parts[1::2], [part.strip().rstrip(";").strip() for part in parts[2::2]]
    if len(set(names)) < len(names):
        raise DataError("a fact's name stands twice")
    return dict(zip(names, texts, strict=True))


def facts_line(facts: Mapping[str, str]) -> str:
    """Facts as FLD writes them, in one line; the inverse of `split_facts`.

    >>> facts_line({"fact1": "{A}", "fact2": "{B}"})
    'fact1: {A} fact2: {B}'
    """
    return " ".join(f"{name}: {text}" for name, text in facts.items())


def proof_lines(proof: str) -> str:
    """A proof with one step a line, each closed by `` ;``.

    >>> proof_lines("fact1 -> int1: {A}; int1 -> hypothesis;")
    'fact1 -> int1: {A} ;\\nint1 -> hypothesis ;'
    """
    return "\n".join(f"{step.strip()} ;" for step in proof.replace("\n", ";").split(";") if step.strip())


def _inner(formula: Formula) -> str:
    text = formula_text(formula)
    return f"({text})" if isinstance(formula, Connected | Quantified) else text


def _argument(argument: Variable) -> str:
    return argument.name if argument.name == "x" else f"{{{argument.name}}}"
