"""What stands before every route, in both hosts: the bearer key and the limit on the body's size."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rewardkit.server import metrics
from rewardkit.server.errors import ApiError
from rewardkit.server.schema import MAX_BODY_BYTES

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

OPEN_PATHS = frozenset({"/health", "/ready", "/metrics"})
"""Open without a key: what a load balancer and Prometheus ask for."""


class Guard:
    """ASGI middleware: 401 without a right key on every path but `OPEN_PATHS`, 413 for a body that is too large.

    vLLM's own key guards only paths under ``/v1`` and a few others; this one guards all of them.

    Args:
        app: what it stands before.
        keys: the keys that are right; none leaves every path open.
        max_body_bytes: the largest body, chunked ones included.
    """

    def __init__(self, app: ASGIApp, keys: Sequence[str] = (), max_body_bytes: int = MAX_BODY_BYTES) -> None:
        self.app = app
        self.digests = [_digest(key.encode()) for key in keys if key]
        self.max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if not self._allowed(scope):
            await self._refuse(scope, receive, send)
            return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            body = await self._read(scope, receive)
        except ApiError as error:
            metrics.REQUESTS.labels(str(error.status)).inc()
            await error.response()(scope, receive, send)
            return
        if body is not None:
            await self.app(scope, _replay(body, receive), _counted(send))

    def _allowed(self, scope: Scope) -> bool:
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        if not self.digests or path in OPEN_PATHS:
            return True
        header = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        scheme, _, key = header.partition(b" ")
        digest = _digest(key.strip())
        # Every key is compared, each in constant time, so that the time tells nothing.
        right = [hmac.compare_digest(digest, known) for known in self.digests]
        return bool(scheme.lower() == b"bearer" and any(right))

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        metrics.REQUESTS.labels("401").inc()
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
            return
        error = ApiError(401, "no valid API key: send it as 'Authorization: Bearer KEY'")
        await error.response()(scope, receive, send)

    async def _read(self, scope: Scope, receive: Receive) -> bytes | None:
        """The whole body; None where the client left before its end."""
        declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        if declared.isdigit() and int(declared) > self.max_body_bytes:
            raise self._too_large()
        chunks: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            chunks.append(message.get("body", b""))
            size += len(chunks[-1])
            if size > self.max_body_bytes:
                raise self._too_large()
            if not message.get("more_body", False):
                return b"".join(chunks)

    def _too_large(self) -> ApiError:
        limit = self.max_body_bytes
        return ApiError(413, f"the body is larger than {limit} bytes; send fewer responses in one request")


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()


def _replay(body: bytes, receive: Receive) -> Receive:
    """A receive that gives the body that was read, then what comes after it (a disconnect)."""
    given = False

    async def replayed() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replayed


def _counted(send: Send) -> Send:
    async def counted(message: Message) -> None:
        if message["type"] == "http.response.start":
            metrics.REQUESTS.labels(str(message["status"])).inc()
        await send(message)

    return counted
