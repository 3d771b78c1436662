"""What lies on disk: sources of problems and traces, the labelled dataset, the state of a resumable run."""

from __future__ import annotations

from rewardkit.store.dataset import (
    LabelledTrace,
    iter_dataset,
    read_dataset,
    read_manifest,
    write_dataset,
)
from rewardkit.store.rows import BadRow, file_digest
from rewardkit.store.sources import Loaded, load_problems, load_traces

__all__ = [
    "BadRow",
    "LabelledTrace",
    "Loaded",
    "file_digest",
    "iter_dataset",
    "load_problems",
    "load_traces",
    "read_dataset",
    "read_manifest",
    "write_dataset",
]
