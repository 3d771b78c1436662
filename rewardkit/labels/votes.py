"""The labels of a dataset as arrays: one row a step, one column a source. A million steps fit into some 100 MB.

Inside these arrays NaN stands for "no opinion" (an abstention, or no label at all); it never leaves them as a number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from rewardkit.errors import ConfigError, DataError
from rewardkit.store.dataset import column
from rewardkit.types import Meaning

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_COLUMNS = ["id", "problem_id", "steps", "labels", "scores"]


@dataclass(frozen=True, slots=True)
class Votes:
    """What each source says of each step, all of one meaning.

    Attributes:
        sources: names of the columns of `p`.
        meaning: of all of them.
        p: (steps, sources) the chance that the step is right; NaN where the source has no opinion.
        trace: (steps,) the number of the step's trace, rising.
        step: (steps,) its place in the trace, from 0.
        trace_ids: one a trace.
        problem: (traces,) a number for each trace's problem.
        scores: (steps,) a reward model's scores, NaN where the dataset has none.
        contradictions: (sources,) how many steps each source labelled twice with different verdicts.
    """

    sources: tuple[str, ...]
    meaning: Meaning
    p: Floats
    trace: Ints
    step: Ints
    trace_ids: tuple[str, ...]
    problem: Ints
    scores: Floats
    contradictions: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.trace)

    @property
    def groups(self) -> Ints:
        """(steps,) the number of each step's problem: what folds and intervals keep together."""
        return self.problem[self.trace]

    @property
    def place(self) -> Floats:
        """(steps,) where in its trace the step stands, from 0 to 1."""
        length = np.bincount(self.trace, minlength=len(self.trace_ids))
        return np.asarray(self.step / np.maximum(length[self.trace] - 1, 1), dtype=np.float64)

    def column(self, source: str) -> Floats:
        """(steps,) what one source says."""
        return self.p[:, self.sources.index(source)]


def meanings(folder: str | Path) -> dict[str, set[Meaning]]:
    """Every source of a dataset with the meanings of its labels, in order of appearance."""
    found: dict[str, set[Meaning]] = {}
    for batch in _batches(folder, ["labels"]):
        flat = column(batch, "labels").flatten()
        table = pa.Table.from_arrays([flat.field("source"), flat.field("meaning")], names=["source", "meaning"])
        for row in table.group_by(["source", "meaning"]).aggregate([]).to_pylist():
            found.setdefault(row["source"], set()).add(row["meaning"])
    return found


def choose_sources(
    known: dict[str, set[Meaning]], wanted: Sequence[str], gold: Sequence[str]
) -> tuple[Meaning, list[str]]:
    """The one meaning, and the voters of it.

    The meaning is that of the gold sources, else of the wanted ones, else the only one there is.

    Args:
        known: see `meanings`.
        wanted: voters; none for every source of the meaning that is not gold.
        gold: sources that count as the truth.

    Raises:
        ConfigError: a source does not exist or is both, or several meanings would have to be merged.

    >>> choose_sources({"z3": {"local"}, "judge": {"local"}, "answer": {"value"}}, [], ["z3"])
    ('local', ['judge'])
    """
    for name in (*wanted, *gold):
        if name not in known:
            raise ConfigError(f"there is no label source '{name}'; there are {', '.join(known) or 'none'}")
    both = [name for name in wanted if name in gold]
    if both:
        raise ConfigError(f"{both[0]} is gold, the truth that sources are measured by: it cannot be one of them too")
    asked = [*gold, *wanted] or list(known)
    common = set.intersection(*(known[name] for name in asked)) if asked else set()
    if len(common) != 1:
        said = ", ".join(f"{name} is {' and '.join(sorted(known[name]))}" for name in asked) or "there is no label"
        raise ConfigError(
            f"labels of different meanings are never merged: {said}; name sources of one meaning, "
            "or convert first with `rewardkit labels convert`"
        )
    meaning = common.pop()
    return meaning, list(wanted) or [name for name in known if meaning in known[name] and name not in gold]


