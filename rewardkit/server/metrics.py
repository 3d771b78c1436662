"""Prometheus metrics of the service, beside vLLM's own where it hosts us."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

REQUESTS = Counter("rewardkit_requests", "HTTP requests by route and status (0: the client left).", ["route", "status"])
IN_FLIGHT = Gauge("rewardkit_requests_in_flight", "HTTP requests being answered.", multiprocess_mode="livesum")
PENDING = Gauge("rewardkit_pending_responses", "Responses that wait or run.", multiprocess_mode="livesum")
PENDING_LIMIT = Gauge("rewardkit_pending_limit", "Responses that may wait or run; more get 429.")
RESPONSES = Counter("rewardkit_responses", "Responses scored.")
REFUSED = Counter("rewardkit_refused_responses", "Responses that could not be scored, beside others that were.")
STEPS = Counter("rewardkit_steps", "Steps scored.")
TOKENS = Counter("rewardkit_tokens", "Tokens of the scored inputs.")
CACHED_TOKENS = Counter("rewardkit_cached_tokens", "Tokens of them that the prefix cache held.")
CACHE_HITS = Counter("rewardkit_cache_hits", "Responses of which the prefix cache held a part.")
ABSTENTIONS = Counter("rewardkit_abstentions", "Grades that are null, since nothing could be checked.", ["model"])
RESTARTS = Gauge("rewardkit_engine_restarts", "How often the engine was started again since `rewardkit serve`.")
SECONDS = Histogram(
    "rewardkit_request_seconds",
    "Time of one scoring request.",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600),
)
SCORES = Histogram("rewardkit_step_score", "Scores of steps.", buckets=[i / 20 for i in range(1, 21)])
