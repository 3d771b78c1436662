"""Starts an engine again when it ends by itself: a bounded number of times, with growing pauses."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from rewardkit.errors import ServerError
from rewardkit.server.engine import EngineProcess
from rewardkit.server.errors import ApiError
from rewardkit.server.host import AGAIN
from rewardkit.server.port import Port

WINDOW_SECONDS = 600.0
"""Restarts are counted over this time: an engine that ran well for longer starts with a clean slate."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
LOADING = ApiError(503, "the model is still loading", retry_after=2)

_log = logging.getLogger("rewardkit.server")


class Supervisor:
    """One process after the other, until `stop` or until too many have ended.

    Args:
        start: starts the process; it is told how often it was started before.
        await_ready: blocks until a process answers; from when it accepts on the port, this one no longer does.
        port: where it serves; answered here while no process does, and closed at the end.
        restarts: how many are allowed within `WINDOW_SECONDS`.
        first_pause: seconds before the first restart; the next pauses double, to half a minute at most.

    Raises:
        ServerError: by `await_ready`. Of a process started again it ends that process, which counts as one that ended.
    """

    def __init__(
        self,
        start: Callable[[int], EngineProcess],
        await_ready: Callable[[EngineProcess], None],
        port: Port,
        restarts: int,
        first_pause: float = _FIRST_PAUSE,
    ) -> None:
        self._start = start
        self._await_ready = await_ready
        self._port = port
        self._allowed = restarts
        self._first_pause = first_pause
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._code: int | None = None
        self._kept = False
        # Not `join`: interrupted by a signal, Python 3.11 takes the thread for ended.
        self._ended = threading.Event()
        self.restarts = 0
        port.answer(LOADING)
        try:
            self.process = start(0)
        except BaseException:
            port.close()
            raise

    @property
    def exit_code(self) -> int | None:
        """None while it runs or will run again."""
        return self.process.exit_code if not self._kept else self._code

    def keep(self) -> None:
        """Return when the process answers, and from then on start it again when it ends.

        Raises:
            ServerError: it does not answer.
        """
        self._await_ready(self.process)
        self._kept = True
        threading.Thread(target=self._keep, name="rewardkit-supervisor", daemon=True).start()

    def wait(self) -> int:
        """Block until it has ended for good; the last exit code."""
        if not self._kept:
            return self.process.wait()
        self._ended.wait()
        return self._code or 0

    def stop(self) -> None:
        """End the process that runs, and start no other."""
        self._stopping.set()
        with self._lock:
            process = self.process
        # The engine has the port alone, until it has answered what is in flight.
        self._port.close()
        process.stop()
        if self._kept:
            self._ended.wait()

    def _keep(self) -> None:
        try:
            self._code = self._run()
        finally:
            self._port.close()
            self._ended.set()

    def _run(self) -> int:
        """Until it has ended for good; the last exit code."""
        ends: list[float] = []
        while True:
            code = self.process.wait()
            now = time.monotonic()
            ends = [end for end in ends if now - end < WINDOW_SECONDS]
            last = self._stopping.is_set() or len(ends) >= self._allowed
            if not last:
                self._port.answer(AGAIN)
            self.process.stop()  # lets go of what it still holds
            if last:
                return code
            pause = min(self._first_pause * 2 ** len(ends), _LONGEST_PAUSE)
            ends.append(now)
            _tell("the engine ended; it is started again", code=code, pause=pause, restart=self.restarts + 1)
            if self._stopping.wait(pause) or not self._again():
                return code

    def _again(self) -> bool:
        """Start the next one; false when it is to stop."""
        with self._lock:
            if self._stopping.is_set():
                return False
            self.restarts += 1
            self.process = self._start(self.restarts)
        try:
            self._await_ready(self.process)
        except ServerError as error:
            if not self._stopping.is_set():
                _tell(str(error), restart=self.restarts)
            self.process.stop()
        else:
            _tell("the engine is ready again", restart=self.restarts)
        return True


def _tell(message: str, **fields: float | int) -> None:
    _log.error(message, extra={"fields": fields})
