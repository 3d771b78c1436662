"""Embeddings for EVOL-RL: the model-free ones, and both kinds of service by their recorded formats."""

from __future__ import annotations

import json
import subprocess
import sys

import httpx
import numpy as np
import pytest

from rewardkit.errors import ServerError
from rewardkit.rewards import Group, load_reward
from rewardkit.rewards.embed import endpoint_embedder, hashed_ngrams

TEXTS = ["so 24 / 2 = 12\n#### 12", "so 24 / 2 = 12\n#### 12 ", "Twelve, as half of two dozen is a dozen.\n#### 12"]


def test_the_differently_worded_response_is_the_novel_one():
    result = load_reward("evol_rl", embed=hashed_ngrams)(Group.create("p", TEXTS))
    assert result.rewards == (0.5, 0.5, 1.0)


def test_hashes_are_the_same_in_another_process():
    code = "from rewardkit.rewards.embed import *; row = hashed_ngrams(['so 12'])[0]; print(row.index(max(row)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    row = hashed_ngrams(["so 12"])[0]
    assert int(done.stdout) == row.index(max(row))


def test_every_text_has_a_unit_vector():
    assert np.linalg.norm(hashed_ngrams(["", "a", "é" * 10, "\ud800"]), axis=1) == pytest.approx(1.0)


def service(answer, seen):
    def handle(request):
        seen.append((request.url.path, json.loads(request.content)))
        return answer(json.loads(request.content))

    return httpx.MockTransport(handle)


def test_an_openai_endpoint_in_batches():
    seen = []
    transport = service(
        lambda body: httpx.Response(200, json={"data": [{"embedding": [float(len(t))]} for t in body["input"]]}), seen
    )
    embed = endpoint_embedder("http://e/v1", model="m", batch=2, transport=transport)
    assert embed(["a", "bb", "ccc"]) == [[1.0], [2.0], [3.0]]
    assert [path for path, _ in seen] == ["/v1/embeddings"] * 2
    assert seen[0][1] == {"model": "m", "input": ["a", "bb"]}


def test_the_service_of_the_authors():
    seen = []
    transport = service(lambda body: httpx.Response(200, json={"embeddings": [[1.0]] * len(body["texts"])}), seen)
    assert endpoint_embedder("http://e:2341/embed", transport=transport)(["a"]) == [[1.0]]
    assert seen == [("/embed", {"texts": ["a"]})]


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(503),
        httpx.Response(200, json={}),
        httpx.Response(200, json={"data": []}),
        httpx.Response(200, text="x"),
    ],
)
def test_a_bad_answer_is_an_error_that_costs_the_novelty_alone(answer):
    embed = endpoint_embedder("http://e/v1", transport=service(lambda body: answer, []))
    with pytest.raises(ServerError, match="embeddings"):
        embed(["a"])
    result = load_reward("evol_rl", embed=embed)(Group.create("p", TEXTS))
    assert result.rewards == (0.75,) * 3
    assert result.stats["embedding_failed"] == 3.0
