"""FoVer's rows: read and written without loss, balanced as the paper means it, each draw bound to its row."""

from __future__ import annotations

import itertools
import json
from collections import Counter

import pytest

from rewardkit.errors import DataError
from rewardkit.problems.deduction import deductions
from rewardkit.store import LabelledTrace, load_traces
from rewardkit.store.fover import (
    balance_by_error,
    correctness,
    from_fover,
    last_step_balanced,
    merge_steps,
    select_responses,
    to_fover,
    write_fover,
)
from rewardkit.types import Problem, StepLabel, Trace

ROW = {
    "id": "fldx2-17",
    "problem": "Prove or disprove the hypothesis.\n$hypothesis$ = {B} ; $context$ = fact1: {A} fact2: {A} -> {B}",
    "problem_witout_definition": "$hypothesis$ = {B}",
    "solution_steps": ["fact1 & fact2 -> int1: {C}", "int1 -> hypothesis", "The label is PROVED."],
    "error_labels": [False, False, True],
    "messages": [{"role": "user", "content": "..."}, {"role": "assistant", "content": "incorrect"}],
    "messages_for_prediction": [{"role": "user", "content": "..."}],
    "base_dataset": "fldx2_symbol",
    "hypothesis_formula": "{B}",
    "facts_formula": "fact1: {A} fact2: {A} -> {B}",
}


def row_of(marks, name="p"):
    """A labelled trace with one step a mark (1.0, 0.0 or None)."""
    trace = Trace.create(Problem.create(name), [f"step {i} of {name}\n" for i in range(len(marks))])
    return LabelledTrace(trace, tuple(StepLabel(trace.id, i, p, "fover", "local") for i, p in enumerate(marks)))


def test_reading_and_writing_gives_the_same_row():
    assert to_fover(from_fover(ROW)) == ROW


@pytest.mark.parametrize("marks", [[True, None, False], [True], [None, None, None], []])
def test_missing_labels_stay_missing(marks):
    row = ROW | {"error_labels": marks}
    assert to_fover(from_fover(row)) == row


def test_a_file_survives_the_way_there_and_back(tmp_path):
    rows = [ROW, ROW | {"id": "2", "problem": "another", "model": "m"}]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert write_fover(tmp_path / "b.jsonl", load_traces(str(tmp_path / "a.jsonl")).rows) == 2
    assert [json.loads(line) for line in (tmp_path / "b.jsonl").read_text().splitlines()] == rows


def test_true_means_correct():
    row = from_fover(ROW)
    assert [(x.step, x.p_correct, x.meaning) for x in row.labels] == [
        (0, 0.0, "local"),
        (1, 0.0, "local"),
        (2, 1.0, "local"),
    ]


def test_facts_and_hypothesis_reach_the_problem():
    assert from_fover(ROW).trace.problem.meta == {
        "facts": {"fact1": "{A}", "fact2": "{A} -> {B}"},
        "hypothesis": "{B}",
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"error_labels": [True] * 4}, "one for each of the 3 steps"),
        ({"error_labels": [1, 0, 1]}, "true, false or null"),
        ({"solution_steps": []}, "at least one"),
        ({"problem": None}, "problem must be a text"),
    ],
)
def test_columns_that_do_not_fit_are_an_error(change, message):
    with pytest.raises(DataError, match=message):
        from_fover(ROW | change)


def test_our_own_traces_get_messages_and_formulas():
    problem = next(deductions(depth=2))
    trace = Trace.create(Problem.create(problem.text), problem.meta["gold_proof"].splitlines())
    labels = tuple(StepLabel(trace.id, i, 1.0, "logic", "local") for i in range(len(trace.steps)))
    made = to_fover(LabelledTrace(trace, labels), "logic")
    assert made["error_labels"] == [True] * len(trace.steps)
    assert [m["content"] for m in made["messages"][1::2]] == ["correct"] * len(trace.steps)
    assert made["messages"][0]["content"].startswith(problem.text)
    assert from_fover(made).trace.problem.meta["facts"] == problem.meta["facts"]


def test_share_of_rows_without_an_error_is_as_asked():
    rows = [row_of([1.0] * 3, f"good{i}") for i in range(50)] + [row_of([1.0, 0.0], f"bad{i}") for i in range(70)]
    balanced = balance_by_error(rows, correct_share=0.3, seed=1)
    kinds = Counter(0.0 in correctness(row, "fover") for row in balanced)
    assert kinds == {True: 70, False: 30}


def test_rows_of_unknown_kind_stay_out_of_the_balance():
    rows = [row_of([1.0, None], "half"), row_of([1.0], "good"), row_of([None, 0.0], "bad")]
    names = {row.trace.problem.text for row in balance_by_error(rows, correct_share=0.5)}
    assert names == {"good", "bad"}


