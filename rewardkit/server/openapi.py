"""``GET /openapi.json``: FastAPI's description of our routes, made true.

FastAPI knows what a route takes, but not what it answers, that a bad request gets 400 with OpenAI's body and not 422,
or that every route is behind the key. What vLLM says of its own routes stays as vLLM says it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from rewardkit.server import answers
from rewardkit.server.traffic import OPEN_PATHS

ANSWERS: dict[str, type[BaseModel] | str | None] = {
    "/v1/rewards": answers.RewardsAnswer,
    "/v1/fine_tuning/alpha/graders/run": answers.GraderRunAnswer,
    "/v1/fine_tuning/alpha/graders/validate": answers.GraderValidateAnswer,
    "/get_reward": answers.GroupRewards,
    "/v1/score": answers.ScoreAnswer,
    "/v1/rerank": answers.RerankAnswer,
    "/v1/models": answers.ModelsAnswer,
    "/v1/chat/completions": answers.ChatAnswer,
    "/ready": answers.ReadyAnswer,
    "/health": None,
    "/metrics": "text/plain",
}
"""What a route answers with 200: a model as JSON, a media type, or nothing."""

_STREAMS = frozenset({"/v1/chat/completions", "/v1/rewards"})
"""Routes that answer as a stream of events where the request asks for one."""
_REFS = "#/components/schemas/{model}"
_ERROR = {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorAnswer"}}}
_REQUEST_ID = {"X-Request-Id": {"schema": {"type": "string"}, "description": "The request's id, as it is in the log."}}
_RETRY = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds; where trying again may help."}}
_PARAMETERS = [
    {
        "name": "X-Request-Id",
        "in": "header",
        "required": False,
        "schema": {"type": "string"},
        "description": "Comes back with the answer if it is a plain word; else one is made.",
    },
    {
        "name": "X-Request-Timeout",
        "in": "header",
        "required": False,
        "schema": {"type": "number", "exclusiveMinimum": 0},
        "description": "Seconds that the client will wait; then 504, and the work is stopped.",
    },
]


def install_openapi(app: FastAPI, *, keys: bool) -> None:
    """Let the app describe our routes as they are, beside what FastAPI says of the others.

    Args:
        app: the host's.
        keys: whether the routes need one.
    """
    original: Callable[[], dict[str, Any]] = app.openapi
    made: dict[str, Any] = {}

    def openapi() -> dict[str, Any]:
        if not made:
            made.update(described(original(), keys=keys))
        return made

    app.openapi = openapi  # type: ignore[method-assign]


def described(schema: dict[str, Any], *, keys: bool) -> dict[str, Any]:
    """A description with our routes' answers, errors, headers and key in it.

    Args:
        schema: FastAPI's; it is changed.
        keys: whether the routes need one.
    """
    components = schema.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    models: list[type[BaseModel]] = [answers.ErrorAnswer, *(a for a in ANSWERS.values() if isinstance(a, type))]
    _, definitions = models_json_schema([(m, "serialization") for m in models], ref_template=_REFS)
    schemas.update(definitions["$defs"])
    if keys:
        components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    for path, operations in schema["paths"].items():
        if path in ANSWERS:
            for operation in operations.values():
                _describe(path, operation, keys)
    _say_what_validators_check(schemas)
    return schema


def _describe(path: str, operation: dict[str, Any], keys: bool) -> None:
    errors = {"description": "An error.", "headers": {**_REQUEST_ID, **_RETRY}, "content": _ERROR}
    operation["responses"] = {"200": _answer(path), "4XX": errors, "5XX": errors}
    if path not in OPEN_PATHS:
        if keys:
            operation["security"] = [{"key": []}]
        operation["parameters"] = [*operation.get("parameters", []), *_PARAMETERS]


def _answer(path: str) -> dict[str, Any]:
    answer = ANSWERS[path]
    content: dict[str, Any] = {}
    if isinstance(answer, str):
        content[answer] = {"schema": {"type": "string"}}
    elif answer is not None:
        content["application/json"] = {"schema": {"$ref": _REFS.format(model=answer.__name__)}}
    if path in _STREAMS:
        # Before OpenAPI 3.2 the schema of a stream is that of each event.
        event = {"type": "object", "properties": {"data": {"type": "string"}}, "required": ["data"]}
        content["text/event-stream"] = {"schema": event}
    return {"description": "Done.", "headers": _REQUEST_ID, **({"content": content} if content else {})}


def _say_what_validators_check(schemas: dict[str, Any]) -> None:
    """Rules between fields, which the models check in code."""
    request, item = schemas.get("RewardsRequest"), schemas.get("RewardInput")
    if request is None or item is None:
        return
    many = request["properties"]["input"]
    request["properties"]["input"] = {"anyOf": [{"$ref": _REFS.format(model="RewardInput")}, many]}
    as_ids = [_has("prompt_token_ids"), _has("step_token_ids")]
    item["allOf"] = [
        {"oneOf": [_has("prompt"), _has("messages"), as_ids[0]]},
        {"oneOf": [_has("steps"), _has("response"), as_ids[1]]},
        {"oneOf": [{"allOf": as_ids}, {"not": {"anyOf": as_ids}}]},
    ]


def _has(name: str) -> dict[str, Any]:
    return {"required": [name], "properties": {name: {"not": {"type": "null"}}}}
