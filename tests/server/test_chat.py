"""Search behind the chat API: the official client, against a stand-in for the generator that is no model."""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import openai
import pytest

from rewardkit.generate import GeneratorConfig
from rewardkit.models import load_reward_model
from rewardkit.server.chat_search import SearchServing, read_strategy
from rewardkit.server.errors import ApiError
from rewardkit.server.launch import Server
from rewardkit.types import Problem, Trace

sys.path.append(str(Path(__file__).parents[1] / "generate"))
from endpoint_stand_in import StandIn, completion, failure

SECRET = "sk-generators-own-key"
QUESTION = [{"role": "user", "content": "What is 48 / 2 + 1?"}]
TEXTS = ["48 / 2 = 24\n\n#### 25", "48 + 2 = 50\n\n#### 50", "So 24 and 1.\n\n#### 25.0", "clips\n\n#### 7"]


def numbered(body):
    """One of `TEXTS`, by the request's seed; step by step two steps and then no more."""
    if body["messages"][-1]["role"] == "assistant":
        written = body["messages"][-1]["content"].count("\n\n")
        return completion(f"#### {body['seed'] % 3}" if written else None)
    if "stop" in body:
        return completion(f"{body['seed'] % 5} clips\n\n")
    return completion(TEXTS[body["seed"] % len(TEXTS)])


@pytest.fixture(scope="module")
def endpoint() -> Iterator[StandIn]:
    server = StandIn()
    yield server
    server.close()


@pytest.fixture(scope="module")
def serving(endpoint, tiny_reward_model) -> Iterator[Server]:
    search = {
        "generator": {
            "kind": "openai",
            "model": "m",
            "endpoint": {"url": endpoint.url, "key_variable": "GENERATOR_KEY", "retries": 0, "timeout": 5.0},
        },
        "max_n": 16,
        "concurrent": 1,
        "seconds": 30,
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENERATOR_KEY", SECRET)
        with Server(tiny_reward_model, backend="transformers", port=0, api_key="k", search=search) as server:
            yield server


@pytest.fixture
def client(serving, endpoint) -> Iterator[openai.OpenAI]:
    endpoint.reply, endpoint.delay = numbered, 0.0
    endpoint.asked.clear()
    with httpx.Client(trust_env=False) as http:
        yield openai.OpenAI(base_url=serving.url, api_key="k", max_retries=0, http_client=http)


def test_the_best_scored_candidate_is_the_answer(client, endpoint, tiny_reward_model):
    done = client.chat.completions.create(
        model="best-of-4:m", messages=QUESTION, seed=5, extra_body={"search": {"texts": True}}
    )
    about = done.model_extra["rewardkit"]
    candidates = about["candidates"]
    assert done.choices[0].message.content == candidates[about["chosen"]]["text"]
    assert about["score"] == max(c["score"] for c in candidates)
    assert done.choices[0].finish_reason == "stop"
    assert (done.usage.prompt_tokens, done.usage.completion_tokens) == (4 * 10, 4 * 5)
    assert len(endpoint.asked) == 4 and {tuple(m.items()) for m in endpoint.asked[0]["messages"]} == {
        tuple(m.items()) for m in QUESTION
    }
    model = load_reward_model(str(tiny_reward_model))
    for candidate in candidates:
        steps = candidate["text"].split("\n\n")
        trace = Trace.create(Problem.create(QUESTION), [steps[0] + "\n\n", steps[1]])
        assert candidate["step_scores"] == pytest.approx(model.score([trace])[0].scores, abs=1e-5)


def test_a_majority_counts_equal_answers_together(client, endpoint):
    replies = iter([TEXTS[1], TEXTS[0], TEXTS[2]])
    lock = threading.Lock()

    def in_turn(body):
        with lock:
            return completion(next(replies))

    endpoint.reply = in_turn
    done = client.chat.completions.create(model="majority-3", messages=QUESTION)
    assert done.model_extra["rewardkit"]["answer"] in ("25", "25.0")
    assert all("text" not in c for c in done.model_extra["rewardkit"]["candidates"])


@pytest.mark.parametrize("model", ["beam-2x2:m", "dvts-2x2:m", "greedy-3:m", "guided-greedy-3:m"])
def test_a_search_step_by_step(client, model):
    done = client.chat.completions.create(model=model, messages=QUESTION, seed=1)
    assert done.choices[0].message.content.count("\n\n") == 1
    assert done.choices[0].finish_reason == "stop"
    assert done.model_extra["rewardkit"]["explored"] >= 2


def test_the_chosen_answer_comes_in_chunks(client):
    whole = client.chat.completions.create(model="best-of-3:m", messages=QUESTION, seed=9)
    chunks = list(
        client.chat.completions.create(
            model="best-of-3:m", messages=QUESTION, seed=9, stream=True, stream_options={"include_usage": True}
        )
    )
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == whole.choices[0].message.content
    assert chunks[-1].usage == whole.usage and not chunks[-1].choices
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-2].model_extra["rewardkit"]["score"] == whole.model_extra["rewardkit"]["score"]


