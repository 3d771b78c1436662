"""Rows of public logic data sets as problems: FLD and FLDx2, FOLIO, ProntoQA."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from rewardkit.errors import DataError
from rewardkit.problems.fld import is_fld, problem_from_fld
from rewardkit.types import Problem

Row = Mapping[str, Any]


def logic_problem(row: Row) -> Problem | None:
    """The problem of a row that has the shape of a known logic data set, None where it has not.

    Raises:
        DataError: it has the shape, but a column is not as documented.
    """
    if is_fld(row):
        return problem_from_fld(row)
    if is_folio(row):
        return problem_from_folio(row)
    if is_prontoqa(row):
        return problem_from_prontoqa(row)
    return None


def is_folio(row: Row) -> bool:
    """Whether a row has FOLIO's columns (Han et al., 2022, arXiv 2209.00840)."""
    return "premises" in row and "conclusion" in row


def problem_from_folio(row: Row) -> Problem:
    """A problem of a row of FOLIO: its sentences as the prompt, ``True``, ``False`` or ``Uncertain`` as the answer.

    The first-order annotations, where the row has them, go to ``meta["facts"]`` as fact1, fact2, ... and
    ``meta["hypothesis"]``, as they are written: not every one of them can be read.

    Raises:
        DataError: a column is not as documented.

    >>> row = {"premises": ["All cats purr.", "Tom is a cat."], "conclusion": "Tom purrs.", "label": "True",
    ...        "premises-FOL": ["∀x (Cat(x) → Purr(x))", "Cat(tom)"]}
    >>> problem = problem_from_folio(row)
    >>> problem.prompt.splitlines()[-1], problem.answer, problem.meta["facts"]["fact2"]
    ('Is this true, false or uncertain? Tom purrs.', 'True', 'Cat(tom)')
    """
    premises, conclusion = _lines(row["premises"]), row["conclusion"]
    if not premises or not isinstance(conclusion, str):
        raise DataError("premises must be sentences and conclusion a text")
    answer = {"Unknown": "Uncertain"}.get(str(row.get("label")), row.get("label"))
    if answer not in ("True", "False", "Uncertain", None):
        raise DataError(f"label is {answer!r}; it must be True, False, Uncertain or Unknown")
    formulas = _lines(row.get("premises-FOL") or [])
    meta: dict[str, Any] = {k: row[k] for k in ("story_id", "example_id") if k in row}
    if formulas:
        meta["facts"] = {f"fact{i}": text for i, text in enumerate(formulas, 1)}
    if row.get("conclusion-FOL"):
        meta["hypothesis"] = str(row["conclusion-FOL"])
    question = f"Is this true, false or uncertain? {conclusion.strip()}"
    return Problem.create("\n".join([*premises, question]), answer, meta=meta)


def is_prontoqa(row: Row) -> bool:
    """Whether a row has the columns of a ProntoQA example (Saparov & He, 2022, arXiv 2210.01240)."""
    return isinstance(row.get("query"), str) and isinstance(row.get("question"), str)


def problem_from_prontoqa(row: Row) -> Problem:
    """A problem of a ProntoQA example: ``question`` (the facts), ``query`` ("True or false: ..."), ``answer``.

    Sentences of its simple grammar ("Every A is a B.", "Max is not red.") are also put into formulas: where every one
    of them can be, ``meta`` holds ``facts`` and ``hypothesis``, and ``label``, PROVED or DISPROVED.

    >>> row = {"question": "Every cat is furry. Max is a cat.", "query": "True or false: Max is not furry.",
    ...        "chain_of_thought": ["Max is a cat.", "Every cat is furry.", "Max is furry."], "answer": "False"}
    >>> problem = problem_from_prontoqa(row)
    >>> problem.meta["facts"], problem.meta["hypothesis"], problem.meta["label"]
    ({'fact1': '(x): {Cat}x -> {Furry}x', 'fact2': '{Cat}{max}'}, '¬{Furry}{max}', 'DISPROVED')
    """
    facts_text, query = row["question"].strip(), row["query"].strip()
    answer = row.get("answer")
    if answer not in ("True", "False", None):
        raise DataError(f"answer is {answer!r}; it must be 'True' or 'False'")
    meta: dict[str, Any] = {}
    if isinstance(row.get("chain_of_thought"), list):
        meta["chain_of_thought"] = [str(s) for s in row["chain_of_thought"]]
    facts = [sentence_formula(s) for s in _sentences(facts_text)]
    hypothesis = sentence_formula(query.partition(":")[2].strip() or query)
    if hypothesis is not None and facts and None not in facts:
        meta["facts"] = {f"fact{i}": text for i, text in enumerate(facts, 1)}
        meta["hypothesis"] = hypothesis
        meta["label"] = {"True": "PROVED", "False": "DISPROVED"}.get(str(answer))
    return Problem.create(f"{facts_text}\n{query}", answer, meta=meta)


_SENTENCE = re.compile(
    r"(?:(?P<all>Every|Each|All|every|each|all) )?(?P<subject>[A-Za-z]{1,40})"
    r" (?:is|are)(?P<no> not)?(?: an?)? (?P<object>[A-Za-z]{1,40})\.?"
)


def sentence_formula(sentence: str) -> str | None:
    """A sentence of ProntoQA's grammar in FLD's syntax, None where it is of another.

    >>> sentence_formula("Wumpuses are not vumpuses."), sentence_formula("Max is an impus.")
    ('(x): {Wumpus}x -> ¬{Vumpus}x', '{Impus}{max}')
    """
    match = _SENTENCE.fullmatch(sentence.strip())
    if match is None:
        return None
    plural = " are " in sentence
    sign = "¬" if match["no"] else ""
    kind = _kind(match["object"])
    if match["all"] or plural:
        return f"(x): {{{_kind(match['subject'])}}}x -> {sign}{{{kind}}}x"
    return f"{sign}{{{kind}}}{{{match['subject'].lower()}}}"


def _kind(word: str) -> str:
    """A noun or adjective as a predicate's name; plurals as their singular ("wumpuses", "cats")."""
    low = word.lower()
    if low.endswith(("uses", "sses", "shes", "ches", "xes")):
        low = low[:-2]
    elif low.endswith("s") and not low.endswith(("us", "ss", "is", "ous")):
        low = low[:-1]
    return low.capitalize()


def _sentences(text: str) -> list[str]:
    return [part.strip() for part in text.split(".") if part.strip()]


def _lines(value: Any) -> list[str]:
    """A list of texts, or one text with a line each, as FOLIO's two editions have it."""
    if isinstance(value, str):
        return [line.strip() for line in value.splitlines() if line.strip()]
    if isinstance(value, list) and all(isinstance(line, str) for line in value):
        return [line.strip() for line in value if line.strip()]
    raise DataError("the premises are neither a list of texts nor one text of lines")
