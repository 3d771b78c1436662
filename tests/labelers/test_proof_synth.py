"""The whole path of fover-proof on recorded responses: every response kept, every step labelled, findings counted."""

from __future__ import annotations

import os
import shutil

import pytest

from rewardkit.config import load_config
from rewardkit.generate.replay import write_generations
from rewardkit.store import load_problems, read_dataset
from rewardkit.synth import SynthConfig, run_synth


@pytest.mark.skipif(
    shutil.which("coqtop") is None and not os.environ.get("CI"), reason="there is no coqtop: apt-get install coq"
)
def test_recorded_formal_solutions_become_a_dataset_with_its_counts(tmp_path):
    first, second = load_problems("sample:gsm8k-train", 2).rows
    lines = ["fact h1: x = 48", "have s1: y = x / 2 = 24 from h1", "have s2: x + y = 73 from h1, s1", "so it is 72"]
    records = [
        {"problem_id": first.id, "sample": 0, "text": "\n".join(lines), "model": "m"},
        {"problem_id": second.id, "sample": 0, "text": "I do not know.", "model": "m"},
    ]
    write_generations(tmp_path / "recorded.jsonl", records)
    recorded = [f"generator.source={tmp_path / 'recorded.jsonl'}", "generator.kind=replay", "generator.samples=1"]
    wanted = ["problems.limit=2", f"output={tmp_path / 'out'}", *recorded]
    result = run_synth(load_config(SynthConfig, "synth", "fover-proof", wanted))
    assert result.counts["traces"] == 2
    assert result.counts["labels"]["proof"] == {"correct": 1, "wrong": 1, "abstained": 3}
    assert result.counts["abstentions"]["proof"] == {"unparsed": 2, "nothing": 1}
    row = next(row for row in read_dataset(tmp_path / "out") if len(row.trace.steps) == 4)
    evidence = [label.evidence for label in row.labels if label.source == "proof"]
    assert evidence[1].startswith("y = x / 2; x = 48 |- x / 2 = 24 [proved by coq ")
    assert "[refuted by coq " in evidence[2]
