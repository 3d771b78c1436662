"""A port that is never without an answer, whatever becomes of the engine behind it.

`rewardkit serve` listens, and the engine inherits the listening socket: it accepts on it by itself, so that nothing
stands between it and its clients. While there is no engine that does (it loads, or it has died), this process accepts
on the same socket and answers 503. The kernel keeps one queue of connections for both, so that none is refused or lost
when one takes over from the other.
"""

from __future__ import annotations

import socket
import sys
import threading
from typing import TYPE_CHECKING

from starlette.responses import Response

from rewardkit.errors import ConfigError
from rewardkit.server.config import ServeConfig
from rewardkit.server.errors import ApiError
from rewardkit.server.guard import Guard
from rewardkit.server.observe import Observed
from rewardkit.server.plain import AppServer
from rewardkit.server.traffic import Traffic

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

_BACKLOG = 2048


class Port:
    """The listening socket of an engine that may come and go, and who answers on it meanwhile.

    Args:
        config: with a real port; its TLS files and keys hold for the answers of this process too.

    Raises:
        ConfigError: the port is in use, or the host is not one of this machine.
    """

    def __init__(self, config: ServeConfig) -> None:
        self._config = config
        self.socket = bound_socket(config.host, config.port)
        self.socket.listen(_BACKLOG)
        self._lock = threading.Lock()
        self._front: AppServer | None = None
        self._closed = False

    def answer(self, error: ApiError) -> None:
        """From now on this process answers every request with `error`, but ``/health``; nothing once it is closed."""
        with self._lock:
            if self._front is not None or self._closed:
                return
            keys = [self._config.key] if self._config.key else []
            app = Observed(Guard(_Away(error), keys=keys))
            self._front = AppServer(app, Traffic(), self._config, listener=self.socket.dup())

    def leave(self) -> None:
        """The engine accepts now: answer no more here, but go on listening."""
        with self._lock:
            front, self._front = self._front, None
        if front is not None:
            front.stop()

    def close(self) -> None:
        """Let go of the port; an engine that has the socket keeps it. Safe to call twice."""
        with self._lock:
            self._closed = True
        self.leave()
        self.socket.close()


class _Away:
    """What answers while there is no engine: alive, but not ready."""

    def __init__(self, error: ApiError) -> None:
        self.error = error

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        alive = scope["path"] == "/health" and scope["method"] in ("GET", "HEAD")
        response = Response() if alive else self.error.response()
        response.headers["Connection"] = "close"  # the next request is for the engine
        await response(scope, receive, send)


def bound_socket(host: str, port: int) -> socket.socket:
    """A socket bound there, as a server's would be.

    Raises:
        ConfigError: the port is in use, or the host is not one of this machine.
    """
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    # A port in TIME_WAIT is free.
    if sys.platform != "win32":
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        reason = error.strerror or str(error)
        raise ConfigError(
            f"cannot listen on {host}:{port} ({reason}); stop what listens there, or give another port=..."
        ) from None
    return bound


def free_port(host: str, port: int) -> int:
    """`port` if it is free, and a free one for 0.

    Raises:
        ConfigError: see `bound_socket`.
    """
    with bound_socket(host, port) as probe:
        return int(probe.getsockname()[1])
