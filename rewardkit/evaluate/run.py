"""Evaluate a reward model: on held-out problems of its own data, on human first-error labels, and at choosing answers.

    result = run_eval(EvalConfig(model="runs/prm", data=("runs/labels",), output="runs/eval"))

The output folder is a dataset with scores (`rewardkit show` reads it) plus ``eval.json``, the figures.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import Field

from rewardkit.config import Config
from rewardkit.errors import ConfigError, DataError
from rewardkit.evaluate import parts
from rewardkit.evaluate.figure import Figure
from rewardkit.evaluate.report import EvalReport
from rewardkit.models import RewardModel, load_reward_model
from rewardkit.models.spec import Reducer
from rewardkit.store import LabelledTrace, iter_dataset, load_traces, write_dataset
from rewardkit.store.versions import versions
from rewardkit.train.data import held_out

T = TypeVar("T")

Progress = Callable[[int, int], None]
"""Called with (traces scored, traces in all)."""

_CHUNK = 64


class EvalConfig(Config):
    """Configuration of `rewardkit eval`.

    Attributes:
        model: a model folder, or the address of a scoring service.
        output: the folder for scored traces and figures.
        data: dataset folders; only their held-out problems are used.
        sources: label sources that count as truth in `data`.
        held_out: the share that training held out; it must be the one of `rewardkit train`.
        processbench: traces with human first-error labels: ``sample:NAME``, a path or a Hub id; None leaves it out.
        best_of_n: problems with several solutions each, marked right or wrong; None leaves it out.
        max_held_out, max_processbench, max_problems: at most so many traces, traces and problems, drawn at random; None
            means all.
        threshold: below it a step counts as wrong; None chooses it on one half of the held-out problems.
        reducer: how step scores become one; None takes the model's own.
        device, dtype, batch_tokens: of a model folder.
        resamples, seed: of the bootstrap intervals.
    """

    model: str
    output: str
    data: tuple[str, ...] = ()
    sources: tuple[str, ...] = ("arithmetic",)
    held_out: float = Field(0.2, gt=0, lt=1)
    processbench: str | None = "sample:processbench-gsm8k"
    best_of_n: str | None = "sample:gsm8k-solutions"
    max_held_out: int | None = Field(None, ge=1)
    max_processbench: int | None = Field(None, ge=1)
    max_problems: int | None = Field(None, ge=1)
    threshold: float | None = Field(None, ge=0, le=1)
    reducer: Reducer | None = None
    device: Literal["cpu", "cuda"] | None = None
    dtype: Literal["float32", "bfloat16", "float16"] | None = None
    batch_tokens: int = Field(8192, ge=1)
    resamples: int = Field(1000, ge=10)
    seed: int = 0


@dataclass(frozen=True, slots=True)
class EvalResult:
    """What an evaluation found.

    Attributes:
        output: the folder.
        report: as written to ``eval.json``.
        traces: how many were scored.
        left_out: from a reason to the number of traces that could not be scored.
        seconds: of wall-clock time.
    """

    output: Path
    report: EvalReport
    traces: int
    left_out: dict[str, int]
    seconds: float


def run_eval(config: EvalConfig, progress: Progress | None = None) -> EvalResult:
    """Score every part, measure it, and write the folder.

    Raises:
        ConfigError: the model cannot be loaded, or there is nothing to evaluate on.
        DataError: a source cannot be read.
        ServerError: the scoring service failed.
    """
    started = time.monotonic()
    sets = _load_sets(config)
    options = {} if config.model.startswith("http") else _folder_options(config)
    model = load_reward_model(config.model, **options)
    scored: dict[str, list[LabelledTrace]] = {}
    left_out: Counter[str] = Counter()
    total, done = sum(len(rows) for rows in sets.values()), 0
    for name, rows in sets.items():
        found: dict[str, LabelledTrace] = {}
        for chunk in _chunks(rows):
            found.update({row.trace.id: row for row in _score(model, chunk, name, left_out)})
            done += len(chunk)
            if progress:
                progress(done, total)
        scored[name] = [found[row.trace.id] for row in rows if row.trace.id in found]
    report = _measure(config, model, scored)
    output = Path(config.output)
    manifest = {"kind": "evaluation", "config": config.model_dump(mode="json"), "versions": versions()}
    every = [row for rows in scored.values() for row in rows]
    write_dataset(output, every, {**manifest, "left_out": dict(left_out)})
    report.save(output)
    return EvalResult(output, report, len(every), dict(left_out), time.monotonic() - started)


def _load_sets(config: EvalConfig) -> dict[str, list[LabelledTrace]]:
    """The traces of each part, by its name, unscored."""
    sets: dict[str, list[LabelledTrace]] = {}
    if config.data:
        rows = [
            row
            for folder in config.data
            for row in iter_dataset(folder)
            if held_out(row.trace.problem.id, config.held_out)
            and any(x.source in config.sources and x.p_correct is not None for x in row.labels)
        ]
        if not rows:
            raise DataError(f"{', '.join(config.data)}: no held-out trace with a label of {', '.join(config.sources)}")
        sets["held-out"] = _draw(rows, config.max_held_out, config.seed)
    if config.processbench:
        sets["processbench"] = _draw(load_traces(config.processbench).rows, config.max_processbench, config.seed)
    if config.best_of_n:
        rows = list(load_traces(config.best_of_n).rows)
        problems = _draw(sorted({row.trace.problem.id for row in rows}), config.max_problems, config.seed)
        sets["best-of-n"] = [row for row in rows if row.trace.problem.id in set(problems)]
    if not sets:
        raise ConfigError("nothing to evaluate on: give data=, processbench= or best_of_n=")
    return sets


def _draw(items: Sequence[T], most: int | None, seed: int) -> list[T]:
    """At most so many, drawn at random and in their order: files are often sorted (ProcessBench's by its label)."""
    if most is None or len(items) <= most:
        return list(items)
    chosen = sorted(random.Random(seed).sample(range(len(items)), most))
    return [items[i] for i in chosen]


def _folder_options(config: EvalConfig) -> dict[str, object]:
    return {"device": config.device, "dtype": config.dtype, "batch_tokens": config.batch_tokens}


def _chunks(rows: Sequence[LabelledTrace]) -> list[Sequence[LabelledTrace]]:
    """Traces of like length together, so that little of a batch is padding."""
    ordered = sorted(rows, key=lambda row: len(row.trace.response))
    return [ordered[i : i + _CHUNK] for i in range(0, len(ordered), _CHUNK)]


def _score(model: RewardModel, rows: Sequence[LabelledTrace], part: str, left_out: Counter[str]) -> list[LabelledTrace]:
    """The rows with scores and the name of their part; one that cannot be scored is counted and left out."""
    try:
        scores = model.score([row.trace for row in rows])
    except DataError as error:
        if len(rows) > 1:
            return [done for row in rows for done in _score(model, [row], part, left_out)]
        left_out[str(error).partition(": ")[2] or str(error)] += 1
        return []
    return [
        LabelledTrace(replace(row.trace, meta={**row.trace.meta, "part": part}), row.labels, result.scores)
        for row, result in zip(rows, scores, strict=True)
    ]


def _measure(config: EvalConfig, model: RewardModel, scored: dict[str, list[LabelledTrace]]) -> EvalReport:
    figures: list[Figure] = []
    known: dict[str, object] = {}
    reducer = config.reducer or model.spec.reducer
    threshold, chosen = config.threshold, "given"
    if scored.get("held-out"):
        part = parts.held_out_part(scored["held-out"], config.sources, threshold, config.resamples, config.seed)
        figures += part.figures
        known.update(part.plots)
        threshold, chosen = part.threshold, "chosen on held-out problems"
    if threshold is None:
        threshold, chosen = 0.5, "a default: no held-out data to choose it on"
    if scored.get("processbench"):
        note = f"threshold {threshold:.3f}, {chosen}"
        figures += parts.processbench_part(scored["processbench"], threshold, note, config.resamples, config.seed)
    if scored.get("best-of-n"):
        more, curves = parts.best_of_n_part(scored["best-of-n"], reducer, config.resamples, config.seed)
        figures += more
        known["best_of_n"] = curves
    about = {"name": Path(config.model).name, **model.spec.model_dump(mode="json"), "threshold": threshold}
    training = parts.training_part(config.model)
    return EvalReport.model_validate({"figures": figures, "model": about, "training": training, **known})
