"""Log lines, traces and counts of requests; the collector of traces is a stand-in that keeps what it is sent."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from prometheus_client import REGISTRY
from test_service_limits import BODY, FaultyScorer, client, fault, zeros

from rewardkit.server import tracing
from rewardkit.server.app import create_app
from rewardkit.server.logs import TEXT_VARIABLE, JsonFormatter

SECRET = "a-word-of-the-user"
SPOKEN = {"input": [{"prompt": SECRET, "steps": [SECRET]}]}
ABSTAINS = {
    "grader": {
        "type": "score_model",
        "name": "z",
        "model": "rewardkit/arithmetic",
        "input": [{"role": "user", "content": SECRET}],
    },
    "model_sample": SECRET,
}


def post(app, path="/v1/rewards", body=None, **headers):
    async def run():
        async with client(app) as http:
            return await http.post(path, json=body or BODY, headers=headers)

    return asyncio.run(run())


@pytest.fixture
def lines():
    """What goes into the log, as objects."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    logger = logging.getLogger("rewardkit")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    logger.removeHandler(handler)
    logger.setLevel(level)


def test_a_request_is_one_line_with_the_clients_id(lines):
    post(create_app(FaultyScorer(zeros)), **{"X-Request-Id": "run-7"})
    (line,) = lines()
    assert line["request_id"] == "run-7" and line["logger"] == "rewardkit.server.access"
    assert (line["method"], line["route"], line["status"]) == ("POST", "/v1/rewards", 200)
    assert line["level"] == "info" and line["seconds"] >= 0 and line["time"].endswith("+00:00")


@pytest.mark.parametrize("path", ["/v1/rewards", f"/v1/{SECRET}?q={SECRET}", "/get_reward"])
def test_no_text_of_users_is_logged_whatever_goes_wrong(lines, path):
    async def repeats(batch):
        raise KeyError(SECRET)

    for answer in (zeros, repeats):
        post(create_app(FaultyScorer(answer)), path, SPOKEN)
    assert lines() and SECRET not in json.dumps(lines())


def test_a_fault_has_its_type_and_place_and_the_text_only_when_asked_for(lines, monkeypatch):
    post(create_app(FaultyScorer(fault)))
    monkeypatch.setenv(TEXT_VARIABLE, "1")
    post(create_app(FaultyScorer(fault)))
    hidden, shown = [line for line in lines() if line["level"] == "error"]
    assert hidden["error"] == "KeyError" and any("test_service_limits.py" in frame for frame in hidden["trace"])
    assert "detail" not in hidden and "secret inner detail" in shown["detail"]
    assert hidden["request_id"] != shown["request_id"]


def test_outside_a_request_other_libraries_speak_freely_and_inside_only_their_templates():
    from rewardkit.server.logs import REQUEST_ID

    record = logging.LogRecord("vllm", logging.ERROR, "x.py", 1, "failed on %s", (SECRET,), None)
    assert json.loads(JsonFormatter().format(record))["message"] == f"failed on {SECRET}"
    token = REQUEST_ID.set("r")
    try:
        assert json.loads(JsonFormatter().format(record))["message"] == "failed on %s"
    finally:
        REQUEST_ID.reset(token)


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def test_requests_steps_scores_and_abstentions_are_counted():
    app = create_app(FaultyScorer(zeros))
    names = ("rewardkit_steps_total", "rewardkit_step_score_count", "rewardkit_responses_total")
    before = [value(name) for name in names]
    requests = value("rewardkit_requests_total", route="/v1/rewards", status="200")
    abstained = value("rewardkit_abstentions_total", model="rewardkit/arithmetic")
    post(app)
    post(app, "/v1/fine_tuning/alpha/graders/run", ABSTAINS)
    assert [value(name) - old for name, old in zip(names, before, strict=True)] == [2, 2, 1]
    assert value("rewardkit_requests_total", route="/v1/rewards", status="200") - requests == 1
    assert value("rewardkit_abstentions_total", model="rewardkit/arithmetic") - abstained == 1
    assert value("rewardkit_requests_in_flight") == value("rewardkit_pending_responses") == 0
    assert value("rewardkit_pending_limit") == 4096


@contextmanager
def collector():
    """A stand-in for an OpenTelemetry collector; gives its URL and the spans that it got."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    spans = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            got = ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["Content-Length"])))
            spans.extend(s for r in got.resource_spans for scope in r.scope_spans for s in scope.spans)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", spans
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def fresh_tracing():
    for cache in (tracing._tracer, tracing._provider):
        cache.cache_clear()
    yield
    if tracing._provider.cache_info().currsize:
        tracing._provider().shutdown()
    for cache in (tracing._tracer, tracing._provider):
        cache.cache_clear()


def test_traces_go_to_the_endpoint_below_the_callers_span(fresh_tracing, monkeypatch):
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http")
    trace = "0af7651916cd43dd8448eb211c80319c"
    with collector() as (url, spans):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        sent = {"traceparent": f"00-{trace}-b7ad6b7169203331-01", "X-Request-Id": "run-7"}
        post(create_app(FaultyScorer(zeros)), body=SPOKEN, **sent)
        post(create_app(FaultyScorer(fault)))
        tracing.flush()
    request, *_ = [s for s in spans if s.trace_id.hex() == trace and s.parent_span_id.hex() == "b7ad6b7169203331"]
    attributes = {a.key: a.value.string_value or a.value.int_value for a in request.attributes}
    assert request.name == "POST /v1/rewards" and attributes["http.response.status_code"] == 200
    assert attributes["rewardkit.request_id"] == "run-7"
    inner = {s.name for s in spans if s.parent_span_id == request.span_id}
    assert inner == {"tokenize", "score"}
    failed = [s for s in spans if s.name == "POST /v1/rewards" and s.trace_id.hex() != trace]
    assert [s.status.code for s in failed] == [2]
    assert SECRET not in str(spans) and "secret inner detail" not in str(spans)


def test_without_an_endpoint_nothing_is_traced(fresh_tracing, monkeypatch):
    for name in tracing.ENDPOINT_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    post(create_app(FaultyScorer(zeros)))
    assert not tracing.wanted() and not tracing._provider.cache_info().currsize
