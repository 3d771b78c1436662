"""Formats of others: each row there and back, what a format cannot say, and what is refused."""

from __future__ import annotations

import json

import pytest

from rewardkit.errors import ConfigError, DataError
from rewardkit.store import load_traces
from rewardkit.store.formats import (
    FORMATS,
    detect_format,
    export_format,
    from_openrlhf,
    from_prm800k,
    from_trl_preference,
    from_trl_stepwise,
    read_format,
    to_openrlhf,
    to_prm800k,
    to_trl_stepwise,
)
from rewardkit.store.formats.labels import with_labels
from rewardkit.types import Problem, Trace

STEPWISE = {"prompt": "How many?", "completions": ["1 + 1 = 2", "2 + 2 = 5"], "labels": [True, False]}
SHEPHERD = {
    "input": "How many? Step 1: 1 + 1 = 2 ки\nStep 2: The answer is: 3 ки",
    "label": "How many? Step 1: 1 + 1 = 2 +\nStep 2: The answer is: 3 -",
    "task": "GSM8K",
}
OPENRLHF = {"input": SHEPHERD["input"], "value": ["+", "-"]}
PROCESSBENCH = {
    "id": "gsm8k-1",
    "generator": "m",
    "problem": "How many?",
    "steps": ["1 + 1 = 2", "so 3"],
    "final_answer_correct": False,
    "label": 1,
}
FOVER = {"id": "f", "problem": "How many?", "solution_steps": ["1 + 1 = 2", "so 3"], "error_labels": [True, False]}
PREFERENCE = {"prompt": "How many?", "chosen": "2", "rejected": "3"}
UNPAIRED = {"prompt": "How many?", "completion": "1 + 1 = 2\n#### 2", "label": True}
PRM800K = {
    "question": {"problem": "How many?", "ground_truth_answer": "2"},
    "label": {
        "steps": [
            {
                "completions": [{"text": "1 + 1 = 2", "rating": 1, "flagged": False}],
                "human_completion": None,
                "chosen_completion": 0,
            },
            {
                "completions": [{"text": "so 3", "rating": -1, "flagged": False}],
                "human_completion": None,
                "chosen_completion": 0,
            },
        ],
        "finish_reason": "found_error",
    },
}
ROWS = {
    "trl-stepwise": STEPWISE,
    "math-shepherd": SHEPHERD,
    "openrlhf-prm": OPENRLHF,
    "processbench": PROCESSBENCH,
    "fover": FOVER,
    "trl-preference": PREFERENCE,
    "trl-unpaired": UNPAIRED,
    "prm800k": PRM800K,
}
SOURCES = {name: name for name in ROWS} | {
    "trl-stepwise": "trl",
    "trl-preference": "trl",
    "trl-unpaired": "trl",
    "openrlhf-prm": "openrlhf",
    "processbench": "human",
}


def test_every_format_has_a_row_here():
    assert set(ROWS) == set(FORMATS)


@pytest.mark.parametrize("name", ROWS)
def test_each_row_is_known_by_its_columns(name):
    assert detect_format(ROWS[name]) == name


@pytest.mark.parametrize("name", ROWS)
def test_there_and_back_is_the_same_row(name):
    made = list(FORMATS[name].write(read_format([ROWS[name]]), SOURCES[name]))
    assert [{key: row[key] for key in ROWS[name]} for row in made] == [ROWS[name]]


@pytest.mark.parametrize("name", ROWS)
def test_files_of_each_format_are_sources_of_traces(name, tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(ROWS[name]) + "\n", encoding="utf-8")
    rows = load_traces(path).rows
    assert {label.p_correct for row in rows for label in row.labels} <= {0.0, 1.0}
    assert all(row.labels for row in rows)


def test_soft_labels_stay_soft_both_ways():
    row = STEPWISE | {"labels": [0.9, 0.25]}
    assert [x.p_correct for x in from_trl_stepwise(row).labels] == [0.9, 0.25]
    assert to_trl_stepwise(from_trl_stepwise(row))["labels"] == [0.9, 0.25]
    assert to_openrlhf(from_openrlhf(OPENRLHF | {"value": [0.9, 0.25]}))["value"] == [0.9, 0.25]


def test_stepwise_rows_end_before_the_first_step_without_a_label():
    trace = Trace.create(Problem.create("?"), ["a", "b", "c"])
    row = to_trl_stepwise(with_labels(trace, [1.0, None, 0.0], "x", "local"), "x")
    assert (row["completions"], row["labels"]) == (["a"], [True])


def test_a_step_is_no_bool_of_every_token():
    # datasets.map keeps a bool column's type, and -100 becomes True: our labels are floats, one a step.
    assert all(type(x.p_correct) is float for x in from_trl_stepwise(STEPWISE).labels)


