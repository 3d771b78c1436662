"""FoVer's format of formal logic: the problem's facts, and a response of one inference a line.

    $hypothesis$: {C}{a}
    $facts$:
    fact1: (x): {A}x -> {C}x
    fact2: {A}{a}
    $proof$:
    fact1 & fact2 -> int1: {C}{a} ;
    int1 -> hypothesis ;
    $proof_label$: PROVED

Premises are joined by ``&``, a comma or "and"; the arrow may be ``->``, ``=>``, ``→``, ``⇒`` or ``⊢``. Formulas stay
text here, see `rewardkit.verifiers.fol_parser`. A reader of lines: linear in the length, and never raises on text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from rewardkit.types import Problem

Claim = Literal["PROVED", "DISPROVED", "UNKNOWN"]

HYPOTHESIS = "hypothesis"
MAX_PREMISES = 32

_ARROWS = ("->", "=>", "→", "⇒", "⊢")
_NAME = re.compile(r"[A-Za-z_]{1,20}\d{0,6}|\[[A-Za-z]{1,20}\d{0,6}\]")
_CONCLUSION = re.compile(r"\[?(int\s?\d{1,6}|hypothesis|fact\s?\d{1,6}|assump\d{0,6})\]?", re.IGNORECASE)
_REFERENCE = re.compile(r"(?:fact|sent|int)\d{1,6}")
_FACT = re.compile(r"\s{0,8}(?:[-*]\s?)?((?:fact|sent)\s?\d{1,6})\s?[:.=](.*)", re.IGNORECASE)
_MARK = re.compile(
    r"\s{0,8}[$*_#\s]{0,6}(proof[ _]label|label|answer|hypothesis|facts?|context|proof)[$*_\s]{0,6}[:=](.*)", re.I
)
_HEADER = re.compile(r"\s{0,8}\$?(?:proof|facts|context)\$?\s{0,4}[:=]?\s{0,8}", re.IGNORECASE)
_LABEL = re.compile(
    r"\s{0,8}[$*_#]{0,4}(?:proof[ _])?(?:label|answer)[$*_]{0,4}\s{0,4}[:=]\s{0,4}[$*_]{0,4}"
    r"(PROVED|DISPROVED|UNKNOWN)[$*_.;\s]{0,8}",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Inference:
    """One line ``fact1 & int2 -> int3: FORMULA``.

    Attributes:
        cites: names of the premises, in order.
        concludes: ``int3``, or ``hypothesis``; empty where a formula stands behind the arrow without a name.
        formula: as written, empty where none is.
        unread: names among the premises that are no names at all.
    """

    cites: tuple[str, ...]
    concludes: str
    formula: str
    unread: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Prose:
    """A line that looks like an inference or an answer but is not in the format."""

    text: str


@dataclass(frozen=True, slots=True)
class FinalAnswer:
    """The line ``$proof_label$: PROVED``."""

    claim: Claim


Line = Inference | FinalAnswer | Prose


@dataclass(frozen=True, slots=True)
class LogicProblem:
    """Facts and hypothesis as text.

    Attributes:
        facts: from name (``fact1``) to formula.
        hypothesis: None where the problem states none.
        label: the gold label, where it is known.
    """

    facts: Mapping[str, str] = field(default_factory=dict)
    hypothesis: str | None = None
    label: Claim | None = None


def read_problem(problem: Problem) -> LogicProblem:
    """Facts and hypothesis from ``problem.meta`` (``facts``, ``hypothesis``, ``label``), else from its prompt.

    ``meta["facts"]`` maps names to formulas, or lists formulas (named ``fact1`` on). Without a ``label``, the
    problem's answer counts. In a prompt the last block counts, so that worked examples before it do no harm.

    >>> read_problem(Problem.create("$hypothesis$: {B}\\n$facts$:\\nfact1: {A}\\nfact2: {A} -> {B}", "PROVED"))
    LogicProblem(facts={'fact1': '{A}', 'fact2': '{A} -> {B}'}, hypothesis='{B}', label='PROVED')
    """
    meta = problem.meta
    read = LogicProblem() if meta.get("facts") and meta.get("hypothesis") else _from_text(problem.text)
    facts = _named(meta["facts"]) if meta.get("facts") else read.facts
    hypothesis = str(meta["hypothesis"]) if meta.get("hypothesis") else read.hypothesis
    return LogicProblem(facts, hypothesis, as_claim(meta.get("label")) or as_claim(problem.answer))


def as_claim(text: Any) -> Claim | None:
    """One of the three labels, however it is decorated; else None.

    >>> as_claim("__PROVED__"), as_claim("no idea")
    ('PROVED', None)
    """
    word = str(text).strip(" _$*.;\n").upper()
    known: dict[str, Claim] = {"PROVED": "PROVED", "DISPROVED": "DISPROVED", "UNKNOWN": "UNKNOWN"}
    return known.get(word)


def read_step(text: str) -> list[Line]:
    """The inferences and answers in one step, in order; headings and empty lines are none.

    >>> read_step("fact1, int2 -> int3: {A} -> {B};")
    [Inference(cites=('fact1', 'int2'), concludes='int3', formula='{A} -> {B}', unread=())]
    >>> read_step("$proof$:\\n"), read_step("$proof_label$: PROVED")
    ([], [FinalAnswer(claim='PROVED')])
    >>> read_step("fact1 -> {A} ;")
    [Inference(cites=('fact1',), concludes='', formula='{A}', unread=())]
    >>> read_step("So it holds.")
    [Prose(text='So it holds.')]
    """
    lines: list[Line] = []
    for row in text.split("\n"):
        for part in row.split(";"):
            part = part.strip().removeprefix("$proof$:").removeprefix("$proof$").strip()
            if part and not _HEADER.fullmatch(part[:80]):
                lines.append(_read_line(part))
    return lines


def _read_line(text: str) -> Line:
    label = _LABEL.fullmatch(text[:200]) if len(text) < 200 else None
    claim = as_claim(label[1]) if label else None
    if claim:
        return FinalAnswer(claim)
    return _read_inference(text) or Prose(text)


def _read_inference(text: str) -> Inference | None:
    cuts = [(at, arrow) for arrow in _ARROWS if (at := text.find(arrow)) >= 0]
    if not cuts:
        return None
    at, arrow = min(cuts)
    premises, rest = text[:at].strip(), text[at + len(arrow) :].strip()
    name, _, formula = rest.partition(":")
    concluded = _CONCLUSION.fullmatch(name.strip())
    if len(premises) > 2000:
        return None
    names = [_key(each) for each in re.split(r"[&,∧]|\band\b", premises)] if premises else []
    names = [each for each in names if each and each != "void"]
    if len(names) > MAX_PREMISES:
        return None
    if concluded is None:
        cited = names and all(_REFERENCE.fullmatch(each) for each in names)
        # A second arrow may be an implication or the next step.
        plain = rest.startswith(("{", "(", "¬")) and not any(arrow in rest for arrow in _ARROWS)
        return Inference(tuple(names), "", rest) if cited and plain else None
    unread = tuple(each for each in names if not _NAME.fullmatch(each))
    return Inference(tuple(names), _key(concluded[1]), formula.strip(), unread)


def _from_text(text: str) -> LogicProblem:
    facts: dict[str, str] = {}
    hypothesis = None
    for row in text.split("\n"):
        fact = _FACT.fullmatch(row[:5000])
        if fact:
            facts[_key(fact[1])] = fact[2].strip().rstrip(";").strip()
            continue
        mark = _MARK.fullmatch(row[:5000])
        kind = mark[1].lower() if mark else ""
        if mark and kind == HYPOTHESIS:
            hypothesis = mark[2].strip().rstrip(";").strip() or hypothesis
        elif kind in ("context", "facts"):
            facts = {}
    return LogicProblem(facts, hypothesis)


def _named(facts: Any) -> dict[str, str]:
    if isinstance(facts, Mapping):
        return {_key(str(name)): str(text) for name, text in facts.items()}
    if isinstance(facts, (list, tuple)):
        return {f"fact{i}": str(text) for i, text in enumerate(facts, 1)}
    return {}


def _key(name: str) -> str:
    """``Fact 1`` and ``fact1`` are one name."""
    return "".join(name.split()).lower()
