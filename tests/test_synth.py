"""The pipeline from problems to a dataset, with replayed responses of real models."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from rewardkit.config import load_config
from rewardkit.errors import ConfigError, DataError
from rewardkit.generate.replay import read_generations, write_generations
from rewardkit.store import iter_dataset, load_problems, load_traces, read_dataset
from rewardkit.store.dataset import to_record
from rewardkit.synth import SynthConfig, export_generations, run_synth

OWN_PARTS = '''
from pathlib import Path

from rewardkit.generate import Generation
from rewardkit.types import StepLabel


class Picky:
    """A labeler that fails on every second trace."""

    name, meaning = "picky", "local"
    seen = 0

    def label(self, trace):
        self.seen += 1
        if self.seen % 2 == 0:
            raise ZeroDivisionError("not this one")
        return [StepLabel(trace.id, 0, 1.0, self.name, self.meaning)]


class Breaks:
    """A generator that breaks down at its third batch, once."""

    def __init__(self, config):
        self.batches = 0
        self.broken = Path(__file__).with_name("broken")

    def generate(self, requests):
        self.batches += 1
        if self.batches == 3 and not self.broken.exists():
            self.broken.touch()
            raise KeyboardInterrupt
        with self.broken.with_name("calls").open("a") as calls:
            calls.writelines(request.id + "\\n" for request in requests)
        return [Generation(r.id, f"{r.seed} + 1 = 3\\n#### {r.sample}", "stop", 5, "own") for r in requests]
'''


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """The four models' solutions of ten GSM8K questions, as recorded generations."""
    rows = load_traces("sample:gsm8k-solutions", 10).rows
    path = tmp_path_factory.mktemp("recorded") / "generations.jsonl.gz"
    write_generations(
        path,
        (
            {"prompt": row.trace.problem.prompt, "sample": i % 4, "text": row.trace.response, "model": row.trace.model}
            for i, row in enumerate(rows)
        ),
    )
    return path


@pytest.fixture
def own(tmp_path):
    path = tmp_path / "own.py"
    path.write_text(OWN_PARTS)
    return path


def config(output, source=None, *overrides):
    values = ["problems.source=sample:gsm8k-solutions", "problems.limit=10", f"output={output}", *overrides]
    if source:
        values += [
            "generator.kind=replay",
            f"generator.source={source}",
            "generator.samples=4",
            "labelers=[arithmetic]",
        ]
    return load_config(SynthConfig, "synth", None, values)


def test_replayed_responses_become_labelled_traces(tmp_path, recorded):
    result = run_synth(config(tmp_path / "run", recorded))
    rows = read_dataset(tmp_path / "run")
    assert len(rows) == result.counts["traces"] == 40
    assert {row.trace.model for row in rows} == {t.trace.model for t in load_traces("sample:gsm8k-solutions", 10).rows}
    assert [row.trace.meta.get("sample", 0) for row in rows] == [0, 1, 2, 3] * 10
    assert all(row.trace.answer and row.trace.problem.answer for row in rows)
    found = result.counts["labels"]["arithmetic"]
    assert found["correct"] > found["wrong"] > 0
    assert sum(found.values()) == result.counts["steps"]


def test_the_manifest_says_how_it_was_made(tmp_path, recorded):
    manifest = run_synth(config(tmp_path / "run", recorded, "seed=7")).manifest
    assert manifest == json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["config"]["generator"]["samples"] == 4
    assert manifest["seeds"] == {"sampling": 7}
    assert set(manifest["inputs"]) == {"sample:gsm8k-solutions", str(recorded)}
    assert all(digest.startswith("sha256:") for digest in manifest["inputs"].values())
    assert "rewardkit" in manifest["versions"]


def test_a_finished_run_does_nothing_again(tmp_path, recorded):
    first = run_synth(config(tmp_path / "run", recorded))
    written = (tmp_path / "run" / "manifest.json").stat().st_mtime_ns
    again = run_synth(config(tmp_path / "run", recorded))
    assert again.already_done and not first.already_done
    assert again.manifest == first.manifest
    assert (tmp_path / "run" / "manifest.json").stat().st_mtime_ns == written


