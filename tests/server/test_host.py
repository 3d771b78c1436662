"""What our routes do inside vLLM's process when its engine dies. The engine is a stand-in that can die."""

from __future__ import annotations

import asyncio
import os
import socket
from types import SimpleNamespace

import pytest
from test_service_limits import BODY, FaultyScorer, client, never

from rewardkit.server.app import create_app
from rewardkit.server.config import ServeConfig
from rewardkit.server.engine import vllm_environment
from rewardkit.server.host import ENGINE_DEATH, Host, HostSettings, Inherited
from rewardkit.server.traffic import Traffic


def run(*, draining: bool):
    """The answer of a request that was in flight when the engine died, and how the process was left."""

    async def work():
        scorer, engine, left = FaultyScorer(never), SimpleNamespace(errored=False), []
        app = create_app(scorer)
        async with client(app) as http:
            taken = asyncio.create_task(http.post("/v1/rewards", json=BODY))
            await scorer.running.wait()
            app.state.rewardkit_traffic.draining = draining
            watching = asyncio.create_task(Host(engine, app.state, HostSettings(), left.append).watch())
            engine.errored = True
            await watching
            ready, late = await http.get("/ready"), await http.post("/v1/rewards", json=BODY)
            assert late.status_code == 503 and late.headers["retry-after"] == ("30" if draining else "10")
            taken.cancel() if draining else await taken
            return None if draining else taken.result(), ready, left

    return asyncio.run(work())


def test_when_the_engine_dies_what_is_in_flight_gets_503_and_the_process_ends():
    answer, ready, left = run(draining=False)
    assert answer.status_code == 503 and answer.headers["retry-after"] == "10"
    assert ready.status_code == 503 and left == [ENGINE_DEATH]


def test_an_engine_that_ends_while_the_server_drains_is_no_death():
    assert run(draining=True)[2] == []


def test_a_server_that_cannot_accept_on_the_port_ends():
    left = []
    state = SimpleNamespace(rewardkit_traffic=Traffic(), server=SimpleNamespace(started=True, config=None))
    host = Host(SimpleNamespace(errored=False), state, HostSettings(), left.append)
    unknown = os.open(os.devnull, os.O_RDONLY)
    os.close(unknown)
    asyncio.run(host.accept(Inherited(unknown, unknown)))
    assert left == [ENGINE_DEATH]


def test_once_it_has_drained_nobody_listens_even_where_forks_have_the_socket(monkeypatch):
    monkeypatch.setattr("rewardkit.server.host.os.kill", lambda *_: None)
    server = SimpleNamespace(servers=[], server_state=SimpleNamespace(connections=set()))
    host = Host(
        SimpleNamespace(errored=False), SimpleNamespace(rewardkit_traffic=Traffic(), server=server), HostSettings()
    )
    with socket.socket() as forked:
        forked.bind(("127.0.0.1", 0))
        forked.listen()
        host._listener = forked.dup()
        asyncio.run(host.drain())
        host._listener.close()
        with socket.socket() as client_socket, pytest.raises(ConnectionRefusedError):
            client_socket.connect(forked.getsockname())


def test_the_server_learns_its_limits_and_how_often_it_was_started():
    config = ServeConfig(max_pending=7, max_requests=8, max_seconds=9.0, drain_seconds=3.0, logs="text")
    settings = HostSettings.read(vllm_environment(config, {}, restarts=2))
    assert settings == HostSettings(config.limits, 3.0, "text", 2)
    assert (settings.limits.pending, settings.limits.requests, settings.limits.seconds) == (7, 8, 9.0)


def test_json_logs_are_vllms_own_too_unless_the_user_has_others():
    assert vllm_environment(ServeConfig(), {})["VLLM_LOGGING_CONFIG_PATH"].endswith("vllm/logging.json")
    assert "VLLM_LOGGING_CONFIG_PATH" not in vllm_environment(ServeConfig(logs="text"), {})
    mine = vllm_environment(ServeConfig(), {"VLLM_LOGGING_CONFIG_PATH": "/mine"})
    assert mine["VLLM_LOGGING_CONFIG_PATH"] == "/mine"