def test_sampling_of_the_request_reaches_the_generator_with_its_own_key(client, endpoint):
    client.chat.completions.create(
        model="best-of-2:m",
        messages=QUESTION,
        temperature=0.3,
        top_p=0.5,
        max_completion_tokens=77,
        presence_penalty=0.1,
    )
    wanted = {"temperature": 0.3, "top_p": 0.5, "max_tokens": 77, "presence_penalty": 0.1}
    assert wanted.items() <= endpoint.asked[-1].items()
    assert endpoint.asked[0]["seed"] != endpoint.asked[1]["seed"]
    assert f"Bearer {SECRET}" in endpoint.keys


def test_a_response_cut_short_says_so(client, endpoint):
    endpoint.reply = lambda body: completion("48 / 2 is", finish="length")
    done = client.chat.completions.create(model="best-of-2:m", messages=QUESTION)
    assert done.choices[0].finish_reason == "length"


def test_the_reducer_and_the_reward_model_can_be_named(client):
    def score(options):
        done = client.chat.completions.create(
            model="best-of-1:m", messages=QUESTION, seed=5, extra_body={"search": options}
        )
        return done.model_extra["rewardkit"]["candidates"][0]

    by_sum = score({"reducer": "sum", "reward_model": "tiny-prm"})
    assert by_sum["score"] == pytest.approx(sum(by_sum["step_scores"]))
    with pytest.raises(openai.NotFoundError, match="served: tiny-prm"):
        score({"reward_model": "other"})


@pytest.mark.parametrize(
    ("changes", "status", "message"),
    [
        ({"model": "m"}, 404, "best-of-8:m"),
        ({"model": "best-of-4:other"}, 404, "no search model"),
        ({"model": "beam-4:m"}, 404, "no search model"),
        ({"model": "best-of-4x4:m"}, 404, "no search model"),
        ({"model": "best-of-17:m"}, 400, "asks for 17"),
        ({"model": "beam-8x8:m"}, 400, "asks for 64"),
        ({"model": "best-of-0:m"}, 400, "asks for 0"),
        ({"n": 2}, 400, "n"),
        ({"tools": []}, 400, "tools"),
        ({"search": {"reducer": "max"}}, 400, "no reducer"),
        ({"search": {"reducer": "learned:/etc/passwd.json"}}, 400, "not as a file"),
        ({"messages": [*QUESTION, {"role": "assistant", "content": "48"}]}, 400, "last message"),
    ],
)
def test_what_cannot_be_searched_is_refused(client, endpoint, changes, status, message):
    with pytest.raises(openai.APIStatusError) as caught:
        client.post("/chat/completions", cast_to=object, body={"model": "best-of-2:m", "messages": QUESTION, **changes})
    assert caught.value.status_code == status
    assert message in caught.value.body["message"]
    assert endpoint.asked == []


@pytest.mark.parametrize(
    ("reply", "status", "code"),
    [
        (failure(401, f"wrong key {SECRET}"), 502, "generator_error"),
        (failure(500, f"trouble with {SECRET}"), 502, "generator_error"),
        (failure(400, f"{SECRET} is too long"), 400, "invalid_request"),
        ((200, {}, b"<html>"), 502, "generator_error"),
    ],
)
def test_a_generator_that_fails_is_told_without_its_words(client, endpoint, reply, status, code, caplog):
    endpoint.reply = lambda body: reply
    with caplog.at_level(logging.WARNING, "rewardkit.server"), pytest.raises(openai.APIStatusError) as caught:
        client.chat.completions.create(model="best-of-2:m", messages=QUESTION)
    error = caught.value
    assert (error.status_code, error.body["code"]) == (status, code)
    shown = json.dumps(error.body) + caplog.text
    assert "generator" in error.body["message"] and SECRET not in shown
    assert endpoint.url not in json.dumps(error.body)


def test_one_candidate_lost_does_not_cost_the_others(client, endpoint):
    lock, count = threading.Lock(), iter(range(9))

    def second_fails(body):
        with lock:
            return failure(500, SECRET) if next(count) == 1 else completion(TEXTS[0])

    endpoint.reply = second_fails
    done = client.chat.completions.create(model="best-of-3:m", messages=QUESTION)
    reasons = [c["reason"] for c in done.model_extra["rewardkit"]["candidates"]]
    assert sorted(reasons) == ["", "", "error: the generator gave no answer"]
    assert done.choices[0].message.content == TEXTS[0]


