"""The dataset on disk gives back what was written, and others can read it."""

from __future__ import annotations

import json

import pyarrow.parquet as pq
import pytest

from rewardkit.errors import ConfigError, DataError
from rewardkit.store import LabelledTrace, iter_dataset, load_traces, read_dataset, read_manifest, write_dataset
from rewardkit.types import Problem, StepLabel, Trace


@pytest.fixture(scope="module")
def rows():
    return list(load_traces("sample:processbench-gsm8k", 25).rows)


def test_rows_come_back_as_they_were(tmp_path, rows):
    write_dataset(tmp_path / "d", rows, {})
    assert read_dataset(tmp_path / "d") == rows


def test_chat_prompts_scores_and_abstentions_come_back(tmp_path):
    problem = Problem.create([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "1+1?"}], "2")
    trace = Trace.create(problem, ["1+1 = 2\n", "#### 2"], "2", model="m", sample=3, meta={"tokens": 9})
    labels = (
        StepLabel(trace.id, 0, None, "arithmetic", "local", "no claim"),
        StepLabel(trace.id, 1, 0.25, "vote", "value"),
    )
    row = LabelledTrace(trace, labels, (0.5, 0.75))
    write_dataset(tmp_path / "d", [row], {})
    assert read_dataset(tmp_path / "d") == [row]


@pytest.mark.parametrize("mine", ["README.md", "data/rows.csv"])
def test_files_of_somebody_else_are_never_replaced(tmp_path, rows, mine):
    (tmp_path / "data").mkdir()
    (tmp_path / mine).write_text("mine")
    with pytest.raises(ConfigError, match="no dataset of RewardKit; choose another output"):
        write_dataset(tmp_path, rows, {})
    assert (tmp_path / mine).read_text() == "mine"
    with pytest.raises(ConfigError, match="is a file"):
        write_dataset(tmp_path / mine, rows, {})


def test_a_dataset_may_be_written_over(tmp_path, rows):
    for part in (rows, rows[:3]):
        write_dataset(tmp_path, part, {})
    assert read_manifest(tmp_path)["counts"]["traces"] == len(read_dataset(tmp_path)) == 3


def test_a_question_that_looks_like_json_stays_text(tmp_path):
    row = LabelledTrace(Trace.create(Problem.create('[{"a": 1}] What is this?'), ["JSON"]))
    write_dataset(tmp_path / "d", [row], {})
    assert read_dataset(tmp_path / "d")[0].trace.problem.prompt == '[{"a": 1}] What is this?'


def test_datasets_reads_the_folder_as_it_is(tmp_path, rows):
    datasets = pytest.importorskip("datasets")
    write_dataset(tmp_path / "d", rows, {})
    loaded = datasets.load_dataset(str(tmp_path / "d"), split="train", cache_dir=str(tmp_path / "cache"))
    assert loaded.num_rows == len(rows)
    assert loaded[0]["id"] == rows[0].trace.id
    assert loaded[0]["labels"][0].keys() == {"step", "p_correct", "source", "meaning", "evidence"}
    assert loaded[0]["steps"] == [step.text for step in rows[0].trace.steps]


def test_shards_are_cut_by_rows_and_read_in_order(tmp_path, rows):
    write_dataset(tmp_path / "d", rows, {}, rows_per_file=10)
    files = sorted((tmp_path / "d" / "data").iterdir())
    assert [pq.read_metadata(f).num_rows for f in files] == [10, 10, 5]
    assert [row.trace.id for row in iter_dataset(tmp_path / "d")] == [row.trace.id for row in rows]


def test_manifest_counts_verdicts_apart_from_abstentions(tmp_path):
    trace = Trace.create(Problem.create("?"), ["a", "b", "c"])
    labels = tuple(StepLabel(trace.id, i, p, "arithmetic", "local") for i, p in enumerate([1.0, 0.0, None]))
    write_dataset(tmp_path / "d", [LabelledTrace(trace, labels)], {"counts": {"bad_rows": 2}})
    assert read_manifest(tmp_path / "d")["counts"] == {
        "problems": 1,
        "traces": 1,
        "steps": 3,
        "labels": {"arithmetic": {"correct": 1, "wrong": 1, "abstained": 1}},
        "abstentions": {"arithmetic": {"unknown": 1}},
        "bad_rows": 2,
    }


def test_a_smaller_dataset_leaves_nothing_of_the_larger(tmp_path, rows):
    write_dataset(tmp_path / "d", rows, {}, rows_per_file=5)
    write_dataset(tmp_path / "d", rows[:3], {})
    assert len(read_dataset(tmp_path / "d")) == 3
    assert sorted(p.name for p in (tmp_path / "d").iterdir()) == ["README.md", "data", "manifest.json"]


def test_a_failure_halfway_leaves_the_old_dataset(tmp_path, rows):
    write_dataset(tmp_path / "d", rows, {})

    def broken():
        yield rows[0]
        raise RuntimeError("the source broke")

    with pytest.raises(RuntimeError):
        write_dataset(tmp_path / "d", broken(), {})
    assert read_dataset(tmp_path / "d") == rows


def test_the_same_rows_give_the_same_bytes(tmp_path, rows):
    first = write_dataset(tmp_path / "a", rows, {})
    second = write_dataset(tmp_path / "b", rows, {})
    assert first["data"] == second["data"]


def test_card_has_front_matter_and_counts(tmp_path, rows):
    yaml = pytest.importorskip("yaml")
    write_dataset(tmp_path / "d", rows, {"inputs": {"sample:x": "sha256:0"}})
    _, front, text = (tmp_path / "d" / "README.md").read_text().split("---\n", 2)
    assert yaml.safe_load(front)["configs"][0]["data_files"] == [{"split": "train", "path": "data/*.parquet"}]
    assert "| human |" in text and "sample:x" in text


def test_no_rows_is_an_error(tmp_path):
    with pytest.raises(DataError, match="not one trace"):
        write_dataset(tmp_path / "d", [], {})


def test_folders_that_are_no_dataset_are_one_clear_error(tmp_path):
    with pytest.raises(DataError, match="is no dataset"):
        read_dataset(tmp_path)
    with pytest.raises(DataError, match="holds no manifest.json"):
        read_manifest(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.parquet").write_bytes(b"junk")
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        read_dataset(tmp_path)


def test_parquet_of_another_shape_names_the_missing_columns(tmp_path):
    pa = pytest.importorskip("pyarrow")
    (tmp_path / "data").mkdir()
    pq.write_table(pa.table({"id": ["a"], "prompt": ["b"]}), tmp_path / "data" / "a.parquet")
    with pytest.raises(DataError, match="lacks the columns problem_id, steps"):
        read_dataset(tmp_path)


def test_meta_is_json_in_its_column(tmp_path, rows):
    write_dataset(tmp_path / "d", rows, {})
    column = pq.read_table(next((tmp_path / "d" / "data").iterdir())).column("meta").to_pylist()
    assert json.loads(column[0])["label"] == rows[0].trace.meta["label"]
