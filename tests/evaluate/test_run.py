"""An evaluation end to end, with a tiny real model on real problems; and with scores whose figures are known."""

from __future__ import annotations

from pathlib import Path

import pytest

from rewardkit.errors import ConfigError, DataError
from rewardkit.evaluate.report import EvalReport
from rewardkit.evaluate.run import EvalConfig, run_eval
from rewardkit.evaluate.suites.base import Setting, tagged
from rewardkit.evaluate.suites.best_of_n import BestOf
from rewardkit.evaluate.suites.held_out import HeldOut
from rewardkit.evaluate.suites.processbench import ProcessBench, ProcessBenchConfig
from rewardkit.models.spec import RewardModelSpec
from rewardkit.store import LabelledTrace, load_traces, read_dataset, write_dataset
from rewardkit.train.data import held_out
from rewardkit.types import Problem, StepLabel, Trace

SETTING = Setting(RewardModelSpec(kind="token", separator_id=5), "min", resamples=50, seed=0)


def truth_scores(row: LabelledTrace) -> LabelledTrace:
    """The row with scores that agree with its labels."""
    by_step = {x.step: x.p_correct for x in row.labels}
    return LabelledTrace(row.trace, row.labels, tuple(by_step.get(k) or 0.0 for k in range(len(row.trace.steps))))


def labelled(count: int) -> list[LabelledTrace]:
    rows = []
    for i in range(count):
        trace = Trace.create(Problem.create(f"Problem {i}"), [f"{i} + 1 = {i + 1}", f"{i} + 2 = {i + 2 + i % 2}"])
        verdicts = (1.0, float(i % 2 == 0))
        labels = tuple(StepLabel(trace.id, k, p, "arithmetic", "local") for k, p in enumerate(verdicts))
        rows.append(LabelledTrace(trace, labels))
    return rows


def figure(figures, name: str) -> float:
    return next(f.value for f in figures if f.name == name)


def test_scores_that_agree_with_the_labels_are_perfect_on_every_figure() -> None:
    part = HeldOut((), ("arithmetic",)).measure([truth_scores(r) for r in labelled(60)], SETTING)
    assert figure(part.figures, "held-out step AUROC") == 1.0
    assert figure(part.figures, "held-out ECE (15 bins)") == 0.0
    assert figure(part.figures, "held-out first-error F1") == 1.0
    assert part.threshold is not None
    assert 0 < part.threshold.value < 1


def test_human_labels_as_scores_reach_f1_one_on_processbench() -> None:
    rows = [tagged(truth_scores(r), subset="gsm8k") for r in load_traces("sample:processbench-gsm8k").rows]
    figures = ProcessBench(ProcessBenchConfig(model="m", threshold=0.5)).measure(rows, SETTING).figures
    assert figure(figures, "ProcessBench first-error F1") == 1.0
    assert figure(figures, "ProcessBench step AUROC, to the first error") == 1.0


def test_a_model_that_knows_the_right_solution_reaches_the_oracle() -> None:
    rows = load_traces("sample:gsm8k-solutions", 30).rows
    knowing = [
        LabelledTrace(r.trace, r.labels, (float(r.trace.meta["is_correct"]),) * len(r.trace.steps)) for r in rows
    ]
    found = BestOf("sample:gsm8k-solutions").measure(knowing, SETTING)
    figures, curves = found.figures, found.plots["best_of_n"]
    assert figure(figures, "best-of-4 accuracy, min") == figure(figures, "best-of-4: oracle")
    first = [row for row in rows if row.trace.model == "6b_finetuning"]
    share = sum(row.trace.meta["is_correct"] for row in first) / len(first)
    assert figure(figures, "best-of-4: first sample") == pytest.approx(share)
    assert curves.n == (1, 2, 4)


def test_an_evaluation_of_a_real_model_writes_what_the_page_reads(tiny_reward_model: Path, tmp_path: Path) -> None:
    write_dataset(tmp_path / "data", labelled(40), {})
    config = EvalConfig(
        model=str(tiny_reward_model),
        data=(str(tmp_path / "data"),),
        output=str(tmp_path / "eval"),
        max_processbench=5,
        max_problems=3,
        resamples=20,
    )
    result = run_eval(config)
    rows = read_dataset(tmp_path / "eval")
    assert len(rows) == result.traces
    assert all(row.scores is not None and len(row.scores) == len(row.trace.steps) for row in rows)
    seen = [r.trace.problem.id for r in rows if r.trace.meta["part"] == "held-out"]
    assert seen
    assert all(held_out(problem, 0.2) for problem in seen)
    assert EvalReport.load(tmp_path / "eval") == result.report


def test_a_trace_that_is_too_long_is_left_out_and_counted(tiny_reward_model: Path, tmp_path: Path) -> None:
    rows = labelled(40)
    problem = next(p for p in (Problem.create(f"{i} long " + "x y " * 600) for i in range(50)) if held_out(p.id, 0.2))
    trace = Trace.create(problem, ["1 + 1 = 2"])
    rows.append(LabelledTrace(trace, (StepLabel(trace.id, 0, 1.0, "arithmetic", "local"),)))
    write_dataset(tmp_path / "data", rows, {})
    config = EvalConfig(
        model=str(tiny_reward_model),
        data=(str(tmp_path / "data"),),
        output=str(tmp_path / "eval"),
        processbench=None,
        best_of_n=None,
        resamples=20,
    )
    result = run_eval(config)
    assert sum(result.report.left_out.values()) == 1
    assert trace.id not in {row.trace.id for row in read_dataset(tmp_path / "eval")}


def test_nothing_to_evaluate_on_is_a_clear_error(tiny_reward_model: Path, tmp_path: Path) -> None:
    config = EvalConfig(model=str(tiny_reward_model), output=str(tmp_path), processbench=None, best_of_n=None)
    with pytest.raises(ConfigError, match="nothing to evaluate"):
        run_eval(config)


def test_data_without_the_wanted_labels_is_a_clear_error(tiny_reward_model: Path, tmp_path: Path) -> None:
    write_dataset(tmp_path / "data", labelled(40), {})
    config = EvalConfig(model=str(tiny_reward_model), output=str(tmp_path / "e"), data=(str(tmp_path / "data"),))
    with pytest.raises(DataError, match="judge"):
        run_eval(config.model_copy(update={"sources": ("judge",)}))
