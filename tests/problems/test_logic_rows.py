"""Rows of FLD, FOLIO and ProntoQA, made by hand in their documented formats, become problems."""

from __future__ import annotations

import json

import pytest

from rewardkit.errors import DataError
from rewardkit.problems.fld import problem_from_fld, split_facts
from rewardkit.problems.rows import logic_problem, problem_from_folio, problem_from_prontoqa, sentence_formula
from rewardkit.store import load_problems

FLD = {
    "hypothesis": "that the star shines is right.",
    "hypothesis_formula": "{B}{a}",
    "facts": "fact1: everything that glows shines. fact2: the star glows.",
    "facts_formula": "fact1: (x): {A}x -> {B}x fact2: {A}{a} fact3: fake_formula_7",
    "proofs_formula": ["fact1 & fact2 -> int1: {B}{a}; int1 -> hypothesis;", "fact2 -> hypothesis;"],
    "proof_label": "PROVED",
    "depth": 2,
}
FOLIO = {
    "story_id": 1,
    "premises": ["Every bird sings.", "Pip is a bird."],
    "premises-FOL": ["∀x (Bird(x) → Sings(x))", "Bird(pip)"],
    "conclusion": "Pip sings.",
    "label": "Unknown",
}
PRONTO = {
    "question": "Every wumpus is a tumpus. Tumpuses are not shy. Max is a wumpus.",
    "query": "True or false: Max is shy.",
    "chain_of_thought": ["Max is a wumpus.", "Max is a tumpus.", "Max is not shy."],
    "answer": "False",
}


def test_fld_row_keeps_real_facts_and_its_first_proof():
    problem = problem_from_fld(FLD)
    assert problem.meta["facts"] == {"fact1": "(x): {A}x -> {B}x", "fact2": "{A}{a}"}
    assert problem.meta["gold_proof"] == "fact1 & fact2 -> int1: {B}{a} ;\nint1 -> hypothesis ;"
    assert problem.answer == problem.meta["label"] == "PROVED"
    assert "fact2: {A}{a}" in problem.text and "{B}{a}" in problem.text


def test_proof_by_contradiction_is_left_out_and_the_problem_stays():
    row = FLD | {"proofs_formula": ["void -> assump1: ¬{B}{a}; assump1 & fact1 -> hypothesis;"]}
    assert problem_from_fld(row).meta["gold_proof"] == ""


def test_facts_are_read_from_one_line_or_many():
    assert split_facts("fact1: {A} fact2: {B}") == split_facts("fact1: {A}\nfact2: {B}\n")


def test_a_fact_that_stands_twice_is_an_error():
    with pytest.raises(DataError, match="twice"):
        split_facts("fact1: {A} fact1: {B}")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"facts_formula": ""}, "holds no facts"),
        ({"facts_formula": 3}, "not a text"),
        ({"hypothesis_formula": ""}, "hypothesis_formula"),
        ({"proof_label": "PERHAPS"}, "proof_label is 'PERHAPS'"),
    ],
)
def test_damaged_fld_row_says_which_column(change, message):
    with pytest.raises(DataError, match=message):
        problem_from_fld(FLD | change)


def test_folio_row_asks_of_the_conclusion():
    problem = problem_from_folio(FOLIO)
    assert problem.answer == "Uncertain"
    assert problem.meta["facts"] == {"fact1": "∀x (Bird(x) → Sings(x))", "fact2": "Bird(pip)"}
    assert problem.text.splitlines()[:2] == FOLIO["premises"]


def test_folio_premises_may_be_one_text():
    row = FOLIO | {"premises": "Every bird sings.\nPip is a bird."}
    assert problem_from_folio(row).prompt == problem_from_folio(FOLIO).prompt


def test_prontoqa_row_is_put_into_formulas():
    problem = problem_from_prontoqa(PRONTO)
    assert list(problem.meta["facts"].values()) == [
        "(x): {Wumpus}x -> {Tumpus}x",
        "(x): {Tumpus}x -> ¬{Shy}x",
        "{Wumpus}{max}",
    ]
    assert (problem.meta["hypothesis"], problem.meta["label"], problem.answer) == ("{Shy}{max}", "DISPROVED", "False")


def test_prontoqa_row_of_other_sentences_has_no_formulas():
    problem = problem_from_prontoqa(PRONTO | {"question": "If it rains, Max is wet. Max is a wumpus."})
    assert "facts" not in problem.meta and problem.answer == "False"


@pytest.mark.parametrize(
    ("sentence", "formula"),
    [
        ("Each impus is a jompus", "(x): {Impus}x -> {Jompus}x"),
        ("Cats are carnivores", "(x): {Cat}x -> {Carnivore}x"),
        ("Fae is not a tumpus.", "¬{Tumpus}{fae}"),
        ("Every number that is prime is odd", None),
        ("import os", None),
    ],
)
def test_sentences_of_the_simple_grammar(sentence, formula):
    assert sentence_formula(sentence) == formula


def test_a_row_of_none_of_these_is_left_to_others():
    assert logic_problem({"question": "1 + 1?", "answer": "2"}) is None


def test_logic_rows_in_a_file_are_problems(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in [FLD, FOLIO, PRONTO, FLD | {"facts_formula": ""}]))
    loaded = load_problems(str(path))
    assert [p.answer for p in loaded.rows] == ["PROVED", "Uncertain", "False"]
    assert [row.where for row in loaded.bad] == ["rows.jsonl line 4"]
