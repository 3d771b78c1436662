"""Step scores as they come: server-sent events, and a response that is followed while it is written."""

import json

import pytest

from rewardkit.errors import ConfigError
from rewardkit.models import load_reward_model
from rewardkit.models.remote import RemoteRewardModel
from rewardkit.models.spec import RewardModelSpec
from rewardkit.types import Problem, Trace

QUESTION = "Natalia sold 48 clips in April and half as many in May. How many altogether?"
STEPS = ["48/2 = 24 clips in May.\n\n", "```\n48 + 24\n\n= 72\n```\n\n", "72 altogether.\n\n", "#### 72"]
GOOD = {"prompt": QUESTION, "steps": STEPS}


def streamed(served, **body):
    """The events of a stream, without its end mark."""
    events = []
    with served.client.stream("POST", "/v1/rewards", json={"stream": True, **body}) as response:
        assert response.status_code == 200 and response.headers["content-type"].startswith("text/event-stream")
        for line in response.iter_lines():
            if line:
                assert line.startswith("data: ")
                events.append(line.removeprefix("data: "))
    assert events.pop() == "[DONE]"
    return [json.loads(event) for event in events]


def test_a_stream_gives_each_step_and_then_the_same_answer(served):
    inputs = [GOOD, {"prompt": QUESTION, "steps": []}, {"prompt": QUESTION, "steps": STEPS[:2]}]
    whole = served.rewards(input=inputs, **{"return": ["raw"]}).json()
    *events, last = streamed(served, input=inputs, **{"return": ["raw"]})
    assert last["object"] == "list" and last["data"][1]["object"] == "reward.error"
    for i in (0, 2):
        expected = whole["data"][i]
        assert last["data"][i]["step_scores"] == pytest.approx(expected["step_scores"], abs=1e-5)
        mine = [event for event in events if event["index"] == i]
        assert [event["step"] for event in mine] == list(range(len(expected["step_scores"])))
        assert [event["step_score"] for event in mine] == pytest.approx(expected["step_scores"], abs=1e-5)
        assert mine[-1]["score"] == pytest.approx(expected["score"], abs=1e-5)
    assert {event["object"] for event in events} == {"reward.step"}
    assert last["usage"]["prompt_tokens"] == whole["usage"]["prompt_tokens"]


def test_a_bad_stream_has_the_status_of_its_fault(served):
    assert served.rewards(input=GOOD, stream=True, model="other").status_code == 404
    response = served.rewards(input={"prompt": "x", "steps": ["word " * 600]}, stream=True)
    assert response.status_code == 400 and response.json()["error"]["code"] == "context_length_exceeded"


def test_only_implicit_models_give_tokens_rewards(served):
    response = served.rewards(input=GOOD, **{"return": ["tokens"]})
    assert response.status_code == 400 and response.json()["error"]["param"] == "return"


def test_a_growing_response_reads_what_was_cached(served):
    cached = [served.rewards(input={"prompt": QUESTION * 3, "steps": STEPS[:k]}).json()["usage"] for k in (1, 2, 3, 4)]
    counts = [usage["prompt_tokens_details"]["cached_tokens"] for usage in cached]
    assert counts == sorted(counts)
    assert (counts[-1] > cached[-1]["prompt_tokens"] / 2) is (served.backend == "vllm")


def deltas(text: str, size: int) -> list[str]:
    return [text[i : i + size] for i in range(0, len(text), size)]


@pytest.mark.parametrize("size", [3, 1000])
def test_a_response_is_followed_while_it_is_written(served, size):
    problem = Problem.create(QUESTION)
    offline = load_reward_model(str(served.folder), dtype="float32").score([Trace.create(problem, STEPS)])[0]
    with RemoteRewardModel(served.root, served.key) as remote:
        found = {i: (text, score) for i, text, score in remote.follow(problem, deltas("".join(STEPS), size))}
    assert [found[i][0] for i in range(len(STEPS))] == STEPS
    assert [found[i][1] for i in range(len(STEPS))] == pytest.approx(offline.scores, abs=1e-5)


def test_a_follower_may_stop_the_writer_at_a_bad_step(served):
    read = []

    def pieces():
        for piece in STEPS:
            read.append(piece)
            yield piece

    with RemoteRewardModel(served.root, served.key) as remote:
        index, text, _ = next(remote.follow(Problem.create(QUESTION), pieces()))
    assert (index, text) == (0, STEPS[0]) and read == STEPS[:2]


def test_an_outcome_model_cannot_be_followed(served):
    with RemoteRewardModel(served.root, served.key) as remote:
        remote.spec = RewardModelSpec(kind="outcome", separator_id=1)
        with pytest.raises(ConfigError, match="whole responses"):
            next(remote.follow(Problem.create("?"), ["a"]))
