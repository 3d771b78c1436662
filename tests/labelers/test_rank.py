"""Ranking traces: read from rows, labelled by each view, kept by agreement with what is relevant."""

from __future__ import annotations

import json
import math

import pytest

from rewardkit.cli import build_app
from rewardkit.config import validate
from rewardkit.errors import ConfigError, DataError
from rewardkit.labelers.rank import RankLabeler
from rewardkit.labels.keep import agreeing, keep_traces
from rewardkit.problems.ranking import ranking_problem
from rewardkit.rewards import Group, load_reward
from rewardkit.store import load_problems, read_dataset
from rewardkit.synth import SynthConfig, run_synth
from rewardkit.types import Trace

ROW = {"query": "q", "documents": ["a", "b", "c"], "docids": ["d1", "d2", "d3"], "relevant_docids": ["d2"]}
GOLD = {**ROW, "ranking": ["d2", "d1", "d3"]}


def said(order):
    return f"<think>r</think>\n<answer>{order}</answer>"


def labels(text, row=GOLD, **changes):
    problem = ranking_problem(row)
    meta = {**problem.meta, **changes}
    return {x.source: x for x in RankLabeler().label_group([Trace.create(problem, [text], meta=meta)])}


@pytest.mark.parametrize("order", ["[2] > [1] > [3]", "[1] > [2] > [3]", "[3] > [1] > [2]"])
def test_the_label_is_the_authors_reward_as_a_share_of_the_most(order):
    meta = {"initial_list": ROW["docids"], "relevant_docids": ["d2"]}
    group = Group.create("q", [said(order)], reference="[2] > [1] > [3]", meta=meta)
    [reward] = load_reward("reasonrank", compat="reasonrank")(group).rewards
    found = labels(said(order))
    assert math.isclose(found["rank"].p_correct, reward / 1.3)
    views = [found[f"rank:{view}"].p_correct for view in ("ndcg10", "recall10", "rbo")]
    assert math.isclose(views[0] + 0.2 * views[1] + 0.1 * views[2], reward)


def test_without_a_gold_order_one_view_abstains_and_the_rest_counts_as_before():
    found = labels(said("[1] > [2] > [3]"), ROW)
    ndcg = 1 / math.log2(3)
    assert math.isclose(found["rank"].p_correct, (ndcg + 0.2) / 1.2)
    assert found["rank:rbo"].p_correct is None and math.isclose(found["rank:ndcg10"].p_correct, ndcg)


@pytest.mark.parametrize("text", [
    "[2] > [1] > [3]", said("[2] > [2] > [9]"), said("[2] > [1]"), said("[0] > [1] > [2]"), said(""), "",
    said("2" * 5000), said("[٢] > [1] > [3]"), "<think></think><answer>[2]", said("[2] > [1] > [3] > [3]"),
])  # fmt: skip
def test_what_is_no_order_of_all_documents_is_wrong_and_no_view_speaks(text):
    found = labels(text)
    assert found["rank"].p_correct == 0.0
    assert [found[f"rank:{v}"].p_correct for v in ("ndcg10", "recall10", "rbo")] == [None] * 3


@pytest.mark.parametrize("ranking", [None, 3, {}, {"initial_list": []}, {"initial_list": 1, "relevant_docids": ["a"]},
                                     {"initial_list": ["a"], "relevant_docids": []}])  # fmt: skip
def test_a_trace_that_is_no_ranking_abstains(ranking):
    found = labels(said("[1]"), ranking=ranking)
    assert [x.p_correct for x in found.values()] == [None]


@pytest.mark.parametrize("changes", [
    {"documents": ["a"]}, {"documents": "ab"}, {"docids": ["d1", "d1", "d2"]}, {"docids": ["d1"]},
    {"relevant_docids": []}, {"relevant_docids": ["x"]}, {"ranking": ["d1", "d2"]}, {"documents": [1, 2, None]},
    {"ranking": ["d1", "d2", "d2"]}, {"relevant_docids": "d2"}, {"documents": ["a"] * 101, "docids": None},
])  # fmt: skip
def test_a_row_that_does_not_fit_is_refused(changes):
    with pytest.raises(DataError):
        ranking_problem({**ROW, **changes})


def test_the_query_and_the_documents_are_put_in_as_they_are():
    problem = ranking_problem({**GOLD, "documents": ["{query}", "b\n[7] sly", "c"]})
    assert "[1] {query}\n[2] b [7] sly\n[3] c" in problem.prompt and problem.answer == "[2] > [1] > [3]"
    assert ranking_problem({"query": "q"}) is None


@pytest.fixture
def run(tmp_path):
    rows = [{**GOLD, "response": said(order), "model": order} for order in ("[2] > [1] > [3]", "[1] > [3] > [2]", "x")]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert load_problems(tmp_path / "t.jsonl").rows[0].answer == "[2] > [1] > [3]"
    config = {"traces": {"source": str(tmp_path / "t.jsonl")}, "labelers": ["rank"], "output": str(tmp_path / "run")}
    return run_synth(validate(SynthConfig, {**config, "split": "lines"}, "test"))


def test_a_run_labels_rankings_and_the_good_ones_are_kept(run, tmp_path):
    assert run.counts["labels"]["rank"] == {"correct": 2, "wrong": 1, "abstained": 0}
    kept = keep_traces(run.output, tmp_path / "kept", "rank:ndcg10", 0.55)["kept"]
    assert kept == {"source": "rank:ndcg10", "above": 0.55, "kept": 1, "below": 1, "abstained": 1, "unlabelled": 0}
    assert [row.trace.model for row in read_dataset(tmp_path / "kept")] == ["[2] > [1] > [3]"]


def test_a_bound_is_not_above_itself(run, tmp_path):
    with pytest.raises(DataError, match=r"above 1 at the end of no trace \(1 abstained, 2 below\)"):
        keep_traces(run.output, tmp_path / "kept", "rank:ndcg10", 1.0)
    with pytest.raises(ConfigError, match="no label of 'vote'"):
        keep_traces(run.output, tmp_path / "kept", "vote")
    with pytest.raises(ConfigError, match="not the dataset itself"):
        keep_traces(run.output, run.output, "rank")


def test_the_command_says_what_it_kept(run, tmp_path):
    from typer.testing import CliRunner

    asked = ["labels", "keep", str(run.output), "source=rank", "above=0.9", f"output={tmp_path / 'kept'}", "--json"]
    done = CliRunner().invoke(build_app(), asked)
    assert json.loads(done.stdout)["kept"] == 1
    for bad in ("above=x", "above=2", "above=nan"):
        done = CliRunner().invoke(build_app(), ["labels", "keep", str(run.output), "source=rank", "output=x", bad])
        assert isinstance(done.exception, ConfigError)


def test_two_of_three_samples_that_agree_are_kept():
    assert agreeing(["1/2", "3", "0.5"]) == [0, 2]
    assert agreeing(["1", None, ""]) == [] == agreeing(["1", "2", None])
    assert agreeing(["1", "1", "2", "2", "2"], least=4) == []
