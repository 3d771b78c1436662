"""The vote labeler, its compat vectors, and labelers of groups in a run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from rewardkit.config import load_config
from rewardkit.errors import ConfigError, ServerError
from rewardkit.labelers.groups import labels_of
from rewardkit.labelers.vote import VoteLabeler, VoteOptions
from rewardkit.store import read_dataset
from rewardkit.synth import SynthConfig, run_synth
from rewardkit.types import Problem, StepLabel, Trace

VECTORS = json.loads((Path(__file__).parents[1] / "rewards" / "vectors.json").read_text(encoding="utf-8"))["sets"]
PROBLEM = Problem.create("how many?")


def traces(texts, *, problem=PROBLEM, model="m", start=0, **meta):
    return [Trace.create(problem, [t], model=model, sample=start + i, meta=meta) for i, t in enumerate(texts)]


def verdicts(group, **options):
    labels = VoteLabeler(VoteOptions(**options)).label_group(group)
    assert [label.trace_id for label in labels] == [trace.id for trace in group]
    return [label.p_correct for label in labels]


def test_equal_answers_vote_together_and_the_empty_do_not():
    group = traces(["#### 0.5", "#### 1/2", "#### 3", "I do not know", "no idea"])
    labels = VoteLabeler(VoteOptions()).label_group(group)
    assert [label.p_correct for label in labels] == [1.0, 1.0, 0.0, None, None]
    assert labels[0].evidence == "majority 0.5: share 0.40, margin 0.20, 2 classes"
    assert labels[3].evidence.startswith("no final answer")


def test_an_answer_that_cannot_be_compared_is_not_called_wrong():
    group = traces(["#### 0.5", "#### 50%", "The answer is one half", "#### 2"])
    labels = VoteLabeler(VoteOptions()).label_group(group)
    assert [label.p_correct for label in labels] == [1.0, 1.0, None, 0.0]
    assert labels[2].evidence.startswith("one half could not be compared; majority 0.5")


def test_a_tie_goes_by_the_rule():
    group = traces(["#### 1", "#### 2"])
    assert verdicts(group) == [None, None]
    assert verdicts(group, tie="first") == [1.0, 0.0]
    assert "took the first" in VoteLabeler(VoteOptions(tie="first")).label_group(group)[0].evidence


def test_too_small_a_majority_abstains():
    assert verdicts(traces(["#### 1", "#### 1", "#### 2"]), min_share=0.7) == [None] * 3


def test_too_few_votes_abstain_however_large_their_share():
    alone = traces(["#### 4", "no idea", "?"])
    assert verdicts(alone) == [1.0, None, None] and verdicts(alone, min_votes=2) == [None] * 3
    assert verdicts(traces(["#### 4", "#### 4.0", "#### 5"]), min_votes=2) == [1.0, 1.0, 0.0]
    label = VoteLabeler(VoteOptions(min_votes=2)).label_group(alone)[0]
    assert label.evidence.startswith("1 votes, below min_votes")


def test_problems_vote_apart():
    other = Problem.create("how much?")
    group = [*traces(["#### 1", "#### 1"]), *traces(["#### 2", "#### 2", "#### 1"], problem=other)]
    assert verdicts(group) == [1.0, 1.0, 1.0, 1.0, 0.0]


def test_views_label_each_other():
    rephrased = Problem.create("what number?")
    one = traces(["#### 4", "#### 4", "#### 5"], group="g", view="original")
    two = traces(["#### 5", "#### 5.0", ""], problem=rephrased, group="g", view="rephrased")
    assert verdicts([*one, *two], views=True) == [0.0, 0.0, 1.0, 0.0, 0.0, None]
    assert verdicts(one, views=True) == [None] * 3


def test_a_teacher_votes_alone():
    group = [*traces(["#### 1", "#### 2"]), *traces(["#### 2", "#### 2"], model="teacher", start=2)]
    assert verdicts(group, teacher="teacher") == [0.0, 1.0, 1.0, 1.0]
    assert verdicts(group, teacher="nobody") == [None] * 4


@pytest.mark.parametrize("bad", [{"compat": "co_reward"}, {"compat": "co_rewarding_ii"}, {"tie": "random"},
                                 {"views": True, "teacher": "t"}, {"compat": "ttrl", "views": True}])  # fmt: skip
def test_options_that_do_not_fit_are_refused(bad):
    with pytest.raises(ValueError, match="compat|views|first"):
        VoteOptions(**bad)


def test_no_trace_no_label():
    assert VoteLabeler(VoteOptions()).label_group([]) == []


@pytest.mark.parametrize("name", ["ttrl", "mm_upt"])
def test_compat_gives_the_authors_labels(name):
    checked = 0
    for vector in VECTORS[name]["vectors"]:
        given = vector["input"]
        if given.get("task", "math") == "math" and given.get("n", len(given["completions"])) == len(
            given["completions"]
        ):
            assert verdicts(traces(given["completions"]), compat=name) == vector["output"]["rewards"]
            checked += 1
    assert checked >= (3 if name == "ttrl" else 1)


def test_compat_gives_the_authors_labels_across_views():
    rephrased = Problem.create("what number?")
    for vector in VECTORS["co_reward"]["vectors"]:
        given, expected = vector["input"], vector["output"]
        if "raises" in expected:
            continue
        one = traces(given["completions"], group="g", view="original")
        two = traces(given["rephrased_completions"], problem=rephrased, group="g", view="rephrased")
        made = verdicts([*one, *two], views=True, compat="co_reward")
        assert made == expected["rewards"] + expected["rephrased_rewards"]


def test_compat_gives_the_authors_labels_of_a_teacher():
    for vector in VECTORS["co_rewarding_ii"]["vectors"]:
        given, expected = vector["input"], vector["output"]
        teacher = traces(given["teacher_completions"], model="teacher", start=100)
        made = verdicts([*traces(given["completions"]), *teacher], teacher="teacher", compat="co_rewarding_ii")
        if "raises" in expected:
            assert set(made) == {None}
        else:
            assert made[: len(given["completions"])] == expected["rewards"]


# --- in a run ---

OWN = '''
from pathlib import Path

from rewardkit.errors import ServerError
from rewardkit.types import StepLabel


class Groups:
    """Labels two traces at a time; stops at its third unit, once; fails on problems with an odd share of digits."""

    name, meaning, unit = "groups", "local", 2

    def label_group(self, traces):
        log = Path(__file__).with_name("log")
        seen = log.read_text().split() if log.exists() else []
        if len(seen) == 4 and not Path(__file__).with_name("stopped").exists():
            Path(__file__).with_name("stopped").touch()
            raise ServerError("nothing to be had")
        if any("sheep" in trace.problem.text for trace in traces):
            raise ZeroDivisionError("sheep")
        with log.open("a") as file:
            file.write("".join(trace.id + "\\\\n" for trace in traces))
        return [StepLabel(trace.id, 0, 1.0, self.name, self.meaning, "ok") for trace in traces]
'''


def rows(path, texts):
    path.write_text("".join(json.dumps({"prompt": p, "response": r}) + "\n" for p, r in texts))
    return path


def config(tmp_path, *overrides):
    return load_config(SynthConfig, "synth", None, [f"output={tmp_path / 'run'}", *overrides])


def test_a_run_votes_over_all_traces_of_a_problem_wherever_they_stand(tmp_path):
    source = rows(tmp_path / "t.jsonl", [("a?", "#### 1"), ("b?", "#### 7"), ("a?", "so\n#### 1"), ("a?", "#### 2")])
    result = run_synth(
        config(tmp_path, f"traces.source={source}", "labelers=[arithmetic,vote]", "labeler_options.vote.tie=first")
    )
    labels = [[(x.step, x.p_correct) for x in row.labels if x.source == "vote"] for row in read_dataset(result.output)]
    assert labels == [[(0, 1.0)], [(0, 1.0)], [(1, 1.0)], [(0, 0.0)]]
    assert result.counts["labels"]["vote"] == {"correct": 3, "wrong": 1, "abstained": 0}
    assert result.manifest["config"]["labeler_options"] == {"vote": {"tie": "first"}}


def test_a_run_that_was_stopped_goes_on_and_labels_nothing_twice(tmp_path):
    own = tmp_path / "own.py"
    own.write_text(OWN.replace("\\\\", "\\"))
    source = rows(tmp_path / "t.jsonl", [(f"{i}?", "#### 1") for i in range(8)] + [("sheep?", "#### 1")])
    wanted = config(tmp_path, f"traces.source={source}", f"labelers=[{own}:Groups]")
    with pytest.raises(ServerError):
        run_synth(wanted)
    result = run_synth(wanted)
    seen = (tmp_path / "log").read_text().split()
    assert len(seen) == len(set(seen)) == 8
    assert result.counts["labels"]["groups"] == {"correct": 8, "wrong": 0, "abstained": 1}
    [odd] = [x for row in read_dataset(result.output) for x in row.labels if x.p_correct is None]
    assert odd.evidence == "ZeroDivisionError: sheep"


class Points:
    """A labeler of groups that speaks of a step which the sheep do not have."""

    name, meaning, unit = "points", "local", 8

    def label_group(self, traces):
        steps = [7 if trace.problem.text == "sheep?" else 0 for trace in traces]
        return [StepLabel(t.id, i, np.float32(0.25), "points", "local") for t, i in zip(traces, steps, strict=True)]


def test_labels_that_a_run_could_not_store_cost_their_problem_alone():
    group = dict(enumerate(traces(["a"]) + traces(["b"], problem=Problem.create("sheep?"))))
    [fine], [none] = labels_of(Points(), group).values()
    assert (fine["p_correct"], type(fine["p_correct"])) == (0.25, float)
    assert (none["p_correct"], none["evidence"]) == (
        None,
        "ValueError: a label of points is of step 7, and there are 1 (from 0)",
    )


@pytest.mark.parametrize(("overrides", "says"), [
    (["labelers=[vote]", "labeler_options.vote.tei=first"], "labeler_options.vote: unknown key 'tei': did you mean"),
    (["labelers=[arithmetic]", "labeler_options.arithmetic.a=1"], "labeler 'arithmetic' has no options"),
    (["labelers=[arithmetic]", "labeler_options.vote.tie=first"], "labelers holds no 'vote'"),
])  # fmt: skip
def test_options_that_nobody_takes_are_said(tmp_path, overrides, says):
    source = rows(tmp_path / "t.jsonl", [("a?", "#### 1")])
    with pytest.raises(ConfigError, match=says):
        run_synth(config(tmp_path, f"traces.source={source}", *overrides))