def read_votes(folder: str | Path, sources: Sequence[str], meaning: Meaning) -> Votes:
    """Read the labels of some sources, column by column: no object is made for a label.

    A source that labels a step more than once counts with its mean; where its verdicts differ, that is a contradiction.
    A source that is named twice has one column.

    Raises:
        DataError: the folder is no dataset, holds no step, or a label points behind the last step of its trace.
    """
    ids: list[str] = []
    problems: list[str] = []
    sources = tuple(dict.fromkeys(sources))
    parts = [_read(batch, list(sources), meaning, ids, problems, folder) for batch in _batches(folder, _COLUMNS)]
    if not parts or not sum(len(part["step"]) for part in parts):
        raise DataError(f"{folder} holds no step")
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    number = {name: i for i, name in enumerate(dict.fromkeys(problems))}
    return Votes(
        sources=sources,
        meaning=meaning,
        p=joined["p"],
        trace=joined["trace"],
        step=joined["step"],
        trace_ids=tuple(ids),
        problem=np.array([number[name] for name in problems], dtype=np.int64),
        scores=joined["scores"],
        contradictions=tuple(int(n) for n in joined["torn"].sum(axis=0)),
    )


def _batches(folder: str | Path, columns: list[str]) -> Any:
    files = sorted((Path(folder) / "data").glob("*.parquet"))
    if not files:
        raise DataError(f"{folder} is no dataset: there is no data/*.parquet in it; make one with `rewardkit synth`")
    for file in files:
        try:
            with pq.ParquetFile(file) as parquet:
                yield from parquet.iter_batches(batch_size=20_000, columns=columns)
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"{file} cannot be read as Parquet: {' '.join(str(error).split())}") from None


def _read(
    batch: Any, sources: list[str], meaning: str, ids: list[str], problems: list[str], folder: Any
) -> dict[str, Any]:
    lengths = column(batch, "steps").value_lengths().fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    first = np.concatenate([[0], np.cumsum(lengths)])
    rows = np.repeat(np.arange(len(lengths)), lengths)
    row, step, number, p = _opinions(column(batch, "labels"), sources, meaning)
    if len(step) and (step.min() < 0 or (step >= lengths[row]).any()):
        raise DataError(f"{folder}: a label points to a step that its trace does not have")
    at = (first[row] + step) * max(len(sources), 1) + number
    size = int(first[-1]) * len(sources)
    count, total, right = (np.bincount(at, weights=w, minlength=size) for w in (None, p, p >= 0.5))
    shape = (int(first[-1]), len(sources))
    torn = ((right > 0) & (right < count)).reshape(shape)
    mean = np.divide(total, count, out=np.full(size, np.nan), where=count > 0).reshape(shape)
    trace = rows + len(ids)
    ids.extend(batch.column("id").to_pylist())
    problems.extend(batch.column("problem_id").to_pylist())
    return {
        "p": mean,
        "torn": torn,
        "trace": trace,
        "step": np.arange(len(rows)) - first[rows],
        "scores": _scores(column(batch, "scores"), lengths, first),
    }


def _opinions(lists: Any, sources: list[str], meaning: str) -> tuple[Ints, Ints, Ints, Floats]:
    """The labels that have an opinion: their row in the batch, step, source number and value."""
    counts = lists.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    flat = lists.flatten()
    row = np.repeat(np.arange(len(counts)), counts)
    names = flat.field("source").dictionary_encode()
    known = {name: i for i, name in enumerate(sources)}
    number = np.array([known.get(name, -1) for name in names.dictionary.to_pylist()] or [-1])
    asked = number[names.indices.to_numpy(zero_copy_only=False)]
    p = flat.field("p_correct").to_numpy(zero_copy_only=False).astype(np.float64)
    meant = pc.equal(flat.field("meaning"), meaning).to_numpy(zero_copy_only=False).astype(bool)
    kept = (asked >= 0) & meant & np.isfinite(p)
    step = flat.field("step").to_numpy(zero_copy_only=False).astype(np.int64)
    return row[kept], step[kept], asked[kept].astype(np.int64), p[kept]


def _scores(lists: Any, lengths: Ints, first: Ints) -> Floats:
    """Scores of traces that have one a step; NaN elsewhere (an outcome model's single score is none of a step)."""
    found = np.full(int(first[-1]), np.nan)
    counts = lists.value_lengths().fill_null(-1).to_numpy(zero_copy_only=False)
    values = lists.flatten().to_numpy(zero_copy_only=False).astype(np.float64)
    fits = np.repeat(counts == lengths, np.maximum(counts, 0))
    found[np.repeat(counts == lengths, lengths)] = values[fits]
    return found
