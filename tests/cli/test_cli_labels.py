"""`rewardkit labels export`: labels leave in a format of others."""

from __future__ import annotations

import json

from rewardkit.store import write_dataset
from rewardkit.store.formats import from_trl_stepwise

ROW = {"prompt": "How many?", "completions": ["1 + 1 = 2", "so 3"], "labels": [True, False]}


def test_a_dataset_is_exported_and_reads_back(cli, tmp_path):
    write_dataset(tmp_path / "set", [from_trl_stepwise(ROW)], {})
    run = cli("labels", "export", "set", "format=math-shepherd", "source=trl", "to=out.jsonl", "--json")
    assert json.loads(run.stdout)["rows"] == 1
    assert json.loads((tmp_path / "out.jsonl").read_text())["label"] == "How many? Step 1: 1 + 1 = 2 +\nStep 2: so 3 -"


def test_what_is_missing_is_said(cli, tmp_path):
    write_dataset(tmp_path / "set", [from_trl_stepwise(ROW)], {})
    run = cli("labels", "export", "set", "source=trl")
    assert (run.returncode, run.stderr) == (1, "error: export needs to=FILE.jsonl\n")
