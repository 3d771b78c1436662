"""What stands before every route, in both hosts: the bearer key, limits on the body, headers on every answer."""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from rewardkit.server import metrics
from rewardkit.server.errors import ApiError
from rewardkit.server.keys import digests, is_right
from rewardkit.server.schema import MAX_BODY_BYTES

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

OPEN_PATHS = frozenset({"/health", "/ready"})
"""Open without a key: what a load balancer asks for."""
BODY_SECONDS = 60.0
"""A body that is not whole by then is given up: 408."""
HEADERS = {
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
    b"referrer-policy": b"no-referrer",
    b"cache-control": b"no-store",
    b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
}
"""On every answer that does not set them itself; a page of HTML brings its own content policy."""

_JSON: TypeAdapter[Any] = TypeAdapter(Any)
_REQUEST_ID = re.compile(rb"[\w.:-]{1,128}")
_MANY_BRACKETS = 100
"""pydantic's reader gives up at about twice this depth; Python's would only at its stack's end."""


class Guard:
    """ASGI middleware: 401 without a right key on every path but `OPEN_PATHS`; 413, 408 and 400 for a body that is too
    large, too slow or too deep. On every answer `HEADERS` and an id: the client's ``X-Request-Id``, or one made.

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
        if scope["type"] == "http":
            send = _dressed(send, _request_id(scope))
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
            metrics.REQUESTS.labels("408").inc()
            await error.response()(scope, receive, send)
            return
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
        scheme, _, key = _header(scope, b"authorization").partition(b" ")
        return is_right(key.strip(), self.digests) and scheme.lower() == b"bearer"

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


def _request_id(scope: Scope) -> bytes:
    """The client's id if it is a plain word (it goes into logs), else a new one."""
    given = _header(scope, b"x-request-id")
    request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex.encode()
    scope.setdefault("state", {})["request_id"] = request_id.decode()
    return request_id


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


def _dressed(send: Send, request_id: bytes) -> Send:
    """A send that adds `HEADERS` and the request's id."""

    async def dressed(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = list(message.get("headers", []))
            given = {name.lower(): value for name, value in headers}
            html = given.get(b"content-type", b"").startswith(b"text/html")
            policy = b"content-security-policy"
            headers += [(n, v) for n, v in HEADERS.items() if n not in given and not (html and n == policy)]
            if b"x-request-id" not in given:
                headers.append((b"x-request-id", request_id))
            message = {**message, "headers": headers}
        await send(message)

    return dressed


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
