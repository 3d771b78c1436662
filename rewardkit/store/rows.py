"""Read rows from JSON Lines, JSON, Parquet or the Hub; what cannot be read is kept with its place and reason."""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rewardkit.errors import DataError
from rewardkit.samples import sample_path

Row = Mapping[str, Any]
_BOM = b"\xef\xbb\xbf"  # what Windows puts before the first line
_DAMAGED = (OSError, EOFError, zlib.error)  # what a file raises that is not whole, gzip's kinds among them
SUFFIXES = (".jsonl", ".jsonl.gz", ".json", ".json.gz", ".parquet")


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that could not be used.

    Attributes:
        where: its place, such as "train.jsonl line 7".
        reason: one line.
    """

    where: str
    reason: str


@dataclass(frozen=True, slots=True)
class Source:
    """Where rows come from.

    Attributes:
        name: ``sample:NAME``, a path, or a data set's id on the Hub.
        subset, split: of a data set on the Hub.
    """

    name: str
    subset: str | None = None
    split: str = "train"

    @property
    def path(self) -> Path | None:
        """The local file, or None for a data set on the Hub.

        Raises:
            DataError: the name is neither a file, nor a sample, nor shaped like a Hub id.
        """
        if self.name.startswith("sample:"):
            return sample_path(self.name.removeprefix("sample:"))
        path = Path(self.name).expanduser()
        if path.exists():
            return path
        if self.name.endswith(SUFFIXES) or self.name.startswith((".", "/", "~")) or self.name.count("/") > 1:
            raise DataError(f"there is no file {self.name}")
        return None

    def digest(self) -> str:
        """The SHA-256 of the local file, or the id, subset and split of a data set on the Hub."""
        path = self.path
        if path is None:
            return f"hub:{self.name}:{self.subset or 'default'}:{self.split}"
        return file_digest(path)


def is_missing(value: Any) -> bool:
    """Whether a column holds nothing: null, or the NaN that pandas writes for it.

    >>> is_missing(None), is_missing(float("nan")), is_missing(0)
    (True, True, False)
    """
    return value is None or (isinstance(value, float) and value != value)


def file_digest(path: Path) -> str:
    """The SHA-256 of a file, or of all files of a folder with their names, as ``sha256:...``."""
    digest = hashlib.sha256()
    files = sorted(p for p in path.rglob("*.parquet")) if path.is_dir() else [path]
    for file in files:
        if path.is_dir():
            digest.update(file.relative_to(path).as_posix().encode() + b"\0")
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return f"sha256:{digest.hexdigest()}"


def read_rows(source: Source) -> Iterator[tuple[str, Row | BadRow]]:
    """Read a source row by row.

    Args:
        source: see `Source`.

    Yields:
        ``(where, row)``, or ``(where, BadRow)`` for a line that is no JSON object; the rest goes on.

    Raises:
        DataError: the source cannot be read at all.

    >>> where, row = next(read_rows(Source("sample:gsm8k-train")))
    >>> where, sorted(row)
    ('gsm8k_train.jsonl.gz line 1', ['answer', 'question'])
    """
    path = source.path
    if path is None:
        return _hub_rows(source)
    if path.is_dir():
        raise DataError(f"{path} is a folder; give a file ({', '.join(SUFFIXES)})")
    name = path.name
    if name.endswith((".jsonl", ".jsonl.gz")):
        return _json_lines(path)
    if name.endswith((".json", ".json.gz")):
        return _json_array(path)
    if name.endswith(".parquet"):
        return _parquet_rows(path)
    raise DataError(f"{path} has no known ending; known are {', '.join(SUFFIXES)}")


def _json_lines(path: Path) -> Iterator[tuple[str, Row | BadRow]]:
    try:
        with _open(path) as stream:
            for number, line in enumerate(stream, 1):
                line = line.removeprefix(_BOM)
                if line.strip():
                    where = f"{path.name} line {number}"
                    yield where, _parse(line, where)
    except _DAMAGED as error:
        raise DataError(f"{path} cannot be read: {error}") from None


def _parse(line: bytes, where: str) -> Row | BadRow:
    try:
        return _as_row(json.loads(line.decode("utf-8")), where)
    except UnicodeDecodeError as error:
        return BadRow(where, f"not UTF-8: {error.reason} at byte {error.start}")
    except json.JSONDecodeError as error:
        return BadRow(where, f"not JSON: {error.msg} at column {error.colno}")
    except (ValueError, RecursionError) as error:
        return BadRow(where, f"not usable JSON: {_unusable(error)}")


def _unusable(error: Exception) -> str:
    return "nested too deeply" if isinstance(error, RecursionError) else "a whole number of thousands of digits"


def _as_row(value: Any, where: str) -> Row | BadRow:
    if isinstance(value, dict):
        return value
    return BadRow(where, f"not a JSON object but a {type(value).__name__}")


def _json_array(path: Path) -> Iterator[tuple[str, Row | BadRow]]:
    try:
        with _open(path) as stream:
            values = json.loads(stream.read())
    except (*_DAMAGED, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}") from None
    except json.JSONDecodeError as error:
        raise DataError(
            f"{path} is not JSON: {error.msg} at line {error.lineno}; name it .jsonl if each line is an object"
        ) from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not usable JSON: {_unusable(error)}") from None
    if not isinstance(values, list):
        raise DataError(f"{path} must hold a list of objects, not a {type(values).__name__}")
    for number, value in enumerate(values, 1):
        where = f"{path.name} row {number}"
        yield where, _as_row(value, where)


def _parquet_rows(path: Path) -> Iterator[tuple[str, Row | BadRow]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            number = 0
            for batch in file.iter_batches(batch_size=1000):
                for row in batch.to_pylist():
                    number += 1
                    yield f"{path.name} row {number}", row
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path} cannot be read as Parquet: {error}") from None


def _hub_rows(source: Source) -> Iterator[tuple[str, Row | BadRow]]:
    import datasets

    try:
        table = datasets.load_dataset(source.name, source.subset, split=source.split)
    except Exception as error:  # the Hub client raises of many kinds; each means that the user must mend the source
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise DataError(
            f"'{source.name}' is no file, and as a data set of the Hub it cannot be loaded: {reason}"
        ) from None
    for number, row in enumerate(table, 1):
        yield f"{source.name}[{source.split}] row {number}", row


def _open(path: Path) -> Any:
    return gzip.open(path, "rb") if path.name.endswith(".gz") else path.open("rb")
