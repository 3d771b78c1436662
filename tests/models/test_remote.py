"""The client: what it sends, what it checks, when it tries again."""

import asyncio
import json
import threading

import httpx
import pytest

from rewardkit.errors import ServerError
from rewardkit.models import load_reward_model
from rewardkit.models.remote import RemoteRewardModel
from rewardkit.models.spec import RewardModelSpec
from rewardkit.types import Problem, Trace

SPEC = RewardModelSpec(kind="token", separator_id=5, positive_label=1)
MODELS = {"data": [{"id": "prm", "rewardkit": {"spec": SPEC.model_dump(mode="json")}}]}
TRACES = [Trace.create(Problem.create(f"{i}+1?"), ["one", "two"]) for i in range(5)]


def service(rewards):
    """A transport that lists one model and answers POST /v1/rewards with `rewards(body)`."""

    def handle(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/models":
            return httpx.Response(200, json=MODELS)
        assert request.url.path == "/v1/rewards" and request.headers["authorization"] == "Bearer k"
        return rewards(json.loads(request.content))

    return httpx.MockTransport(handle)


def good(body) -> httpx.Response:
    data = [{"step_scores": [0.25, 0.5], "logits": [[0.0, 1.0], [0.0, 2.0]]} for _ in body["input"]]
    return httpx.Response(200, json={"data": data})


@pytest.fixture
def pauses(monkeypatch) -> list[float]:
    waited: list[float] = []
    monkeypatch.setattr("rewardkit.models.remote.time.sleep", waited.append)
    return waited


def test_scores_come_back_in_order_and_in_batches():
    sent = []

    def answer(body):
        sent.append([item["prompt"] for item in body["input"]])
        return good(body)

    model = RemoteRewardModel("http://x", "k", batch=2, transport=service(answer))
    scores = model.score(TRACES)
    assert sent == [["0+1?", "1+1?"], ["2+1?", "3+1?"], ["4+1?"]]
    assert [s.trace_id for s in scores] == [t.id for t in TRACES]
    assert scores[0].scores == (0.25, 0.5) and scores[0].raw == (1.0, 2.0)
    assert model.spec == SPEC


def test_half_a_surrogate_pair_is_left_to_the_service():
    sent = []
    model = RemoteRewardModel("http://x", "k", transport=service(lambda body: (sent.append(body), good(body))[1]))
    model.score([Trace.create(Problem.create("?"), ["a", "\ud800"])])
    assert sent[0]["input"][0]["steps"] == ["a", "\ud800"]


def test_long_traces_share_no_request():
    sent = []
    long = [Trace.create(Problem.create("?"), ["x" * 600_000, str(i)]) for i in range(2)]
    model = RemoteRewardModel("http://x", "k", transport=service(lambda b: (sent.append(len(b["input"])), good(b))[1]))
    model.score(long)
    assert sent == [1, 1]


@pytest.mark.parametrize(
    "data",
    [
        [{"step_scores": [0.5], "logits": [[0.0, 1.0]]}],
        [{"step_scores": [0.5, 0.5, 0.5], "logits": [[0.0, 1.0]] * 3}],
        [],
        [{"step_scores": [0.5, 0.5]}],
        [{"step_scores": [0.5, 0.5], "logits": [[0.0, None], [0.0, 1.0]]}],
        [{"step_scores": "ab", "logits": [[0.0, 1.0]] * 2}],
        None,
    ],
)
def test_another_number_of_scores_than_steps_raises(data):
    transport = service(lambda _: httpx.Response(200, json={"data": data}))
    with pytest.raises(ServerError, match="gave"):
        RemoteRewardModel("http://x", "k", transport=transport).score(TRACES[:1])


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_service_is_asked_again_when_it_says(status, pauses):
    answers = iter([httpx.Response(status, headers={"Retry-After": "7"}), httpx.Response(status)])
    model = RemoteRewardModel("http://x", "k", transport=service(lambda body: next(answers, None) or good(body)))
    assert len(model.score(TRACES)) == len(TRACES)
    assert 5.6 <= pauses[0] <= 8.4 and pauses[1] < 1


def test_a_lost_connection_is_tried_again(pauses):
    failures = iter([httpx.ReadError("reset")])

    def answer(body):
        for failure in failures:
            raise failure
        return good(body)

    assert RemoteRewardModel("http://x", "k", transport=service(answer)).score(TRACES[:1])
    assert len(pauses) == 1


def test_it_gives_up_with_the_status_and_the_message(pauses):
    busy = httpx.Response(503, json={"error": {"message": "the engine has stopped", "code": "unavailable"}})
    model = RemoteRewardModel("http://x", "k", retries=2, transport=service(lambda _: busy))
    with pytest.raises(ServerError, match="answered 503: the engine has stopped") as caught:
        model.score(TRACES[:1])
    assert (caught.value.status, caught.value.code, len(pauses)) == (503, "unavailable", 2)


@pytest.mark.parametrize("status", [400, 401, 404, 500])
def test_a_refusal_is_not_tried_again(status, pauses):
    model = RemoteRewardModel("http://x", "k", transport=service(lambda _: httpx.Response(status, text="no JSON")))
    with pytest.raises(ServerError) as caught:
        model.score(TRACES[:1])
    assert caught.value.status == status and not pauses


def test_nobody_there_is_one_clear_error(pauses):
    with pytest.raises(ServerError, match="no answer from http://127.0.0.1:9/v1"):
        load_reward_model("http://127.0.0.1:9", timeout=2.0)


def test_a_server_that_is_not_ours_is_named():
    plain = httpx.MockTransport(lambda _: httpx.Response(200, json={"data": [{"id": "gpt"}]}))
    with pytest.raises(ServerError, match="without RewardKit"):
        RemoteRewardModel("http://x/v1/", transport=plain)
    with pytest.raises(ServerError, match="serves no model 'other'; it serves: prm"):
        RemoteRewardModel("http://x", "k", "other", transport=service(good))


def test_the_key_comes_from_the_environment(monkeypatch):
    monkeypatch.setenv("REWARDKIT_API_KEY", "k")
    assert RemoteRewardModel("http://x", transport=service(good)).score(TRACES[:1])


def outcome_service(data):
    spec = RewardModelSpec(kind="outcome", separator_id=5).model_dump(mode="json")
    listed = {"data": [{"id": "orm", "rewardkit": {"spec": spec}}]}
    return httpx.MockTransport(lambda r: httpx.Response(200, json=listed if r.method == "GET" else {"data": data}))


def test_an_outcome_model_gives_one_score_whatever_the_number_of_steps():
    transport = outcome_service([{"score": 0.75, "logits": [[1.5]]}])
    (given,) = RemoteRewardModel("http://x", "k", transport=transport).score(TRACES[:1])
    assert (given.scores, given.raw) == ((0.75,), (1.5,))
    transport = outcome_service([{"score": 0.75, "logits": [[1.5], [2.0]]}])
    with pytest.raises(ServerError, match="gave"):
        RemoteRewardModel("http://x", "k", transport=transport).score(TRACES[:1])


def test_an_input_that_the_service_could_not_score_is_named():
    def answer(body):
        data = json.loads(good(body).content)["data"]
        error = {"message": "input[1] has 600 tokens", "type": "x", "param": None, "code": "context_length_exceeded"}
        data[1] = {"index": 1, "object": "reward.error", "error": error}
        return httpx.Response(200, json={"data": data})

    with pytest.raises(ServerError, match=f"could not score {TRACES[1].id}: .*600 tokens") as caught:
        RemoteRewardModel("http://x", "k", transport=service(answer)).score(TRACES)
    assert (caught.value.status, caught.value.code) == (400, "context_length_exceeded")


def test_async_scores_are_the_same_and_requests_run_at_once():
    together = threading.Barrier(2, timeout=30)

    def answer(body):
        together.wait()  # breaks unless two requests are under way at once
        return good(body)

    model = RemoteRewardModel("http://x", "k", batch=1, transport=service(answer))
    scores = asyncio.run(model.score_async(TRACES[:4], concurrency=2))
    assert [s.trace_id for s in scores] == [t.id for t in TRACES[:4]] and scores[3].scores == (0.25, 0.5)


def test_of_several_keys_in_the_environment_the_client_sends_the_first(monkeypatch):
    monkeypatch.setenv("REWARDKIT_API_KEY", "k,other")
    assert len(RemoteRewardModel("http://x", transport=service(good)).score(TRACES)) == 5
