"""LoRA adapters over one base model: each is served under a name of its own, beside the base and with its weights.

Both hosts put `ByAdapter` behind the guard. A request whose model is an adapter goes to that adapter's own service,
over the routes that the base has; all other requests go on as they came.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from copy import copy
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from rewardkit.errors import ConfigError
from rewardkit.models.encoders import step_encoder
from rewardkit.models.spec import RewardModelSpec
from rewardkit.server.errors import ApiError, http_exception
from rewardkit.server.gateway import named_models, read_body
from rewardkit.server.guard import replay
from rewardkit.text.encode import EncodedSteps

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from rewardkit.models.local import LocalRewardModel
    from rewardkit.server.service import RewardService
    from rewardkit.server.traffic import Traffic

KINDS = ("token",)
"""Kinds whose adapters vLLM serves beside the base; a head that was trained with one is not among what it takes."""
_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""What vLLM takes as the largest rank."""


class ByAdapter:
    """ASGI middleware: requests for an adapter go to its own app, found in ``app.state.rewardkit_adapters``.

    Args:
        app: the base's.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        adapters = getattr(scope["app"].state, "rewardkit_adapters", None) if "app" in scope else None
        if scope["type"] != "http" or not adapters:
            await self.app(scope, receive, send)
            return
        if scope["path"] == "/v1/models" and scope["method"] == "GET":
            scope["route"] = SimpleNamespace(path="/v1/models")  # for the log
            services = [scope["app"].state.rewardkit, *(app.state.rewardkit for app in adapters.values())]
            data = [model for service in services for model in service.models()["data"]]
            await JSONResponse({"object": "list", "data": data})(scope, receive, send)
            return
        body = await read_body(receive)
        names = set(named_models(scope, body))
        wanted = names & adapters.keys()
        if wanted and len(names) > 1:
            error = ApiError(400, f"the graders of one request must name one model, not {', '.join(sorted(names))}")
            await error.response()(scope, receive, send)
            return
        app = adapters[wanted.pop()] if wanted else self.app
        await app(scope, replay(body, receive), send)


def adapter_app(service: RewardService, traffic: Traffic) -> FastAPI:
    """The routes of the base's app over an adapter's service; what stands before them is the base's."""
    from rewardkit.server.routes import router

    app = FastAPI(title="RewardKit", docs_url=None, redoc_url=None, openapi_url=None)
    app.state.rewardkit = service
    app.state.rewardkit_traffic = traffic
    app.router.routes.extend(router.routes)
    app.router.redirect_slashes = False
    app.add_exception_handler(HTTPException, http_exception)
    return app


def adapter_specs(adapters: Mapping[str, Path], base: RewardModelSpec) -> dict[str, RewardModelSpec]:
    """The spec of each adapter's folder.

    Raises:
        ConfigError: a folder is no adapter, or not of the base's kind and labels.
    """
    if adapters and base.kind == "implicit":
        raise ConfigError(
            "adapters of implicit models are not served beside each other: `rewardkit export` merges them"
        )
    specs = {}
    for name, folder in adapters.items():
        if not (folder / "adapter_config.json").is_file():
            raise ConfigError(f"adapters.{name}: {folder} holds no LoRA adapter; write one with `rewardkit export`")
        spec = RewardModelSpec.load(folder)
        if (spec.kind, spec.positive_label, spec.label_token_ids) != (
            base.kind, base.positive_label, base.label_token_ids,
        ):  # fmt: skip
            raise ConfigError(f"adapters.{name} is of another kind or has other labels than the model under it")
        specs[name] = spec
    return specs


def adapter_flags(adapters: Mapping[str, Path], kind: str) -> dict[str, Any]:
    """What makes vLLM hold the adapters in one engine.

    Raises:
        ConfigError: vLLM does not serve such adapters; the way that does is named.
    """
    if not adapters:
        return {}
    if kind not in KINDS:
        raise ConfigError(f"vLLM serves no adapters beside {kind} models here: `rewardkit export` merges them")
    ranks = []
    for name, folder in adapters.items():
        config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
        if config.get("modules_to_save"):
            raise ConfigError(
                f"adapters.{name} has a head of its own, which vLLM does not take beside another: "
                f"`rewardkit export {folder} OUT form=adapter` parts them, form=merged makes one model"
            )
        ranks.append(int(config["r"]))
    rank = next((r for r in _RANKS if r >= max(ranks)), max(ranks))
    modules = [f"{name}={folder.resolve()}" for name, folder in adapters.items()]
    return {"enable-lora": True, "lora-modules": modules, "max-lora-rank": rank, "max-loras": len(adapters)}


def adapted_models(base: LocalRewardModel, adapters: Mapping[str, Path]) -> dict[str, LocalRewardModel]:
    """Reward models that share the base's weights; the base itself keeps its own scores.

    Raises:
        ConfigError: an adapter does not fit.
    """
    from peft import PeftModel

    specs = adapter_specs(adapters, base.spec)
    lock, peft = threading.Lock(), None
    models = {name: copy(base) for name in adapters}
    plain = base.logits
    for name, folder in adapters.items():
        try:
            if peft is None:
                peft = PeftModel.from_pretrained(base.model, str(folder), adapter_name=name)
            else:
                peft.load_adapter(str(folder), adapter_name=name)
        except (OSError, ValueError, RuntimeError) as error:
            raise ConfigError(f"adapters.{name} does not fit: {' '.join(str(error).split())[:300]}") from None
        models[name].spec = specs[name]
        models[name]._encode = step_encoder(base.tokenizer, specs[name], max_length=specs[name].max_length)

    def switched(name: str | None) -> Any:
        def logits(batch: Sequence[EncodedSteps]) -> list[np.ndarray]:
            assert peft is not None
            with lock:
                if name is None:
                    with peft.disable_adapter():
                        return plain(batch)
                peft.set_adapter(name)
                return plain(batch)

        return logits

    base.logits = switched(None)  # type: ignore[method-assign]
    for name, model in models.items():
        model.logits = switched(name)  # type: ignore[method-assign]
    return models
