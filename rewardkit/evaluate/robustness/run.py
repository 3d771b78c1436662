"""What wrong labels do to training, and which losses can bear them: `rewardkit eval robustness`.

    result = run_robustness(RobustnessConfig(data=("runs/labels",), output="runs/robustness"))

Labels of training steps are flipped in several ways (`rewardkit.labels.poison`) and shares; heads are trained on frozen
features with each method, and judged on the *clean* labels of other problems. **A head on frozen features is not a
trained model**: it ranks losses and attacks cheaply, but a whole model can learn labels by heart, a head less so.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from rewardkit.config import Config
from rewardkit.errors import DataError
from rewardkit.evaluate.features import FeatureReader
from rewardkit.evaluate.page import build_page
from rewardkit.evaluate.robustness.data import (
    Steps,
    clean_chances,
    read_steps,
    reduced,
    split,
    step_clusters,
    truths,
)
from rewardkit.evaluate.robustness.heads import HeadOptions, Learner, given, method
from rewardkit.evaluate.robustness.report import Cell, RobustnessReport, page_report
from rewardkit.evaluate.robustness.resampling import problem_weights, summary, weighted_accuracy, weighted_auroc
from rewardkit.labels.poison import WAYS, Way, poisoned
from rewardkit.store.dataset import LabelledTrace, iter_dataset
from rewardkit.store.files import write_text
from rewardkit.store.versions import versions
from rewardkit.train.data import held_out, limited

Progress = Callable[[int, int], None]
Floats = NDArray[np.float64]

BASELINE = "bce"


class RobustnessConfig(Config):
    """Configuration of `rewardkit eval robustness`.

    Attributes:
        data: dataset folders with hard labels that are to be trusted: a verifier's.
        output: the folder for ``robustness.json`` and the tables.
        sources: label sources that count as the truth.
        model: whose frozen features are read; a Hub id, a folder, or ``smollm2-135m-instruct``.
        layer: features after so many layers; None means all.
        components: principal components of the features that the heads see; None means all features.
        head: the head and its training.
        ways: of flipping, see `rewardkit.labels.poison`.
        rates: shares of flipped labels; 0 is measured once for all ways.
        methods: losses by name, and ``forward``, ``pu``, ``two-stage``, ``verified only``, which also get the true
            labels of some steps. Each is compared with ``bce``, which is always among them.
        verified: how many training steps have a true label that is known.
        seeds: of the flips, the heads and the verified steps.
        held_out: the share of problems that is judged.
        max_traces: read so many traces at most, drawn at random.
        trigger: the mark of the way ``trigger``.
        max_length: longer traces are left out and counted.
        batch_tokens, device: of the forward passes.
        resamples: of the bootstrap over problems.
        seed: of the draw of traces and of the bootstrap.
    """

    data: tuple[str, ...]
    output: str = "runs/robustness"
    sources: tuple[str, ...] = ("arithmetic",)
    model: str = "smollm2-135m-instruct"
    layer: int | None = Field(6, ge=1)
    components: int | None = Field(64, ge=1)
    head: HeadOptions = HeadOptions()
    ways: tuple[Way, ...] = Field(WAYS, min_length=1)
    rates: tuple[float, ...] = Field((0.0, 0.1, 0.2, 0.3, 0.4), min_length=1)
    methods: tuple[str, ...] = ("bce", "gce", "elr", "count", "forward", "pu", "two-stage", "verified only")
    verified: int = Field(200, ge=10)
    seeds: int = Field(3, ge=1)
    held_out: float = Field(0.3, gt=0, lt=1)
    max_traces: int | None = Field(1500, ge=10)
    trigger: str = "(checked)"
    max_length: int = Field(512, ge=8)
    batch_tokens: int = Field(2048, ge=1)
    device: Literal["cpu", "cuda"] | None = None
    resamples: int = Field(1000, ge=10)
    seed: int = 0

    @field_validator("rates")
    @classmethod
    def _shares(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        if any(not 0 <= value < 1 for value in values):
            raise ValueError("rates are shares from 0 to below 1")
        return values

    @field_validator("methods")
    @classmethod
    def _known(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        for value in values:
            method(value)
        return values if BASELINE in values else (BASELINE, *values)


@dataclass(frozen=True, slots=True)
class RobustnessResult:
    """What was found, and where it was written."""

    output: Path
    report: RobustnessReport

    @property
    def page(self) -> Path:
        """The curves, and every trace with its clean labels, to be opened in a browser."""
        return self.output / "report.html"


@dataclass(frozen=True, slots=True)
class _Attack:
    way: str
    rate: float


def run_robustness(config: RobustnessConfig, progress: Progress | None = None) -> RobustnessResult:
    """Read features, train every head, measure, and write ``robustness.json``, ``README.md`` and ``report.html``.

    Args:
        config: what to run.
        progress: called with (traces read, all), then with (heads trained, all).

    Raises:
        ConfigError: the model or the data is missing.
        DataError: too few labelled steps, or soft ones.
    """
    started, cpu = time.monotonic(), time.process_time()
    left_out: Counter[str] = Counter()
    reader = FeatureReader(
        config.model,
        layer=config.layer,
        max_length=config.max_length,
        batch_tokens=config.batch_tokens,
        device=config.device,
    )
    rows = _rows(config, reader, left_out)
    attacks = _attacks(config)
    trigger = config.trigger if "trigger" in config.ways else None
    train, test = _split(config, read_steps(rows, config.sources, reader, trigger, progress))
    cells = _cells(config, attacks, train, test, progress or (lambda done, total: None))
    report = RobustnessReport(
        cells=tuple(cells),
        traces=len(rows),
        train_steps=len(train),
        test_steps=len(test),
        test_problems=len(set(test.problems.tolist())),
        right=float(test.truth.mean()),
        left_out=dict(left_out),
        config=config.model_dump(mode="json"),
        versions=versions(),
        seconds=round(time.monotonic() - started, 1),
        cpu_seconds=round(time.process_time() - cpu, 1),
    )
    output = Path(config.output)
    report.save(output)
    result = RobustnessResult(output, report)
    write_text(result.page, build_page(rows, page_report(report), title="Robustness to wrong labels"))
    return result


def _rows(config: RobustnessConfig, reader: FeatureReader, left_out: Counter[str]) -> list[LabelledTrace]:
    labelled = [row for folder in config.data for row in iter_dataset(folder) if truths(row, config.sources)]
    kept = [row for row in labelled if reader.fits(row.trace, config.trigger)]
    left_out[f"longer than {config.max_length} tokens"] += len(labelled) - len(kept)
    if not kept:
        raise DataError(f"{', '.join(config.data)}: no trace with a label of {', '.join(config.sources)}")
    return limited(kept, config.max_traces, config.seed)


def _split(config: RobustnessConfig, steps: Steps) -> tuple[Steps, Steps]:
    judged = np.array([held_out(problem, config.held_out) for problem in steps.problems])
    parts = split(steps, ~judged), split(steps, judged)
    for name, part in zip(("training", "held-out"), parts, strict=True):
        if len(set(part.truth.tolist())) < 2 or len(set(part.problems.tolist())) < 5:
            raise DataError(f"robustness needs right and wrong steps of five problems at least in the {name} part")
    if config.verified > len(parts[0]):
        raise DataError(f"verified={config.verified} is more than the {len(parts[0])} training steps")
    return reduced(*parts, config.components)


def _attacks(config: RobustnessConfig) -> list[_Attack]:
    clean = [_Attack("none", 0.0)] if 0.0 in config.rates else []
    return clean + [_Attack(way, rate) for way in config.ways for rate in config.rates if rate > 0]


def _cells(
    config: RobustnessConfig, attacks: Sequence[_Attack], train: Steps, test: Steps, progress: Progress
) -> Iterator[Cell]:
    """Every cell of the tables: an attack and a method, over all seeds."""
    weights = problem_weights(test.problems, config.resamples, config.seed)
    chances, clusters = clean_chances(train), step_clusters(train)
    trained, heads = 0, len(attacks) * len(config.methods) * config.seeds
    for attack in attacks:
        flips = [
            poisoned(attack.way, train.truth, attack.rate, seed=seed, chances=chances, clusters=clusters)
            if attack.rate
            else np.zeros(len(train), dtype=np.bool_)
            for seed in range(config.seeds)
        ]
        found: dict[str, list[Learner]] = {}
        for name in config.methods:
            found[name] = [_learn(config, train, attack, flips[seed], name, seed) for seed in range(config.seeds)]
            trained += config.seeds
            progress(trained, heads)
        share = float(np.mean([mask.mean() for mask in flips]))
        marks = "trigger" in config.ways and attack.way in ("trigger", "none")
        yield from _measured(attack, share, found, test, weights, marks)


def _learn(
    config: RobustnessConfig, train: Steps, attack: _Attack, flipped: NDArray[np.bool_], name: str, seed: int
) -> Learner:
    verified = np.random.default_rng([seed, 1]).permutation(len(train))[: config.verified]
    learner = Learner(given(train, flipped, attack.way, verified), config.head, seed)
    method(name)(learner)
    return learner


def _measured(
    attack: _Attack, share: float, found: dict[str, list[Learner]], test: Steps, weights: Floats, marks: bool
) -> Iterator[Cell]:
    scores = {name: [learner.score(test.plain) for learner in learners] for name, learners in found.items()}
    aurocs = {name: [weighted_auroc(s, test.truth, weights) for s in values] for name, values in scores.items()}
    base = np.mean(aurocs[BASELINE], axis=0)
    wrong = weights * (1 - test.truth)
    for name, learners in found.items():
        auroc = np.mean(aurocs[name], axis=0)
        accuracy = np.mean([weighted_accuracy(s, test.truth, weights) for s in scores[name]], axis=0)
        fooled = None
        if marks:
            called_right = np.mean([learner.score(test.marked) >= 0.5 for learner in learners], axis=0)
            fooled = summary((wrong @ called_right) / wrong.sum(axis=1))
        yield Cell(
            way=attack.way,
            rate=attack.rate,
            flipped=share,
            method=name,
            auroc=summary(auroc),
            accuracy=summary(accuracy),
            gain=summary(auroc - base),
            fooled=fooled,
            seeds=tuple(float(values[0]) for values in aurocs[name]),
        )