def test_output_that_was_deleted_is_written_again(tmp_path, recorded):
    first = run_synth(config(tmp_path / "run", recorded))
    (tmp_path / "run" / "manifest.json").unlink()
    again = run_synth(config(tmp_path / "run", recorded))
    assert not again.already_done
    assert again.manifest["data"] == first.manifest["data"]


def test_responses_that_were_not_recorded_are_counted_and_listed(tmp_path, recorded):
    result = run_synth(config(tmp_path / "run", recorded, "problems.limit=12"))
    assert (result.counts["traces"], result.counts["bad_rows"]) == (40, 8)
    (reason,) = result.counts["bad_reasons"]
    assert "holds no generation" in reason
    lines = (tmp_path / "run" / "bad_rows.jsonl").read_text().splitlines()
    assert [json.loads(line)["reason"] for line in lines] == [reason] * 8


def test_malformed_lines_of_the_source_are_counted(tmp_path, recorded):
    questions = [p.prompt for p in load_problems("sample:gsm8k-solutions", 2).rows]
    lines = [json.dumps({"question": questions[0]}), '{"question": ', json.dumps({"question": questions[1]})]
    (tmp_path / "in.jsonl").write_text("\n".join(lines))
    result = run_synth(config(tmp_path / "run", recorded, f"problems.source={tmp_path / 'in.jsonl'}"))
    assert (result.counts["traces"], result.counts["bad_rows"]) == (8, 1)
    assert json.loads((tmp_path / "run" / "bad_rows.jsonl").read_text())["where"] == "in.jsonl line 2"


def test_a_labeler_that_raises_costs_the_row_not_the_run(tmp_path, recorded, own):
    result = run_synth(config(tmp_path / "run", recorded).model_copy(update={"labelers": (f"{own}:Picky",)}))
    assert (result.counts["traces"], result.counts["bad_rows"]) == (20, 20)
    assert result.counts["bad_reasons"] == {"labeler picky: ZeroDivisionError: not this one": 20}


def test_empty_and_broken_texts_are_bad_rows(tmp_path):
    prompt = load_problems("sample:gsm8k-solutions", 1).rows[0].prompt
    texts = ["1 + 1 = 2", " \n", "half a pair \ud800 = 2"]
    lines = [json.dumps({"prompt": prompt, "sample": i, "text": t, "model": "m"}) for i, t in enumerate(texts)]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    result = run_synth(config(tmp_path / "run", tmp_path / "a.jsonl", "problems.limit=1"))
    assert result.counts["traces"] == 1
    reasons = sorted(result.counts["bad_reasons"])
    assert "holds no generation" in reasons[0]
    assert "UnicodeEncodeError" in reasons[1]
    assert reasons[2] == "the response is empty"


def test_a_run_that_broke_goes_on_without_asking_again(tmp_path, own):
    settings = config(
        tmp_path / "run", None, f"generator.kind={own}:Breaks", "generator.samples=2", "generator.batch_size=3"
    )
    with pytest.raises(KeyboardInterrupt):
        run_synth(settings)
    result = run_synth(settings)
    calls = own.with_name("calls").read_text().split()
    assert len(calls) == len(set(calls)) == 20
    whole = run_synth(settings.model_copy(update={"output": str(tmp_path / "whole")}))
    assert result.counts["traces"] == 20
    assert result.manifest["data"] == whole.manifest["data"]


def test_existing_traces_keep_their_labels_beside_the_new(tmp_path):
    values = ["traces.source=sample:processbench-gsm8k", "traces.limit=20", "labelers=[arithmetic]"]
    result = run_synth(load_config(SynthConfig, "synth", None, [*values, f"output={tmp_path / 'a'}"]))
    assert set(result.counts["labels"]) == {"human", "arithmetic"}
    again = [f"traces.source={tmp_path / 'a'}", "labelers=[arithmetic]", f"output={tmp_path / 'b'}"]
    relabelled = run_synth(load_config(SynthConfig, "synth", None, again))
    assert relabelled.counts["labels"] == result.counts["labels"]


