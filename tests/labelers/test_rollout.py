"""The rollout labeler over a stand-in policy, a stand-in endpoint over real HTTP, and a tiny real model."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from rewardkit.errors import ConfigError, ServerError
from rewardkit.generate import GeneratorConfig
from rewardkit.labelers import load_labeler
from rewardkit.labelers.rollout import RolloutLabeler, RolloutOptions
from rewardkit.types import Problem, Trace

sys.path.insert(0, str(Path(__file__).parents[1] / "generate"))
from endpoint_stand_in import StandIn, completion, failure

OWN = '''
from rewardkit.generate import Generation


class Policy:
    """A stand-in: goes on as a good solution does, and cannot mend a step that says "bad"."""

    asked = []

    def __init__(self, config):
        self.config = config

    def generate(self, requests):
        Policy.asked += requests
        return [self._one(request) for request in requests]

    def _one(self, request):
        last = request.messages[-1]
        text = last["content"] if last["role"] == "assistant" else ""
        if "broken" in text:
            return Generation(request.id, "", "error", 0, "own", "broken")
        if "long" in text:
            return Generation(request.id, "on and on", "length", 5, "own")
        if "silent" in text:
            return Generation(request.id, "that is all", "stop", 5, "own")
        return Generation(request.id, "so\\n#### 9" if "bad" in text else "so\\n#### 4", "stop", 5, "own")
'''


@pytest.fixture
def labeler(tmp_path):
    path = tmp_path / "own.py"
    path.write_text(OWN)

    def make(**options):
        return load_labeler("rollout", options={"generator": {"kind": f"{path}:Policy"}, **options})

    return make


def trace(*steps, answer="4", sample=0, **meta):
    return Trace.create(Problem.create("2 + 2?", answer), [f"{s}\n" for s in steps], sample=sample, meta=meta)


def values(labels):
    return [label.p_correct for label in sorted(labels, key=lambda label: label.step)]


def asked(labeler):
    return type(labeler.asker._made[0]).asked


@pytest.mark.parametrize("method", ["adaptive", "math_shepherd", "omegaprm"])
def test_the_first_error_is_found(labeler, method):
    wrong = trace("a", "b", "bad", "#### 9")
    labels = labeler(method=method, n=4).label_group([wrong])
    made = values(labels)
    assert made[2:] == [0.0, 0.0]
    assert set(made[:2]) == {1.0} or (method == "omegaprm" and 1.0 in made[:2])
    assert {(label.source, label.meaning) for label in labels} == {("rollout", "value")}


def test_a_prefix_is_the_beginning_of_the_assistants_turn(labeler):
    made = labeler(method="math_shepherd", n=1)
    made.label_group([Trace.create(Problem.create("2 + 2?", "4"), ["a", "b", "#### 9"])])
    turns = [request.messages[-1] for request in asked(made)]
    assert turns == [{"role": "assistant", "content": text} for text in ("a\n", "a\nb\n")]


def test_traces_that_begin_alike_share_what_was_sampled(labeler):
    made = labeler(method="math_shepherd", n=4)
    labels = made.label_group([trace("a", "b", "#### 9"), trace("a", "bad", "#### 9", sample=1)])
    assert [r.messages[-1]["content"] for r in asked(made)].count("a\n") == 4
    assert len(labels) == 6 and made.asker.usage["requests"] == 12
    assert len({r.id for r in asked(made)}) == 12


@pytest.mark.parametrize("step", ["broken", "long"])
def test_what_cannot_be_judged_gives_no_label(labeler, step):
    made = labeler(method="math_shepherd", n=3).label_group([trace("a", step, "#### 4")])
    assert values(made) == [1.0, None, 1.0]
    assert made[1].evidence == "no continuation could be judged"


def test_a_continuation_that_stops_without_an_answer_is_wrong(labeler):
    assert values(labeler(method="math_shepherd", n=3).label_group([trace("a", "silent", "#### 4")])) == [1.0, 0.0, 1.0]


def test_without_a_reference_nothing_is_asked(labeler):
    made = labeler()
    assert values(made.label_group([trace("a", "b", answer=None)])) == [None, None]
    assert made.asker.usage == {}
    assert made.label_group([]) == []


def test_soft_labels_are_shares(labeler):
    labels = labeler(method="math_shepherd", n=4, soft=True).label_group([trace("a", "#### 4")])
    assert [label.evidence for label in labels] == [
        "4 of 4 continuations right",
        "1 of 1 continuations right; the trace's own answer",
    ]


@pytest.mark.parametrize("bad", [{"soft": True}, {"low": 0.5}, {"generator": {"kind": "replay"}}])
def test_options_that_are_no_use_are_refused(labeler, bad):
    with pytest.raises(ConfigError):
        labeler(**bad)


# --- over HTTP ---


@pytest.fixture
def endpoint(tmp_path, monkeypatch):
    monkeypatch.setenv("REWARDKIT_CACHE", str(tmp_path / "cache"))
    stand_in = StandIn()
    yield stand_in
    stand_in.close()


def over(endpoint, **limits):
    limits = {"url": endpoint.url, "retries": 0, "timeout": 1.0, **limits}
    generator = GeneratorConfig(kind="openai", model="m", max_new_tokens=20, batch_size=4, endpoint=limits)
    return RolloutLabeler(RolloutOptions(generator=generator, method="math_shepherd", n=4))


def test_an_endpoint_is_told_to_go_on(endpoint):
    endpoint.reply = lambda body: completion("#### 4")
    made = over(endpoint)
    assert values(made.label_group([trace("a", "#### 9")])) == [1.0, 0.0]
    made.close()
    assert all(body["continue_final_message"] and not body["add_generation_prompt"] for body in endpoint.asked)
    assert made.asker.usage == {"requests": 4, "failed": 0, "cached": 0, "prompt_tokens": 40, "completion_tokens": 20}


def test_garbage_after_good_answers_is_an_abstention(endpoint):
    garbage = (200, {"Content-Type": "application/json"}, b"\xff{not json")
    good = completion("#### 4")
    endpoint.reply = lambda body: garbage if "second" in body["messages"][-1]["content"] else good
    made = over(endpoint)
    assert values(made.label_group([trace("a", "second", "#### 9")])) == [1.0, None, 0.0]
    made.close()
    assert made.asker.usage["failed"] == 4


def test_an_endpoint_that_never_answers_stops_the_run(endpoint):
    endpoint.reply = lambda body: failure(500)
    made = over(endpoint)
    with pytest.raises(ServerError, match="the same command goes on"):
        made.label_group([trace("a", "#### 9")])
    made.close()


def test_the_budget_counts_what_earlier_sittings_spent(endpoint):
    made = over(endpoint, max_tokens=1000)
    made.asker.resume({"prompt_tokens": 900, "completion_tokens": 90})
    with pytest.raises(ConfigError, match="budget of 1,000 tokens"):
        made.label_group([trace("a", "#### 9")])
    made.close()
    assert endpoint.asked == []


@pytest.mark.slow
def test_a_real_model_continues_prefixes(tmp_path):
    from tinylm import build_tiny_lm

    generator = GeneratorConfig(model=str(build_tiny_lm(tmp_path)), max_new_tokens=8, temperature=1.0)
    made = RolloutLabeler(RolloutOptions(generator=generator, limit=8))
    labels = made.label_group([trace("48 / 2 = 24", "so the total is", "#### 9")])
    assert [label.step for label in labels] == [0, 1, 2] and labels[2].p_correct == 0.0
    assert made.asker.usage["requests"] > 0 and made.asker.usage["failed"] == 0
