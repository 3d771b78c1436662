"""The dataset on disk: one row a trace in Parquet, a manifest, and a card that the Hub renders.

    DIR/data/*.parquet   id, problem_id, prompt, steps, answer, reference, model, labels, scores, meta, images
    DIR/manifest.json    resolved config, versions, input hashes, seeds, counts
    DIR/README.md        the dataset card; its front matter makes `datasets.load_dataset(DIR)` work

A prompt that is a chat is stored as the JSON of its messages; ``images`` (null without any) has bytes or a path for
each, as `datasets` stores images. Not stored: `Step.formal` and `Problem.meta`.
"""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from operator import index
from pathlib import Path
from typing import Any, get_args

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from rewardkit.errors import ConfigError, DataError
from rewardkit.store.counts import DatasetCounts
from rewardkit.store.files import write_text
from rewardkit.store.rows import file_digest, is_missing
from rewardkit.types import Meaning, Problem, Step, StepLabel, Trace

LABEL = pa.struct(
    [
        ("step", pa.int32()),
        ("p_correct", pa.float64()),
        ("source", pa.string()),
        ("meaning", pa.string()),
        ("evidence", pa.string()),
    ]
)
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("problem_id", pa.string()),
        ("prompt", pa.string()),
        ("steps", pa.list_(pa.string())),
        ("answer", pa.string()),
        ("reference", pa.string()),
        ("model", pa.string()),
        ("labels", pa.list_(LABEL)),
        ("scores", pa.list_(pa.float64())),
        ("meta", pa.string()),
        ("images", pa.list_(IMAGE)),
    ]
)
"""The columns of every dataset that RewardKit writes; ``scores`` and ``images`` may be null, ``meta`` is the JSON of
`Trace.meta`."""

_ROW = pa.struct(list(SCHEMA))
_BATCH = 1000


@dataclass(frozen=True, slots=True)
class LabelledTrace:
    """A trace with what is known of its steps: one row of a dataset.

    Attributes:
        trace: the response.
        labels: of any number of sources; a step may have several, or none.
        scores: a reward model's, one a step.
    """

    trace: Trace
    labels: tuple[StepLabel, ...] = ()
    scores: tuple[float, ...] | None = None


def write_dataset(
    folder: str | Path,
    rows: Iterable[LabelledTrace],
    manifest: Mapping[str, Any],
    *,
    rows_per_file: int = 50_000,
) -> dict[str, Any]:
    """Write a dataset; an older one in the same folder is replaced once the new one is whole.

    Rows are streamed: a thousand at a time are in memory.

    Args:
        folder: made where it is missing.
        rows: one a trace.
        manifest: what the caller knows; ``counts`` of traces, steps and labels, and the ``data`` hash are added.
        rows_per_file: a new Parquet file begins after so many.

    Returns:
        The manifest as written.

    Raises:
        ConfigError: see `check_output`.
        DataError: there are no rows.
    """
    root = Path(folder)
    work = begin_dataset(root)
    counts = DatasetCounts()
    _write_shards(work, counts.watch(rows), rows_per_file)
    if not counts.traces:
        shutil.rmtree(work)
        raise DataError(f"nothing to write into {root}: there is not one trace")
    return finish_dataset(root, work, {**manifest, "counts": {**counts.as_dict(), **manifest.get("counts", {})}})


def check_output(folder: str | Path) -> None:
    """Raise where a dataset would replace what is somebody else's: call it before the work, not only at its end.

    Raises:
        ConfigError: the folder holds a README.md or data/ that no dataset of RewardKit brought, or is a file.
    """
    root = Path(folder)
    if root.exists() and not root.is_dir():
        raise ConfigError(f"{root} is a file; choose a folder as output")
    if any((root / name).exists() for name in ("README.md", "data")) and not _is_ours(root):
        raise ConfigError(f"{root} holds a README.md or data/ that are no dataset of RewardKit; choose another output")


def begin_dataset(root: Path) -> Path:
    """Make the folder of a dataset, and inside it the one that new Parquet files go into.

    Raises:
        ConfigError: see `check_output`.
    """
    check_output(root)
    work = root / ".data.tmp"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    return work


