"""Run a checker in a child process with limits on wall-clock time and memory.

Checkers such as math-verify or Z3 may hang in C code or eat all memory, and a model chooses what they are given. So
they work in a child that is killed when it passes a limit and started anew on the next call. Only JSON passes between
the two, one line a message; nothing is pickled. Run as ``python -m rewardkit.worker`` this module is that child.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import queue
import resource
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from rewardkit.errors import VerifierError


class WorkerError(VerifierError):
    """One call to a `LimitedWorker` gave no result; the next call works again."""


class WorkerTimeout(WorkerError):
    """The call passed its time limit and the child was killed."""


class WorkerMemory(WorkerError):
    """The call passed the memory limit."""


class WorkerCrash(WorkerError):
    """The child died of something else, such as a segmentation fault."""


class WorkerFailure(WorkerError):
    """The target raised an exception; the message holds its type and text."""


class LimitedWorker:
    """A function that runs in a child process under limits. Safe to share between threads; calls take turns.

    Args:
        target: the function as ``"module:name"``. Arguments and result must be JSON values.
        seconds: wall-clock limit of one call. Starting the child does not count.
        memory_mb: limit of the child's address space in MiB (enforced on Linux).
        setup: ``"module:name"`` of a function that the child calls once at its start, for slow imports.
        start_seconds: wall-clock limit of starting the child.

    >>> with LimitedWorker("math:gcd", seconds=5) as worker:
    ...     worker.call(12, 18)
    6
    """

    def __init__(
        self,
        target: str,
        *,
        seconds: float = 5.0,
        memory_mb: int = 1024,
        setup: str | None = None,
        start_seconds: float = 60.0,
    ) -> None:
        self.target = target
        self.seconds = seconds
        self.memory_mb = memory_mb
        self.setup = setup
        self.start_seconds = start_seconds
        self._lock = threading.Lock()
        self._child: _Child | None = None

    def call(self, *args: Any) -> Any:
        """The target's result for `args`.

        Where a child that has served other calls dies or runs out of memory, the call is tried once more in a fresh
        one, so that a result never depends on what was asked before.

        Raises:
            WorkerTimeout: longer than `seconds`.
            WorkerMemory: more than `memory_mb`.
            WorkerCrash: the child died.
            WorkerFailure: the target raised.
            VerifierError: the child could not be started.
        """
        request = json.dumps({"args": args, "seconds": self.seconds}).encode() + b"\n"
        with self._lock:
            used = self._current().calls > 0
            try:
                return self._once(request)
            except (WorkerMemory, WorkerCrash):
                if not used:
                    raise
                return self._once(request)

    def close(self) -> None:
        """End the child, if there is one. A later call starts a new one."""
        with self._lock:
            self._drop()

    def __enter__(self) -> LimitedWorker:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """The child's process id, None while there is no child."""
        return self._child.process.pid if self._child else None

    def _once(self, request: bytes) -> Any:
        child = self._current()
        try:
            reply = child.exchange(request, self.seconds)
        except BaseException as error:
            self._drop()
            if isinstance(error, TimeoutError):
                raise WorkerTimeout(f"{self.target} took longer than {self.seconds:g} s and was stopped") from None
            raise
        child.calls += 1
        if "result" in reply:
            return reply["result"]
        if reply.get("memory"):
            self._drop()
            raise WorkerMemory(f"{self.target} needed more than {self.memory_mb} MiB and was stopped")
        raise WorkerFailure(f"{self.target} raised {reply['error']}")

    def _current(self) -> _Child:
        """The running child. After a fork of this process the parent's child is left to the parent."""
        if self._child is not None and self._child.owner != os.getpid():
            self._child = None
        if self._child is None:
            self._child = self._start()
        return self._child

    def _start(self) -> _Child:
        child = _Child([self.target, self.setup or "", str(self.memory_mb)])
        try:
            reply = child.exchange(b"", self.start_seconds)
        except TimeoutError:
            child.kill()
            raise VerifierError(f"{self.target}: no child process came up within {self.start_seconds:g} s") from None
        except BaseException:
            child.kill()
            raise
        if "error" in reply:
            child.kill()
            raise VerifierError(f"{self.target} cannot be loaded in a child process: {reply['error']}")
        return child

    def _drop(self) -> None:
        child, self._child = self._child, None
        if child is not None and child.owner == os.getpid():
            child.kill()


