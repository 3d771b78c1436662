"""The transformers backend of `rewardkit serve`: uvicorn in a thread of this process."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

from rewardkit.errors import ServerError
from rewardkit.server.adapters import adapted_models
from rewardkit.server.causes import cause_of
from rewardkit.server.chat_search import ChatSearch
from rewardkit.server.config import ServeConfig
from rewardkit.server.engine import KEEP_ALIVE_SECONDS
from rewardkit.server.scorer import TransformersScorer
from rewardkit.server.traffic import Traffic, hang_up

if TYPE_CHECKING:
    from starlette.types import ASGIApp


_START_SECONDS = 0.01


class AppServer:
    """A running server of any app.

    Args:
        app: answers the requests.
        traffic: of the app; it is drained before the end.
        config: with a real port.
        close: called in the server's loop when it has ended.
        listener: a socket that listens already; it is closed at the end. None listens at the config's address.
    """

    def __init__(
        self,
        app: ASGIApp,
        traffic: Traffic,
        config: ServeConfig,
        close: Callable[[], Awaitable[None]] | None = None,
        listener: socket.socket | None = None,
    ) -> None:
        import uvicorn

        settings = uvicorn.Config(
            app,
            host=config.host,
            port=config.port,
            log_config=None,
            access_log=False,
            ws="none",
            lifespan="off",
            ssl_certfile=config.ssl_certfile,
            ssl_keyfile=config.ssl_keyfile,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=5,
        )
        self._drain_seconds = config.drain_seconds
        self._traffic = traffic
        self._close = close
        self._sockets = [listener] if listener is not None else None
        self._server = uvicorn.Server(settings)
        # Not `join`: interrupted by a signal, Python 3.11 takes the thread for ended.
        self._ending, self._ended = threading.Event(), threading.Event()
        threading.Thread(target=self._run, name="rewardkit-serve", daemon=True).start()

    @property
    def exit_code(self) -> int | None:
        """None while it runs; uvicorn ends its thread where it cannot listen."""
        return 1 if self._ended.is_set() else None

    def wait(self) -> int:
        """Block until it ends."""
        self._ended.wait()
        return 1

    def stop(self) -> None:
        """Answer what is in flight, then end."""
        self._ending.set()
        self._ended.wait()

    def _run(self) -> None:
        try:
            self._run_loop()
        finally:
            self._ended.set()

    def _run_loop(self) -> None:
        with asyncio.Runner(loop_factory=self._server.config.get_loop_factory()) as runner:
            try:
                runner.run(self._serve())
            finally:
                self._ending.set()  # or its thread would keep the loop from closing

    async def _serve(self) -> None:
        serving = asyncio.ensure_future(self._server.serve(self._sockets))
        while not (self._server.started or serving.done()):  # one told to end before has nothing to close yet
            await asyncio.sleep(_START_SECONDS)
        told = asyncio.ensure_future(asyncio.to_thread(self._ending.wait))
        await asyncio.wait({serving, told}, return_when=asyncio.FIRST_COMPLETED)
        if not serving.done():
            await self._traffic.drain(self._drain_seconds)
            await hang_up(self._server)
            self._server.should_exit = True
        await serving
        if self._close is not None:
            await self._close()


class PlainServer(AppServer):
    """A running server of one model.

    Args:
        folder: the model folder.
        config: with a real port.

    Raises:
        ServerError: the model cannot be loaded.
    """

    def __init__(self, folder: Path, config: ServeConfig) -> None:
        from rewardkit.server.app import create_app, load_scorer

        dtype = None if config.dtype == "auto" else config.dtype
        try:
            scorer = load_scorer(folder, name=config.name, dtype=dtype)
            adapted = adapted_models(scorer.model, config.adapters) if config.adapters else {}
        except (OSError, ValueError, TypeError, RuntimeError, MemoryError) as error:
            cause = cause_of(f"{type(error).__name__}: {' '.join(str(error).split())}")
            raise ServerError(f"cannot load {folder}: {cause or type(error).__name__}") from error
        adapters = {name: TransformersScorer(model, name) for name, model in adapted.items()}
        keys = [config.key] if config.key else []
        app = create_app(scorer, keys=keys, limits=config.limits, adapters=adapters)
        if config.search is not None:
            app.state.rewardkit_search = ChatSearch(config.search)
        super().__init__(app, app.state.rewardkit_traffic, config)
