"""What the service does when the backend is busy, slow, wrong or gone. The backend is a stand-in for its faults."""

import asyncio
import json

import httpx
import numpy as np
import pytest
from tiny import build_tiny_tokenizer

from rewardkit.models.spec import RewardModelSpec
from rewardkit.server.app import create_app
from rewardkit.server.scorer import StepLogits
from rewardkit.server.traffic import Limits

BODY = {"input": [{"prompt": "1+1?", "steps": ["1+1=2", "#### 2"]}]}


class FaultyScorer:
    """Gives what `answer` gives; everything else is as in a real backend."""

    spec = RewardModelSpec(kind="token", separator_id=5)
    names = ("prm",)
    max_length = 512
    backend = "stand-in"
    dtype = "float32"

    def __init__(self, answer):
        self.tokenizer = build_tiny_tokenizer()
        self.answer = answer
        self.running = asyncio.Event()
        self.cancelled = False

    async def logits(self, batch):
        self.running.set()
        try:
            return await self.answer(batch)
        except asyncio.CancelledError:
            self.cancelled = True
            raise

    async def ready(self) -> bool:
        return False


async def never(batch):
    await asyncio.Event().wait()


async def zeros(batch):
    return [StepLogits(np.zeros((len(item.positions), 1))) for item in batch]


def client(app) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app, raise_app_exceptions=False), base_url="http://x")


def test_a_full_queue_is_429_with_retry_after():
    async def run():
        scorer = FaultyScorer(never)
        app = create_app(scorer, limits=Limits(pending=1))
        async with client(app) as http:
            first = asyncio.create_task(http.post("/v1/rewards", json=BODY))
            await scorer.running.wait()
            second = await http.post("/v1/rewards", json=BODY)
            first.cancel()
            return second

    response = asyncio.run(run())
    assert response.status_code == 429 and response.headers["retry-after"] == "2"
    assert response.json()["error"]["type"] == "rate_limit_error"


def test_a_slow_backend_is_504_and_its_work_is_stopped_and_the_queue_is_free_again():
    async def run():
        scorer = FaultyScorer(never)
        app = create_app(scorer, limits=Limits(pending=1, seconds=0.05))
        async with client(app) as http:
            first = await http.post("/v1/rewards", json=BODY)
            scorer.answer = zeros
            return scorer, first, await http.post("/v1/rewards", json=BODY)

    scorer, first, second = asyncio.run(run())
    assert first.status_code == 504 and first.json()["error"]["code"] == "timeout"
    assert scorer.cancelled or not scorer.running.is_set(), "the work went on"
    assert second.status_code == 200


def test_a_client_that_leaves_stops_the_work():
    async def run():
        scorer = FaultyScorer(never)
        app = create_app(scorer)
        messages = [{"type": "http.request", "body": json.dumps(BODY).encode(), "more_body": False}]

        async def receive():
            if messages:
                return messages.pop()
            await scorer.running.wait()
            return {"type": "http.disconnect"}

        async def send(message):
            pass

        headers = [(b"content-type", b"application/json")]
        scope = {"type": "http", "method": "POST", "path": "/v1/rewards", "headers": headers, "query_string": b""}
        await asyncio.wait_for(app(scope, receive, send), 10)
        await asyncio.sleep(0)
        return scorer.cancelled

    assert asyncio.run(run())


async def one_too_few(batch):
    return [StepLogits(np.zeros((1, 1))) for _ in batch]


async def not_numbers(batch):
    return [StepLogits(np.full((2, 1), np.nan)) for _ in batch]


async def fault(batch):
    raise KeyError("secret inner detail")


@pytest.mark.parametrize("answer", [one_too_few, not_numbers, fault])
def test_a_wrong_backend_is_500_and_never_a_made_up_score(answer):
    async def run():
        async with client(create_app(FaultyScorer(answer))) as http:
            return await http.post("/v1/rewards", json=BODY)

    response = asyncio.run(run())
    assert response.status_code == 500 and response.json()["error"]["type"] == "server_error"
    assert "secret" not in response.text


def test_ready_is_503_while_the_backend_is_not():
    async def run():
        async with client(create_app(FaultyScorer(zeros))) as http:
            return await http.get("/ready"), await http.get("/health")

    ready, health = asyncio.run(run())
    assert (ready.status_code, health.status_code) == (503, 200)
