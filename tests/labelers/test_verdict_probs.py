"""What the log-probabilities of a judge's tokens say of its verdict, and that odd ones are passed over."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import pytest

from rewardkit.generate import GeneratorConfig
from rewardkit.labelers.judge import JudgeLabeler, JudgeOptions, read_marks
from rewardkit.labelers.verdict_probs import verdict_probabilities
from rewardkit.types import Problem, Trace

sys.path.insert(0, str(Path(__file__).parents[1] / "generate"))
from endpoint_stand_in import StandIn, completion

NEVER = -9999.0  # what endpoints write for minus infinity


def told(*parts):
    """Tokens; of a pair the second is from a token to its probability."""
    texts = [part if isinstance(part, str) else part[0] for part in parts]
    chances = [{part: 1.0} if isinstance(part, str) else part[1] for part in parts]
    return "".join(texts), [
        (text, {token: math.log(p) if p else NEVER for token, p in chance.items()})
        for text, chance in zip(texts, chances, strict=True)
    ]


def probabilities(parts, what, steps):
    text, logprobs = told(*parts)
    found = verdict_probabilities(text, logprobs, what, read_marks(text, what, steps))
    return found if found is None else [None if p is None else round(p, 3) for p in found]


@pytest.mark.parametrize(("parts", "expected"), [
    (['{"correct":', (" true", {" true": 0.75, " false": 0.25}), "}"], [0.75]),
    (['{"correct": ', ("t", {"t": 0.6, "f": 0.2, "maybe": 0.2}), "rue}"], [0.75]),
    (['{"correct', ('":true', {'":true': 0.5, '": false': 0.5}), "}"], [0.5]),
    (['{"correct":', (" false", {" false": 0.9, " true": 0.0}), "}"], [0.0]),
    (['{"correct":', (" true", {" true": 0.2, " null": 0.8}), "}"], None),
    (['{"correct": false} no: {"correct":', (" true", {" true": 0.9, " false": 0.1}), "}"], [0.9]),
    (['{"why": "\\"correct\\": true", "correct":', (" true", {" true": 0.9, " false": 0.1}), "}"], [0.9]),
    (['{"correct": true, "correct":', (" true", {" true": 0.9}), "}"], None),
])  # fmt: skip
def test_a_yes_counts_with_the_probability_of_its_token(parts, expected):
    assert probabilities(parts, "solution", 1) == expected


def test_the_first_error_gives_each_prefix_its_share():
    parts = ['{"first_error": ', ("2", {"0": 0.5, "2": 0.3, "3": 0.2}), "}"]
    assert probabilities(parts, "first_error", 3) == [1.0, 0.7, 0.5]
    assert probabilities(parts, "first_error", 12) is None, "a 1 may begin a 12"
    assert probabilities(['{"first_error": ', ("2", {"2": 0.1, "x": 0.9}), "}"], "first_error", 3) is None


def test_each_step_is_told_by_its_own_token():
    yes, no = (" true", {" true": 0.8, " false": 0.2}), (" false", {" true": 0.4, " false": 0.6})
    parts = ['{"steps": [{"step": 3, "correct":', yes, '}, {"step": 1, "correct":', no, "}]}"]
    assert probabilities(parts, "steps", 3) == [0.4, None, 0.8]


@pytest.mark.parametrize("logprobs", [
    [], [("other", {"other": 0.0})], [('{"correct": true}', {})], [('{"correct": true}', {"x": float("nan")})],
    [('{"correct": ', {}), ("true", {"true": float("-inf")}), ("}", {})],
    [('{"correct": ', {}), ("true", {"true": None}), ("}", {})],
])  # fmt: skip
def test_tokens_that_do_not_tell_say_nothing(logprobs):
    assert verdict_probabilities('{"correct": true}', logprobs, "solution", (True,)) is None


@pytest.fixture
def endpoint(tmp_path, monkeypatch):
    monkeypatch.setenv("REWARDKIT_CACHE", str(tmp_path / "cache"))
    stand_in = StandIn()
    yield stand_in
    stand_in.close()


def with_logprobs(parts, odd=None):
    """A completion as OpenAI's endpoint writes it where it is asked for log-probabilities."""
    text, logprobs = told(*parts)
    status, headers, content = completion(text)
    body = json.loads(content)
    listed = [
        {"token": token, "logprob": chances.get(token, NEVER), "bytes": None,
         "top_logprobs": [{"token": t, "logprob": p, "bytes": None} for t, p in chances.items()]}
        for token, chances in logprobs
    ]  # fmt: skip
    body["choices"][0]["logprobs"] = {"content": listed, "refusal": None} if odd is None else odd
    return status, headers, json.dumps(body).encode()


def judge(endpoint, samples=1, **options):
    config = GeneratorConfig(kind="openai", model="m", samples=samples, endpoint={"url": endpoint.url, "retries": 0})
    return JudgeLabeler(JudgeOptions(judges=[config], marks="solution", **options))


TRACE = Trace.create(Problem.create("2 + 2?", "4"), ["2 + 2 = 5"])
SURE = ['{"correct":', (" true", {" true": 0.75, " false": 0.25}), "}"]


def test_an_endpoint_that_gives_them_is_read_and_so_is_its_cached_answer(endpoint):
    endpoint.reply = lambda body: with_logprobs(SURE)
    for _ in range(2):
        made = judge(endpoint, logprobs=True)
        [label] = made.label_group([TRACE])
        made.close()
        assert label.p_correct == pytest.approx(0.75)
        assert label.evidence == "1 of 1 verdicts: right; 1 by their log-probabilities"
    [asked] = endpoint.asked
    assert asked["logprobs"] is True and asked["top_logprobs"] == 10


def test_samples_with_and_without_them_are_averaged(endpoint):
    replies = iter([with_logprobs(SURE), completion('{"correct": false}')])
    endpoint.reply = lambda body: next(replies)
    made = judge(endpoint, 2, logprobs=True)
    [label] = made.label_group([TRACE])
    made.close()
    assert label.p_correct == pytest.approx(0.375)


@pytest.mark.parametrize(
    "odd", ["x", {"content": None}, {"content": [{"token": 1}]}, [], {"content": [{"token": "a"}]}]
)
def test_log_probabilities_that_are_garbage_do_not_cost_the_verdict(endpoint, odd):
    endpoint.reply = lambda body: with_logprobs(SURE, odd)
    made = judge(endpoint, logprobs=True)
    assert [label.p_correct for label in made.label_group([TRACE])] == [1.0]
    made.close()


def test_nobody_is_asked_for_them_unless_told_to(endpoint):
    endpoint.reply = lambda body: with_logprobs(SURE)
    made = judge(endpoint)
    assert [label.p_correct for label in made.label_group([TRACE])] == [1.0]
    made.close()
    assert "logprobs" not in endpoint.asked[0]


def test_an_answer_that_is_begun_for_the_judge_is_read_with_its_beginning(endpoint):
    endpoint.reply = lambda body: with_logprobs(SURE[1:])
    made = judge(endpoint, logprobs=True, begin='{"correct":')
    [label] = made.label_group([TRACE])
    made.close()
    assert label.p_correct == pytest.approx(0.75)
    [asked] = endpoint.asked
    assert asked["messages"][-1] == {"role": "assistant", "content": '{"correct":'}
    assert asked["continue_final_message"] and not asked["add_generation_prompt"]
