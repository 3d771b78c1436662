"""The routes that both hosts share. The service is read from the app's state, where the host puts it."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, TypeVar

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from rewardkit.rewards.openrlhf import RewardRequest, rewards_of_environment
from rewardkit.server import page
from rewardkit.server.errors import ApiError, http_exception, to_api_error
from rewardkit.server.grader_schema import GraderRunRequest, GraderValidateRequest
from rewardkit.server.graders import Graders
from rewardkit.server.guard import Guard
from rewardkit.server.observe import Observed
from rewardkit.server.openapi import install_openapi
from rewardkit.server.ranking import RerankRequest, ScoreRequest, get_reward, group_reward, rerank, score
from rewardkit.server.schema import MAX_BODY_BYTES, RewardsRequest
from rewardkit.server.service import RewardService
from rewardkit.server.traffic import Limits, Traffic, TrafficGate

_log = logging.getLogger("rewardkit.server")
T = TypeVar("T")


class OpenAIRoute(APIRoute):
    """A route that answers what goes wrong in OpenAI's shape, whichever app hosts it."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's handler with our errors around it."""
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            try:
                return await handler(request)
            except Exception as error:
                expected = to_api_error(error)
                if expected is None:
                    request_id = getattr(request.state, "request_id", "-")
                    _log.exception("a fault of ours in %s, request %s", request.url.path, request_id)
                    expected = ApiError(500, "internal error; the server's log has more")
                return expected.response()

        return handle


router = APIRouter(route_class=OpenAIRoute)


@router.post("/v1/rewards")
async def rewards(body: RewardsRequest, request: Request) -> Response:
    """Score responses step by step."""
    if body.stream:
        events = service_of(request).events(body)
        # What is wrong with the request is known by the first event, and still gets a status of its own.
        first = await until_disconnected(request, _first(events))
        return StreamingResponse(_as_events(first, events), media_type="text/event-stream")
    return JSONResponse(await until_disconnected(request, service_of(request).rewards(body)))


@router.post("/v1/fine_tuning/alpha/graders/run")
async def run_grader(body: GraderRunRequest, request: Request) -> JSONResponse:
    """OpenAI's grader call."""
    return JSONResponse(await until_disconnected(request, _graders(request).run(body)))


@router.post("/v1/fine_tuning/alpha/graders/validate")
async def validate_grader(body: GraderValidateRequest, request: Request) -> JSONResponse:
    """Whether the grader could run here; the answer repeats it."""
    _graders(request).validate(body.grader)
    return JSONResponse({"grader": body.grader.model_dump(mode="json", exclude_none=True)})


@router.post("/get_reward")
async def openrlhf_reward(body: RewardRequest, request: Request) -> JSONResponse:
    """OpenRLHF's remote reward: by the served model, or by whole groups where REWARDKIT_SAMPLES says so."""
    groups = getattr(request.app.state, "rewardkit_groups", None)
    work = get_reward(service_of(request), body) if groups is None else group_reward(groups, body)
    return JSONResponse(await until_disconnected(request, work))


@router.post("/v1/score")
@router.post("/score", include_in_schema=False)
async def score_pairs(body: ScoreRequest, request: Request) -> JSONResponse:
    """The score of each response to its question, in vLLM's shape."""
    return JSONResponse(await until_disconnected(request, score(service_of(request), body)))


@router.post("/v1/rerank")
@router.post("/rerank", include_in_schema=False)
async def rerank_responses(body: RerankRequest, request: Request) -> JSONResponse:
    """The responses to one question, the best first."""
    return JSONResponse(await until_disconnected(request, rerank(service_of(request), body)))


@router.get("/v1/models")
async def models(request: Request) -> JSONResponse:
    """The served models, with what a client of rewards must know of them."""
    return JSONResponse(service_of(request).models())


@router.get("/ready")
async def ready(request: Request) -> JSONResponse:
    """200 when a request would be answered now, else 503."""
    if request.app.state.rewardkit_traffic.draining or not await service_of(request).ready():
        raise ApiError(503, "the engine is not running, or the server is going down")
    return JSONResponse({"status": "ready"})


def install(
    app: FastAPI, *, keys: list[str], limits: Limits | None = None, max_body_bytes: int = MAX_BODY_BYTES
) -> None:
    """Put the routes, what stands before all routes, and the error shape of unknown routes into an app."""
    from rewardkit.server import chat  # its routes are made of ours
    from rewardkit.server.chat_search import search_of_environment

    app.state.rewardkit_traffic = Traffic(limits)
    app.state.rewardkit_groups = rewards_of_environment()
    app.state.rewardkit_search = search_of_environment()
    app.router.routes.extend([*router.routes, *chat.router.routes, *page.router.routes])
    app.router.redirect_slashes = False
    install_openapi(app, keys=any(keys))
    app.add_exception_handler(HTTPException, http_exception)
    # The one that is added last stands first.
    app.add_middleware(Guard, keys=keys, max_body_bytes=max_body_bytes)
    app.add_middleware(TrafficGate, traffic=app.state.rewardkit_traffic)
    app.add_middleware(Observed)


def service_of(request: Request) -> RewardService:
    """The service that the host made.

    Raises:
        ApiError: 503, the model is still loading.
    """
    service = getattr(request.app.state, "rewardkit", None)
    if not isinstance(service, RewardService):
        raise ApiError(503, "the model is still loading", retry_after=2)
    return service


def _graders(request: Request) -> Graders:
    """Made at the first call, since the host makes the service when it starts."""
    service = service_of(request)
    graders = getattr(request.app.state, "rewardkit_graders", None)
    if not isinstance(graders, Graders) or graders.service is not service:
        graders = request.app.state.rewardkit_graders = Graders(service)
    return graders


async def _first(events: AsyncIterator[T]) -> T:
    return await anext(events)


async def _as_events(first: dict[str, Any], events: AsyncIterator[dict[str, Any]]) -> AsyncIterator[str]:
    """Server-sent events as OpenAI sends them; what goes wrong on the way is the last."""
    try:
        yield event_text(first)
        async for event in events:
            yield event_text(event)
        yield "data: [DONE]\n\n"
    except Exception as error:
        expected = to_api_error(error)
        if expected is None:
            _log.exception("a fault of ours in a stream of scores")
            expected = ApiError(500, "internal error; the server's log has more")
        yield event_text(expected.body)


def event_text(value: dict[str, Any]) -> str:
    """One server-sent event."""
    return f"data: {json.dumps(value, ensure_ascii=False, separators=(',', ':'))}\n\n"


async def until_disconnected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`; it is cancelled when the client goes away. The body must have been read."""
    task = asyncio.ensure_future(work)
    watcher = asyncio.ensure_future(_disconnect(request))
    try:
        await asyncio.wait({task, watcher}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ApiError(499, "the client closed the connection")
        return task.result()
    finally:
        task.cancel()
        watcher.cancel()


async def _disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