def test_exported_generations_replay_to_the_same_dataset(tmp_path, recorded):
    first = run_synth(config(tmp_path / "a", recorded))
    assert export_generations(tmp_path / "a", tmp_path / "again.jsonl.gz") == 40
    assert {r["sample"] for r in read_generations(str(tmp_path / "again.jsonl.gz"))} == {0, 1, 2, 3}
    second = run_synth(config(tmp_path / "b", tmp_path / "again.jsonl.gz"))
    assert second.manifest["data"] == first.manifest["data"]


def test_progress_counts_to_the_end(tmp_path, recorded):
    seen = []
    run_synth(config(tmp_path / "run", recorded, "generator.batch_size=16"), lambda *x: seen.append(x))
    assert [counts[:2] for counts in seen] == [(0, 40), (16, 40), (32, 40), (40, 40)]


def test_progress_counts_labels_abstentions_and_errors(tmp_path, recorded, own):
    seen = []
    labelers = ("arithmetic", f"{own}:Picky")
    wanted = config(tmp_path / "run", recorded).model_copy(update={"labelers": labelers})
    labels = run_synth(wanted, lambda *x: seen.append(x)).counts["labels"]
    found = [sum(counts.values()) for counts in labels.values()]
    abstained = sum(counts["abstained"] for counts in labels.values())
    assert seen[-1] == (40, 40, {"labels": sum(found), "abstained": abstained, "errors": 20})
    assert abstained > 0


def test_nothing_but_bad_rows_is_an_error_that_keeps_the_reasons(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"prompt": "another question", "sample": 0, "text": "x"}')
    with pytest.raises(DataError, match="not one trace"):
        run_synth(config(tmp_path / "run", tmp_path / "a.jsonl", "problems.limit=1"))
    assert len((tmp_path / "run" / "bad_rows.jsonl").read_text().splitlines()) == 4


@pytest.mark.parametrize("values", [[], ["problems.source=x", "traces.source=y"]])
def test_exactly_one_source_must_be_given(tmp_path, values):
    with pytest.raises(ConfigError, match="give either problems.source"):
        load_config(SynthConfig, "synth", None, [*values, "output=x"])


def test_a_missing_source_leaves_no_folder_behind(tmp_path, recorded):
    with pytest.raises(DataError, match="there is no file"):
        run_synth(config(tmp_path / "run", recorded, f"problems.source={tmp_path / 'none.jsonl'}"))
    assert not (tmp_path / "run").exists()


def test_the_labeler_of_the_docs_works(tmp_path):
    text = (Path(__file__).parents[1] / "docs" / "synth.md").read_text(encoding="utf-8")
    (code,) = [block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "class Short" in block]
    (tmp_path / "my.py").write_text(code)
    values = ["traces.source=sample:gsm8k-solutions", "traces.limit=5", f"labelers=[{tmp_path / 'my.py'}:Short]"]
    result = run_synth(load_config(SynthConfig, "synth", None, [*values, f"output={tmp_path / 'run'}"]))
    assert sum(result.counts["labels"]["short"].values()) == result.counts["steps"]


def test_a_labeler_that_is_named_twice_is_refused(tmp_path):
    overrides = ["labelers=[arithmetic, arithmetic]", f"output={tmp_path / 'out'}"]
    with pytest.raises(ConfigError, match="'arithmetic' twice"):
        run_synth(load_config(SynthConfig, "synth", "label-traces", overrides))


def test_a_run_without_a_trace_says_why(tmp_path):
    (tmp_path / "mine.jsonl").write_text(json.dumps({"prompt": "1+1?"}) + "\n")
    overrides = [f"problems.source={tmp_path / 'mine.jsonl'}", f"output={tmp_path / 'out'}"]
    with pytest.raises(DataError, match="4 x sample:smollm2-traces holds no generation of this problem"):
        run_synth(load_config(SynthConfig, "synth", "gsm8k-replay", overrides))


