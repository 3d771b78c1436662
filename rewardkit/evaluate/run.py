"""Evaluate a reward model: score the rows of a suite's parts, measure them, and write what was found.

    result = run_eval(suite_config("processbench", {"model": "runs/prm", "data": "processbench/"}))
    result = run_eval(EvalConfig(model="runs/prm", data=("runs/labels",), output="runs/eval"))

The output folder is a dataset with scores (`rewardkit show` reads it) plus ``eval.json``, the figures, and
``report.html``, the page.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import Field

from rewardkit.errors import ConfigError, DataError
from rewardkit.evaluate.baselines import PRIOR, load_baseline, load_model, opened
from rewardkit.evaluate.figure import Figure
from rewardkit.evaluate.page import write_page
from rewardkit.evaluate.report import EvalReport, training_log
from rewardkit.evaluate.scoring import Progress, Scores, needs_steps, prior_scores, score_traces, with_scores
from rewardkit.evaluate.suites.base import Measured, Part, Setting, SuiteConfig, tagged
from rewardkit.evaluate.suites.best_of_n import BestOf
from rewardkit.evaluate.suites.held_out import HeldOut
from rewardkit.evaluate.suites.processbench import ProcessBench, ProcessBenchConfig
from rewardkit.models import RewardModel, RewardModelSpec
from rewardkit.store import LabelledTrace, Loaded, write_dataset
from rewardkit.store.dataset import check_output
from rewardkit.store.versions import versions


class EvalConfig(SuiteConfig):
    """Configuration of `rewardkit eval` with a recipe: held-out problems, human labels, and choosing answers at once.

    Attributes:
        data: dataset folders; only their held-out problems are used.
        sources: label sources that count as truth in `data`.
        held_out: the share that training held out; it must be the one of `rewardkit train`.
        processbench: traces with human first-error labels: ``sample:NAME``, a path or a Hub id; None leaves it out.
        best_of_n: problems with several solutions each, marked right or wrong; None leaves it out.
        max_held_out, max_processbench, max_problems: at most so many traces, traces and problems, drawn at random; None
            means all.
        threshold: below it a step counts as wrong; None chooses it for each part on problems that the part does not
            report: one half of the held-out ones, a quarter of ProcessBench's.
    """

    data: tuple[str, ...] = ()
    baselines: tuple[str, ...] = ()
    sources: tuple[str, ...] = ("arithmetic",)
    held_out: float = Field(0.2, gt=0, lt=1)
    processbench: str | None = "sample:processbench-gsm8k"
    best_of_n: str | None = "sample:gsm8k-solutions"
    max_held_out: int | None = Field(None, ge=1)
    max_processbench: int | None = Field(None, ge=1)
    max_problems: int | None = Field(None, ge=1)
    threshold: float | None = Field(None, ge=0, le=1)

    def parts(self) -> Sequence[Part]:
        found: list[Part] = []
        if self.data:
            found.append(HeldOut(self.data, self.sources, self.held_out, self.threshold, self.max_held_out, self.seed))
        if self.processbench:
            found.append(ProcessBench(self._processbench(self.processbench)))
        if self.best_of_n:
            found.append(BestOf(self.best_of_n, max_problems=self.max_problems, seed=self.seed))
        if not found:
            raise ConfigError("nothing to evaluate on: give data=, processbench= or best_of_n=")
        return found

    def _processbench(self, data: str) -> ProcessBenchConfig:
        return ProcessBenchConfig(
            model=self.model,
            output=self.output,
            data=data,
            max_rows=self.max_processbench,
            threshold=self.threshold,
            seed=self.seed,
        )


@dataclass(frozen=True, slots=True)
class EvalResult:
    """What an evaluation found.

    Attributes:
        output: the folder.
        report: as written to ``eval.json``.
        page: the HTML file.
        traces: how many were scored.
        seconds: of wall-clock time.
    """

    output: Path
    report: EvalReport
    page: Path
    traces: int
    seconds: float


Loads = list[tuple[Part, Loaded[LabelledTrace]]]


def run_eval(config: SuiteConfig, progress: Progress | None = None) -> EvalResult:
    """Score every part, measure it for the model and for each baseline, and write the folder.

    Raises:
        ConfigError: a model cannot be loaded or cannot be measured by this suite, or there is nothing to evaluate on.
        DataError: a source cannot be read, or not one of its traces can be scored.
        ServerError: a scoring service failed.
    """
    check_output(config.output)
    started = time.monotonic()
    left_out: Counter[str] = Counter()
    parts = config.parts()
    with opened(load_model(config.model, **_options(config))) as model:
        spec = _check(config.model, model, parts)
        loads: Loads = [(part, part.load()) for part in parts]
        left_out.update(bad.reason for _, loaded in loads for bad in loaded.bad)
        scores = _scores(model, loads, left_out, progress)
    measured, every = _measure(config, spec, loads, scores)
    baselines = _baselines(config, spec, loads, scores, left_out)
    report = _report(config, spec, measured, baselines, dict(left_out))
    inputs = {part.name: loaded.digest for part, loaded in loads}
    page = _write(config, report, every, {"inputs": inputs, "left_out": dict(left_out)})
    return EvalResult(Path(config.output), report, page, len(every), time.monotonic() - started)


def _check(name: str, model: RewardModel, parts: Sequence[Part]) -> RewardModelSpec:
    """The spec of a model that can be measured by all parts."""
    for part in parts:
        if part.steps:
            needs_steps(part.name, name, model.spec)
    return model.spec


def _options(config: SuiteConfig) -> dict[str, Any]:
    return {"device": config.device, "dtype": config.dtype, "batch_tokens": config.batch_tokens}


def _scores(model: RewardModel, loads: Loads, left_out: Counter[str], progress: Progress | None) -> Scores:
    return score_traces(model, [row.trace for _, loaded in loads for row in loaded.rows], left_out, progress)


def _measure(
    config: SuiteConfig, spec: RewardModelSpec, loads: Loads, scores: Scores | None
) -> tuple[list[Measured], list[LabelledTrace]]:
    """Each part's figures, and its scored rows, marked with its name; None scores each part with its prior."""
    measured: list[Measured] = []
    every: list[LabelledTrace] = []
    # A constant is the same on every resample but for the labels that were drawn: its interval says nothing of it.
    resamples = 0 if scores is None else config.resamples
    setting = Setting(spec, config.reducer or spec.reducer, resamples, config.seed)
    for part, loaded in loads:
        rows = with_scores(loaded.rows, prior_scores(loaded.rows) if scores is None else scores)
        if not rows:
            continue  # counted and named in `left_out`
        found = part.measure(rows, setting)
        measured.append(found)
        every += [tagged(row, part=part.name) for row in rows]
    if not every:
        raise DataError(f"not one trace could be scored by {config.model}: most are too long for it")
    return measured, every


