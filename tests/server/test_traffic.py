"""Requests in flight: how many, how long, how they end with the server. The backend is a stand-in for its faults."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from test_service_limits import BODY, FaultyScorer, client, never, zeros

from rewardkit.server.app import create_app
from rewardkit.server.config import ServeConfig
from rewardkit.server.errors import ApiError
from rewardkit.server.plain import AppServer
from rewardkit.server.port import free_port
from rewardkit.server.traffic import Limits


def gated() -> tuple[FaultyScorer, asyncio.Event]:
    """A backend that answers when the event is set."""
    release = asyncio.Event()

    async def when_released(batch):
        await release.wait()
        return await zeros(batch)

    return FaultyScorer(when_released), release


def test_a_draining_server_answers_what_it_took_and_takes_no_more():
    async def run():
        scorer, release = gated()
        app = create_app(scorer)
        async with client(app) as http:
            taken = asyncio.create_task(http.post("/v1/rewards", json=BODY))
            await scorer.running.wait()
            drained = asyncio.create_task(app.state.rewardkit_traffic.drain(30))
            await asyncio.sleep(0)
            refused, alive = await http.post("/v1/rewards", json=BODY), await http.get("/health")
            early = drained.done()
            release.set()
            await drained
            return await taken, refused, alive, early

    taken, refused, alive, early = asyncio.run(run())
    assert taken.status_code == 200 and not early
    assert refused.status_code == 503 and refused.headers["retry-after"] == "30"
    assert alive.status_code == 200
    assert taken.headers["connection"] == refused.headers["connection"] == "close"


def test_a_drain_that_lasts_too_long_answers_503_and_stops_the_work():
    async def run():
        scorer = FaultyScorer(never)
        app = create_app(scorer)
        async with client(app) as http:
            taken = asyncio.create_task(http.post("/v1/rewards", json=BODY))
            await scorer.running.wait()
            await app.state.rewardkit_traffic.drain(0.01)
            return scorer, await taken

    scorer, taken = asyncio.run(run())
    assert taken.status_code == 503 and taken.json()["error"]["type"] == "server_error" and scorer.cancelled


def test_ready_turns_red_when_the_server_drains():
    class Ready(FaultyScorer):
        async def ready(self) -> bool:
            return True

    async def run():
        app = create_app(Ready(zeros))
        async with client(app) as http:
            before = await http.get("/ready")
            await app.state.rewardkit_traffic.drain(1)
            return before, await http.get("/ready")

    before, after = asyncio.run(run())
    assert (before.status_code, after.status_code) == (200, 503)


def test_what_is_in_flight_gets_the_error_at_once_when_it_is_abandoned():
    async def run():
        scorer = FaultyScorer(never)
        app = create_app(scorer)
        async with client(app) as http:
            taken = [asyncio.create_task(http.post("/v1/rewards", json=BODY)) for _ in range(3)]
            await scorer.running.wait()
            await app.state.rewardkit_traffic.abandon(ApiError(503, "the engine has stopped", retry_after=10))
            return [await t for t in taken], app.state.rewardkit_traffic.in_flight

    answers, left = asyncio.run(run())
    assert [(a.status_code, a.headers["retry-after"]) for a in answers] == [(503, "10")] * 3
    assert left == 0


@pytest.mark.parametrize("path", ["/v1/rewards", "/get_reward"])
def test_the_clients_deadline_is_kept_on_every_route_and_the_work_is_stopped(path):
    async def run():
        scorer = FaultyScorer(never)
        body = BODY if path == "/v1/rewards" else {"query": ["1+1? 2"], "prompts": ["1+1? "]}
        async with client(create_app(scorer)) as http:
            return scorer, await http.post(path, json=body, headers={"X-Request-Timeout": "0.05"})

    scorer, late = asyncio.run(run())
    assert late.status_code == 504 and late.json()["error"]["code"] == "timeout"
    assert scorer.cancelled or not scorer.running.is_set(), "the work went on"
    assert "within 0.05 s" in late.json()["error"]["message"]


@pytest.mark.parametrize("given", ["soon", "0", "-1", "nan", ""])
def test_a_deadline_that_is_no_time_is_400(given):
    async def run():
        async with client(create_app(FaultyScorer(zeros))) as http:
            return await http.post("/v1/rewards", json=BODY, headers={"X-Request-Timeout": given})

    refused = asyncio.run(run())
    assert refused.status_code == 400 and refused.json()["error"]["param"] == "X-Request-Timeout"


def test_too_many_requests_at_once_are_429_and_health_is_told_even_then():
    async def run():
        scorer = FaultyScorer(never)
        async with client(create_app(scorer, limits=Limits(requests=1))) as http:
            first = asyncio.create_task(http.post("/v1/rewards", json=BODY))
            await scorer.running.wait()
            second, alive = await http.get("/v1/models"), await http.get("/health")
            first.cancel()
            return second, alive

    second, alive = asyncio.run(run())
    assert second.status_code == 429 and second.headers["retry-after"] == "1" and alive.status_code == 200


def test_a_request_that_could_never_fit_is_400_and_not_429():
    async def run():
        async with client(create_app(FaultyScorer(zeros), limits=Limits(pending=1))) as http:
            return await http.post("/v1/rewards", json={"input": BODY["input"] * 2})

    assert asyncio.run(run()).status_code == 400


def test_a_server_that_is_stopped_answers_what_is_in_flight_and_then_listens_no_more():
    started, release = threading.Event(), threading.Event()

    async def when_released(batch):
        started.set()
        await asyncio.to_thread(release.wait)
        return await zeros(batch)

    app, config = create_app(FaultyScorer(when_released)), ServeConfig(port=free_port("127.0.0.1", 0))
    root = f"http://127.0.0.1:{config.port}"
    server = AppServer(app, app.state.rewardkit_traffic, config)
    with httpx.Client(base_url=root, trust_env=False, timeout=60) as http, ThreadPoolExecutor(2) as pool:
        while not server._server.started:
            pass
        sent = pool.submit(http.post, "/v1/rewards", json=BODY)
        assert started.wait(60)
        stopped = pool.submit(server.stop)
        while http.get("/ready").status_code != 503 or not app.state.rewardkit_traffic.draining:
            pass
        release.set()
        assert sent.result().status_code == 200
        stopped.result()
        with pytest.raises(httpx.ConnectError):
            http.get("/health")
