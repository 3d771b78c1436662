"""Problems and traces from files: known shapes, bad lines kept with their place, nothing readable is an error."""

from __future__ import annotations

import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rewardkit.errors import DataError
from rewardkit.store import load_problems, load_traces, write_dataset

GOOD = {"question": "What is 1 + 1?", "answer": "1+1 = <<1+1=2>>2\n#### 2"}


FLIPPED = gzip.compress(bytes(range(256)) * 40, mtime=0)
FLIPPED = FLIPPED[:60] + bytes(b ^ 0x5A for b in FLIPPED[60:90]) + FLIPPED[90:]


def write_lines(path, *lines):
    path.write_text("\n".join(x if isinstance(x, str) else json.dumps(x) for x in lines) + "\n")
    return str(path)


def test_gsm8k_answers_are_cut_to_the_number():
    problems = load_problems("sample:gsm8k-train").rows
    assert len(problems) == 1500
    assert all(p.answer and "####" not in p.answer and "\n" not in p.answer for p in problems)


def test_malformed_lines_are_kept_with_number_and_reason(tmp_path):
    source = write_lines(
        tmp_path / "a.jsonl", GOOD, '{"question": "cut', "[1]", '{"answer": "3"}', "", GOOD | {"question": "2?"}
    )
    loaded = load_problems(source)
    assert [p.prompt for p in loaded.rows] == ["What is 1 + 1?", "2?"]
    places = [(row.where, row.reason.split(":")[0]) for row in loaded.bad]
    assert places == [
        ("a.jsonl line 2", "not JSON"),
        ("a.jsonl line 3", "not a JSON object but a list"),
        ("a.jsonl line 4", "no question"),
    ]


def test_bytes_that_are_not_utf8_cost_one_line(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"question": "\xff"}\n' + json.dumps(GOOD).encode() + b"\n")
    loaded = load_problems(path)
    assert len(loaded.rows) == 1
    assert loaded.bad[0].reason.startswith("not UTF-8")


def test_a_line_nested_without_end_costs_one_line(tmp_path):
    source = write_lines(tmp_path / "a.jsonl", "[" * 200_000, GOOD)
    loaded = load_problems(source)
    assert (len(loaded.rows), len(loaded.bad)) == (1, 1)


def test_a_number_of_thousands_of_digits_costs_one_line(tmp_path):
    source = write_lines(tmp_path / "a.jsonl", '{"question": "n?", "n": ' + "9" * 5000 + "}", GOOD)
    loaded = load_problems(source)
    assert (len(loaded.rows), loaded.bad[0].where) == (1, "a.jsonl line 1")


def test_the_mark_that_windows_puts_first_costs_nothing(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(GOOD).encode() + b"\r\n")
    loaded = load_problems(path)
    assert (len(loaded.rows), loaded.bad) == (1, ())


@pytest.mark.parametrize(("answer", "read"), [(72, "72"), (float("nan"), None), (["72"], "72"), (None, None)])
def test_a_reference_is_a_text_a_number_or_nothing(tmp_path, answer, read):
    assert load_problems(write_lines(tmp_path / "a.jsonl", {"prompt": "?", "answer": answer})).rows[0].answer == read


def test_a_reference_that_could_match_no_answer_is_refused(tmp_path):
    with pytest.raises(DataError, match="answer is a list: a reference answer must be text or a number"):
        load_problems(write_lines(tmp_path / "a.jsonl", {"prompt": "?", "answer": ["1", "2"]}))


def test_a_repeated_problem_is_counted_not_doubled(tmp_path):
    loaded = load_problems(write_lines(tmp_path / "a.jsonl", GOOD, GOOD))
    assert len(loaded.rows) == 1
    assert loaded.bad[0].reason == "the same as an earlier row"


def test_the_same_rows_in_every_container_are_the_same_problems(tmp_path):
    rows = [GOOD, {"question": "2 + 2?", "answer": "4"}]
    lines = "".join(json.dumps(r) + "\n" for r in rows)
    (tmp_path / "a.jsonl").write_text(lines)
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    (tmp_path / "a.json").write_text(json.dumps(rows))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    found = {path.suffix: load_problems(path).rows for path in tmp_path.iterdir()}
    assert len(found) == 4
    assert all(problems == found[".jsonl"] for problems in found.values())


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.jsonl", None, "there is no file"),
        ("bad.jsonl", b"nope\nnope\n", "bad.jsonl line 1: not JSON"),
        ("empty.jsonl", b"", "gives no rows"),
        ("bad.json", b'{"question": "x"}', "must hold a list"),
        ("lines.json", b"{}\n{}", "name it .jsonl"),
        ("bad.jsonl.gz", b"not gzip", "cannot be read"),
        ("cut.jsonl.gz", gzip.compress(b"x" * 5000, mtime=0)[:-9], "cannot be read"),
        ("bad.parquet", b"not parquet", "cannot be read as Parquet"),
        ("a.csv", b"question\n", "has no known ending"),
        ("flipped.jsonl.gz", FLIPPED, "cannot be read"),
        ("deep.json", b"[" * 100_000, "nested too deeply"),
        ("digits.json", b"[" + b"9" * 5000 + b"]", "thousands of digits"),
    ],
)
def test_nothing_readable_is_one_clear_error(tmp_path, name, content, message):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        load_problems(path)


