"""What stands before every route, in both hosts: the bearer key, and limits on the body."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from rewardkit.server.errors import ApiError
from rewardkit.server.keys import digests, is_right
from rewardkit.server.schema import MAX_BODY_BYTES
from rewardkit.server.traffic import OPEN_PATHS

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

BODY_SECONDS = 60.0
"""A body that is not whole by then is given up: 408."""
_JSON: TypeAdapter[Any] = TypeAdapter(Any)
_MANY_BRACKETS = 100
"""pydantic's reader gives up at about twice this depth; Python's would only at its stack's end."""


class Guard:
    """ASGI middleware: 401 without a right key on every path but `OPEN_PATHS`; 413, 408 and 400 for a body that is too
    large, too slow or too deep.

    vLLM's own key guards only paths under ``/v1`` and a few others; this one guards all of them.

    Args:
        app: what it stands before.
        keys: those that are right, see `rewardkit.server.keys.digests`; none leaves every path open.
        max_body_bytes: the largest body, chunked ones included.
    """

    def __init__(self, app: ASGIApp, keys: Sequence[str] = (), max_body_bytes: int = MAX_BODY_BYTES) -> None:
        self.app = app
        self.digests = digests(keys)
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
            async with asyncio.timeout(BODY_SECONDS):
                body = await self._read(scope, receive)
            _check_depth(body or b"")
        except TimeoutError:
            error = ApiError(408, f"the body was not whole after {BODY_SECONDS:g} s")
            await error.response()(scope, receive, send)
            return
        except ApiError as error:
            await error.response()(scope, receive, send)
            return
        if body is not None:
            await self.app(scope, replay(body, receive), send)

    def _allowed(self, scope: Scope) -> bool:
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        # The page holds nothing, and a browser has no key to send for it.
        if not self.digests or path in OPEN_PATHS or (path == "/" and scope.get("method") == "GET"):
            return True
        scheme, _, key = _header(scope, b"authorization").partition(b" ")
        return is_right(key.strip(), self.digests) and scheme.lower() == b"bearer"

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
            return
        error = ApiError(401, "no valid API key: send it as 'Authorization: Bearer KEY'")
        await error.response()(scope, receive, send)

    async def _read(self, scope: Scope, receive: Receive) -> bytes | None:
        """The whole body; None where the client left before its end."""
        declared = _header(scope, b"content-length") or b"0"
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


def _header(scope: Scope, wanted: bytes) -> bytes:
    found: bytes = next((value for name, value in scope["headers"] if name == wanted), b"")
    return found


def _check_depth(body: bytes) -> None:
    """Refuse JSON so deep that code which walks it would run out of stack."""
    if body.count(b"[") + body.count(b"{") <= _MANY_BRACKETS:
        return
    try:
        _JSON.validate_json(body)
    except ValueError as error:
        # Any other fault is for the route to tell.
        if "recursion limit" in str(error):
            raise ApiError(400, "the body is nested too deep", code="invalid_json") from None


def replay(body: bytes, receive: Receive) -> Receive:
    """A receive that gives the body that was read, then what comes after it (a disconnect)."""
    given = False

    async def replayed() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replayed
