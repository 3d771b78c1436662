"""Starts an engine again when it ends by itself: a bounded number of times, with growing pauses."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Protocol

from rewardkit.errors import ServerError

WINDOW_SECONDS = 600.0
"""Restarts are counted over this time: an engine that ran well for longer starts with a clean slate."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0

_log = logging.getLogger("rewardkit.server")


class Process(Protocol):
    """What is supervised."""

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        ...

    def wait(self) -> int:
        """Block until it ends."""
        ...

    def stop(self) -> None:
        """End it."""
        ...


class Supervisor:
    """One process after the other, until `stop` or until too many have ended.

    Args:
        start: starts the process; it is told how often it was started before.
        await_ready: blocks until a process started again answers.
        restarts: how many are allowed within `WINDOW_SECONDS`.
        first_pause: seconds before the first restart; the next pauses double, to half a minute at most.

    Raises:
        ServerError: by `await_ready`, which ends the process; it counts as one that ended.
    """

    def __init__(
        self,
        start: Callable[[int], Process],
        await_ready: Callable[[Process], None],
        restarts: int,
        first_pause: float = _FIRST_PAUSE,
    ) -> None:
        self._start = start
        self._await_ready = await_ready
        self._allowed = restarts
        self._first_pause = first_pause
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._code: int | None = None
        self._kept = False
        # Not `join`: interrupted by a signal, Python 3.11 takes the thread for ended.
        self._ended = threading.Event()
        self.restarts = 0
        self.process = start(0)

    @property
    def exit_code(self) -> int | None:
        """None while it runs or will run again."""
        return self.process.exit_code if not self._kept else self._code

    def keep(self) -> None:
        """From now on start it again when it ends."""
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
        process.stop()
        if self._kept:
            self._ended.wait()

    def _keep(self) -> None:
        ends: list[float] = []
        while True:
            code = self.process.wait()
            self.process.stop()  # lets go of what it still holds
            now = time.monotonic()
            ends = [end for end in ends if now - end < WINDOW_SECONDS]
            if self._stopping.is_set() or len(ends) >= self._allowed:
                break
            pause = min(self._first_pause * 2 ** len(ends), _LONGEST_PAUSE)
            ends.append(now)
            _tell("the engine ended; it is started again", code=code, pause=pause, restart=self.restarts + 1)
            if self._stopping.wait(pause) or not self._again():
                break
        self._code = code
        self._ended.set()

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
