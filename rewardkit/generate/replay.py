"""Recorded generations, written and replayed: a run without a model.

A record is one JSON object a line:

    {"problem_id": "9f...", "prompt": "How many ...?", "sample": 0, "text": "48/2 = 24\\n...",
     "model": "smollm2-135m-instruct", "finish_reason": "stop", "tokens": 41}

``sample`` (from 0), ``text`` and one of ``problem_id`` and ``prompt`` must be there. ``prompt`` is the question, or
all that the user's last message says, such as what a judge was asked.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rewardkit.errors import ConfigError, DataError
from rewardkit.generate.base import Generation, GenerationRequest, GeneratorConfig
from rewardkit.store.dataset import LabelledTrace, iter_dataset
from rewardkit.store.rows import BadRow, Source, read_rows
from rewardkit.types import message_text

FIELDS = ("problem_id", "prompt", "sample", "text", "model", "finish_reason", "tokens")

Record = Mapping[str, Any]


class ReplayGenerator:
    """Gives back recorded generations, found by problem and sample number.

    Args:
        config: ``source`` names the records (``sample:NAME``, a file) or a dataset folder that RewardKit wrote.

    Raises:
        ConfigError: there is no ``source``.
        DataError: it cannot be read, holds no record, or two of one problem and sample number that differ.
    """

    in_driver = True
    """Nothing to compute: the file need not lie on every machine."""

    def __init__(self, config: GeneratorConfig) -> None:
        if config.source is None:
            raise ConfigError("generator.kind=replay needs generator.source: recorded generations or a dataset folder")
        self._source = config.source
        self._records: dict[tuple[str, int], Record] = {}
        for record in read_generations(config.source):
            keys = [(f"{key}:{record[key]}", record["sample"]) for key in ("problem_id", "prompt") if record.get(key)]
            if keys and self._records.get(keys[0], record)["text"] != record["text"]:
                raise DataError(
                    f"{config.source} holds two generations of one problem with the sample number {record['sample']} "
                    f"({' '.join(keys[0][0].split())[:60]}): number those of all models through, from 0"
                )
            self._records |= dict.fromkeys(keys, record)

    def generate(self, requests: Sequence[GenerationRequest]) -> list[Generation]:
        """The recorded generation of each request; one that was not recorded gives an error."""
        return [self._one(request) for request in requests]

    def _one(self, request: GenerationRequest) -> Generation:
        problem, sample = request.problem, request.sample
        asked = next((message_text(m) for m in reversed(request.messages) if m.get("role") == "user"), "")
        keys = (f"prompt:{asked}", f"problem_id:{problem.id}", f"prompt:{problem.text}")
        record = next((self._records[key, sample] for key in keys if (key, sample) in self._records), None)
        if record is None:
            reason = f"{self._source} holds no generation of this problem and sample"
            return Generation(request.id, "", "error", 0, "replay", reason)
        return Generation(
            request.id,
            record["text"],
            "length" if record.get("finish_reason") == "length" else "stop",
            int(record.get("tokens") or 0),
            str(record.get("model") or "unknown"),
        )


def read_generations(source: str) -> Iterator[Record]:
    """Read recorded generations; lines that are none are passed over.

    Args:
        source: ``sample:NAME``, a file as `write_generations` makes it, or a dataset folder.

    Raises:
        DataError: the source cannot be read, or holds not one record.
    """
    where = Source(source)
    if where.path is None:
        raise DataError(f"there is no file {source}")
    if where.path.is_dir():
        yield from (_from_trace(row) for row in iter_dataset(where.path))
        return
    found = 0
    for _, row in read_rows(where):
        if not isinstance(row, BadRow) and _is_record(row):
            found += 1
            yield row
    if not found:
        raise DataError(f"{source} holds no recorded generation: rows with text, sample, and problem_id or prompt")


def write_generations(path: str | Path, records: Iterable[Record]) -> int:
    """Write recorded generations as JSON Lines, compressed where the name ends in ``.gz``.

    The same records give the same bytes.

    Args:
        path: of the file.
        records: with the keys of `FIELDS`; others are left out.

    Returns:
        How many were written.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.tmp")
    count = 0
    with temporary.open("wb") as file:
        packed = gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) if target.suffix == ".gz" else file
        with packed as stream:
            for record in records:
                line = json.dumps({key: record[key] for key in FIELDS if key in record}, ensure_ascii=False)
                stream.write(line.encode("utf-8", "backslashreplace") + b"\n")  # a lone surrogate as JSON's escape
                count += 1
    temporary.replace(target)
    return count


def _is_record(row: Record) -> bool:
    if not isinstance(row.get("text"), str) or not isinstance(row.get("sample"), int):
        return False
    return isinstance(row.get("problem_id"), str) or isinstance(row.get("prompt"), str)


def _from_trace(row: LabelledTrace) -> Record:
    trace = row.trace
    return {
        "problem_id": trace.problem.id,
        "prompt": trace.problem.text,
        "sample": int(trace.meta.get("sample", 0)),
        "text": trace.response,
        "model": trace.model,
        "finish_reason": trace.meta.get("finish_reason", "stop"),
        "tokens": trace.meta.get("tokens", 0),
    }
