"""Conversions between meanings say None where their assumptions leave the answer open."""

from __future__ import annotations

import pytest

from rewardkit.errors import ConfigError, DataError
from rewardkit.labels.convert import (
    CONVERSIONS,
    convert_dataset,
    local_to_prefix,
    local_to_prefix_independent,
    prefix_to_local,
    value_to_prefix,
)
from rewardkit.store import LabelledTrace, read_dataset, write_dataset
from rewardkit.types import Problem, StepLabel, Trace


def converted(function, meaning, values):
    return [x.p_correct for x in function([StepLabel("t", i, p, "s", meaning) for i, p in enumerate(values)])]


@pytest.mark.parametrize(
    ("function", "meaning", "given", "made"),
    [
        (local_to_prefix, "local", [1.0, None, 0.0, 1.0], [1.0, None, 0.0, 0.0]),
        (local_to_prefix_independent, "local", [0.5, 0.5, 0.0, None], [0.5, 0.25, 0.0, 0.0]),
        (local_to_prefix_independent, "local", [None, 0.5, 0.0], [None, None, 0.0]),
        (prefix_to_local, "prefix", [1.0, 0.0, 0.0], [1.0, 0.0, None]),
        (prefix_to_local, "prefix", [1.0, None, 0.0], [1.0, None, None]),
        (value_to_prefix, "value", [0.5, None, 0.2, 0.0, None, 0.3], [1.0, None, 1.0, 0.0, 0.0, 0.0]),
    ],
)
def test_values(function, meaning, given, made):
    assert converted(function, meaning, given) == made


def test_local_and_prefix_agree_up_to_the_first_error():
    given = [1.0, 1.0, 0.0, 1.0]
    there = local_to_prefix([StepLabel("t", i, p, "s", "local") for i, p in enumerate(given)])
    assert [x.p_correct for x in prefix_to_local(there)] == [1.0, 1.0, 0.0, None]


def test_a_dataset_gets_the_converted_labels_as_a_source_of_their_own(tmp_path):
    trace = Trace.create(Problem.create("?"), ["a", "b", "c"])
    labels = tuple(StepLabel(trace.id, i, p, "z3", "local") for i, p in ((0, 1.0), (2, 0.0)))
    write_dataset(tmp_path / "set", [LabelledTrace(trace, labels)], {"counts": {"bad_rows": 7}})
    counts = convert_dataset(tmp_path / "set", tmp_path / "out", "local_to_prefix", "z3")["counts"]
    assert (counts["bad_rows"], counts["labels"]["z3/prefix"]) == (7, {"correct": 1, "wrong": 1, "abstained": 1})
    (row,) = read_dataset(tmp_path / "out")
    assert row.labels[:2] == labels
    made = [(x.source, x.meaning, x.step, x.p_correct) for x in row.labels[2:]]
    assert made == [("z3/prefix", "prefix", 0, 1.0), ("z3/prefix", "prefix", 1, None), ("z3/prefix", "prefix", 2, 0.0)]


def test_a_wrong_name_or_meaning_is_said(tmp_path):
    trace = Trace.create(Problem.create("?"), ["a"])
    write_dataset(tmp_path / "set", [LabelledTrace(trace, (StepLabel(trace.id, 0, 1.0, "z3", "local"),))], {})
    with pytest.raises(ConfigError, match="no conversion 'magic'"):
        convert_dataset(tmp_path / "set", tmp_path / "out", "magic", "z3")
    with pytest.raises(DataError, match="no label of 'z3' with meaning value"):
        convert_dataset(tmp_path / "set", tmp_path / "out", "value_to_prefix", "z3")


def test_nothing_claims_to_know_values():
    assert not [name for name in CONVERSIONS if name.endswith("to_value")]


def test_a_conversion_that_was_made_before_is_refused(tmp_path):
    trace = Trace.create(Problem.create("?"), ["a"])
    write_dataset(tmp_path / "set", [LabelledTrace(trace, (StepLabel(trace.id, 0, 1.0, "z3", "local"),))], {})
    convert_dataset(tmp_path / "set", tmp_path / "out", "local_to_prefix", "z3")
    with pytest.raises(ConfigError, match="there already is a source 'z3/prefix'"):
        convert_dataset(tmp_path / "out", tmp_path / "out", "local_to_prefix_independent", "z3")
