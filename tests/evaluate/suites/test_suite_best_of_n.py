from __future__ import annotations

import json

import pytest

from rewardkit.errors import DataError
from rewardkit.evaluate.suites.best_of_n import classes_of
from rewardkit.store import LabelledTrace
from rewardkit.types import Problem, Trace


def write(path, problems):
    """problems: for each, its reference and the answers of its samples."""
    lines = [
        json.dumps(
            {"prompt": f"P{k}?", "answer": reference, "response": f"Sample {s}. The answer is {a}.", "model": "m"}
        )
        for k, (reference, answers) in enumerate(problems)
        for s, a in enumerate(answers)
    ]
    path.write_text("\n".join(lines))
    return str(path)


def likes(wanted):
    return lambda trace: [0.9 if trace.answer == wanted else 0.1] * len(trace.steps)


def test_answers_are_compared_with_the_reference(measured, value, tmp_path):
    data = write(tmp_path / "s.jsonl", [("7", ["7", "8", "8"]), ("7", ["8", "8", "7"]), ("7", ["9", "8", "8"])])
    result = measured("best-of-n", likes("7"), data=data)
    assert value(result, "best-of-3 accuracy, min") == pytest.approx(2 / 3)
    assert value(result, "best-of-3: oracle") == pytest.approx(2 / 3)
    assert value(result, "best-of-3: first sample") == pytest.approx(1 / 3)
    assert value(result, "best-of-3: majority") == 0.0
    assert value(result, "best-of-3: random sample") == pytest.approx(2 / 9)
    assert value(result, "best-of-3, min: gain over a random sample") == pytest.approx(2 / 3 - 2 / 9)
    assert result.report.best_of_n.n == (1, 2, 3)


def test_problems_with_fewer_samples_are_left_out_and_counted(measured, tmp_path):
    data = write(tmp_path / "s.jsonl", [("7", ["7", "8", "9"]), ("7", ["8", "7", "9"]), ("7", ["7", "8"])])
    figure = measured("best-of-n", likes("7"), data=data).report.figures[0]
    assert figure.n == 2
    assert figure.note == "problems with fewer samples left out: 1"
    assert measured("best-of-n", likes("7"), data=data, n=2).report.figures[0].n == 3


def test_the_prior_is_a_random_sample(measured, tmp_path):
    data = write(tmp_path / "s.jsonl", [("7", ["7", "8", "9"])])
    prior = {f.name: f.value for f in measured("best-of-n", likes("7"), data=data).report.baselines["prior"]}
    assert prior["best-of-3 accuracy, min"] == prior["best-of-3: random sample"] == pytest.approx(1 / 3)


def test_an_outcome_model_has_one_way_to_choose(measured, value, tmp_path):
    data = write(tmp_path / "s.jsonl", [("7", ["7", "8"]), ("7", ["8", "7"])])
    result = measured("best-of-n", lambda t: likes("7")(t)[:1], kind="outcome", data=data)
    assert value(result, "best-of-2 accuracy, outcome") == 1.0
    assert not any("accuracy, min" in figure.name for figure in result.report.figures)


def test_solutions_without_a_verdict_or_without_company_are_clear_errors(measured, tmp_path):
    with pytest.raises(DataError, match="marked right or wrong"):
        measured("best-of-n", likes("7"), data=write(tmp_path / "a.jsonl", [(None, ["7", "8"])]))
    with pytest.raises(DataError, match="at least 2 solutions"):
        measured("best-of-n", likes("7"), data=write(tmp_path / "b.jsonl", [("7", ["7"])]))


def test_an_empty_answer_never_votes():
    problem = Problem.create("1+1?", "2")
    group = [LabelledTrace(Trace.create(problem, ["a"], answer=answer)) for answer in ("", "2", " ", None, "2.0")]
    assert classes_of(group)[1] == classes_of(group)[4] >= 0
    assert [number < 0 for number in classes_of(group)] == [True, False, True, True, False]
