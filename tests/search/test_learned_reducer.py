"""The learned reducer: fitted, saved, and named alike everywhere; VL-PRM's two ways to search."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest

from rewardkit.config import load_config
from rewardkit.errors import ConfigError, DataError
from rewardkit.generate import Generation
from rewardkit.models.reduce import check_reducer, reduce_scores
from rewardkit.models.spec import RewardModelSpec
from rewardkit.search.choose import make_candidates
from rewardkit.search.learn import fit_reducer
from rewardkit.search.run import SearchConfig
from rewardkit.search.sampling import SamplePlan, search_samples
from rewardkit.search.steps import Continuation
from rewardkit.search.stepwise import SearchPlan, search_steps
from rewardkit.server.schema import rewards_request
from rewardkit.types import Problem, StepScores

PROBLEM = Problem.create("6 * 3?", "18")
INLINE = "learned:bias=-1.000000,min=2.000000,last=2.000000"


def rows(count=200, seed=0):
    """Responses that are right where their second lowest score is high; the lowest is noise."""
    random = np.random.default_rng(seed)
    made, right = [], []
    for _ in range(count):
        level = random.uniform(0.1, 0.9)
        made.append([*random.permutation([random.uniform(0, level), level, 0.95])])
        right.append(bool(random.uniform() < 1 / (1 + math.exp(-12 * (level - 0.5)))))
    return made, right


def test_it_learns_what_no_fixed_reducer_can_say():
    scores, right = rows()
    fitted = fit_reducer(scores, right)
    assert fitted.loss < 0.9 * fitted.prior_loss
    held, truth = rows(seed=1)

    def ranked_rightly(reducer):
        values = [reduce_scores(row, reducer) for row in held]
        pairs = [
            (a > b) for a, x in zip(values, truth, strict=True) for b, y in zip(values, truth, strict=True) if x > y
        ]
        return sum(pairs) / len(pairs)

    best_fixed = max(ranked_rightly(name) for name in ("min", "prod", "last", "mean"))
    assert ranked_rightly(fitted.reducer) > best_fixed + 0.02


def test_the_held_out_loss_is_of_other_problems():
    """Two hundred copies of three problems: nothing is left over for a problem that was not seen."""
    scores, right = rows(3)
    right = [True, False, True]
    assert fit_reducer(scores * 20, right * 20, groups=["a", "b", "c"] * 20).loss is None
    assert fit_reducer(scores * 20, right * 20).loss is not None


def test_a_saved_one_is_named_alike_everywhere(tmp_path):
    scores, right = rows(40)
    fitted = fit_reducer(scores, right)
    fitted.save(tmp_path / "r.json")
    assert json.loads((tmp_path / "r.json").read_text())["reducer"] == fitted.reducer
    name = f"learned:{tmp_path / 'r.json'}"
    expected = reduce_scores(scores[0], fitted.reducer)
    assert check_reducer(name) == fitted.reducer
    assert reduce_scores(scores[0], name) == expected
    assert make_candidates(["x"], [scores[0]], reducer=name)[0].score == expected
    assert RewardModelSpec(kind="token", reducer=name).reducer == fitted.reducer
    recipe = load_config(SearchConfig, "search", "majority-gsm8k", [f"reducer={name}"])
    assert recipe.reducer == fitted.reducer
    body = {"input": [{"prompt": "?", "steps": ["a"]}], "aggregate": fitted.reducer}
    assert rewards_request(body).aggregate == fitted.reducer


def test_a_request_cannot_name_a_file(tmp_path):
    fit_reducer(*rows(40)).save(tmp_path / "r.json")
    body = {"input": [{"prompt": "?", "steps": ["a"]}], "aggregate": f"learned:{tmp_path / 'r.json'}"}
    with pytest.raises(DataError, match="not as a file"):
        rewards_request(body)


@pytest.mark.parametrize(
    "name",
    ["learned:", "learned:min", "learned:minn=1", "learned:min=1e9", "learned:min=nan", INLINE + ",", "learned:x.json"],
)
def test_a_name_of_no_use_is_refused(name):
    with pytest.raises(ConfigError):
        reduce_scores([0.5], name)


def test_large_weights_do_not_overflow():
    assert reduce_scores([0.0], "learned:bias=-99999") == 0.0
    assert reduce_scores([1.0], "learned:bias=99999") == 1.0


@pytest.mark.parametrize(
    ("scores", "right", "message"),
    [
        ([[0.5], []], [True, False], "response 1"),
        ([[0.5], [math.nan]], [True, False], "response 1"),
        ([[0.5], [0.4]], [True, True], "only one kind"),
        ([[0.5]], [True, False], "1 responses but 2"),
    ],
)
def test_rows_of_no_use_are_refused(scores, right, message):
    with pytest.raises(DataError, match=message):
        fit_reducer(scores, right)


# --- VL-PRM's strategies ---


class Paths:
    """A stand-in for a policy: from each prefix the steps that `tree` lists, each of its own length in tokens."""

    def __init__(self, tree):
        self.tree = tree

    def continue_steps(self, prefixes):
        made = []
        for p in prefixes:
            text, tokens = self.tree[p.text][p.sample % len(self.tree[p.text])]
            made.append(Continuation(text, text.startswith("#"), tokens))
        return made


def marked(*, by=None):
    """A stand-in for a reward model: a step scores the number behind its last space."""
    return SimpleNamespace(
        spec=SimpleNamespace(reducer=by or "min"),
        score=lambda traces: [StepScores(t.id, tuple(float(s.text.split()[-1]) for s in t.steps)) for t in traces],
    )


def guided(tree):
    plan = SearchPlan("guided_greedy", n=2, width=1, choose="best_of_n")
    (result,) = search_steps([PROBLEM], Paths(tree), marked(), plan)
    return result


@pytest.mark.parametrize(
    ("first", "second", "taken"),
    [
        (("a 0.9\n", 10), ("b 0.8\n", 10), "a"),
        (("a 0.9\n", 40), ("b 0.8\n", 10), "b"),
        (("a 0.4\n", 1), ("b 0.6\n", 90), "b"),
        (("a 0.3\n", 90), ("b 0.2\n", 1), "a"),
    ],
)
def test_guided_greedy_takes_the_best_newest_step_and_likes_short_ones(first, second, taken):
    end = [("# 1 0.9", 1)]
    result = guided({"": [first, second], first[0]: end, second[0]: end})
    assert result.choice.text[0] == taken


def test_guided_greedy_looks_at_the_newest_step_alone_and_follows_one_response():
    tree = {"": [("a 0.6\n", 5), ("b 0.5\n", 5)], "a 0.6\n": [("# passed 0.7", 5), ("c 0.9\n", 5)]}
    tree["a 0.6\nc 0.9\n"] = [("# 1 0.9", 5), ("# 1 0.8", 5)]
    result = guided(tree)
    assert result.choice.text == "a 0.6\nc 0.9\n# 1 0.9"
    assert len(result.choice.candidates) == 1
    assert {n.text: n.reason for n in result.explored}["a 0.6\n# passed 0.7"] == "pruned in round 2"


def test_a_prm_as_an_orm_scores_each_response_as_one_step(tmp_path):
    seen = []

    class Writes:
        """A stand-in for a policy."""

        def generate(self, requests):
            return [Generation(r.id, f"one\n\ntwo 0.{r.sample + 1}", "stop", 3, "m") for r in requests]

    model = marked()
    scored = model.score
    model.score = lambda traces: seen.extend(traces) or scored(traces)
    (result,) = search_samples([PROBLEM], Writes(), SamplePlan("best_of_n", n=3, split="whole"), model=model)
    assert [len(trace.steps) for trace in seen] == [1, 1, 1]
    assert result.choice.text.endswith("0.3")
