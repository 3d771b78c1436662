"""The transformers backend of `rewardkit serve`: uvicorn in a thread of this process."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

from rewardkit.server.config import ServeConfig
from rewardkit.server.engine import KEEP_ALIVE_SECONDS


class PlainServer:
    """A running server.

    Args:
        folder: the model folder.
        config: with a real port.
    """

    def __init__(self, folder: Path, config: ServeConfig) -> None:
        import uvicorn

        from rewardkit.server.app import create_app, load_scorer

        dtype = None if config.dtype == "auto" else config.dtype
        scorer = load_scorer(folder, name=config.name, dtype=dtype)
        app = create_app(scorer, keys=[config.key] if config.key else [], limits=config.limits)
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
        self._traffic = app.state.rewardkit_traffic
        self._server = uvicorn.Server(settings)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="rewardkit-serve", daemon=True)
        self._thread.start()

    @property
    def exit_code(self) -> int | None:
        """None while it runs; uvicorn ends its thread where it cannot listen."""
        return None if self._thread.is_alive() else 1

    def wait(self) -> int:
        """Block until it ends."""
        self._thread.join()
        return 1

    def stop(self) -> None:
        """Answer what is in flight, then end."""
        self._ending.set()
        self._thread.join()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=self._server.config.get_loop_factory()) as runner:
            try:
                runner.run(self._serve())
            finally:
                self._ending.set()  # or its thread would keep the loop from closing

    async def _serve(self) -> None:
        serving = asyncio.ensure_future(self._server.serve())
        told = asyncio.ensure_future(asyncio.to_thread(self._ending.wait))
        await asyncio.wait({serving, told}, return_when=asyncio.FIRST_COMPLETED)
        if not serving.done():
            await self._traffic.drain(self._drain_seconds)
            self._server.should_exit = True
        await serving
