"""OpenAI's error body for everything that goes wrong: ``{"error": {"message", "type", "param", "code"}}``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from rewardkit.errors import RewardKitError

_CODES = {
    400: "invalid_request",
    401: "invalid_api_key",
    404: "unknown_url",
    405: "method_not_allowed",
    408: "timeout",
    413: "request_too_large",
    429: "too_many_requests",
    499: "client_closed_request",
    503: "unavailable",
    504: "timeout",
}


class ApiError(Exception):
    """An answer other than 200.

    Args:
        status: the HTTP status.
        message: one sentence that says what to do.
        param: the field of the request, such as ``input[3].steps``.
        code: a word for programs; None takes the usual one of the status.
        retry_after: seconds, sent as the Retry-After header.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.param = param
        self.code = code
        self.retry_after = retry_after

    @property
    def body(self) -> dict[str, Any]:
        """See `error_body`."""
        return error_body(self.status, self.message, self.param, self.code)

    def response(self) -> JSONResponse:
        """The HTTP answer."""
        headers = {"Retry-After": str(self.retry_after)} if self.retry_after is not None else {}
        if self.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        return JSONResponse(self.body, self.status, headers)


def error_body(status: int, message: str, param: str | None = None, code: str | None = None) -> dict[str, Any]:
    """OpenAI's error body.

    >>> error_body(404, "no such model", "model", "model_not_found")["error"]["type"]
    'invalid_request_error'
    """
    kind = "server_error" if status >= 500 else "rate_limit_error" if status == 429 else "invalid_request_error"
    code = code or _CODES.get(status, "server_error" if status >= 500 else "invalid_request")
    # What is told may repeat the client's words, and JSON cannot be sent with half a surrogate pair in it.
    return {"error": {"message": _sendable(message), "type": kind, "param": param and _sendable(param), "code": code}}


def _sendable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def to_api_error(error: Exception) -> ApiError | None:
    """The answer to an expected exception; None for a fault of ours."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, RequestValidationError):
        return _from_validation(error)
    if isinstance(error, RewardKitError):
        return ApiError(400, str(error))
    if isinstance(error, HTTPException):
        return ApiError(error.status_code, str(error.detail))
    return None


async def http_exception(request: Request, error: Exception) -> Response:
    """Starlette's own 404 and 405 in OpenAI's shape; the handler that both hosts install."""
    assert isinstance(error, HTTPException)
    what = {404: f"there is no route {request.url.path}", 405: f"{request.url.path} does not take {request.method}"}
    response = ApiError(error.status_code, what.get(error.status_code, str(error.detail))).response()
    headers: Mapping[str, str] = error.headers or {}
    response.headers.update(headers)
    return response


def _from_validation(error: RequestValidationError) -> ApiError:
    """400, not FastAPI's 422, with the first fault; the input is never echoed (it may be large, or not UTF-8)."""
    fault = error.errors()[0]
    if fault["type"] == "json_invalid":
        reason = fault.get("ctx", {}).get("error", "")
        return ApiError(400, f"the body is not JSON: {reason}", code="invalid_json")
    if fault["loc"] == ("body",) and fault["type"] != "value_error":
        return ApiError(400, "the body must be a JSON object, sent with 'Content-Type: application/json'")
    return from_fault(fault)


def from_fault(fault: Mapping[str, Any], where: str = "") -> ApiError:
    """400 for one of pydantic's errors, with the path to the field; `where` is what it lies in."""
    path = [p for p in fault["loc"] if isinstance(p, int) or not re.match(r"body$|str$|list\[|function-", p)]
    param = (where + "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in path)).lstrip(".") or None
    message = str(fault["msg"]).removeprefix("Value error, ")
    return ApiError(400, f"{param}: {message}" if param else message, param=param)
