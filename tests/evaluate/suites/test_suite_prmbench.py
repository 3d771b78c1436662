from __future__ import annotations

import json

import pytest

from rewardkit.errors import ConfigError, DataError


def row(name, number, errors=(2,), steps=3):
    return {
        "idx": f"prm_{number}",
        "classification": name,
        "original_question": f"Question {number}",
        "modified_question": f"Question {number}",
        "modified_process": [f"{name} {number} step {k}" for k in range(1, steps + 1)],
        "error_steps": list(errors),
        "reason": "a reason",
    }


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "bench").mkdir()
    for name in ("circular", "deception"):
        lines = [json.dumps(row(name, k)) for k in range(8)]
        (tmp_path / "bench" / f"{name}.jsonl").write_text("\n".join(lines))
    whole = [json.dumps(row("multi_solutions", k, errors=())) for k in range(8)]
    (tmp_path / "bench" / "multi_solutions.jsonl").write_text("\n".join(whole))
    return tmp_path / "bench"


def scorer(trace):
    """Finds the error of the circular rows and nothing else; flags the first step of a multi-solution."""
    name = trace.meta["class"]
    return {"circular": [0.9, 0.1, 0.9], "deception": [0.9, 0.9, 0.9], "multi_solutions": [0.1, 0.9, 0.9]}[name]


def test_figures_worked_out_by_hand(measured, value, folder):
    result = measured("prmbench", scorer, data=str(folder))
    assert value(result, "PRMBench circular: PRM-Score") == 1.0
    # two right steps and the wrong one taken for right: F1 = 4 / 5, the wrong steps' F1 = 0
    assert value(result, "PRMBench deception: PRM-Score") == pytest.approx(0.4)
    # two of three right steps taken for right: F1 alone = 4 / 5
    assert value(result, "PRMBench multi_solutions: PRM-Score") == pytest.approx(0.8)
    assert value(result, "PRMBench sensitivity: PRM-Score") == pytest.approx(0.6)
    # together, a problem: right TP 6, FP 1, FN 1; wrong TP 1, FP 1, FN 1
    assert value(result, "PRMBench F1, right steps") == pytest.approx(12 / 14)
    assert value(result, "PRMBench F1, wrong steps") == pytest.approx(2 / 4)
    assert value(result, "PRMBench PRM-Score") == pytest.approx((12 / 14 + 1 / 2) / 2)
    assert "threshold 0.500, as published" in result.report.figures[0].note


def test_a_constant_is_at_chance(measured, folder):
    prior = {f.name: f.value for f in measured("prmbench", scorer, data=str(folder)).report.baselines["prior"]}
    assert prior["PRMBench step AUROC"] == 0.5
    assert prior["PRMBench F1, wrong steps"] == 0.0


def test_a_chosen_threshold_is_chosen_on_problems_that_are_not_reported(measured, folder):
    """The classes share their problems, so that a whole problem goes to one side."""
    result = measured("prmbench", scorer, data=str(folder), threshold=None, development=0.5)
    overall = next(f for f in result.report.figures if f.name == "PRMBench PRM-Score")
    count = int(overall.note.split("rows of ")[1].split()[0])
    assert 0 < count < 8
    assert overall.n == (8 - count) * 9
    assert 0.1 < result.report.model["threshold"] < 0.9


def test_an_error_step_behind_the_last_step_is_passed_over(measured, value, tmp_path):
    (tmp_path / "one.jsonl").write_text(json.dumps(row("circular", 0, errors=(2, 9))))
    result = measured("prmbench", lambda t: [0.9, 0.1, 0.9], data=str(tmp_path / "one.jsonl"))
    assert value(result, "PRMBench circular: PRM-Score") == 1.0


def test_bad_and_repeated_rows_are_counted_once(measured, tmp_path):
    lines = [row("circular", 0), row("circular", 0), {**row("circular", 1), "error_steps": ["x"]}, row("sorcery", 2)]
    (tmp_path / "odd.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    result = measured("prmbench", lambda t: [0.9, 0.1, 0.9], data=str(tmp_path / "odd.jsonl"))
    assert result.traces == 1
    assert sorted(result.report.left_out) == [
        "error_steps must be a list of step numbers from 1",
        "modified_question must be text, and classification one of PRMBench's nine classes",
    ]


@pytest.mark.parametrize("number", [{}, {"idx": None}], ids=["left out", "null"])
def test_rows_without_a_number_are_all_counted_and_equal_ones_once(measured, tmp_path, number):
    lines = [{k: v for k, v in row("circular", k).items() if k != "idx"} | number for k in (1, 2, 3, 3)]
    (tmp_path / "bare.jsonl").write_text("\n".join(map(json.dumps, lines)))
    result = measured("prmbench", scorer, data=str(tmp_path / "bare.jsonl"))
    assert {f.n for f in result.report.figures if f.name == "PRMBench circular: PRM-Score"} == {9}


def test_an_unknown_class_is_a_clear_error(measured, folder):
    with pytest.raises(ConfigError, match="no class 'circle'"):
        measured("prmbench", scorer, data=str(folder), classes=["circle"])
    with pytest.raises(DataError, match="holds no row of the classes confidence"):
        measured("prmbench", scorer, data=str(folder), classes=["confidence"])
