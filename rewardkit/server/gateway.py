"""One address before several scoring servers: the ``model`` of a request says which of them answers.

Any route of theirs is forwarded as it is, ours and vLLM's, streams included. The gateway itself answers ``/v1/models``
(all of them), ``/ready`` (all are) and ``/health``, and refuses a name that nobody serves.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote

import httpx
from starlette.responses import JSONResponse

from rewardkit.server.errors import ApiError
from rewardkit.server.graders import VERIFIERS
from rewardkit.server.guard import Guard
from rewardkit.server.observe import Observed
from rewardkit.server.traffic import Traffic, TrafficGate

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_ONE_HOP = frozenset(
    {b"connection", b"keep-alive", b"transfer-encoding", b"upgrade", b"te", b"trailer", b"host", b"content-length"}
)
"""Headers that are between two neighbours."""
_NOT_FORWARDED = _ONE_HOP | {b"authorization", b"x-request-id"}
_NOT_ANSWERED = _ONE_HOP - {b"content-length"} | {b"date", b"server"}
_LISTED = "/v1/models/"
_READY_SECONDS = 5.0

_log = logging.getLogger("rewardkit.server")


@dataclass(frozen=True, slots=True)
class Backend:
    """A scoring server that the gateway alone talks to.

    Attributes:
        root: its address without a path.
        key: its bearer key.
    """

    root: str
    key: str


class Gateway:
    """An ASGI app; keys, limits and logs stand before it.

    Args:
        backends: from the served names to their servers; the first answers requests that name no model.
        transport: in place of the network, for tests.
    """

    def __init__(self, backends: Mapping[str, Backend], transport: httpx.AsyncBaseTransport | None = None) -> None:
        self.backends = dict(backends)
        # The servers have limits of their own, on time too.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=64)
        self._client = httpx.AsyncClient(timeout=None, limits=limits, trust_env=False, transport=transport)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
            return
        scope["route"] = SimpleNamespace(path="gateway")
        try:
            await self._answer(scope, receive, send)
        except ApiError as error:
            await error.response()(scope, receive, send)

    async def close(self) -> None:
        """Close the connections to the servers."""
        await self._client.aclose()

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        path, method = scope["path"], scope["method"]
        own = {"/health": self._health, "/ready": self._ready, "/v1/models": self._models}.get(path)
        if own is not None and method == "GET":
            await JSONResponse(await own())(scope, receive, send)
            return
        body = await read_body(receive)
        name = self._choose(scope, body)
        forward = asyncio.ensure_future(self._forward(self.backends[name], name, scope, body, send))
        gone = asyncio.ensure_future(_gone(receive))
        try:
            await asyncio.wait({forward, gone}, return_when=asyncio.FIRST_COMPLETED)
            if forward.done():
                forward.result()
        finally:
            forward.cancel()
            gone.cancel()
            await asyncio.wait({forward, gone})  # for the connection to be closed

    def _choose(self, scope: Scope, body: bytes) -> str:
        """The model that a request is for.

        Raises:
            ApiError: 404, nobody serves it; 400, a grader names several.
        """
        names = set(named_models(scope, body))
        unknown = sorted(names - self.backends.keys())
        if unknown:
            served = ", ".join(self.backends)
            message = f"there is no model '{unknown[0]}' here; served: {served}"
            raise ApiError(404, message, param="model", code="model_not_found")
        if len(names) > 1:
            raise ApiError(400, f"the graders of one request must name one model, not {', '.join(sorted(names))}")
        return names.pop() if names else next(iter(self.backends))

    async def _forward(self, backend: Backend, name: str, scope: Scope, body: bytes, send: Send) -> None:
        headers = [(k, v) for k, v in scope["headers"] if k not in _NOT_FORWARDED]
        headers += [(b"authorization", b"Bearer " + backend.key.encode())]
        headers += [(b"x-request-id", scope.get("state", {}).get("request_id", "-").encode())]
        url = httpx.URL(backend.root).copy_with(raw_path=_raw_path(scope))
        request = self._client.build_request(scope["method"], url, headers=headers, content=body)
        try:
            response = await self._client.send(request, stream=True)
        except httpx.TransportError as error:
            _log.error("a model does not answer", extra={"fields": {"model": name, "error": type(error).__name__}})
            raise ApiError(503, f"the model '{name}' does not answer; try again", retry_after=5) from error
        try:
            answered = [(k.lower(), v) for k, v in response.headers.raw if k.lower() not in _NOT_ANSWERED]
            await send({"type": "http.response.start", "status": response.status_code, "headers": answered})
            async for chunk in response.aiter_raw():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            await response.aclose()

    async def _health(self) -> dict[str, str]:
        return {"status": "alive"}

    async def _ready(self) -> dict[str, Any]:
        """Raises ApiError 503 with the names of those that are not."""
        states = [state async for state in self._all("/ready")]
        missing = [name for name, response in states if response is None or response.status_code != 200]
        if missing:
            raise ApiError(503, f"not ready: {', '.join(missing)}")
        return {"status": "ready"}

    async def _models(self) -> dict[str, Any]:
        """The lists of all; a model that does not answer is left out."""
        data: list[Any] = []
        async for _, response in self._all("/v1/models"):
            if response is not None and response.status_code == 200:
                data += response.json()["data"]
        return {"object": "list", "data": data}

    async def _all(self, path: str) -> AsyncIterator[tuple[str, httpx.Response | None]]:
        """The answer of every server, None where there is none."""

        async def one(backend: Backend) -> httpx.Response | None:
            headers = {"Authorization": f"Bearer {backend.key}"}
            try:
                return await self._client.get(backend.root + path, headers=headers, timeout=_READY_SECONDS)
            except httpx.TransportError:
                return None

        # Adapters are at the address of their base.
        servers = {backend: name for name, backend in reversed(self.backends.items())}
        answers = await asyncio.gather(*(one(backend) for backend in servers))
        for name, answer in reversed(list(zip(servers.values(), answers, strict=True))):
            yield name, answer


def gateway_app(gateway: Gateway, traffic: Traffic, keys: Sequence[str]) -> ASGIApp:
    """The gateway behind what stands before every route of a server too."""
    return Observed(TrafficGate(Guard(gateway, keys=keys), traffic))


def named_models(scope: Scope, body: bytes) -> Iterator[str]:
    """The model names in a request: of its path, its query (``?model=``) or its body."""
    if scope["path"].startswith(_LISTED):
        yield unquote(scope["path"].removeprefix(_LISTED))
        return
    asked = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("model")
    if asked:
        yield asked[-1]
        return
    try:
        given = json.loads(body) if body else None
    except (ValueError, RecursionError):
        return  # the server tells what is wrong with it
    if scope["path"] == "/v1/chat/completions" and isinstance(given, dict):
        # There the model names a search and its generator; any server can run it with its own scores.
        options = given.get("search")
        if isinstance(options, dict) and isinstance(options.get("reward_model"), str):
            yield options["reward_model"]
    elif isinstance(given, dict) and isinstance(given.get("model"), str):
        yield given["model"]
    elif isinstance(given, dict) and isinstance(given.get("grader"), dict):
        yield from _of_graders(given["grader"])


def _of_graders(grader: Mapping[str, Any]) -> Iterator[str]:
    """The names in a grader, or in those of a ``multi``, without our verifiers'."""
    several = grader.get("graders")
    for single in [grader, *(several.values() if isinstance(several, dict) else ())]:
        model = single.get("model") if isinstance(single, dict) else None
        if isinstance(model, str) and model not in VERIFIERS:
            yield model


def _raw_path(scope: Scope) -> bytes:
    path: bytes = scope.get("raw_path") or scope["path"].encode()
    query: bytes = scope.get("query_string", b"")
    return path + (b"?" + query if query else b"")


async def read_body(receive: Receive) -> bytes:
    """The whole body of a request that the guard has let in."""
    chunks = []
    while True:
        message: Message = await receive()
        chunks.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(chunks)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