def test_a_generator_that_is_down_is_503_and_too_many_searches_429(serving, client, endpoint):
    endpoint.delay = 1.0
    slow = threading.Thread(target=lambda: client.chat.completions.create(model="best-of-2:m", messages=QUESTION))
    slow.start()
    while not endpoint.asked:
        pass
    with pytest.raises(openai.RateLimitError, match="already"):
        client.chat.completions.create(model="best-of-2:m", messages=QUESTION)
    slow.join()
    down = {"kind": "openai", "model": "m", "endpoint": {"url": "http://127.0.0.1:9/v1", "retries": 0}}
    with (
        Server(serving.folder, backend="transformers", port=0, search={"generator": down}) as server,
        httpx.Client(trust_env=False) as http,
    ):
        answer = http.post(f"{server.url}/chat/completions", json={"model": "best-of-2:m", "messages": QUESTION})
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "generator_unavailable")
    assert answer.headers["retry-after"]


def test_of_several_models_the_named_one_scores(serving, endpoint, tmp_path, monkeypatch):
    from tiny import build_tiny_reward_model

    from rewardkit.server.several import SeveralServers

    endpoint.reply, endpoint.delay = numbered, 0.0
    monkeypatch.setenv("GENERATOR_KEY", SECRET)
    models = {"one": str(serving.folder), "two": str(build_tiny_reward_model(tmp_path / "two", seed=5))}
    search = serving.config.search.model_dump(mode="json")
    scores = {}
    with (
        SeveralServers({"models": models, "backend": "transformers", "port": 0, "search": search}) as server,
        httpx.Client(trust_env=False) as http,
    ):
        for name in (None, "one", "two", "three"):
            options = {"search": {"reward_model": name}} if name else {}
            body = {"model": "best-of-1:m", "messages": QUESTION, "seed": 5, **options}
            answer = http.post(f"{server.url}/chat/completions", json=body)
            scores[name] = answer.json()["rewardkit"]["score"] if answer.status_code == 200 else answer.status_code
    assert scores[None] == scores["one"] != scores["two"] and scores["three"] == 404


def test_a_server_without_a_generator_says_how_to_get_one(serving):
    with (
        Server(serving.folder, backend="transformers", port=0) as server,
        httpx.Client(trust_env=False) as http,
    ):
        answer = http.post(f"{server.url}/chat/completions", json={"model": "best-of-2:m", "messages": QUESTION})
    assert answer.status_code == 404 and "search.generator.model" in answer.json()["error"]["message"]


def test_a_search_takes_no_longer_than_allowed(serving, endpoint):
    search = serving.config.search.model_copy(update={"seconds": 0.2})
    endpoint.reply, endpoint.delay = numbered, 1.0
    config = serving.config.model_copy(update={"search": search, "port": 0})
    with Server(serving.folder, config) as server, httpx.Client(trust_env=False) as http:
        answer = http.post(
            f"{server.url}/chat/completions",
            headers={"Authorization": "Bearer k"},
            json={"model": "best-of-2:m", "messages": QUESTION},
        )
    assert answer.status_code == 504
    endpoint.delay = 0.0


def test_a_model_of_this_process_can_write(tmp_path, tiny_reward_model):
    from tinylm import build_tiny_lm

    generator = {
        "kind": "transformers",
        "model": str(build_tiny_lm(tmp_path / "lm")),
        "max_new_tokens": 8,
        "device": "cpu",
    }
    search = {"generator": generator, "name": "own"}
    with (
        Server(tiny_reward_model, backend="transformers", port=0, search=search) as server,
        httpx.Client(trust_env=False) as http,
    ):
        body = {"model": "best-of-2:own", "messages": QUESTION, "seed": 3}
        first, again = (http.post(f"{server.url}/chat/completions", json=body).json() for _ in range(2))
        warm = http.post(f"{server.url}/chat/completions", json={**body, "temperature": 0.1})
    assert first["choices"][0]["finish_reason"] == "length"
    assert first["choices"] == again["choices"]
    assert warm.status_code == 400 and "fixed" in warm.json()["error"]["message"]


def test_every_strategy_has_a_name():
    config = SearchServing(generator=GeneratorConfig(model="org/gen:v1"))
    assert read_strategy("weighted-3:org/gen:v1", config).n == 3
    assert read_strategy("prm-as-orm-3", config).width == 0
    for name in ("", "best-of-", "x" * 300, "best-of-4:", "best-of-4:org/gen", "best-of-٣"):
        with pytest.raises(ApiError):
            read_strategy(name, config)
