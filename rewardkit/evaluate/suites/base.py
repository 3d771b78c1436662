"""What every suite has in common: its configuration, a part of it, and what a part is given and gives back."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol, TypedDict, TypeVar

from pydantic import Field

from rewardkit.config import Config
from rewardkit.errors import DataError
from rewardkit.evaluate.figure import Figure
from rewardkit.models.reduce import reduce_scores
from rewardkit.models.spec import Reducer, RewardModelSpec
from rewardkit.store import LabelledTrace, load_traces
from rewardkit.store.rows import SUFFIXES, Source
from rewardkit.store.sources import Loaded
from rewardkit.train.data import choose_labels, held_out
from rewardkit.types import Trace

T = TypeVar("T")


class SuiteConfig(Config):
    """The keys that every suite takes.

    Attributes:
        model: a model folder, or the ``http(s)://`` address of a scoring service.
        output: the folder for scored traces, figures and page.
        baselines: measured beside the model on the same rows: ``prior`` (one constant score for every step, the share
            of right steps of the rows themselves), ``base`` (the model's base, asked in words, untrained), or any other
            model folder or address.
        reducer: how step scores become one score of the response; None takes the model's own.
        device, dtype, batch_tokens: of model folders.
        resamples, seed: of the bootstrap intervals and of every draw.
    """

    model: str
    output: str
    baselines: tuple[str, ...] = ("prior",)
    reducer: Reducer | None = None
    device: Literal["cpu", "cuda"] | None = None
    dtype: Literal["float32", "bfloat16", "float16"] | None = None
    batch_tokens: int = Field(8192, ge=1)
    resamples: int = Field(1000, ge=10)
    seed: int = 0

    def parts(self) -> Sequence[Part]:
        """What is to be measured, in order."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Threshold:
    """Below its value a step counts as wrong; `chosen` says on what it was chosen, never on the rows reported."""

    value: float
    chosen: str

    def __str__(self) -> str:
        return f"threshold {self.value:.3f}, {self.chosen}"


class Draws(TypedDict):
    """The options of `rewardkit.evaluate.bootstrap.measure` that are the same for all figures."""

    n: int
    seed: int


@dataclass(frozen=True, slots=True)
class Setting:
    """How a part is to be measured.

    Attributes:
        spec: of the model whose scores are measured.
        reducer: from step scores to the score of a response.
        resamples, seed: of the bootstrap.
    """

    spec: RewardModelSpec
    reducer: Reducer
    resamples: int
    seed: int

    @property
    def draws(self) -> Draws:
        """Of the bootstrap."""
        return {"n": self.resamples, "seed": self.seed}

    def response_score(self, scores: Sequence[float] | None) -> float:
        """One score of a response: an outcome model's own, else by the reducer from the steps'."""
        values = scores or ()
        return reduce_scores(values, self.reducer) if self.spec.scores_steps else values[-1]


@dataclass(frozen=True, slots=True)
class Measured:
    """What a part found.

    Attributes:
        figures: in the order to be shown.
        plots: the fields of `EvalReport` that are drawn.
        threshold: that it used or chose.
    """

    figures: list[Figure]
    plots: dict[str, Any] = field(default_factory=dict)
    threshold: Threshold | None = None


class Part(Protocol):
    """One thing to measure: rows to score, and figures from their scores."""

    @property
    def name(self) -> str:
        """What its traces are called on the page (``meta["part"]``)."""
        ...

    @property
    def steps(self) -> bool:
        """Whether it needs a score for each step, which an outcome model does not give."""
        ...

    def load(self) -> Loaded[LabelledTrace]:
        """The traces to score.

        Raises:
            DataError: they cannot be read.
        """
        ...

    def measure(self, rows: Sequence[LabelledTrace], setting: Setting) -> Measured:
        """The figures of the scored rows, in their order; those that could not be scored are missing."""
        ...


def draw(items: Sequence[T], most: int | None, seed: int) -> list[T]:
    """At most so many, drawn at random and in their order: files are often sorted (ProcessBench's by its label).

    >>> draw([1, 2, 3], None, 0), len(draw([1, 2, 3], 2, 0))
    ([1, 2, 3], 2)
    """
    if most is None or len(items) <= most:
        return list(items)
    chosen = sorted(random.Random(seed).sample(range(len(items)), most))
    return [items[i] for i in chosen]


def tagged(row: LabelledTrace, **meta: Any) -> LabelledTrace:
    """The row with more in its trace's ``meta``."""
    return replace(row, trace=replace(row.trace, meta={**row.trace.meta, **meta}))


def load_subsets(
    data: str, subsets: Sequence[str] | None, hub: Sequence[str], most: int | None, seed: int
) -> Loaded[LabelledTrace]:
    """Traces by subset: the files of a folder, the splits of a data set on the Hub, or one file.

    Args:
        data: a folder of files, a file, ``sample:NAME``, or a Hub id.
        subsets: names of files (without ending) or splits; None takes every file, or all of `hub`.
        hub: the splits that the data set is known to have on the Hub.
        most: at most so many traces of each subset, drawn at random.
        seed: of the draw.

    Returns:
        The traces, each with ``meta["subset"]``.

    Raises:
        DataError: there is no such subset, or it cannot be read.
    """
    found = [(name, load_traces(source, split=split)) for name, source, split in _places(data, subsets, hub)]
    rows = [tagged(row, subset=name) for name, loaded in found for row in draw(loaded.rows, most, seed)]
    bad = tuple(row for _, loaded in found for row in loaded.bad)
    return Loaded(tuple(rows), bad, " ".join(loaded.digest for _, loaded in found))


def _places(data: str, subsets: Sequence[str] | None, hub: Sequence[str]) -> list[tuple[str, str, str]]:
    """(subset, source, split) of each."""
    path = Source(data).path
    if path is None:
        return [(name, data, name) for name in subsets or hub]
    files = data_files(path)
    wanted = list(files) if subsets is None else list(subsets)
    missing = [name for name in wanted if name not in files]
    if missing:
        raise DataError(f"{data} holds no subset {', '.join(missing)}; it holds: {', '.join(files) or 'no data file'}")
    return [(name, str(files[name]), "train") for name in wanted]


def data_files(path: Path) -> dict[str, Path]:
    """The data files of a folder by their name without ending; of a file, itself.

    >>> data_files(Path("math.json"))
    {'math': PosixPath('math.json')}
    """
    if not path.is_dir() or (path / "data").is_dir():
        return {path.name.partition(".")[0]: path}
    return {file.name.partition(".")[0]: file for file in sorted(path.iterdir()) if file.name.endswith(SUFFIXES)}


def in_development(group: str, share: float) -> bool:
    """Whether a problem belongs to the development share, on which a threshold is chosen, by the hash of its id.

    Another seed than that of training's held-out problems, of which a development share may be taken in turn.
    """
    return held_out(group, share, seed=1)


def first_wrong(row: LabelledTrace, sources: Sequence[str]) -> int:
    """The first step that is wrong by the first of these sources that has a verdict on it, -1 where there is none."""
    chosen = choose_labels(row.labels, sources).items()
    return min((step for step, label in chosen if (label.p_correct or 0.0) < 0.5), default=-1)


def solved(trace: Trace) -> bool | None:
    """Whether a response is right: as its source says, else by comparing its answer with the reference; None: unknown.

    >>> from rewardkit.types import Problem
    >>> [solved(Trace.create(Problem.create("1+1?", "2"), ["..."], answer)) for answer in ("2", "3", None)]
    [True, False, False]
    """
    for key in ("is_correct", "final_answer_correct"):
        if key in trace.meta:
            return bool(trace.meta[key])
    if not trace.problem.answer:
        return None
    if trace.answer is None:
        return False
    from rewardkit.text.answers import matches_reference

    return matches_reference(trace.answer, trace.problem.answer)
