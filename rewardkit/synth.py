"""Make labelled traces: problems -> responses -> steps -> labels -> a dataset on disk.

    result = run_synth(load_config(SynthConfig, "synth", "gsm8k-smollm2", ["output=runs/try"]))

A run may be killed at any moment; the same call goes on where it stood (see `rewardkit.store.state`). Whatever is
wrong with one row is written down in ``bad_rows.jsonl`` and counted; the rest goes on.
"""

from __future__ import annotations

import json
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from rewardkit.config import Config
from rewardkit.errors import ConfigError, DataError
from rewardkit.executors import Executor, ExecutorConfig, Generated, Labelled, Unit, load_executor
from rewardkit.generate import GeneratorConfig
from rewardkit.generate.prompt import PromptConfig
from rewardkit.generate.replay import write_generations
from rewardkit.generate.usage import tokens, usage
from rewardkit.store import BadRow, LabelledTrace, write_dataset
from rewardkit.store.config import ProblemsConfig as ProblemsConfig
from rewardkit.store.config import SourceConfig as SourceConfig
from rewardkit.store.config import TracesToLabelConfig
from rewardkit.store.counts import counted
from rewardkit.store.dataset import from_record, read_manifest
from rewardkit.store.files import write_text
from rewardkit.store.state import RunState
from rewardkit.store.versions import versions
from rewardkit.synth_work import BadItem, GenerateWork, LabelWork, Maker, Work
from rewardkit.text.split import SplitRule

_ROWS_PER_WORKER = 64
"""Existing traces that are labelled between two writes to disk, for each process."""

Progress = Callable[[int, int, Mapping[str, int]], None]
"""Called after each batch: items done, items in all, and this sitting's ``labels``, ``abstained`` and ``errors``."""


class SynthConfig(Config):
    """The configuration of ``rewardkit synth``.

    Attributes:
        problems: to generate responses for; or
        traces: existing responses to label.
        generator: who writes the responses, see `GeneratorConfig`.
        prompt: how a problem is put, see `PromptConfig`.
        split: the rule that cuts responses into steps, see `rewardkit.text.split`.
        labelers: names of labelers, or ``path/to/file.py:Class``.
        labeler_options: from a labeler's name to its options, such as ``{vote: {tie: first}}``.
        label_workers: how many processes label; more pay where a label costs milliseconds (proofs, formulas).
        executor: where the work is done: here, or over the machines of a Ray cluster, see `ExecutorConfig`.
        allow_code: let labelers such as ``code`` run, in a sandbox, programs that a model wrote.
        output: the folder of the run.
        seed: of the sampling.
        rows_per_file: a new Parquet file begins after so many traces.
    """

    problems: ProblemsConfig | None = None
    traces: TracesToLabelConfig | None = None
    generator: GeneratorConfig = GeneratorConfig()
    prompt: PromptConfig = PromptConfig()
    split: SplitRule = "lines"
    labelers: tuple[str, ...] = ()
    labeler_options: dict[str, dict[str, Any]] = Field(default_factory=dict)
    label_workers: int = Field(default=1, ge=1)
    executor: ExecutorConfig = ExecutorConfig()
    allow_code: bool = False
    output: str
    seed: int = 0
    rows_per_file: int = Field(default=50_000, ge=1)

    @classmethod
    def pick(cls, values: Mapping[str, Any]) -> type[Config]:
        """`SynthConfig`, or with a ``teacher`` the configuration of `rewardkit.skills`."""
        from rewardkit.skills.run import SkillsConfig

        return SkillsConfig if "teacher" in values else cls

    @model_validator(mode="after")
    def _one_source(self) -> SynthConfig:
        if (self.problems is None) == (self.traces is None):
            both = "; of a recipe that has the other one, take that out by problems=null or traces=null"
            said = "give either problems.source (to generate) or traces.source (to label what there is)"
            raise ValueError(said + both if self.problems else said)
        if self.executor.kind == "ray" and self.label_workers > 1:
            raise ValueError("label_workers is of executor=local; with executor=ray give executor.workers")
        return self


@dataclass(frozen=True, slots=True)
class SynthResult:
    """What a run made.

    Attributes:
        output: the folder.
        manifest: as written there.
        already_done: the run was finished before; nothing was done now.
    """

    output: Path
    manifest: dict[str, Any]
    already_done: bool

    @property
    def counts(self) -> dict[str, Any]:
        """``problems``, ``traces``, ``steps``, ``labels`` by source and verdict, ``bad_rows``, ``bad_reasons``."""
        counts: dict[str, Any] = self.manifest["counts"]
        return counts


def run_synth(config: SynthConfig, progress: Progress | None = None) -> SynthResult:
    """Run the pipeline, or go on with it.

    Args:
        config: what to do; a folder is bound to one config.
        progress: called after each batch.

    Raises:
        ConfigError: the config cannot be carried out, or the output folder belongs to another run.
        DataError: the source cannot be read, or not one trace came out.
    """
    from rewardkit.labelers.groups import label_groups, load_labelers
    from rewardkit.labelers.pool import close_all

    names, groups = load_labelers(config.labelers, config.labeler_options)
    if groups and config.traces and config.traces.only:
        raise ConfigError(f"traces.only is for labelers of single traces; {next(iter(groups))} needs all of a problem")
    work: Work = GenerateWork(config) if config.problems else LabelWork(config)
    tally: Counter[str] = Counter()
    executor = load_executor(
        config.executor,
        config.generator,
        names,
        config.labeler_options,
        label_workers=config.label_workers,
        allow_code=config.allow_code,
        spent=lambda: tokens(state.all_generations()),
    )
    with RunState(config.output, _bound(config)) as state:
        state.begin(work.ids, work.inputs)
        output = Path(config.output)
        if state.finished and (output / "manifest.json").is_file() and (output / "data").is_dir():
            return SynthResult(output, read_manifest(output), already_done=True)
        try:
            _work_off(config, work, executor, state, progress, tally)
            label_groups(groups, state, executor, progress, tally)
        finally:
            executor.close()
            close_all(groups.values())
        manifest = _export(config, work, state)
        state.finish()
    return SynthResult(output, manifest, already_done=False)


