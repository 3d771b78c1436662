"""ProcessBench end to end with known scores: what is reported, and that the threshold never saw it."""

from __future__ import annotations

import hashlib
import json

import pytest

from rewardkit.errors import ConfigError, DataError
from rewardkit.evaluate.suites.base import in_development
from rewardkit.store import load_traces, read_dataset

SAMPLE = "sample:processbench-gsm8k"


def noise(trace):
    """A score for each step that follows from its text alone."""
    return [
        int(hashlib.sha256(f"{trace.id} {k}".encode()).hexdigest()[:4], 16) / 65535 for k in range(len(trace.steps))
    ]


def rows(count, wrong=1):
    """Traces of two steps, the second wrong in the first half; each problem has one trace."""
    return [
        {
            "id": f"x-{k}",
            "problem": f"Problem {k}",
            "steps": [f"a{k}", f"b{k}"],
            "label": wrong if k < count // 2 else -1,
        }
        for k in range(count)
    ]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "data").with_name("bench").mkdir()
    for name, count in (("gsm8k", 20), ("math", 12)):
        changed = [{**row, "problem": f"{name}: {row['problem']}"} for row in rows(count)]
        (tmp_path / "bench" / f"{name}.json").write_text(json.dumps(changed))
    return tmp_path / "bench"


def test_scores_of_the_reported_rows_cannot_move_the_threshold(measured):
    first = measured("processbench", noise, data=SAMPLE, baselines=[])

    def other(trace):
        scores = noise(trace)
        return scores if in_development(trace.problem.id, 0.25) else [1 - score for score in scores]

    second = measured("processbench", other, data=SAMPLE, baselines=[])
    assert first.report.model["threshold"] == second.report.model["threshold"]
    assert first.report.figures != second.report.figures


def test_the_rows_that_chose_the_threshold_are_not_reported(measured):
    result = measured("processbench", noise, data=SAMPLE, baselines=[])
    problems = [row.trace.problem.id for row in load_traces(SAMPLE).rows]
    used = sum(in_development(problem, 0.25) for problem in problems)
    figure = result.report.figures[0]
    assert figure.n == len(problems) - used
    assert f"chosen on {used} traces of other problems" in figure.note
    assert result.report.model["threshold_chosen"] == f"chosen on {used} traces of other problems"


def test_each_subset_has_its_figures_and_the_mean_is_theirs(measured, value, folder):
    result = measured("processbench", noise, data=str(folder), threshold=0.5)
    parts = [value(result, f"ProcessBench {name} first-error F1") for name in ("gsm8k", "math")]
    assert value(result, "ProcessBench first-error F1, mean of 2 subsets") == pytest.approx(sum(parts) / 2)
    assert {row.trace.meta["subset"] for row in read_dataset(result.output)} == {"gsm8k", "math"}


def test_a_threshold_of_one_subset_reports_the_others_alone(measured, folder):
    result = measured("processbench", noise, data=str(folder), threshold_on="gsm8k")
    assert {figure.n for figure in result.report.figures if "F1" in figure.name} == {12}
    assert "of gsm8k, which is not reported" in result.report.figures[0].note


def test_figures_worked_out_by_hand(measured, value, folder):
    """Every second step scores 0.2: all six errors are found, and no right trace passes."""
    result = measured("processbench", lambda t: [0.9, 0.2], data=str(folder), subsets=["math"], threshold=0.5)
    assert value(result, "ProcessBench accuracy, traces with an error") == 1.0
    assert value(result, "ProcessBench accuracy, traces without") == 0.0
    assert value(result, "ProcessBench first-error F1") == 0.0
    # 18 right steps: 12 at 0.9 above the six errors, 6 at 0.2 tied with them
    assert value(result, "ProcessBench step AUROC, to the first error") == pytest.approx((12 + 6 / 2) / 18)


def test_the_prior_is_measured_on_the_same_rows(measured, folder):
    result = measured("processbench", noise, data=str(folder), threshold=0.5)
    prior = {figure.name: figure.value for figure in result.report.baselines["prior"]}
    assert prior["ProcessBench gsm8k step AUROC, to the first error"] == 0.5
    assert prior["ProcessBench gsm8k first-error F1"] == 0.0


def test_a_threshold_that_cannot_be_chosen_leaves_f1_undefined_and_says_so(measured, tmp_path):
    (tmp_path / "few.json").write_text(json.dumps(rows(2)))
    result = measured("processbench", noise, data=str(tmp_path / "few.json"), development=0.01)
    assert result.report.figures[0].value is None
    assert "threshold=NUMBER" in result.report.figures[0].note


def test_all_rows_used_for_the_threshold_is_a_clear_error(measured, folder):
    with pytest.raises(ConfigError, match="every row was used"):
        measured("processbench", noise, data=str(folder), subsets=["gsm8k"], threshold_on="gsm8k")


def test_a_threshold_of_a_subset_that_is_not_read_is_refused_before_anything_is_scored(measured, folder):
    def unasked(trace):
        raise AssertionError("scored before the subset was looked for")

    with pytest.raises(ConfigError, match="no subset gsm9k is read; there are: gsm8k, math"):
        measured("processbench", unasked, data=str(folder), threshold_on="gsm9k")


def test_an_unknown_subset_and_rows_without_labels_are_clear_errors(measured, folder, tmp_path):
    with pytest.raises(DataError, match=r"no subset olympiad; it holds: gsm8k, math"):
        measured("processbench", noise, data=str(folder), subsets=["olympiad"])
    (tmp_path / "bare.json").write_text(json.dumps([{"problem": "p", "steps": ["a"]}]))
    with pytest.raises(DataError, match="1 rows have no first-error label"):
        measured("processbench", noise, data=str(tmp_path / "bare.json"))