class _Child:
    """The parent's end: a process and its two pipes, read and written without ever blocking past a deadline."""

    def __init__(self, args: list[str]) -> None:
        self.owner = os.getpid()
        self.calls = 0
        self._unread = b""
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "rewardkit.worker", *args],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(p or str(Path.cwd()) for p in sys.path)},
        )
        assert self.process.stdin and self.process.stdout
        self._to, self._from = self.process.stdin, self.process.stdout
        os.set_blocking(self._to.fileno(), False)
        os.set_blocking(self._from.fileno(), False)

    def exchange(self, request: bytes, seconds: float) -> dict[str, Any]:
        """Send a line and wait for the line that answers it; TimeoutError after `seconds`."""
        deadline = time.monotonic() + seconds
        try:
            while request:
                _wait(self._to.fileno(), select.POLLOUT, deadline)
                request = request[os.write(self._to.fileno(), request) :]
            while b"\n" not in self._unread:
                _wait(self._from.fileno(), select.POLLIN, deadline)
                piece = os.read(self._from.fileno(), 1 << 16)
                if not piece:
                    raise self._death()
                self._unread += piece
        except BrokenPipeError:
            raise self._death() from None
        line, _, self._unread = self._unread.partition(b"\n")
        reply: dict[str, Any] = json.loads(line)
        return reply

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self._to.close()
        self._from.close()

    def _death(self) -> WorkerError | TimeoutError:
        self.process.kill()
        status = self.process.wait()
        if status == -signal.SIGXCPU:
            return TimeoutError()
        return WorkerCrash(f"the child process of a checker died (exit status {status})")


def _wait(fd: int, event: int, deadline: float) -> None:
    poll = select.poll()
    poll.register(fd, event)
    left = deadline - time.monotonic()
    if left <= 0 or not poll.poll(left * 1000):
        raise TimeoutError


def _load(name: str) -> Callable[..., Any]:
    module, _, attribute = name.partition(":")
    function: Callable[..., Any] = getattr(importlib.import_module(module), attribute)
    return function


def _serve(target: str, setup: str, memory_mb: int) -> None:
    """The child: answer each line from stdin with a line on the original stdout."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends the child as it sees fit
    out = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what a checker prints must not mix with the replies
    requests: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_read_requests, args=(sys.stdin.buffer, requests), daemon=True).start()
    try:
        _limit_memory(memory_mb)
        function = _load(target)
        if setup:
            _load(setup)()
    except BaseException as error:
        _send(out, {"error": f"{type(error).__name__}: {error}"})
        return
    _send(out, {"result": "ready"})
    while True:
        request = json.loads(requests.get())
        _limit_cpu(request["seconds"])
        _send(out, _answer(function, request["args"]))


def _read_requests(stdin: BinaryIO, requests: queue.SimpleQueue[bytes]) -> None:
    """Pass the lines on; when the parent is gone, however it ended, the child ends too, even in the middle of work."""
    for line in stdin:
        requests.put(line)
    os._exit(0)


def _answer(function: Callable[..., Any], args: list[Any]) -> dict[str, Any]:
    try:
        result = function(*args)
        json.dumps(result)
        return {"result": result}
    except MemoryError:
        return {"memory": True}
    except BaseException as error:
        return {"error": f"{type(error).__name__}: {error}"[:500]}


def _send(out: BinaryIO, reply: dict[str, Any]) -> None:
    data = json.dumps(reply).encode() + b"\n"
    while data:
        data = data[out.write(data) :]


def _limit_memory(memory_mb: int) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(ValueError, OSError):  # macOS knows no such limit
        resource.setrlimit(resource.RLIMIT_AS, (memory_mb << 20, memory_mb << 20))


def _limit_cpu(seconds: float) -> None:
    """Let the kernel end a child that spins in C code, where no thread of it can see that the parent has died."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    allowed = int(used.ru_utime + used.ru_stime + 2 * seconds) + 2
    resource.setrlimit(resource.RLIMIT_CPU, (allowed, resource.getrlimit(resource.RLIMIT_CPU)[1]))


if __name__ == "__main__":
    _serve(sys.argv[1], sys.argv[2], int(sys.argv[3]))
