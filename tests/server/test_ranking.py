"""/v1/score, /v1/rerank and OpenRLHF's /get_reward over the plain app: the scores are those of /v1/rewards."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest

from rewardkit.server.app import create_app, load_scorer

QUESTION = "How many clips did she sell altogether?"
RESPONSES = ["48 / 2 = 24\n\n48 + 24 = 72", "48 / 2 = 16", "She sold many.\n\n#### 7"]


@pytest.fixture(scope="module")
def scorer(tiny_reward_model):
    return load_scorer(tiny_reward_model, name="prm")


def post(app, path, body, times=1):
    async def run():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as http:
            return await asyncio.gather(*(http.post(path, json=body) for _ in range(times)))

    answers = asyncio.run(run())
    return answers[0] if times == 1 else answers


@pytest.fixture(scope="module")
def app(scorer):
    return create_app(scorer)


@pytest.fixture(scope="module")
def expected(app):
    answer = post(app, "/v1/rewards", {"input": [{"prompt": QUESTION, "response": r} for r in RESPONSES]})
    return [d["score"] for d in answer.json()["data"]]


@pytest.mark.parametrize(
    "body",
    [
        {"queries": QUESTION, "documents": RESPONSES},
        {"text_1": [QUESTION] * 3, "text_2": RESPONSES},
        {"queries": [QUESTION], "items": RESPONSES},
    ],
)
def test_scores_are_those_of_v1_rewards(app, expected, body):
    answer = post(app, "/v1/score", body).json()
    assert [d["score"] for d in answer["data"]] == pytest.approx(expected, abs=1e-6)
    assert answer["usage"]["total_tokens"] > 0 and answer["data"][2]["object"] == "score"


def test_rerank_gives_the_best_first_with_their_places(app, expected):
    body = {"query": QUESTION, "documents": RESPONSES, "top_n": 2, "return_documents": True}
    results = post(app, "/v1/rerank", body).json()["results"]
    order = sorted(range(3), key=lambda i: -expected[i])[:2]
    assert [r["index"] for r in results] == order
    assert results[0]["document"]["text"] == RESPONSES[order[0]]


def test_lists_of_different_lengths_are_refused(app):
    error = post(app, "/v1/score", {"queries": ["a", "b"], "documents": ["x"]})
    assert error.status_code == 400 and "2 queries" in error.json()["error"]["message"]


def test_openrlhf_gets_the_served_models_score_without_closing_tokens(app, expected):
    body = {"query": [QUESTION + RESPONSES[0] + "<|im_end|></s>"], "prompts": [QUESTION], "labels": ["72"]}
    answer = post(app, "/get_reward", body).json()
    assert answer["rewards"] == answer["scores"] == pytest.approx(expected[:1], abs=1e-6)


@pytest.mark.parametrize(
    "body",
    [
        {"query": ["a", "b"], "prompts": ["a"]},
        {"query": ["\ud800"], "prompts": [""]},
        {"query": ["a"], "prompts": ["a"]},
    ],
)
def test_what_cannot_be_scored_gets_an_error_and_no_reward(app, body):

    async def run():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as http:
            return await http.post(
                "/get_reward", content=json.dumps(body), headers={"content-type": "application/json"}
            )

    answer = asyncio.run(run())
    assert answer.status_code == 400 and answer.json()["error"]["message"]


def test_with_samples_told_openrlhf_gets_the_reward_of_the_group(scorer, monkeypatch):
    monkeypatch.setenv("REWARDKIT_SAMPLES", "2")
    body = {"query": ["1+1? #### 2</s>"], "prompts": ["1+1? "]}
    answers = post(create_app(scorer), "/get_reward", body, times=2)
    assert [a.json()["rewards"] for a in answers] == [[1.0], [1.0]]
