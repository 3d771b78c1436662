"""A process that ends by itself is started again, a bounded number of times. Real processes."""

from __future__ import annotations

import json
import logging
import os
import signal
import threading

import psutil
import pytest

from rewardkit.errors import ServerError
from rewardkit.server.config import ServeConfig
from rewardkit.server.engine import EngineProcess
from rewardkit.server.port import Port, free_port
from rewardkit.server.supervisor import Supervisor


class Family:
    """Starts the commands given, one after the other, the last for ever."""

    def __init__(self, tmp_path, *scripts):
        self.log = tmp_path / "log"
        self.scripts = scripts
        self.started = []
        self.ready = threading.Semaphore(0)

    def start(self, count):
        self.started.append(count)
        script = self.scripts[min(count, len(self.scripts) - 1)]
        return EngineProcess(["sh", "-c", script], dict(os.environ), self.log, steps="TERM:5")

    def await_ready(self, process):
        self.ready.release()

    def supervisor(self, restarts):
        return Supervisor(self.start, self.await_ready, fresh_port(), restarts, first_pause=0.01)


def fresh_port():
    return Port(ServeConfig(port=free_port("127.0.0.1", 0)))


def test_an_engine_that_ends_is_started_again_and_stop_ends_the_new_one(tmp_path):
    pid = tmp_path / "pid"
    os.mkfifo(pid)
    family = Family(tmp_path, "kill -9 $$", f"echo $$ > {pid}; exec sleep 1000")
    supervisor = family.supervisor(3)
    supervisor.keep()
    engine = psutil.Process(int(pid.read_text()))  # blocks until it is written
    assert family.ready.acquire(timeout=30) and family.ready.acquire(timeout=30)
    assert supervisor.exit_code is None and supervisor.restarts == 1
    supervisor.stop()
    assert not engine.is_running() and family.started == [0, 1]


def test_restarts_are_bounded_and_the_last_exit_code_is_told(tmp_path, caplog):
    family = Family(tmp_path, "exit 7")
    supervisor = family.supervisor(2)
    with caplog.at_level(logging.ERROR, "rewardkit.server"):
        supervisor.keep()
        assert supervisor.wait() == 7
    assert family.started == [0, 1, 2] and supervisor.exit_code == 7
    pauses = [r.fields["pause"] for r in caplog.records if "pause" in r.fields]
    assert pauses == [0.01, 0.02]


def test_without_restarts_the_first_end_is_the_last(tmp_path):
    family = Family(tmp_path, "exit 7")
    supervisor = family.supervisor(0)
    supervisor.keep()
    assert (supervisor.wait(), family.started) == (7, [0])


def test_one_that_does_not_become_ready_again_is_ended_and_counts(tmp_path):
    family = Family(tmp_path, "exit 7", "exec sleep 1000")

    def once(process):
        if len(family.started) > 1:
            raise ServerError("not ready in time")

    supervisor = Supervisor(family.start, once, fresh_port(), 2, first_pause=0.01)
    supervisor.keep()
    assert supervisor.wait() == 128 + signal.SIGTERM
    assert family.started == [0, 1, 2]


@pytest.mark.slow
def test_a_killed_engine_gives_503_at_once_and_comes_back(tiny_reward_model, tmp_path):
    """The engine's own process, behind vLLM's API server, gets SIGKILL while it works."""
    from concurrent.futures import ThreadPoolExecutor

    import httpx

    from rewardkit.server.launch import Server

    items = [{"prompt": f"{i} " + "word " * 60, "steps": ["step " * 10] * 3} for i in range(1000)]
    log = tmp_path / "log"
    with (
        Server(tiny_reward_model, profile="cpu", port=0, log=log) as server,
        httpx.Client(base_url=server.root, trust_env=False, timeout=120) as client,
        ThreadPoolExecutor(1) as pool,
    ):
        before = psutil.Process(server._running.process._reaper.pid).children(recursive=True)
        answer = pool.submit(client.post, "/v1/rewards", json={"input": items})
        while "rewardkit_pending_responses 1000.0" not in client.get("/metrics").text:
            assert not answer.done(), "answered before it could be interrupted"
        (engine,) = [p for p in before if "EngineCore" in p.name() or "EngineCore" in " ".join(p.cmdline())]
        engine.kill()
        response = answer.result()
        assert response.status_code == 503 and response.headers["retry-after"] == "10"
        assert response.json()["error"]["type"] == "server_error"
        away = client.post("/v1/rewards", json={"input": items[:2]})
        assert away.status_code == 503 and away.headers["retry-after"] == "10"
        psutil.wait_procs(before, timeout=60)
        assert client.get("/health").status_code == 200, "alive, while its engine comes back"
        while client.get("/ready").status_code != 200:
            assert server._running.exit_code is None
        again = client.post("/v1/rewards", json={"input": items[:2]})
        assert again.status_code == 200 and len(again.json()["data"]) == 2
        assert "rewardkit_engine_restarts 1.0" in client.get("/metrics").text
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    assert any(line["message"] == "the engine has died" for line in lines)
