"""Makes sample:formal-traces: labels its traces anew, or builds it from the datasets of runs.

    python tests/formal_sample.py                               # after a change of a labeler that is meant
    python tests/formal_sample.py logic=DIR equations=DIR ...   # from the folders of `rewardkit synth` runs

rewardkit/samples/README.md has the commands of the runs. Needs Coq.
"""

from __future__ import annotations

import gzip
import io
import json
import sys
from collections.abc import Iterable

from rewardkit.labelers import load_labeler
from rewardkit.samples import sample_path
from rewardkit.store import LabelledTrace, load_traces
from rewardkit.store.dataset import to_record
from rewardkit.types import Trace

FAMILIES = {
    "logic": ("logic",),
    "equations": ("proof", "algebra", "arithmetic", "answer"),
    "gsm8k": ("arithmetic", "answer"),
}
"""Which labelers label which family."""


def labelled(traces: Iterable[Trace]) -> list[LabelledTrace]:
    """The traces with the labels that the labelers of their families give, in their order."""
    labelers = {name: load_labeler(name) for names in FAMILIES.values() for name in names}
    try:
        return [
            LabelledTrace(
                trace, tuple(x for name in FAMILIES[trace.meta["family"]] for x in labelers[name].label(trace))
            )
            for trace in traces
        ]
    finally:
        for labeler in labelers.values():
            getattr(labeler, "close", lambda: None)()


def of_family(trace: Trace, family: str) -> Trace:
    """The trace with its family in its meta."""
    return Trace(trace.id, trace.problem, trace.steps, trace.answer, trace.model, {**trace.meta, "family": family})


def packed(rows: Iterable[LabelledTrace]) -> bytes:
    """One record a line, compressed; the same rows give the same bytes."""
    buffer = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=buffer, mtime=0) as stream:
        for row in rows:
            stream.write(json.dumps(to_record(row), ensure_ascii=False).encode() + b"\n")
    return buffer.getvalue()


def main(folders: list[str]) -> None:
    if folders:
        pairs = [folder.split("=", 1) for folder in folders]
        found = (of_family(row.trace, family) for family, folder in pairs for row in load_traces(folder).rows)
        traces = list({trace.id: trace for trace in found}.values())  # small problems come up more than once
    else:
        traces = [row.trace for row in load_traces("sample:formal-traces").rows]
    sample_path("formal-traces").write_bytes(packed(labelled(traces)))


if __name__ == "__main__":
    main(sys.argv[1:])
