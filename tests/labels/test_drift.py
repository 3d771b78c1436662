"""Two datasets side by side: what leaks from a test set that has no responses."""

from __future__ import annotations

import json

import pytest

from rewardkit.errors import DataError
from rewardkit.labels.drift import compare_datasets
from rewardkit.store import LabelledTrace, write_dataset
from rewardkit.types import Problem, Trace


def test_problems_that_stand_in_a_test_set_are_found(tmp_path):
    asked = [f"How many apples has person {number} after {number * 7} days?" for number in range(3)]
    write_dataset(tmp_path / "set", [LabelledTrace(Trace.create(Problem.create(text), ["5"])) for text in asked], {})
    rows = [{"question": text, "answer": "#### 5"} for text in (asked[1], "What is the capital of France?")]
    (tmp_path / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = compare_datasets(tmp_path / "set", tmp_path / "test.jsonl")
    assert ([leak.text for leak in found.leaks], found.problems, found.drifts) == ([asked[1]], (3, 2), {})
    (tmp_path / "none.jsonl").write_text("{}\n")
    with pytest.raises(DataError, match="no response"):
        compare_datasets(tmp_path / "set", tmp_path / "none.jsonl")
