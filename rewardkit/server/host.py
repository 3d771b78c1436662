"""The life of our routes inside vLLM's API server: what it was started with, where it listens, how it drains, what it
does when the engine dies.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from rewardkit.server import metrics, tracing
from rewardkit.server.errors import ApiError
from rewardkit.server.logs import LogFormat
from rewardkit.server.reaper import FDS_VARIABLE
from rewardkit.server.traffic import Limits, Traffic, hang_up

if TYPE_CHECKING:
    import uvicorn
    from starlette.datastructures import State

SETTINGS_VARIABLE = "REWARDKIT_HOST"
DRAIN_SIGNAL = signal.SIGUSR1
ENGINE_DEATH = 70
"""The exit code of a server whose engine has died."""
AGAIN = ApiError(503, "the engine has stopped; it is started again", retry_after=10)
_WATCH_SECONDS = 0.1
_LISTEN_SECONDS = 0.02

_log = logging.getLogger("rewardkit.server")


class _Engine(Protocol):
    @property
    def errored(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class HostSettings:
    """What `rewardkit serve` tells the server that it starts, in one environment variable.

    Attributes:
        limits: see `Limits`.
        drain_seconds: how long requests in flight may take when it is told to end.
        logs: the form of log lines.
        restarts: how often the engine was started again before this time.
    """

    limits: Limits = field(default_factory=Limits)
    drain_seconds: float = 15.0
    logs: LogFormat = "json"
    restarts: int = 0

    def text(self) -> str:
        """For the variable.

        >>> HostSettings.read({SETTINGS_VARIABLE: HostSettings(restarts=2).text()}).restarts
        2
        """
        return json.dumps(asdict(self))

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> HostSettings:
        """From the variable; the defaults where vLLM was started without `rewardkit serve`."""
        given: dict[str, Any] = json.loads(environment.get(SETTINGS_VARIABLE) or "{}")
        return cls(**{**given, "limits": Limits(**given.get("limits", {}))})


@dataclass(frozen=True, slots=True)
class Inherited:
    """What an engine has of the port that it serves, see `rewardkit.server.port`.

    Attributes:
        listening: the file descriptor of the listening socket.
        told: of the pipe that tells the other side that it accepts.
    """

    listening: int
    told: int

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Inherited | None:
        """From the variable; None where vLLM was started without `rewardkit serve`.

        >>> Inherited.read({FDS_VARIABLE: "7,9"})
        Inherited(listening=7, told=9)
        """
        given = environment.get(FDS_VARIABLE)
        return cls(*(int(number) for number in given.split(","))) if given else None

    async def serve(self, server: uvicorn.Server) -> socket.socket:
        """Let a server that has started accept here, as uvicorn would itself, and nowhere else; then say so.

        Returns:
            The listening socket.
        """
        config = server.config

        def protocol() -> asyncio.Protocol:
            made: asyncio.Protocol = config.http_protocol_class(  # type: ignore[call-arg]
                config=config, server_state=server.server_state, app_state=server.lifespan.state
            )
            return made

        listener = socket.socket(fileno=self.listening)
        listener.set_inheritable(False)
        loop = asyncio.get_running_loop()
        accepting = await loop.create_server(protocol, sock=listener, ssl=config.ssl, backlog=config.backlog)
        for own in server.servers:
            own.close()
        server.servers[:] = [accepting]
        os.write(self.told, b"1")
        os.close(self.told)
        return listener


class Host:
    """Accepts on the port of `rewardkit serve`, drains on `DRAIN_SIGNAL`, and leaves when the engine has died.

    Args:
        engine: vLLM's ``EngineClient``.
        state: of the app; its ``server`` is set once it listens.
        settings: see `HostSettings`.
        leave: ends the process at once; a test gives its own.
    """

    def __init__(
        self,
        engine: _Engine,
        state: State,
        settings: HostSettings,
        leave: Callable[[int], None] = os._exit,
    ) -> None:
        self.engine = engine
        self.state = state
        self.traffic: Traffic = state.rewardkit_traffic
        self.settings = settings
        self._leave = leave
        self._tasks: set[asyncio.Task[None]] = set()
        self._listener: socket.socket | None = None

    def start(self) -> None:
        """Begin all three, in the running loop."""
        metrics.RESTARTS.set(self.settings.restarts)
        asyncio.get_running_loop().add_signal_handler(DRAIN_SIGNAL, lambda: self._run(self.drain()))
        self._run(self.watch())
        inherited = Inherited.read(os.environ)
        if inherited is not None:
            self._run(self.accept(inherited))

    async def accept(self, inherited: Inherited) -> None:
        """Once vLLM has started, accept on the port of `rewardkit serve`, not on its own; leave where that fails."""
        while not getattr(getattr(self.state, "server", None), "started", False):
            await asyncio.sleep(_LISTEN_SECONDS)
        try:
            self._listener = await inherited.serve(self.state.server)
        except Exception:
            _log.exception("cannot accept connections")
            self._leave(ENGINE_DEATH)

    async def drain(self) -> None:
        """Answer what is in flight, then end the server by SIGTERM.

        vLLM's own SIGTERM takes the engine away first: what is in flight gets an error, or hangs.
        """
        _log.info("draining", extra={"fields": {"requests": self.traffic.in_flight}})
        await self.traffic.drain(self.settings.drain_seconds)
        if self._listener is not None:
            # Where the engine's processes are forks of this one, they have it too: closed here alone it would go on.
            self._listener.shutdown(socket.SHUT_RDWR)
        await hang_up(self.state.server)
        tracing.flush()
        os.kill(os.getpid(), signal.SIGTERM)

    async def watch(self) -> None:
        """When the engine has died, give all that is in flight a 503 and leave, so that the server is started again.

        vLLM looks every five seconds, and then waits for requests that may never end.
        """
        while not self.engine.errored:
            await asyncio.sleep(_WATCH_SECONDS)
        if self.traffic.draining:
            return
        _log.error("the engine has died", extra={"fields": {"requests": self.traffic.in_flight}})
        self.traffic.refusal, self.traffic.draining = AGAIN, True
        await self.traffic.abandon(AGAIN)
        await asyncio.sleep(_WATCH_SECONDS)  # for the answers to leave
        sys.stdout.flush()
        sys.stderr.flush()
        self._leave(ENGINE_DEATH)

    def _run(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        assert isinstance(task, asyncio.Task)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
