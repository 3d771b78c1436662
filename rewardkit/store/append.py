"""Write a dataset with labels of one more source, column by column: no object is made for a trace or a label."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from rewardkit.errors import DataError
from rewardkit.store.dataset import LABEL, SCHEMA, begin_dataset, column, finish_dataset, read_manifest
from rewardkit.types import Meaning


def append_labels(
    folder: str | Path,
    output: str | Path,
    source: str,
    meaning: Meaning,
    p: NDArray[np.float64],
    evidence: Sequence[str],
    manifest: Mapping[str, Any],
    kept: NDArray[np.bool_] | None = None,
) -> None:
    """Write the dataset of a folder, every step with one label more.

    Args:
        folder: the dataset.
        output: where the new one is written; it may be the same folder.
        source: name of the new labels.
        meaning: of them.
        p: (steps,) over all steps in the order of the dataset; NaN for an abstention.
        evidence: one line a step.
        manifest: keys to add to the manifest.
        kept: (steps,) True for the steps that get a label; None for all.

    Raises:
        DataError: the dataset cannot be read, or has another number of steps.
    """
    root, kept = Path(output), np.ones(len(p), dtype=np.bool_) if kept is None else kept
    work = begin_dataset(root)
    done = 0
    for file in sorted((Path(folder) / "data").glob("*.parquet")):
        with (
            pq.ParquetFile(file) as parquet,
            pq.ParquetWriter(work / file.name, _typed(parquet.schema_arrow), compression="zstd") as writer,
        ):
            for batch in parquet.iter_batches(batch_size=20_000):
                made, steps = _appended(batch, done, source, meaning, p, evidence, kept)
                writer.write_batch(made)
                done += steps
    if done != len(p):
        shutil.rmtree(work)
        raise DataError(f"{folder} has {done} steps, but {len(p)} labels were to be added: did it change?")
    finish_dataset(root, work, _manifest(Path(folder), source, p[kept], manifest))


def _appended(
    batch: Any, done: int, source: str, meaning: str, p: Any, evidence: Sequence[str], kept: Any
) -> tuple[Any, int]:
    lengths = column(batch, "steps").value_lengths().fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    steps = int(lengths.sum())
    rows = np.repeat(np.arange(len(lengths)), lengths)
    first = np.concatenate([[0], np.cumsum(lengths)])
    mask = kept[done : done + steps]
    place = (np.arange(steps) - first[rows])[mask]
    rows = rows[mask]
    values = p[done : done + steps][mask]
    texts = [text for text, used in zip(evidence[done : done + steps], mask.tolist(), strict=True) if used]
    fields = [
        pa.array(place, pa.int32()),
        pa.array(values, pa.float64(), from_pandas=True),  # NaN becomes null: an abstention
        pa.array([source] * len(rows), pa.string()),
        pa.array([meaning] * len(rows), pa.string()),
        pa.array(texts, pa.string()),
    ]
    new = pa.StructArray.from_arrays(fields, fields=list(LABEL))
    lists = column(batch, "labels")
    counts = lists.value_lengths().fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    every = pa.concat_arrays([lists.flatten(), new])
    row = np.concatenate([np.repeat(np.arange(len(counts)), counts), rows])
    order = np.argsort(row, kind="stable")
    ends = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=len(counts)))])
    field = SCHEMA.field("labels")
    merged = pa.ListArray.from_arrays(pa.array(ends, pa.int32()), every.take(pa.array(order))).cast(field.type)
    return batch.set_column(batch.schema.get_field_index(field.name), field, merged), steps


def _typed(schema: pa.Schema) -> pa.Schema:
    """The schema of a file with our type of labels, whoever wrote it."""
    return schema.set(schema.get_field_index("labels"), SCHEMA.field("labels"))


def _manifest(folder: Path, source: str, p: Any, extra: Mapping[str, Any]) -> dict[str, Any]:
    old = read_manifest(folder)
    counts = dict(old["counts"])
    said = Counter(np.where(np.isnan(p), "abstained", np.where(p >= 0.5, "correct", "wrong")).tolist())
    known = {name: said[name] for name in ("correct", "wrong", "abstained")}
    counts["labels"] = {**counts.get("labels", {}), source: known}
    return {**old, **extra, "counts": counts}