def _baselines(
    config: SuiteConfig, spec: RewardModelSpec, loads: Loads, scores: Scores, left_out: Counter[str]
) -> dict[str, tuple[Figure, ...]]:
    """The figures of each baseline, over the very rows that the model could score."""
    both: Loads = [
        (part, replace(loaded, rows=tuple(row for row in loaded.rows if row.trace.id in scores)))
        for part, loaded in loads
    ]
    found: dict[str, tuple[Figure, ...]] = {}
    for name in config.baselines:
        if name == PRIOR:
            measured, _ = _measure(config, spec, both, None)
        else:
            missed: Counter[str] = Counter()
            with opened(load_baseline(name, spec, **_options(config))) as model:
                own = _check(name, model, [part for part, _ in both])
                found_scores = _scores(model, both, missed, None)
            measured, _ = _measure(config, own, both, found_scores)
            left_out.update({f"by the baseline {name} alone: {reason}": count for reason, count in missed.items()})
        found[name] = tuple(figure for part in measured for figure in part.figures)
    return found


def _report(
    config: SuiteConfig,
    spec: RewardModelSpec,
    measured: Sequence[Measured],
    baselines: dict[str, tuple[Figure, ...]],
    left_out: dict[str, int],
) -> EvalReport:
    plots = {key: value for part in measured for key, value in part.plots.items()}
    thresholds = [part.threshold for part in measured if part.threshold is not None]
    about = {"name": Path(config.model).name, **spec.model_dump(mode="json")}
    if thresholds:
        about |= {"threshold": thresholds[0].value, "threshold_chosen": thresholds[0].chosen}
    return EvalReport.model_validate(
        {
            "figures": [figure for part in measured for figure in part.figures],
            "baselines": baselines,
            "left_out": left_out,
            "model": about,
            "training": training_log(config.model),
            **plots,
        }
    )


def _write(config: SuiteConfig, report: EvalReport, rows: list[LabelledTrace], more: dict[str, Any]) -> Path:
    output = Path(config.output)
    manifest = {"kind": "evaluation", "config": config.model_dump(mode="json"), "versions": versions(), **more}
    write_dataset(output, [_storable(row) for row in rows], manifest)
    report.save(output)
    return write_page(output).path


def _storable(row: LabelledTrace) -> LabelledTrace:
    """A dataset has one score a step or none: the one score of a whole response goes into ``meta``."""
    if row.scores is None or len(row.scores) == len(row.trace.steps):
        return row
    return replace(tagged(row, score=row.scores[-1]), scores=None)
