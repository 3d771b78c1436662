"""The arithmetic labeler against people: ProcessBench's labels and GSM8K's worked answers, as shipped."""

from __future__ import annotations

import gzip
import json

from rewardkit.labelers.arithmetic import check_text
from rewardkit.samples import sample_path


def read(name):
    with gzip.open(sample_path(name), "rt", encoding="utf-8") as stream:
        return [json.loads(line) for line in stream]


def verdicts(steps):
    """The steps that were checked, each with its verdict."""
    checked = [(step, *check_text(step)) for step in steps]
    return [row for row in checked if row[1] is not None]


def test_steps_that_people_call_right_are_almost_never_called_wrong():
    rows = read("processbench-gsm8k")
    steps = [s for row in rows for s in (row["steps"][: row["label"]] if row["label"] >= 0 else row["steps"])]
    checked = verdicts(steps)
    alarms = [(evidence, step) for step, p_correct, evidence in checked if p_correct == 0.0]
    assert len(alarms) <= 0.003 * len(checked), alarms
    assert len(checked) >= 0.5 * len(steps)


def test_some_first_errors_are_found():
    rows = [row for row in read("processbench-gsm8k") if row["label"] >= 0]
    found = [row for row in rows if check_text(row["steps"][row["label"]])[0] == 0.0]
    assert len(found) >= 9


def test_worked_answers_are_called_right():
    lines = [line for row in read("gsm8k-train") for line in row["answer"].split("\n")]
    checked = verdicts(lines)
    alarms = [evidence for _, p_correct, evidence in checked if p_correct == 0.0]
    assert len(alarms) <= 0.003 * len(checked), alarms
    assert len(checked) >= 0.6 * len(lines)


def test_a_changed_result_is_found():
    """Each worked `a = b` of GSM8K with b raised by 7: what was checked and true is now false."""
    found = missed = 0
    for row in read("gsm8k-train"):
        for line in row["answer"].split("\n"):
            left, equals, right = line.partition("<<")[2].partition(">>")[0].partition("=")
            if equals and right.isdigit() and check_text(f"{left} = {right}")[0] == 1.0:
                changed = check_text(f"{left} = {int(right) + 7}")[0]
                found += changed == 0.0
                missed += changed != 0.0
    assert found >= 0.99 * (found + missed) > 0
