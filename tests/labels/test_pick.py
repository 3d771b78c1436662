"""Traces for the verifier: what is verified or repeated is left out, and near-duplicates are found."""

from __future__ import annotations

import json

import pytest

from rewardkit.errors import ConfigError, DataError
from rewardkit.labels.duplicates import near_duplicates
from rewardkit.labels.pick import pick_traces
from rewardkit.labels.select import POLICIES
from rewardkit.store import LabelledTrace, write_dataset
from rewardkit.types import Problem, StepLabel, Trace


@pytest.fixture
def dataset(tmp_path):
    """Thirty traces: the last ten unsure, the first five verified, one a repeat."""
    rows = []
    for number in range(30):
        trace = Trace.create(Problem.create(f"problem {number}"), [f"first {number}", "second"])
        p = 0.5 if number >= 20 else 0.98
        said = {"judge": p, "other": 1 - p}
        labels = [StepLabel(trace.id, i, q, s, "local") for s, q in said.items() for i in (0, 1)]
        if number < 5:
            labels.append(StepLabel(trace.id, 0, 1.0, "z3", "local"))
        rows.append(LabelledTrace(trace, tuple(labels), (p, p)))
    repeat = Trace.create(rows[7].trace.problem, ["FIRST 7", " second"], sample=1)
    write_dataset(tmp_path / "set", [*rows, LabelledTrace(repeat)], {})
    return tmp_path / "set", [row.trace.id for row in rows]


def chosen(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("policy", POLICIES)
def test_every_policy_leaves_out_what_is_verified_or_repeated(dataset, tmp_path, policy):
    folder, ids = dataset
    found = pick_traces(folder, tmp_path / "next.jsonl", 10, policy, judges=["judge", "other"], verified="z3")
    rows = chosen(tmp_path / "next.jsonl")
    assert (found["chosen"], found["candidates"], found["duplicates"]) == (10, 25, 1)
    assert not {row["trace_id"] for row in rows} & set(ids[:5])
    assert [row["by"] for row in rows[:2]] == ["random", "random"]


def test_rad_takes_the_unsure(dataset, tmp_path):
    folder, ids = dataset
    pick_traces(folder, tmp_path / "next.jsonl", 8, "rad", source="judge", share=0.0)
    assert {row["trace_id"] for row in chosen(tmp_path / "next.jsonl")} <= set(ids[20:])


def test_a_trace_on_which_the_verifier_abstained_is_not_put_to_it_again(tmp_path):
    rows = []
    for number in range(4):
        trace = Trace.create(Problem.create(f"problem {number}"), ["step"])
        seen = (StepLabel(trace.id, 0, None, "z3", "local"),) if number else ()
        rows.append(LabelledTrace(trace, seen))
    write_dataset(tmp_path / "set", rows, {})
    assert pick_traces(tmp_path / "set", tmp_path / "x", 1, verified="z3")["candidates"] == 1
    assert chosen(tmp_path / "x") == [{"trace_id": rows[0].trace.id, "by": "random"}]


def test_what_cannot_be_chosen_is_said(dataset, tmp_path):
    folder, _ = dataset
    with pytest.raises(DataError, match="31 traces are wanted, but 30 are left"):
        pick_traces(folder, tmp_path / "x", 31)
    with pytest.raises(ConfigError, match="no label source 'nobody'"):
        pick_traces(folder, tmp_path / "x", 3, source="nobody")
    with pytest.raises(ConfigError, match="disagree needs judges"):
        pick_traces(folder, tmp_path / "x", 3, "disagree", judges=["judge"])


def test_near_duplicates_are_found_and_others_are_not():
    texts = ["Ann has 3 apples and buys 5 more at the market. How many?", "A train leaves at noon and goes 60 km."]
    copy = ["ann has 3 apples and buys 5 more at the market.  How many??", "Nothing like it at all stands here."]
    assert [(a, b) for a, b, _ in near_duplicates(texts, copy)] == [(0, 0)]
    assert [(a, b) for a, b, _ in near_duplicates([*texts, copy[0]])] == [(0, 2)]
    assert near_duplicates([""], ["x"]) == []
    with pytest.raises(ConfigError, match="threshold"):
        near_duplicates(texts, threshold=0.0)


def test_a_source_may_be_its_own_judge(dataset, tmp_path):
    folder, _ = dataset
    twice = {"source": "judge", "judges": ["judge", "other"], "seed": 3}
    assert pick_traces(folder, tmp_path / "next.jsonl", 8, "llkd", **twice)["chosen"] == 8


def test_an_unknown_policy_is_named_before_what_it_might_need(dataset, tmp_path):
    with pytest.raises(ConfigError, match="there is no policy 'best'"):
        pick_traces(dataset[0], tmp_path / "next.jsonl", 8, "best")


def test_one_trace_is_as_diverse_as_it_gets(tmp_path):
    write_dataset(tmp_path / "set", [LabelledTrace(Trace.create(Problem.create("?"), ["a step"]))], {})
    assert pick_traces(tmp_path / "set", tmp_path / "next.jsonl", 1, "diverse")["chosen"] == 1
