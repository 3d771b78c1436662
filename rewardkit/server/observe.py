"""The outermost middleware of both hosts: an id for every request, headers on every answer, one log line, one count.

The log line has no text of users: the route's own path (``/v1/models/{model}``), the status, the time, and counts.
"""

from __future__ import annotations

import logging
import re
import time
import uuid
from typing import TYPE_CHECKING, Any

from rewardkit.server import metrics, tracing
from rewardkit.server.logs import REQUEST_ID
from rewardkit.server.traffic import OPEN_PATHS

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS = {
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
    b"referrer-policy": b"no-referrer",
    b"cache-control": b"no-store",
    b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
}
"""On every answer that does not set them itself; a page of HTML brings its own content policy."""

_log = logging.getLogger("rewardkit.server.access")
_WORD = re.compile(rb"[\w.:-]{1,128}")
_POLICY = b"content-security-policy"


class Observed:
    """Gives every request its id (the client's ``X-Request-Id`` if it is a plain word, else a new one), every answer
    `HEADERS` and that id, and tells log, metrics and trace of both.

    Args:
        app: what it stands before.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        request_id = _request_id(scope)
        seen = _Seen(send, request_id.encode())
        start = time.perf_counter()
        token = REQUEST_ID.set(request_id)
        try:
            with tracing.request_span(scope, request_id) as span:
                try:
                    await self.app(scope, receive, seen.send)
                finally:
                    route = _route(scope)
                    span.answered(route, seen.status)
                    _tell(scope, route, seen.status, time.perf_counter() - start)
        finally:
            REQUEST_ID.reset(token)


class _Seen:
    """A send that dresses the answer and remembers its status: 0 where none was given."""

    def __init__(self, send: Send, request_id: bytes) -> None:
        self.status = 0
        self._send = send
        self._request_id = request_id

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = list(message.get("headers", []))
            given = {name.lower(): value for name, value in headers}
            html = given.get(b"content-type", b"").startswith(b"text/html")
            headers += [(n, v) for n, v in HEADERS.items() if n not in given and not (html and n == _POLICY)]
            if b"x-request-id" not in given:
                headers.append((b"x-request-id", self._request_id))
            message = {**message, "headers": headers}
        elif message["type"] == "websocket.accept":
            self.status = 101
        await self._send(message)


def _request_id(scope: Scope) -> str:
    given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
    request_id: str = given.decode() if _WORD.fullmatch(given) else uuid.uuid4().hex
    scope.setdefault("state", {})["request_id"] = request_id
    return request_id


def _route(scope: Scope) -> str:
    """The path as the route is written; a path that no route has may hold anything, and is not told."""
    if scope["path"] in OPEN_PATHS:
        return str(scope["path"])
    return str(getattr(scope.get("route"), "path", "none"))


def _tell(scope: Scope, route: str, status: int, seconds: float) -> None:
    metrics.REQUESTS.labels(route, str(status)).inc()
    # A load balancer asks every few seconds; that it was told so is no news.
    level = logging.DEBUG if scope["path"] in OPEN_PATHS and status == 200 else logging.INFO
    if not _log.isEnabledFor(level):
        return
    fields: dict[str, Any] = {"route": route, "status": status, "seconds": round(seconds, 4)}
    _log.log(level, "request", extra={"fields": {"method": scope.get("method", "WEBSOCKET"), **fields}})