def test_an_output_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be made: Not a directory; choose another output"):
        run_synth(load_config(SynthConfig, "synth", "label-traces", [f"output={tmp_path / 'file' / 'out'}"]))


@pytest.mark.parametrize(
    "wrong",
    [
        {"answer": 5},
        {"problem_id": None},
        {"scores": ["high"]},
        {"labels": [{"step": 9, "p_correct": 1.0, "source": "human", "meaning": "local"}]},
        {"labels": [{"step": 0.5, "p_correct": 1.0, "source": "human", "meaning": "local"}]},
        {"labels": [{"step": 0, "p_correct": 1.0, "source": None, "meaning": "local"}]},
        {"labels": [{"step": 0, "p_correct": 1.0, "source": "human", "meaning": "global"}]},
    ],
)
def test_a_row_of_ours_that_somebody_filled_otherwise_costs_that_row_alone(tmp_path, wrong):
    rows = [to_record(row) for row in load_traces("sample:processbench-gsm8k", 2).rows]
    (tmp_path / "mine.jsonl").write_text(json.dumps(rows[0] | wrong) + "\n" + json.dumps(rows[1]))
    overrides = [f"traces.source={tmp_path / 'mine.jsonl'}", "labelers=[arithmetic]", f"output={tmp_path / 'out'}"]
    counts = run_synth(load_config(SynthConfig, "synth", "label-traces", overrides)).counts
    assert (counts["traces"], counts["bad_rows"]) == (1, 1)


@pytest.fixture
def two_of_twenty(tmp_path):
    """A dataset without labels, and the overrides that label two of its traces."""
    values = ["traces.source=sample:processbench-gsm8k", "traces.limit=20", "labelers=[]", f"output={tmp_path / 'a'}"]
    run_synth(load_config(SynthConfig, "synth", "label-traces", values))
    ids = [row.trace.id for row in iter_dataset(tmp_path / "a")][3:5]
    (tmp_path / "next.jsonl").write_text("".join(json.dumps({"trace_id": id, "by": "random"}) + "\n" for id in ids))
    only = [f"traces.source={tmp_path / 'a'}", f"traces.only={tmp_path / 'next.jsonl'}", f"output={tmp_path / 'b'}"]
    return ids, only


@pytest.mark.parametrize("workers", [1, 2])
def test_only_the_chosen_traces_are_labelled_and_the_others_stay(two_of_twenty, tmp_path, workers):
    ids, only = two_of_twenty
    overrides = [*only, "labelers=[arithmetic]", f"label_workers={workers}"]
    run_synth(load_config(SynthConfig, "synth", "label-traces", overrides))
    before, after = (list(iter_dataset(tmp_path / name)) for name in "ab")
    assert [row.trace for row in after] == [row.trace for row in before]
    assert [row.trace.id for row in after if any(x.source == "arithmetic" for x in row.labels)] == ids
    assert all(row.labels[: len(old.labels)] == old.labels for old, row in zip(before, after, strict=True))


def test_what_cannot_be_labelled_alone_is_refused(two_of_twenty, tmp_path):
    _, only = two_of_twenty
    with pytest.raises(ConfigError, match="vote needs all of a problem"):
        run_synth(load_config(SynthConfig, "synth", "label-traces", [*only, "labelers=[vote]"]))
    (tmp_path / "next.jsonl").write_text('{"trace_id": "strange"}\n')
    with pytest.raises(DataError, match="names 1 traces that are not here, such as strange"):
        run_synth(load_config(SynthConfig, "synth", "label-traces", [*only, "labelers=[arithmetic]"]))
    (tmp_path / "next.jsonl").write_text('{"id": "strange"}\n')
    with pytest.raises(DataError, match="has no trace_id"):
        run_synth(load_config(SynthConfig, "synth", "label-traces", [*only, "labelers=[arithmetic]"]))
