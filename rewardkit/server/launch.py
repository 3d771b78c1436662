"""Start a scoring server, wait until it answers, end it.

with Server("runs/prm/model", port=0, dtype="float32", api_key="secret") as server:
    httpx.post(f"{server.url}/rewards", ...)
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx

from rewardkit.errors import ConfigError, ServerError
from rewardkit.models import model_class
from rewardkit.models.noise import check_noise
from rewardkit.models.spec import RewardModelSpec
from rewardkit.server import tracing
from rewardkit.server.adapters import adapter_flags, adapter_specs
from rewardkit.server.causes import cause_of
from rewardkit.server.config import ServeConfig, serve_config
from rewardkit.server.engine import EngineProcess, check_vllm, vllm_command, vllm_environment
from rewardkit.server.folder import check_checkpoint
from rewardkit.server.kinds import engine_flags
from rewardkit.server.plain import PlainServer
from rewardkit.server.port import Port, free_port
from rewardkit.server.supervisor import Supervisor

_NOTICE_SECONDS = 12
"""What it takes to stop the work of requests that were not done when the drain was over."""
_TEARDOWN_SECONDS = 10
"""What vLLM takes to end its processes when it is idle, with room to spare."""


class Server:
    """A scoring server on this machine, as a context manager.

    Args:
        folder: a model folder with ``reward_model.json``.
        config: what to start; None makes it of `options`.
        log: a file for the engine's output, ``-`` for this process's standard error; None takes a temporary file, which
            stays (and is named in the error) only where something went wrong.
        options: see `serve_config`: ``backend``, ``port``, ``dtype``, ``api_key``, ``profile``, ...

    Raises:
        ConfigError: at once, when the folder cannot be served, the port is taken or vLLM is missing.
        ServerError: on entering, when the engine ends or does not answer in time.
    """

    def __init__(
        self, folder: str | Path, config: ServeConfig | None = None, *, log: str | Path | None = None, **options: Any
    ) -> None:
        self.config = config or serve_config(options)
        self.folder = Path(folder).resolve()
        self.spec = check_folder(folder)
        if self.spec.kind == "implicit" and self.config.dtype == "auto":
            # In bfloat16 rounding moves a log-ratio over a whole response by about as much as it is.
            self.config = self.config.model_copy(update={"dtype": "float32"})
        check_noise(self.spec, self.config.dtype, self.folder)
        tracing.check_installed()
        adapter_specs(self.config.adapters, self.spec)
        if self.config.backend == "vllm":
            check_vllm()
            adapter_flags(self.config.adapters, self.spec.kind)
            engine_flags(self.folder, self.spec)
        self.port = free_port(self.config.host, self.config.port)
        self.name = self.config.name or self.folder.name
        self.log_path = None if log in (None, "-") else Path(str(log))
        self._keep_log = log is not None
        self._answered = False
        self._running: Supervisor | PlainServer | None = None

    @property
    def root(self) -> str:
        """The address without a path: ``http://127.0.0.1:8000``."""
        return address(self.config, self.port)

    @property
    def url(self) -> str:
        """The base URL for clients: ``http://127.0.0.1:8000/v1``."""
        return f"{self.root}/v1"

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start and wait until the model answers.

        Raises:
            ServerError: it ended or did not answer in time; the message has its last error.
        """
        config = self.config.model_copy(update={"port": self.port})
        try:
            if config.backend == "transformers":
                self._running = PlainServer(self.folder, config)
                self._await_ready(self._running, time.monotonic() + config.ready_seconds)
            else:
                self._running = self._supervised(Port(config))
                self._running.keep()
        except BaseException:
            self.stop()
            raise

    def _supervised(self, port: Port) -> Supervisor:
        if not self._keep_log:
            self.log_path = _temporary_log()

        def start(restarts: int) -> EngineProcess:
            command = vllm_command(self.folder, self.config, self.spec)
            environment = vllm_environment(self.config, os.environ, restarts)
            return EngineProcess(command, environment, self.log_path, _ending(self.config), port.socket)

        def await_ready(engine: EngineProcess) -> None:
            deadline = time.monotonic() + self.config.ready_seconds
            if engine.await_accepting(self.config.ready_seconds):
                port.leave()
            self._await_ready(engine, deadline)

        return Supervisor(start, await_ready, port, self.config.restarts)

    def stop(self) -> None:
        """End the server and all its processes. Safe to call twice."""
        running, self._running = self._running, None
        if running is None:
            return
        well = self._answered and running.exit_code is None
        running.stop()
        if well and self.log_path is not None and not self._keep_log:
            self.log_path.unlink(missing_ok=True)

    def wait(self) -> int:
        """Block until the server ends by itself; its exit code."""
        return self._running.wait() if self._running is not None else 0

    def _await_ready(self, running: EngineProcess | PlainServer, deadline: float) -> None:
        # No proxy of the environment stands between this machine and itself.
        # Nor does its certificate tell it anything about itself.
        own = self.config.ssl_certfile is None
        with httpx.Client(base_url=self.root, timeout=10.0, trust_env=False, verify=own) as client:
            while time.monotonic() < deadline:
                if running.exit_code is not None:
                    raise ServerError(f"the engine ended before it was ready{self._why(running)}")
                if _is_ready(client):
                    self._answered = True
                    return
                time.sleep(0.2)
        raise ServerError(f"the engine was not ready within {self.config.ready_seconds:g} s{self._why(running)}")

    def _why(self, running: EngineProcess | PlainServer) -> str:
        """What the engine's log says, and where the whole of it lies."""
        cause = cause_of(running.output(), running.exit_code) if isinstance(running, EngineProcess) else None
        where = f"log: {self.log_path}" if self.log_path else "its log is above"
        return f": {cause} ({where})" if cause else f"; {where}"


def address(config: ServeConfig, port: int) -> str:
    """Where a server listens, as a client on this machine writes it.

    >>> address(ServeConfig(host="::1"), 8000)
    'http://[::1]:8000'
    """
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(config.host, config.host)
    scheme = "http" if config.ssl_certfile is None else "https"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def check_folder(folder: str | Path) -> RewardModelSpec:
    """The spec of a folder that can be served.

    Raises:
        ConfigError: no such folder, no ``reward_model.json`` or not all that its kind needs, or an adapter by itself.
    """
    path = Path(folder)
    spec = RewardModelSpec.load(path)
    model_class(spec.kind).check_spec(spec)
    if not (path / "config.json").is_file():
        if (path / "adapter_config.json").is_file():
            raise ConfigError(
                f"{folder} holds only an adapter, which cannot be served with its head; "
                f"write it into its base first: `rewardkit export {folder} OUT`, and serve OUT"
            )
        raise ConfigError(f"{folder} has no config.json, so it is no Hugging Face checkpoint")
    check_checkpoint(path, spec)
    return spec


def _ending(config: ServeConfig) -> str:
    """Our plugin's signal to answer what is in flight and end; what has not ended then is told by vLLM's own."""
    return f"USR1:{config.drain_seconds + _NOTICE_SECONDS},TERM:{_TEARDOWN_SECONDS}"


def _temporary_log() -> Path:
    number, path = tempfile.mkstemp(prefix="rewardkit-serve-", suffix=".log")
    os.close(number)
    return Path(path)


def _is_ready(client: httpx.Client) -> bool:
    try:
        return client.get("/ready").status_code == 200
    except httpx.TransportError:
        return False