def test_other_completions_of_prm800k_are_traces_of_their_own():
    steps = [
        {
            "completions": [
                {"text": "right", "rating": 1},
                {"text": "neutral", "rating": 0},
                {"text": "?", "rating": None},
            ],
            "chosen_completion": 0,
            "human_completion": None,
        },
        {
            "completions": [{"text": "wrong", "rating": -1}],
            "chosen_completion": None,
            "human_completion": {"text": "mended", "rating": None},
        },
        {"completions": [{"text": "bad", "rating": -1}], "chosen_completion": None, "human_completion": None},
    ]
    row = {"question": {"problem": "?"}, "label": {"steps": steps}}
    made = [([s.text for s in r.trace.steps], [x.p_correct for x in r.labels]) for r in from_prm800k(row)]
    assert made == [
        (["right", "mended"], [1.0, 1.0]),
        (["neutral"], [1.0]),
        (["right", "wrong"], [1.0, 0.0]),
        (["right", "mended", "bad"], [1.0, 1.0, 0.0]),
    ]
    assert [
        x.p_correct for r in from_prm800k(row, neutral=None) for x in r.labels if r.trace.steps[0].text == "neutral"
    ] == []
    assert to_prm800k(from_prm800k(PRM800K)[0])["label"] == PRM800K["label"]
    number = PRM800K | {"question": {"problem": "How many?", "ground_truth_answer": 2}}
    assert from_prm800k(number)[0].trace.problem.answer == "2"


@pytest.mark.parametrize("beside", [{}, {"prompt": "How many?"}])
def test_the_implicit_prompt_of_a_preference_is_what_the_conversations_share(beside):
    """Also beside a column ``prompt``, as in UltraFeedback: the question is no part of the response."""
    asked = {"role": "user", "content": "How many?"}
    row = {
        **beside,
        "chosen": [asked, {"role": "assistant", "content": "2"}],
        "rejected": [asked, {"role": "assistant", "content": "3"}],
    }
    chosen, rejected = from_trl_preference(row)
    assert chosen.trace.problem.text == rejected.trace.problem.text == "How many?"
    assert (chosen.trace.response, rejected.trace.response) == ("2", "3")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (STEPWISE | {"labels": [True]}, "one for each of the 2 completions"),
        ({"prompt": "?", "completion": [{"role": "user", "content": "?"}], "label": True}, "belongs to the prompt"),
        (STEPWISE | {"labels": [True, 2.0]}, "not a number from 0 to 1"),
        (STEPWISE | {"completions": []}, "at least one"),
        (SHEPHERD | {"label": SHEPHERD["label"].replace("+", "?", 2)}, r"in place of mark 1"),
        (SHEPHERD | {"input": "no steps ки", "label": "no steps +"}, "then 'Step 1"),
        (OPENRLHF | {"value": ["+"]}, "1 labels for 2 marks"),
        (PROCESSBENCH | {"label": 2}, "neither -1 nor one of the 2 steps"),
        (PRM800K | {"label": {}}, "not as PRM800K documents it"),
        (UNPAIRED | {"completion": [" "]}, "must be a text"),
        (PROCESSBENCH | {"steps": ["", " "]}, "steps hold no text"),
    ],
)
def test_rows_that_do_not_fit_are_refused_with_their_number(row, message):
    with pytest.raises(DataError, match=f"row 0 .*{message}"):
        list(read_format([row]))


@pytest.mark.parametrize(
    ("name", "source", "message"), [("fover", "human", "'human' that is local"), ("prm800k", "nobody", "of 'nobody'")]
)
def test_rows_without_a_label_are_not_written(tmp_path, name, source, message):
    with pytest.raises(DataError, match=message):
        export_format(tmp_path / "out.jsonl", read_format([PROCESSBENCH]), name, source)


def test_an_outcome_may_be_one_or_nought():
    assert [row.labels[-1].p_correct for row in read_format([UNPAIRED | {"label": 0}, UNPAIRED])] == [0.0, 1.0]


def test_a_mark_inside_a_question_never_makes_a_step():
    trace = Trace.create(Problem.create("Is ки a word?"), ["yes"])
    with pytest.raises(DataError, match="holds the mark"):
        to_openrlhf(with_labels(trace, [1.0], "x", "value"), "x")


def test_unknown_columns_and_formats_are_named():
    with pytest.raises(DataError, match="row 0 has the columns of no known format"):
        list(read_format([{"x": 1}]))
    with pytest.raises(ConfigError, match="there is no format 'trl'"):
        list(read_format([STEPWISE], "trl"))


def test_export_counts_what_a_format_cannot_say(tmp_path):
    trace = Trace.create(Problem.create("?"), ["a", "b"])
    rows = [from_trl_stepwise(STEPWISE), with_labels(trace, [], "trl", "prefix")]
    written, left_out = export_format(tmp_path / "out.jsonl", rows, "math-shepherd", "trl")
    assert (written, left_out) == (1, {"it has no label of 'trl'": 1})
    again = load_traces(tmp_path / "out.jsonl").rows
    assert [x.p_correct for x in again[0].labels] == [1.0, 0.0]
    with pytest.raises(DataError, match="nothing to write as fover with the labels of 'nobody'|as trl-unpaired"):
        export_format(tmp_path / "none.jsonl", rows, "trl-unpaired", "nobody")