def test_prefixes_are_balanced_on_their_own_last_label():
    # Under the paper's off-by-one, the label before the last is looked at: here it would always be right.
    rows = [row_of([1.0, 1.0, 0.0], f"w{i}") for i in range(20)] + [row_of([1.0, 1.0, 1.0], f"r{i}") for i in range(40)]
    balanced = last_step_balanced(rows)
    assert Counter(correctness(row, "fover")[-1] for row in balanced) == {0.0: 20, 1.0: 20}


def test_final_steps_and_others_are_balanced_apart():
    rows = [row_of([0.0, 1.0], f"a{i}") for i in range(9)] + [row_of([1.0, 0.0], f"b{i}") for i in range(4)]
    found = Counter((len(row.trace.steps), correctness(row, "fover")[-1]) for row in last_step_balanced(rows))
    assert found == {(1, 0.0): 4, (1, 1.0): 4, (2, 0.0): 4, (2, 1.0): 4}


def test_draws_depend_on_the_row_not_on_its_place():
    rows = [row_of([1.0, 0.0, 1.0, 1.0], f"p{i}") for i in range(30)]
    forward = {row.trace.id for row in last_step_balanced(rows, seed=3)}
    assert forward == {row.trace.id for row in last_step_balanced(rows[::-1], seed=3)}
    assert forward != {row.trace.id for row in last_step_balanced(rows, seed=4)}


def test_merging_hits_every_index_at_its_rate():
    # The paper's code seeds without the row's id: the same indices merge in every row.
    merged: Counter[int] = Counter()
    for i in range(400):
        row = row_of([1.0] * 8, f"p{i}")
        at = 0
        for step in merge_steps(row, 0.2).trace.steps:
            lines = step.text.count("\n")
            merged.update(range(at + 1, at + lines))
            at += lines
    assert set(merged) == set(range(1, 8))
    assert all(50 <= merged[index] <= 115 for index in range(1, 8))


def test_merging_keeps_the_response():
    row = row_of([1.0, 0.0, None, 1.0])
    assert merge_steps(row, 0.5, seed=2).trace.response == row.trace.response


@pytest.mark.parametrize("marks", list(itertools.product([1.0, 0.0, None], repeat=2)))
def test_joint_label_is_the_and_of_three_values(marks):
    (label,) = merge_steps(row_of(marks), 1.0).labels
    wanted = 0.0 if 0.0 in marks else None if None in marks else 1.0
    assert label.p_correct == wanted


# --- one response a problem ---


def responses(problem, *all_marks):
    """Several responses to one problem, each with its marks."""
    made = []
    for marks in all_marks:
        steps = [f"step {i} of {marks}\n" for i in range(len(marks))]
        trace = Trace.create(Problem.create(problem), steps)
        labels = tuple(StepLabel(trace.id, i, p, "fover", "local") for i, p in enumerate(marks))
        made.append(LabelledTrace(trace, labels))
    return made


RIGHT, ONE, TWO, UNKNOWN = (1.0, 1.0), (1.0, 0.0), (0.0, 0.0), (1.0, None)


def chosen(rows, **shares):
    return [tuple(correctness(row, "fover")) for row in select_responses(rows, **shares)]


def test_selection_follows_the_papers_shares():
    rows = [row for i in range(3000) for row in responses(f"p{i}", RIGHT, ONE, TWO)]
    counts = Counter(chosen(rows))
    third = 0.2 / 3
    for marks, share in {RIGHT: third, ONE: third + 0.3 + 0.2, TWO: third + 0.3}.items():
        assert counts[marks] / 3000 == pytest.approx(share, abs=0.03)


@pytest.mark.parametrize(
    ("shares", "wanted"),
    [({"any_share": 0.0, "wrong_share": 0.0}, {ONE}), ({"any_share": 0.0, "wrong_share": 1.0}, {ONE, TWO})],
)
def test_each_way_to_choose(shares, wanted):
    rows = [row for i in range(60) for row in responses(f"p{i}", TWO, RIGHT, ONE)]
    assert set(chosen(rows, **shares)) == wanted


def test_where_all_are_right_any_is_chosen_and_the_problems_stay_in_order():
    rows = [row for i in range(40) for row in responses(f"p{i}", RIGHT, (1.0,))]
    selected = select_responses(rows)
    assert [row.trace.problem.text for row in selected] == [f"p{i}" for i in range(40)]
    assert set(chosen(rows)) == {RIGHT, (1.0,)}


def test_responses_that_are_not_known_to_be_right_or_wrong_are_not_chosen():
    assert chosen([*responses("p", UNKNOWN, RIGHT), *responses("q", UNKNOWN)]) == [RIGHT]


def test_a_choice_depends_on_its_problem_and_the_seed_alone():
    rows = [row for i in range(50) for row in responses(f"p{i}", RIGHT, ONE, TWO)]
    assert chosen(rows)[10:] == chosen(rows[30:])
    assert chosen(rows, seed=1) != chosen(rows)


def test_shares_that_are_none():
    with pytest.raises(ValueError, match="together at most 1"):
        select_responses([], any_share=0.7, wrong_share=0.6)