def finish_dataset(root: Path, work: Path, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Put new Parquet files in the place of the old ones, and write the manifest (which is returned) and the card."""
    from rewardkit.store.card import dataset_card

    _swap(work, root / "data")
    full = {**manifest, "data": file_digest(root / "data")}
    write_text(root / "manifest.json", json.dumps(full, ensure_ascii=False, indent=2) + "\n")
    write_text(root / "README.md", dataset_card(root.absolute().name, full))
    return full


def _is_ours(root: Path) -> bool:
    """Whether a folder holds a dataset of RewardKit, or a run that is about to write one."""
    if (root / ".run").is_dir():
        return True
    try:
        counts = read_manifest(root).get("counts")
    except DataError:
        return False
    return isinstance(counts, dict) and "traces" in counts


def read_dataset(folder: str | Path) -> list[LabelledTrace]:
    """Read a whole dataset; see `iter_dataset`."""
    return list(iter_dataset(folder))


def iter_dataset(folder: str | Path) -> Iterator[LabelledTrace]:
    """Read a dataset row by row.

    Raises:
        DataError: no such folder, no Parquet in it, or not the columns of `SCHEMA`.
    """
    files = sorted((Path(folder) / "data").glob("*.parquet"))
    if not files:
        raise DataError(f"{folder} is no dataset: there is no data/*.parquet in it; make one with `rewardkit synth`")
    for file in files:
        try:
            yield from _read_file(file)
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"{file} cannot be read as Parquet: {' '.join(str(error).split())}") from None


def column(batch: Any, name: str) -> Any:
    """A column of `SCHEMA` in its own type, whoever wrote the file: pandas and polars have others; nulls for none.

    Args:
        batch: a `pyarrow.RecordBatch` of a dataset's file.
        name: of `SCHEMA`.

    >>> batch = pa.record_batch([pa.nulls(2)], names=["scores"])
    >>> column(batch, "scores").type, column(batch, "labels").null_count
    (ListType(list<item: double>), 2)
    """
    wanted = SCHEMA.field(name).type
    if name not in batch.schema.names:
        return pa.nulls(batch.num_rows, wanted)
    found = batch.column(name)
    if found.type == wanted or pa.types.is_null(found.type) or name != "labels":
        return found.cast(wanted)
    flat, lengths = found.flatten(), found.value_lengths().fill_null(0).cast(pa.int32())
    known = [field.name for field in flat.type]
    parts = [flat.field(f.name).cast(f.type) if f.name in known else pa.nulls(len(flat), f.type) for f in LABEL]
    ends = pa.concat_arrays([pa.array([0], pa.int32()), pc.cumulative_sum(lengths)])
    return pa.ListArray.from_arrays(ends, pa.StructArray.from_arrays(parts, fields=list(LABEL))).cast(wanted)


def read_manifest(folder: str | Path) -> dict[str, Any]:
    """The manifest of a dataset folder.

    Raises:
        DataError: there is none, or it is no JSON object.
    """
    path = Path(folder) / "manifest.json"
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{folder} holds no manifest.json, so it is no dataset of RewardKit") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}") from None
    if not isinstance(value, dict):
        raise DataError(f"{path} is not a JSON object")
    return value


def origin(folder: str | Path) -> dict[str, Any]:
    """The manifest of a dataset, for another that is made of it: rows and labels are counted anew, bad rows are not.

    Raises:
        DataError: see `read_manifest`.
    """
    manifest = read_manifest(folder)
    counts = manifest.get("counts", {})
    return {**manifest, "counts": {name: counts[name] for name in ("bad_rows", "bad_reasons") if name in counts}}


def to_record(row: LabelledTrace) -> dict[str, Any]:
    """A row as plain values under the names of `SCHEMA`."""
    trace, problem = row.trace, row.trace.problem
    chat = not isinstance(problem.prompt, str)
    images = [
        {"bytes": x, "path": None} if isinstance(x, bytes) else {"bytes": None, "path": x} for x in problem.images
    ]
    return {
        "id": trace.id,
        "problem_id": problem.id,
        "prompt": json.dumps(problem.prompt, ensure_ascii=False) if chat else problem.prompt,
        "steps": [step.text for step in trace.steps],
        "answer": trace.answer,
        "reference": problem.answer,
        "model": trace.model,
        "labels": [label_record(label) for label in row.labels],
        "scores": None if row.scores is None else list(row.scores),
        "meta": json.dumps(dict(trace.meta), ensure_ascii=False, default=str),
        **({"images": images} if images else {}),
    }


def label_record(label: StepLabel) -> dict[str, Any]:
    """A label as plain values, without its trace."""
    return {
        "step": index(label.step),
        "p_correct": None if label.p_correct is None else float(label.p_correct),
        "source": label.source,
        "meaning": label.meaning,
        "evidence": label.evidence,
    }


def check_labels(labels: Iterable[StepLabel], trace: Trace) -> None:
    """Raise unless each label says something of a step of its trace.

    Raises:
        DataError: a label points behind the last step, has no source or an unknown meaning.
    """
    steps = len(trace.steps)
    for label in labels:
        if not 0 <= label.step < steps:
            raise DataError(f"a label of {label.source} is of step {label.step}, and there are {steps} (from 0)")
        if not isinstance(label.source, str) or label.meaning not in get_args(Meaning):
            raise DataError(f"a label has the source {label.source!r} and the meaning {label.meaning!r}")


def checked_record(row: LabelledTrace) -> dict[str, Any]:
    """The record of a row that came from elsewhere, if Parquet takes it and each label says something of a step.

    Raises:
        DataError: see `check_labels`.
        Exception: of whatever kind, where a value is of a type that its column does not have.
    """
    check_labels(row.labels, row.trace)
    record = to_record(row)
    pa.array([record], _ROW)  # refuses other types, and lone surrogates
    return record


def from_record(record: Mapping[str, Any]) -> LabelledTrace:
    """The row of a record; the inverse of `to_record`.

    >>> trace = Trace.create(Problem.create("1+1?", "2"), ["1+1 = 2"], "2", model="m", meta={"sample": 3})
    >>> row = LabelledTrace(trace, (StepLabel(trace.id, 0, None, "arithmetic", "local"),))
    >>> from_record(to_record(row)) == row
    True
    """
    images = tuple(x["path"] if x["bytes"] is None else x["bytes"] for x in record.get("images") or ())
    problem = Problem(record["problem_id"], _prompt(record["prompt"]), record["reference"], images)
    steps = tuple(Step(text) for text in record["steps"])
    meta = json.loads(record.get("meta") or "{}")
    trace = Trace(record["id"], problem, steps, record["answer"], record["model"], meta)
    labels = tuple(
        StepLabel(trace.id, x["step"], _opinion(x["p_correct"]), x["source"], x["meaning"], x.get("evidence") or "")
        for x in record["labels"] or ()
    )
    scores = record.get("scores")
    return LabelledTrace(trace, labels, None if scores is None else tuple(scores))


def _opinion(p_correct: Any) -> Any:
    return None if is_missing(p_correct) else p_correct  # NaN is how others write an abstention


def is_record(row: Mapping[str, Any]) -> bool:
    """Whether a row of a file is one of a dataset that RewardKit wrote.

    >>> is_record(to_record(LabelledTrace(Trace.create(Problem.create("1+1?"), ["2"])))), is_record({"steps": ["2"]})
    (True, False)
    """
    return all(name in row for name in SCHEMA.names[:8])


def _write_shards(folder: Path, rows: Iterator[LabelledTrace], rows_per_file: int) -> None:
    for number in itertools.count():
        shard = itertools.islice(rows, rows_per_file)
        first = next(shard, None)
        if first is None:
            return
        with pq.ParquetWriter(folder / f"train-{number:05d}.parquet", SCHEMA, compression="zstd") as writer:
            rest = itertools.chain([first], shard)
            while batch := [to_record(row) for row in itertools.islice(rest, _BATCH)]:
                writer.write_table(pa.Table.from_pylist(batch, schema=SCHEMA))


def _swap(new: Path, place: Path) -> None:
    old = place.with_name(".data.old")
    shutil.rmtree(old, ignore_errors=True)
    if place.exists():
        place.replace(old)
    new.replace(place)
    shutil.rmtree(old, ignore_errors=True)


def _read_file(file: Path) -> Iterator[LabelledTrace]:
    with pq.ParquetFile(file) as parquet:
        missing = [name for name in SCHEMA.names[:8] if name not in parquet.schema_arrow.names]
        if missing:
            raise DataError(f"{file} lacks the columns {', '.join(missing)}, so it is no dataset of RewardKit")
        for batch in parquet.iter_batches(batch_size=_BATCH):
            for record in batch.to_pylist():
                yield from_record(record)


def _prompt(text: str) -> str | tuple[Mapping[str, Any], ...]:
    """A chat where the text is the JSON of one, else the text."""
    if not text.startswith('[{"'):
        return text
    try:
        messages = json.loads(text)
    except ValueError:
        return text
    chat = all(isinstance(m, dict) and "role" in m for m in messages)
    return tuple(messages) if chat else text
