"""How many labelled rows a second does a resumable run take in, beside plain lines appended to a file?

Each side takes the same real rows (GSM8K solutions with arithmetic labels) in the same batches. The run's state commits
each batch twice, the text and then the row, so that kill -9 loses nothing; afterwards it is exported to Parquet, as
`rewardkit synth` does. The plain side appends one JSON line a row, flushes after each batch, and cannot be resumed.

    python benchmarks/store.py [--quick]
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from rewardkit.labelers import load_labeler
from rewardkit.store import LabelledTrace, load_traces, write_dataset
from rewardkit.store.dataset import from_record, to_record
from rewardkit.store.state import RunState

BATCH = 16


def real_records(count: int) -> list[dict[str, Any]]:
    """Labelled rows of real solutions, repeated under new ids up to the number wanted."""
    labeler = load_labeler("arithmetic")
    rows = [r.trace for r in load_traces("sample:gsm8k-solutions").rows]
    records = [to_record(LabelledTrace(trace, tuple(labeler.label(trace)))) for trace in rows]
    return [{**records[i % len(records)], "id": f"{i:016x}"} for i in range(count)]


def plain(folder: Path, records: list[dict[str, Any]]) -> dict[str, float]:
    """Append lines to a file."""
    began = time.perf_counter()
    with (folder / "rows.jsonl").open("a", encoding="utf-8") as file:
        for start in range(0, len(records), BATCH):
            for record in records[start : start + BATCH]:
                file.write(json.dumps(record, ensure_ascii=False) + "\n")
            file.flush()
    return {"take in": time.perf_counter() - began}


def resumable(folder: Path, records: list[dict[str, Any]]) -> dict[str, float]:
    """Take the rows in as a run does, then export them."""
    texts = [{"text": "".join(r["steps"]), "finish_reason": "stop", "tokens": 0, "model": r["model"]} for r in records]
    began = time.perf_counter()
    with RunState(folder / "run", {}) as state:
        state.begin([r["id"] for r in records], {})
        for start in range(0, len(records), BATCH):
            state.put_generations(start, texts[start : start + BATCH])
            state.put_rows(start, records[start : start + BATCH])
        taken = time.perf_counter()
        write_dataset(folder / "run", (from_record(r) for r in state.rows()), {})
    return {"take in": taken - began, "export": time.perf_counter() - taken}


def main() -> None:
    """Print one line a figure: the medians over the repeats."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    records = real_records(2_000 if quick else 20_000)
    seconds: dict[str, list[float]] = {}
    for _ in range(3 if quick else 5):
        for name, side in {"plain": plain, "resumable": resumable}.items():
            folder = Path(tempfile.mkdtemp())
            for part, value in side(folder, records).items():
                seconds.setdefault(f"{name} {part}", []).append(value)
            shutil.rmtree(folder)
    speed = {name: len(records) / statistics.median(values) for name, values in seconds.items()}
    print(f"{len(records)} rows in batches of {BATCH}")
    print(f"plain lines, rows/s: {speed['plain take in']:.0f}")
    print(f"resumable run, rows/s committed: {speed['resumable take in']:.0f} (target >= 2000)")
    print(f"resumable run, rows/s exported to Parquet: {speed['resumable export']:.0f} (target >= 2000)")
    print(
        f"cost of resuming, plain / resumable: {speed['plain take in'] / speed['resumable take in']:.2f} (target <= 10)"
    )


if __name__ == "__main__":
    main()