def test_offset_and_limit_take_a_window():
    whole = load_problems("sample:gsm8k-train", 10).rows
    assert load_problems("sample:gsm8k-train", 3, offset=5).rows == whole[5:8]


def test_gsm8k_solutions_are_four_marked_traces_a_question():
    loaded = load_traces("sample:gsm8k-solutions", 10)
    assert len(loaded.rows) == 40
    models = {row.trace.model for row in loaded.rows}
    assert models == {"6b_finetuning", "6b_verification", "175b_finetuning", "175b_verification"}
    assert all(isinstance(row.trace.meta["is_correct"], bool) for row in loaded.rows)
    assert all(row.trace.problem.answer and row.trace.answer for row in loaded.rows)


def test_annotations_go_or_stay_by_option():
    stripped = load_traces("sample:gsm8k-solutions", 5).rows
    kept = load_traces("sample:gsm8k-solutions", 5, strip_annotations=False).rows
    assert not any("<<" in row.trace.response for row in stripped)
    assert any("<<" in row.trace.response for row in kept)


def test_processbench_labels_are_of_prefixes():
    rows = load_traces("sample:processbench-gsm8k").rows
    assert len(rows) == 205
    for row in rows:
        first = row.trace.meta["label"]
        wanted = [1.0 if first < 0 or i < first else 0.0 for i in range(len(row.trace.steps))]
        assert [label.p_correct for label in row.labels] == wanted
        assert {(label.source, label.meaning) for label in row.labels} == {("human", "prefix")}


def test_processbench_label_outside_the_steps_is_a_bad_row(tmp_path):
    row = {"problem": "1+1?", "steps": ["1+1 = 2"], "label": 1}
    source = write_lines(tmp_path / "a.jsonl", row, row | {"label": -1})
    loaded = load_traces(source)
    assert len(loaded.rows) == 1
    assert "neither -1 nor one of the 1 steps" in loaded.bad[0].reason


@pytest.mark.parametrize("label", [1.0, "1"])
def test_a_first_error_that_pandas_made_a_float_or_text_is_one(tmp_path, label):
    row = {"problem": "1+1?", "steps": ["1+1 = 2", "so 3"], "label": label}
    rows = load_traces(write_lines(tmp_path / "a.jsonl", row, row | {"problem": "?", "label": float("nan")})).rows
    assert [[x.p_correct for x in row.labels] for row in rows] == [[1.0, 0.0], []]


@pytest.mark.parametrize(
    "row",
    [
        {"steps": ["1+1 = 2"], "labels": [True]},
        {"steps": ["1+1 = 2"], "label": True},
        {"response": "1+1 = 2", "label": 1},
        {"completion": "1+1 = 2", "label": "good"},
    ],
)
def test_labels_of_no_known_format_are_never_dropped_in_silence(tmp_path, row):
    with pytest.raises(DataError, match="are of no known format"):
        load_traces(write_lines(tmp_path / "a.jsonl", {"prompt": "1+1?"} | row))


def test_the_label_of_a_logic_problem_is_its_answer(tmp_path):
    row = {"premises": ["All cats purr."], "conclusion": "Tom purrs.", "label": "Unknown", "response": "Who knows."}
    assert load_traces(write_lines(tmp_path / "a.jsonl", row)).rows[0].trace.problem.answer == "Uncertain"


def test_equal_responses_are_told_apart_by_their_sample(tmp_path):
    row = {"prompt": "1+1?", "response": "#### 2"}
    loaded = load_traces(write_lines(tmp_path / "a.jsonl", *(row | {"sample": i} for i in (0, 1, 1))))
    assert ([r.trace.meta.get("sample") for r in loaded.rows], len(loaded.bad)) == ([None, 1], 1)


def test_plain_responses_are_split_by_the_rule(tmp_path):
    source = write_lines(tmp_path / "a.jsonl", {"prompt": "1+1?", "response": "1 + 1 = 2.\n\n#### 2", "model": "m"})
    trace = load_traces(source).rows[0].trace
    assert [step.text for step in trace.steps] == ["1 + 1 = 2.\n\n", "#### 2"]
    assert (trace.answer, trace.model) == ("2", "m")


def test_hub_ids_are_loaded_through_datasets(tmp_path, monkeypatch):
    pytest.importorskip("datasets")
    (tmp_path / "owner" / "name").mkdir(parents=True)
    write_lines(tmp_path / "rows.jsonl", GOOD)
    import datasets

    real = datasets.load_dataset
    monkeypatch.setattr(
        datasets,
        "load_dataset",
        lambda name, subset, split: real(
            "json", data_files=str(tmp_path / "rows.jsonl"), split=split, cache_dir=tmp_path
        ),
    )
    loaded = load_problems("owner/gsm8k", subset="main")
    assert loaded.rows[0].answer == "2"
    assert loaded.digest == "hub:owner/gsm8k:main:train"


def test_a_file_of_rewardkits_own_rows_is_read_with_its_labels(tmp_path):
    rows = load_traces("sample:processbench-gsm8k", 3).rows
    write_dataset(tmp_path / "made", rows, {})
    (parquet,) = (tmp_path / "made" / "data").glob("*.parquet")
    assert load_traces(parquet).rows == load_traces(tmp_path / "made").rows
    assert [row.labels for row in load_traces(parquet).rows] == [row.labels for row in rows]
