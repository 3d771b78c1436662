"""The port of an engine that dies and comes back. The engine is a stand-in: a process with uvicorn, without vLLM."""

from __future__ import annotations

import os
import socket
import ssl
import sys
import threading
from collections import Counter

import httpx
import psutil
import pytest

from rewardkit.errors import ConfigError, ServerError
from rewardkit.server.config import ServeConfig
from rewardkit.server.engine import EngineProcess
from rewardkit.server.errors import ApiError
from rewardkit.server.port import Port, free_port
from rewardkit.server.supervisor import Supervisor

ENGINE = """
import asyncio, os, sys
import uvicorn
from rewardkit.server.host import Inherited

gate, *files = sys.argv[1:]
open(gate).close()  # loading: until the test opens it too

async def app(scope, receive, send):
    if scope["path"] == "/die":
        os.kill(os.getpid(), 9)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"6")]})
    await send({"type": "http.response.body", "body": b"engine"})

async def main():
    options = dict(zip(("ssl_certfile", "ssl_keyfile"), files))
    server = uvicorn.Server(uvicorn.Config(app, port=0, lifespan="off", log_level="error", **options))
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    await Inherited.read(os.environ).serve(server)
    await serving

asyncio.run(main())
"""


class Service:
    """A supervised stand-in behind a port; it loads for as long as `let_it_start` is not called."""

    def __init__(self, tmp_path, *files, restarts=3, key="k"):
        self.gate, self.log = tmp_path / "gate", tmp_path / "log"
        os.mkfifo(self.gate)
        self.files = files
        certificate, key_file = files or (None, None)
        port = free_port("127.0.0.1", 0)
        config = ServeConfig(port=port, api_key=key, ssl_certfile=certificate, ssl_keyfile=key_file)
        self.root = f"http{'s' if files else ''}://127.0.0.1:{port}"
        self.port = Port(config)
        self.returned = threading.Semaphore(0)
        self.supervisor = Supervisor(self.start, self.await_ready, self.port, restarts, first_pause=0.01)
        self.verify = ssl.create_default_context(cafile=str(certificate)) if files else False

    def start(self, count):
        command = [sys.executable, "-c", ENGINE, str(self.gate), *map(str, self.files)]
        return EngineProcess(command, dict(os.environ), self.log, "TERM:5", self.port.socket)

    def await_ready(self, engine):
        if not engine.await_accepting(60):
            raise ServerError("it ended")
        self.port.leave()
        self.returned.release()

    def let_it_start(self):
        with self.gate.open("w"):  # blocks until the engine reads there
            pass

    def get(self, path, key="k"):
        headers = {"Authorization": f"Bearer {key}"}
        return httpx.get(self.root + path, headers=headers, verify=self.verify, trust_env=False, timeout=60)


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
def test_no_connection_is_refused_while_an_engine_loads_dies_and_comes_back(tmp_path, tls, request):
    service = Service(tmp_path, *(request.getfixturevalue("certificate") if tls else ()))
    try:
        loading = service.get("/v1/rewards")
        assert (loading.status_code, loading.headers["retry-after"]) == (503, "2")
        starting = threading.Thread(target=service.supervisor.keep)
        starting.start()
        service.let_it_start()
        starting.join()
        assert service.get("/v1/rewards").text == "engine"
        (engine,) = psutil.Process(service.supervisor.process._reaper.pid).children()
        listening = {c.laddr.port for c in engine.net_connections() if c.status == psutil.CONN_LISTEN}
        assert listening == {service.port.socket.getsockname()[1]}, "at no address of its own"

        outcomes, ended = Counter(), threading.Event()

        def knock():
            while not ended.is_set():
                try:
                    outcomes[service.get("/v1/rewards").status_code] += 1
                except httpx.TransportError as error:
                    outcomes["refused" if "refused" in str(error) else "cut"] += 1

        knocking = [threading.Thread(target=knock) for _ in range(2)]
        for thread in knocking:
            thread.start()
        with pytest.raises(httpx.TransportError):
            service.get("/die")
        away = service.get("/v1/rewards")
        service.let_it_start()
        service.returned.acquire(), service.returned.acquire()
        back = service.get("/v1/rewards")
        ended.set()
        for thread in knocking:
            thread.join()
    finally:
        service.supervisor.stop()
    assert (away.status_code, away.headers["retry-after"], away.headers["connection"]) == (503, "10", "close")
    assert away.json()["error"]["message"] == "the engine has stopped; it is started again"
    assert back.text == "engine"
    assert min(outcomes[200], outcomes[503]) > 0 and outcomes["refused"] == 0
    assert outcomes["cut"] <= len(knocking), "what was in flight dies with the engine, and no more"
    with pytest.raises(httpx.ConnectError):
        service.get("/health")


def test_while_there_is_no_engine_the_service_is_alive_and_not_ready_and_asks_for_the_key(tmp_path):
    port = Port(ServeConfig(port=free_port("127.0.0.1", 0), api_key="k"))
    port.answer(ApiError(503, "away", retry_after=3))
    root = f"http://127.0.0.1:{port.socket.getsockname()[1]}"
    with httpx.Client(base_url=root, trust_env=False, timeout=60) as http:
        health, ready, anonymous = http.get("/health"), http.get("/ready"), http.post("/v1/rewards", json={})
        long = http.post("/v1/rewards", content=b"x" * 3_000_000, headers={"Authorization": "Bearer k"})
        port.close()
        with pytest.raises(httpx.ConnectError):
            http.get("/health")
    assert (health.status_code, ready.status_code, anonymous.status_code) == (200, 503, 401)
    assert long.status_code == 503 and long.json()["error"].keys() == {"message", "type", "param", "code"}
    assert long.headers["x-request-id"] and long.headers["x-content-type-options"] == "nosniff"


def test_when_the_engine_is_started_no_more_the_port_is_free(tmp_path):
    service = Service(tmp_path, restarts=0)
    starting = threading.Thread(target=service.supervisor.keep)
    starting.start()
    service.let_it_start()
    starting.join()
    with pytest.raises(httpx.TransportError):
        service.get("/die")
    assert service.supervisor.wait() == 128 + 9
    with pytest.raises(httpx.ConnectError):
        service.get("/health")


def test_a_port_that_is_left_at_once_still_listens(tmp_path):
    port = Port(ServeConfig(port=free_port("127.0.0.1", 0)))
    for _ in range(5):
        port.answer(ApiError(503, "away"))
        port.leave()
    with socket.create_connection(port.socket.getsockname(), timeout=60):
        pass
    port.close()


def test_a_closed_port_is_answered_no_more(tmp_path):
    port = Port(ServeConfig(port=free_port("127.0.0.1", 0)))
    port.close()
    port.answer(ApiError(503, "away"))
    assert port._front is None
    port.close()


def test_a_port_in_use_is_one_clear_line():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"cannot listen on 127\.0\.0\.1:{number} .*give another port="):
            Port(ServeConfig(port=number))
