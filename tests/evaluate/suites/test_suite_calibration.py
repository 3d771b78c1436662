from __future__ import annotations

import pytest

from rewardkit.errors import DataError
from rewardkit.evaluate.suites.base import first_wrong
from rewardkit.evaluate.suites.calibration import labelled_steps
from rewardkit.store import LabelledTrace, read_dataset, write_dataset
from rewardkit.train.data import held_out
from rewardkit.types import Problem, StepLabel, Trace


@pytest.fixture
def labelled(tmp_path):
    """Sixty problems of two steps: arithmetic calls the second wrong in every other, a judge calls all right."""
    rows = []
    for k in range(60):
        trace = Trace.create(Problem.create(f"Problem {k}"), [f"a{k}", f"b{k}"])
        labels = [StepLabel(trace.id, s, float(s == 0 or k % 2 == 0), "arithmetic", "local") for s in (0, 1)]
        labels += [StepLabel(trace.id, 0, 1.0, "judge", "prefix"), StepLabel(trace.id, 1, None, "judge", "prefix")]
        rows.append(LabelledTrace(trace, tuple(labels)))
    write_dataset(tmp_path / "labels", rows, {})
    return str(tmp_path / "labels")


def scorer(trace):
    return [1.0, 0.5]


def test_each_source_is_measured_by_itself(measured, value, labelled):
    result = measured("calibration", scorer, data=labelled, held_out=None)
    # all first steps right at 1.0, half of the second right at 0.5: calibrated
    assert value(result, "arithmetic ECE (15 bins)") == 0.0
    assert value(result, "arithmetic Brier score") == pytest.approx(0.125)
    assert value(result, "judge Brier score") == 0.0
    counts = {f.name: f.n for f in result.report.figures}
    assert (counts["arithmetic NLL"], counts["judge NLL"]) == (120, 60)
    assert set(result.report.reliability_by_source) == {"arithmetic", "judge"}
    assert [b.count for b in result.report.reliability_by_source["judge"]] == [60]


def test_the_prior_saves_nothing_and_a_model_that_knows_more_does(measured, value, labelled):
    saved = "arithmetic NLL saved over the constant prior"
    values = {"data": labelled, "sources": ["arithmetic"], "held_out": None}
    assert value(measured("calibration", scorer, **values), saved) > 0.1
    # three of four steps are right
    assert value(measured("calibration", lambda t: [0.75, 0.75], **values), saved) == pytest.approx(0.0)
    assert value(measured("calibration", lambda t: [0.3, 0.3], **values), saved) < 0


def test_labels_that_mean_something_else_than_the_score_are_pointed_out(measured, labelled):
    notes = {f.name: f.note for f in measured("calibration", scorer, data=labelled).report.figures}
    assert "labels mean 'prefix', the model's scores claim 'local'" in notes["judge step AUROC"]
    assert "mean" not in notes["arithmetic step AUROC"]


def test_of_a_dataset_folder_only_held_out_problems_are_used(measured, labelled):
    result = measured("calibration", scorer, data=labelled)
    seen = {row.trace.problem.id for row in read_dataset(result.output)}
    every = {row.trace.problem.id for row in read_dataset(labelled)}
    assert seen == {problem for problem in every if held_out(problem, 0.2)}


def test_human_labels_of_a_benchmark_are_all_used(measured):
    result = measured("calibration", lambda t: [0.5] * len(t.steps), data="sample:processbench-gsm8k", max_rows=20)
    assert result.traces == 20
    assert result.report.figures[0].name == "human step AUROC"


def test_a_source_without_verdicts_is_a_clear_error(measured, labelled):
    with pytest.raises(DataError, match="has a label of votes"):
        measured("calibration", scorer, data=labelled, sources=["votes"])


def test_a_step_that_two_sources_judge_counts_once_by_the_first():
    """As training takes it: else the figures of a model's own data would be of other labels than it learnt from."""
    trace = Trace.create(Problem.create("?"), ["a", "b"])
    said = [("judge", 0, 0.0), ("arithmetic", 0, 1.0), ("judge", 1, 0.0), ("arithmetic", 1, None)]
    labels = tuple(StepLabel(trace.id, step, p, source, "local") for source, step, p in said)
    row = LabelledTrace(trace, labels, scores=(0.9, 0.1))
    steps = labelled_steps([row], ("arithmetic", "judge"))
    assert sorted(zip(steps.scores.tolist(), steps.target.tolist(), strict=True)) == [(0.1, 0.0), (0.9, 1.0)]
    assert (first_wrong(row, ("arithmetic", "judge")), first_wrong(row, ("judge",))) == (1, 0)