def _bound(config: SynthConfig) -> dict[str, Any]:
    """What a folder is bound to: all but where it lies, who works on it, where an endpoint is and what it may cost."""
    free: dict[str, Any] = {"output": True, "label_workers": True, "executor": True, "generator": {"endpoint": True}}
    bound = config.model_dump(mode="json", exclude=free)
    bound["labeler_options"] = _without_endpoints(bound["labeler_options"])
    return bound


def _without_endpoints(options: Any) -> Any:
    if isinstance(options, dict):
        return {key: _without_endpoints(value) for key, value in options.items() if key != "endpoint"}
    return [_without_endpoints(one) for one in options] if isinstance(options, list) else options


def export_generations(folder: str | Path, path: str | Path) -> int:
    """Write what a run generated to a file that the ``replay`` generator reads.

    Args:
        folder: of a run; only its stored texts are read, the run need not be finished.
        path: a ``.jsonl`` or ``.jsonl.gz`` file.

    Returns:
        How many generations were written.

    Raises:
        DataError: the run labelled existing traces, so it holds no generations.
    """
    with RunState.reopen(folder) as state:
        if next(state.all_generations(), None) is None:
            raise DataError(f"the run {folder} generated nothing, so there is nothing to export")
        return write_generations(path, (g for g in state.all_generations() if g["finish_reason"] != "error"))


def _work_off(
    config: SynthConfig, work: Work, executor: Executor, state: RunState, progress: Progress | None, tally: Counter[str]
) -> None:
    """Batches have fixed bounds, so that a batch that was cut short is made again as it was.

    Results come in any order, and each is stored in its batch's place: one that comes twice counts once.
    """
    total, size = len(work.ids), config.generator.batch_size
    if config.traces is not None:  # nothing is generated: batches may be as long as the processes like them
        size = max(size, _ROWS_PER_WORKER * config.label_workers)
    made: dict[int, list[LabelledTrace | dict[str, Any] | str]] = {}

    def unit(start: int) -> Unit:
        stop = min(start + size, total)
        requests = work.requests(state, start, stop)
        if requests:
            return Unit(start, requests=tuple(requests))
        made[start] = [_made(make) for make in work.traces(state, start, stop)]
        return Unit(start, rows=tuple(row for row in made[start] if isinstance(row, LabelledTrace)))

    unfinished, began = state.open_batches(size), time.monotonic()
    waiting, done = deque(unfinished), total - sum(unfinished.values())
    if progress and waiting:
        progress(done, total, dict(tally))
    while waiting or executor.busy():
        while waiting and executor.has_room():
            executor.submit(unit(waiting.popleft()))
        result = executor.take()
        if isinstance(result, Generated):
            state.put_generations(result.start, work.stored(result))
            executor.submit(unit(result.start))
            continue
        assert isinstance(result, Labelled)  # groups are labelled once every trace is there
        labelled = iter(result.records)
        records = [next(labelled) if isinstance(row, LabelledTrace) else row for row in made.pop(result.start)]
        state.put_rows(result.start, records, time.monotonic() - began)
        began = time.monotonic()
        tally.update(counted(records))
        done += unfinished.pop(result.start, 0)
        if progress:
            progress(done, total, dict(tally))


def _made(make: Maker) -> LabelledTrace | dict[str, Any] | str:
    try:
        return make()
    except Exception as error:  # a bad row is data, whatever is wrong with it
        reason = str(error) if isinstance(error, BadItem) else f"trace: {type(error).__name__}: {error}"
        return " ".join(reason.split())


def _export(config: SynthConfig, work: Work, state: RunState) -> dict[str, Any]:
    positions = {id: position for position, id in enumerate(work.ids)}
    bad = [*work.bad, *(BadRow(work.where(positions[id]), reason) for id, reason in state.bad())]
    output = Path(config.output)
    lines = "".join(json.dumps(asdict(row), ensure_ascii=True) + "\n" for row in bad)
    write_text(output / "bad_rows.jsonl", lines)
    manifest = {
        "command": "synth",
        "config": config.model_dump(mode="json"),
        "versions": versions(),
        "inputs": work.inputs,
        "seeds": {"sampling": config.seed},
        "counts": {"bad_rows": len(bad), "bad_reasons": dict(Counter(row.reason for row in bad).most_common(20))},
        "seconds": round(state.seconds, 1),
    }
    if config.problems is not None:
        manifest["usage"] = usage(state.all_generations(), config.generator.endpoint.price)
    used = state.labelers_usage()
    if used:
        manifest["labelers"] = used
    if bad and len(state.bad()) == len(work.ids):
        reason, n = Counter(row.reason for row in bad).most_common(1)[0]
        raise DataError(f"not one trace came out: {n:,} x {reason}; all reasons are in {output / 'bad_rows.jsonl'}")
    rows = (from_record(record) for record in state.rows())
    return write_dataset(output, rows, manifest, rows_per_file=config.rows_per_file)
