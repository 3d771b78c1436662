"""What is in flight: how much at once, for how long, and how it ends when the server does.

ASGI middleware before every route of a host, vLLM's own included. A request that is given up (its deadline has
passed, the engine has died, a drain lasted too long) gets its error at once, and the route behind is told that the
client has gone, which makes ours and vLLM's stop the engine's work.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rewardkit.server import metrics
from rewardkit.server.errors import ApiError

if TYPE_CHECKING:
    import uvicorn
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

OPEN_PATHS = frozenset({"/health", "/ready"})
"""What a load balancer asks for: open without a key, and never refused for other requests' sake."""
DEADLINE_HEADER = b"x-request-timeout"
"""Seconds that the client will wait."""
_NOTICE_SECONDS = 10.0
"""What a route may take to end once its request is given up; then it is cancelled."""

_LAST_WORD_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Limits:
    """What the service takes.

    Attributes:
        pending: responses that wait or run, over all requests; more get 429 with Retry-After.
        requests: HTTP requests in flight, of any route; more get 429 with Retry-After.
        seconds: a request that takes longer gets 504, and its work is stopped.
    """

    pending: int = 4096
    requests: int = 1024
    seconds: float = 600.0


class Traffic:
    """The requests in flight of one server.

    Args:
        limits: see `Limits`.

    Attributes:
        draining: no request is taken any more.
        refusal: what a request then gets.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self.draining = False
        self.refusal = ApiError(503, "the server is going down", retry_after=30)
        self._exchanges: set[_Exchange] = set()
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def in_flight(self) -> int:
        """How many requests are being answered."""
        return len(self._exchanges)

    async def drain(self, seconds: float) -> None:
        """Take no more requests; return when the last one is answered, after `seconds` with an error.

        Args:
            seconds: what those in flight may take; of what is left then each gets 503.
        """
        self.draining = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        await self.abandon(ApiError(503, "the server goes down before this was done", retry_after=30))

    async def abandon(self, error: ApiError) -> None:
        """Answer all that is in flight with `error`, and return when that is done."""
        for exchange in self._exchanges:
            exchange.give_up(error)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_NOTICE_SECONDS):
                await self._idle.wait()

    def enter(self, exchange: _Exchange) -> None:
        """Count a request in.

        Raises:
            ApiError: 503 while draining, 429 where too many are in flight.
        """
        if self.draining:
            raise self.refusal
        if len(self._exchanges) >= self.limits.requests:
            raise ApiError(429, f"{len(self._exchanges)} requests are in flight already; try again", retry_after=1)
        self._exchanges.add(exchange)
        metrics.IN_FLIGHT.inc()
        self._idle.clear()

    def leave(self, exchange: _Exchange) -> None:
        """Count a request out."""
        self._exchanges.discard(exchange)
        metrics.IN_FLIGHT.dec()
        if not self._exchanges:
            self._idle.set()


class TrafficGate:
    """The middleware.

    Args:
        app: what it stands before.
        traffic: of this server.
    """

    def __init__(self, app: ASGIApp, traffic: Traffic) -> None:
        self.app = app
        self.traffic = traffic

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or scope["path"] in OPEN_PATHS:
            await self.app(scope, receive, send)
            return
        exchange = _Exchange(scope["type"], receive, send, self.traffic)
        try:
            seconds = min(deadline(scope["headers"]), self.traffic.limits.seconds)
            self.traffic.enter(exchange)
        except ApiError as error:
            await exchange.refuse(scope, error)
            return
        try:
            await self._answer(scope, exchange, seconds)
        finally:
            self.traffic.leave(exchange)

    async def _answer(self, scope: Scope, exchange: _Exchange, seconds: float) -> None:
        late = ApiError(504, f"not done within {seconds:g} s; send fewer responses, or wait longer")
        timer = asyncio.get_running_loop().call_later(seconds, exchange.give_up, late)
        work = asyncio.ensure_future(self.app(scope, exchange.receive, exchange.send))
        try:
            await _first(work, exchange.given_up)
            if exchange.given_up.done() and not work.done():
                await exchange.refuse(scope, exchange.given_up.result())
                await asyncio.wait({work}, timeout=_NOTICE_SECONDS)
            if work.done():
                work.result()
        finally:
            timer.cancel()
            work.cancel()


class _Exchange:
    """One request and its answer: `receive` and `send` as the app sees them."""

    def __init__(self, kind: str, receive: Receive, send: Send, traffic: Traffic) -> None:
        self.kind = kind
        self.given_up: asyncio.Future[ApiError] = asyncio.get_running_loop().create_future()
        self.started = False
        self._receive = receive
        self._send = send
        self._traffic = traffic

    def give_up(self, error: ApiError) -> None:
        """End it with `error`, or without one where the answer is on its way."""
        if not self.given_up.done():
            self.given_up.set_result(error)

    async def receive(self) -> Message:
        """The next message of the client; that it is gone once it is given up."""
        if not self.given_up.done():
            message = asyncio.ensure_future(self._receive())
            try:
                await _first(message, self.given_up)
                if message.done():
                    return message.result()
            finally:
                message.cancel()
        return {"type": f"{self.kind}.disconnect"}

    async def send(self, message: Message) -> None:
        """Pass on, unless it is given up: the client has its answer then."""
        if self.given_up.done():
            return
        if message["type"] == "http.response.start":
            self.started = True
            if self._traffic.draining:
                # Or its next request would meet a connection that closes.
                message = {**message, "headers": [*message.get("headers", []), (b"connection", b"close")]}
        await self._send(message)

    async def refuse(self, scope: Scope, error: ApiError) -> None:
        """Answer with an error; of an answer that has begun only the end can be missing."""
        if self.kind == "websocket":
            await self._send({"type": "websocket.close", "code": 1013})
        elif not self.started:
            response = error.response()
            if self._traffic.draining:
                response.headers["Connection"] = "close"
            await response(scope, self._receive, self._send)


async def hang_up(server: uvicorn.Server) -> None:
    """Listen no more, and give the connections that stand a moment to hear that the server goes down.

    A connection that is closed before its request was read has cost its client an answer.
    """
    for listener in server.servers:
        listener.close()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_LAST_WORD_SECONDS):
            while server.server_state.connections:
                await asyncio.sleep(0.02)


async def _first(*futures: asyncio.Future[Any]) -> None:
    """Return when one of them is done, and leave them all."""
    await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)


def deadline(headers: Sequence[tuple[bytes, bytes]]) -> float:
    """The seconds of `DEADLINE_HEADER`; infinity without it.

    Raises:
        ApiError: it is no number of seconds.

    >>> deadline([(b"x-request-timeout", b"2.5")])
    2.5
    """
    given = next((value for name, value in headers if name == DEADLINE_HEADER), b"inf")
    try:
        seconds = float(given)
    except ValueError:
        seconds = math.nan
    if not seconds > 0:
        raise ApiError(400, "X-Request-Timeout is the seconds to wait, a number above 0", param="X-Request-Timeout")
    return seconds
