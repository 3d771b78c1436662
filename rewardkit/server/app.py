"""The plain host: a FastAPI app over transformers. For small uses, and for fast tests of the same routes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import Response

from rewardkit.server.adapters import ByAdapter, adapter_app
from rewardkit.server.errors import ApiError
from rewardkit.server.routes import install
from rewardkit.server.scorer import Scorer, TransformersScorer
from rewardkit.server.service import RewardService
from rewardkit.server.traffic import Limits


def create_app(
    scorer: Scorer,
    *,
    keys: Sequence[str] = (),
    limits: Limits | None = None,
    adapters: Mapping[str, Scorer] | None = None,
) -> FastAPI:
    """A FastAPI app that serves one model.

    Args:
        scorer: the backend.
        keys: bearer keys; none leaves the app open.
        limits: see `Limits`.
        adapters: models over the same base, by the names that they are served under.
    """
    app = FastAPI(title="RewardKit", docs_url=None, redoc_url=None)
    app.state.rewardkit = RewardService(scorer, limits)
    app.add_middleware(ByAdapter)  # added before the guard, so that it stands behind it
    install(app, keys=list(keys), limits=limits)
    app.state.rewardkit_adapters = {
        name: adapter_app(RewardService(other, limits), app.state.rewardkit_traffic)
        for name, other in (adapters or {}).items()
    }
    app.add_api_route("/health", _health, methods=["GET"])
    app.add_api_route("/metrics", _metrics, methods=["GET"])
    app.add_exception_handler(Exception, _fault)
    return app


def load_scorer(folder: str | Path, *, name: str | None = None, **options: Any) -> TransformersScorer:
    """Load a model folder as the plain backend.

    Args:
        folder: with ``reward_model.json``.
        name: the served name; None takes the folder's.
        options: see `LocalRewardModel.load` (``dtype``, ``device``).
    """
    from rewardkit.models import load_local_model

    model = load_local_model(folder, **options)
    return TransformersScorer(model, name or Path(folder).resolve().name)


def _health() -> Response:
    return Response(status_code=200)


def _metrics() -> Response:
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


async def _fault(request: Request, error: Exception) -> Response:
    """A fault of ours: the body says no more than that; the server's log has the traceback."""
    return ApiError(500, "internal error; the server's log has more").response()
