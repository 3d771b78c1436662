"""OpenTelemetry traces, where an endpoint for them is set (``OTEL_EXPORTER_OTLP_ENDPOINT``, ``..._TRACES_ENDPOINT``).

A span for each request, with the caller's ``traceparent`` as its parent, and below it one for tokenizing and one for
the model. What they carry are counts and names, never a text.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rewardkit.errors import ConfigError

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer
    from starlette.types import Scope

ENDPOINT_VARIABLES = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_WITHOUT_MESSAGES: dict[str, Any] = {"record_exception": False, "set_status_on_exception": False}
"""An exception's message may repeat what a user wrote."""
_NEEDED = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")


class RequestSpan:
    """A request's span; it does nothing where traces are off."""

    def __init__(self, span: Span | None = None) -> None:
        self._span = span

    def answered(self, route: str, status: int) -> None:
        """Name it by its route, and say how the request ended."""
        if self._span is None:
            return
        self._span.update_name(f"{self._span.name.partition(' ')[0]} {route}")  # type: ignore[attr-defined]
        self._span.set_attributes({"http.route": route, "http.response.status_code": status})
        if status >= 500:
            from opentelemetry.trace import StatusCode

            self._span.set_status(StatusCode.ERROR)


def wanted() -> bool:
    """Whether an endpoint is set."""
    return any(os.environ.get(name) for name in ENDPOINT_VARIABLES)


def check_installed() -> None:
    """Raise where traces are wanted and cannot be sent.

    Raises:
        ConfigError: what to install.
    """
    if wanted() and not all(_is_there(name) for name in _NEEDED):
        name = next(n for n in ENDPOINT_VARIABLES if os.environ.get(n))
        raise ConfigError(f"{name} is set, and traces need a package more: pip install 'rewardkit[traces]'")


@contextlib.contextmanager
def request_span(scope: Scope, request_id: str) -> Iterator[RequestSpan]:
    """The span of one HTTP request, child of the caller's."""
    tracer = _tracer()
    if tracer is None:
        yield RequestSpan()
        return
    from opentelemetry.propagate import extract
    from opentelemetry.trace import SpanKind

    method = str(scope.get("method", "WEBSOCKET"))
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    attributes = {"http.request.method": method, "rewardkit.request_id": request_id}
    with tracer.start_as_current_span(
        method, extract(headers), SpanKind.SERVER, attributes, **_WITHOUT_MESSAGES
    ) as span:
        yield RequestSpan(span)


@contextlib.contextmanager
def span(name: str, **counts: int) -> Iterator[None]:
    """A part of the request that runs; `counts` become its attributes."""
    tracer = _tracer()
    if tracer is None:
        yield
        return
    with tracer.start_as_current_span(
        name, attributes={f"rewardkit.{key}": n for key, n in counts.items()}, **_WITHOUT_MESSAGES
    ) as part:
        try:
            yield
        except BaseException as error:
            part.set_attribute("error.type", type(error).__name__)
            raise


def flush() -> None:
    """Send what has not been sent yet; called before the process ends."""
    if _tracer.cache_info().currsize and wanted():
        _provider().force_flush(2000)


@functools.cache
def _tracer() -> Tracer | None:
    return _provider().get_tracer("rewardkit.server") if wanted() else None


@functools.cache
def _provider() -> Any:
    """A provider of our own: the process-wide one belongs to the host, and vLLM sets it for its own traces."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    name = os.environ.get("OTEL_SERVICE_NAME", "rewardkit")
    provider = TracerProvider(resource=Resource.create({"service.name": name}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


def _is_there(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False
