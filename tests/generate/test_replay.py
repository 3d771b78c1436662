"""Recorded generations come back by problem and sample; what was not recorded is an error of that row alone."""

from __future__ import annotations

import json

import pytest

from rewardkit.errors import ConfigError, DataError
from rewardkit.generate import GenerationRequest, GeneratorConfig, load_generator
from rewardkit.generate.replay import read_generations, write_generations
from rewardkit.store import LabelledTrace, write_dataset
from rewardkit.types import Problem, Trace

PROBLEM = Problem.create("48 / 2?", "24")


def request(problem=PROBLEM, sample=0):
    return GenerationRequest(f"item-{sample}", problem, sample, (), 0)


def generator(source):
    return load_generator(GeneratorConfig(kind="replay", source=str(source)))


def test_records_are_found_by_id_and_by_prompt(tmp_path):
    path = tmp_path / "a.jsonl"
    by_id = {"problem_id": PROBLEM.id, "sample": 0, "text": "by id", "model": "m", "tokens": 2}
    by_prompt = {"prompt": "48 / 2?", "sample": 1, "text": "by prompt", "model": "m", "finish_reason": "length"}
    assert write_generations(path, [by_id, by_prompt]) == 2
    first, second = generator(path).generate([request(), request(sample=1)])
    assert (first.id, first.text, first.finish_reason, first.tokens) == ("item-0", "by id", "stop", 2)
    assert (second.text, second.finish_reason) == ("by prompt", "length")


def test_what_was_not_recorded_is_an_error_of_that_request(tmp_path):
    write_generations(tmp_path / "a.jsonl", [{"prompt": "48 / 2?", "sample": 0, "text": "24", "model": "m"}])
    found, missing = generator(tmp_path / "a.jsonl").generate([request(), request(sample=7)])
    assert found.error == ""
    assert missing.finish_reason == "error"
    assert "holds no generation of this problem and sample" in missing.error


def test_a_dataset_folder_can_be_replayed(tmp_path):
    trace = Trace.create(PROBLEM, ["48/2 = 24\n", "#### 24"], "24", model="m", sample=2)
    write_dataset(tmp_path / "d", [LabelledTrace(trace)], {})
    (answer,) = generator(tmp_path / "d").generate([request(sample=2)])
    assert (answer.text, answer.model) == ("48/2 = 24\n#### 24", "m")


def test_compressed_files_have_the_same_bytes_each_time(tmp_path):
    records = [{"problem_id": "p", "prompt": "é?", "sample": i, "text": "x", "extra": 1} for i in range(3)]
    for name in ("a.jsonl.gz", "b.jsonl.gz"):
        write_generations(tmp_path / name, records)
    assert (tmp_path / "a.jsonl.gz").read_bytes() == (tmp_path / "b.jsonl.gz").read_bytes()
    assert list(read_generations(str(tmp_path / "a.jsonl.gz"))) == [
        {k: v for k, v in record.items() if k != "extra"} for record in records
    ]


def test_lines_that_are_no_records_are_passed_over(tmp_path):
    good = {"prompt": "48 / 2?", "sample": 0, "text": "24"}
    lines = ["junk", json.dumps({"text": "no place"}), json.dumps(good | {"sample": "0"}), json.dumps(good)]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    assert list(read_generations(str(tmp_path / "a.jsonl"))) == [good]


def test_a_source_must_be_named_and_hold_records(tmp_path):
    with pytest.raises(ConfigError, match="needs generator.source"):
        load_generator(GeneratorConfig(kind="replay"))
    (tmp_path / "a.jsonl").write_text("{}\n")
    with pytest.raises(DataError, match="holds no recorded generation"):
        generator(tmp_path / "a.jsonl")


def test_two_models_with_the_same_sample_numbers_are_refused(tmp_path):
    path = tmp_path / "a.jsonl"
    same = {"prompt": "48 / 2?", "sample": 0, "text": "24"}
    write_generations(path, [same | {"model": "a"}, same | {"model": "b"}])
    assert generator(path).generate([request()])[0].text == "24"
    write_generations(path, [same, same | {"text": "25"}])
    with pytest.raises(DataError, match=r"two generations of one problem with the sample number 0 \(prompt:48 / 2\?\)"):
        generator(path)


def test_half_of_a_surrogate_pair_is_written_and_comes_back(tmp_path):
    record = {"prompt": "48 / 2?", "sample": 0, "text": "24 \ud83d"}
    write_generations(tmp_path / "a.jsonl.gz", [record])
    assert list(read_generations(str(tmp_path / "a.jsonl.gz"))) == [record]
