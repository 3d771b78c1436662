"""`rewardkit labels export`: labels leave in a format of others."""

from __future__ import annotations

import json

from rewardkit.store import LabelledTrace, write_dataset
from rewardkit.store.formats import from_trl_stepwise
from rewardkit.types import Problem, StepLabel, Trace

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


def test_merge_prints_the_prior_beside_the_merged_labels(cli, tmp_path):
    rows = []
    for number in range(40):
        trace = Trace.create(Problem.create(f"problem {number}"), ["step"])
        right = float(number % 3 > 0)
        said = {"z3": right, "judge": 0.8 if right else 0.4, "other": None}
        rows.append(LabelledTrace(trace, tuple(StepLabel(trace.id, 0, p, s, "local") for s, p in said.items())))
    write_dataset(tmp_path / "set", rows, {})
    run = cli("labels", "merge", "set", "output=out", "gold=z3", "--json")
    found = json.loads(run.stdout)
    assert [row["name"] for row in found["held_out"]] == ["prior", "judge", "other", "stack"]
    assert found["labelled"] == 40
    again = cli("labels", "merge", "out", "output=out", "gold=z3")
    assert (again.returncode, again.stderr.split(";")[0]) == (1, "error: there already is a source 'merged'")
    missing = cli("labels", "merge", "set", "gold=z3")
    assert (missing.returncode, missing.stderr.split(",")[0]) == (1, "error: merge needs output=DIR")


def test_audit_writes_a_list_and_a_page_and_decisions_are_taken_in(cli, tmp_path):
    rows = []
    for number in range(30):
        trace = Trace.create(Problem.create(f"problem {number}"), ["good work" if number % 3 else "a blunder"])
        said = {"judge": float(number % 3 > 0 and number != 1), "other": float(number % 3 > 0)}
        rows.append(LabelledTrace(trace, tuple(StepLabel(trace.id, 0, p, s, "local") for s, p in said.items())))
    write_dataset(tmp_path / "set", rows, {})
    run = cli("audit", "set", "--source", "judge", "--output", "found", "--json")
    worst = json.loads(run.stdout)["suspects"][0]
    assert worst["trace_id"] == rows[1].trace.id
    assert (tmp_path / "found" / "audit.html").is_file()
    decision = {key: worst[key] for key in ("trace_id", "step", "given")}
    decision |= {"decision": "flip", "source": "judge", "meaning": "local"}
    (tmp_path / "decisions.jsonl").write_text(json.dumps(decision))
    done = cli("labels", "decide", "set", "file=decisions.jsonl", "output=out", "--json")
    assert json.loads(done.stdout)["decisions"] == {"correct": 1}


def test_sources_two_models_and_another_dataset_are_looked_at(cli, tmp_path):
    rows = []
    for number in range(40):
        trace = Trace.create(Problem.create(f"How many apples has person {number}?"), ["step"], model="m")
        right = float(number % 3 > 0)
        said = {"z3": right, "human": 1.0, "judge": 0.8 if right else 0.4, "other": float(number % 2)}
        rows.append(LabelledTrace(trace, tuple(StepLabel(trace.id, 0, p, s, "local") for s, p in said.items())))
    write_dataset(tmp_path / "set", rows, {})
    found = json.loads(cli("labels", "quality", "set", "gold=z3", "budget=20", "--json").stdout)
    assert [one["source"] for one in found["quality"]] == ["human", "judge", "other"]
    run = cli("labels", "stability", "set", "source=human", "gold=z3", "first=judge", "second=other")
    assert "35.0% of 40 steps" in run.stdout
    same = json.loads(cli("labels", "compare", "set", "with=set", "--json").stdout)
    assert (same["leaked"], same["drifts"]["labels of judge"]["drifted"]) == (1.0, False)
    assert cli("labels", "plan", "set").stderr == "error: plan needs gold=NAME,NAME\n"


def test_select_writes_the_traces_to_verify(cli, tmp_path):
    rows = []
    for number in range(6):
        trace = Trace.create(Problem.create(f"problem {number}"), ["step"])
        label = StepLabel(trace.id, 0, 0.5 if number == 4 else 0.99, "judge", "local")
        rows.append(LabelledTrace(trace, (label,)))
    write_dataset(tmp_path / "set", rows, {})
    run = cli(
        *("select", "set", "--count", 1, "--policy", "rad", "--output", "next.jsonl"),
        *("--source", "judge", "--share", 0, "--useless", 0),
    )
    assert run.returncode == 0, run.stderr
    assert json.loads((tmp_path / "next.jsonl").read_text()) == {"trace_id": rows[4].trace.id, "by": "rad"}
