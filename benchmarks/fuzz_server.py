"""Does any request get anything but 2xx or 4xx with OpenAI's error body?

    python benchmarks/fuzz_server.py             20,000 mutated requests, 3,000 by schemathesis: 2 minutes
    python benchmarks/fuzz_server.py --quick     1,000 and about 200

The plain app with a tiny random model, in process. A mutated request is one of the valid ones below with one to four
changes: a value replaced, removed, doubled or renamed at any depth, by what is hard (surrogates, huge numbers, NaN,
deep lists, templates, formulas), or with its bytes, headers or method broken. schemathesis makes requests that the
OpenAPI description allows, and such as it forbids, and holds the answers against it. `tests/server/test_fuzz.py` runs
both for some seconds, and longer with --slow.
"""

from __future__ import annotations

import argparse
import asyncio
import copy
import json
import random
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx

QUESTION = {"role": "user", "content": "{{ item.question }}"}
CHECK = {"type": "string_check", "name": "c", "input": "{{sample.output_text}}", "reference": "7", "operation": "like"}
SCORE = {"type": "score_model", "name": "s", "model": "prm", "input": [QUESTION], "range": [0, 10]}
SUMS = {**SCORE, "model": "rewardkit/arithmetic", "name": "a"}
LIKE = {"type": "text_similarity", "name": "l", "input": "a b", "reference": "b", "evaluation_metric": "rouge_1"}
PASSES = {
    "type": "label_model",
    "name": "p",
    "model": "prm",
    "input": [QUESTION],
    "labels": ["y", "n"],
    "passing_labels": ["y"],
}
MULTI = {
    "type": "multi",
    "name": "m",
    "graders": {"c": CHECK, "s": SCORE, "a": SUMS},
    "calculate_output": "0.5 * c + max(s, 2 ^ a) / 3",
}
STEPS = {"prompt": "What is 48/2 + 1?", "steps": ["48/2 = 24", "24 + 1 = 25"]}
WHOLE = {"messages": [{"role": "user", "content": [{"type": "text", "text": "1+1?"}]}], "response": "1+1=2\n\n#### 2"}
RUN, VALIDATE = "/v1/fine_tuning/alpha/graders/run", "/v1/fine_tuning/alpha/graders/validate"
SAMPLE = {"model_sample": "48/2 = 24\n\n#### 7", "item": {"question": "1+1?", "n": [1, {"x": 2}]}}

SEEDS: list[tuple[str, Any]] = [
    (
        "/v1/rewards",
        {"input": [STEPS, WHOLE], "model": "prm", "aggregate": "min", "return": ["logits", "raw", "positions"]},
    ),
    ("/v1/rewards", {"input": WHOLE, "split_by": "lines", "calibrated": False, "on_error": "fail", "user": "u"}),
    ("/v1/rewards", {"input": [{"prompt_token_ids": [5, 6], "step_token_ids": [[7], [8, 9]]}], "return": ["steps"]}),
    *((RUN, {"grader": grader, **SAMPLE}) for grader in (CHECK, SCORE, SUMS, LIKE, PASSES, MULTI)),
    (RUN, {"grader": {"type": "python", "name": "p", "source": "1"}, **SAMPLE}),
    (VALIDATE, {"grader": MULTI}),
    ("/v1/score", {"queries": "1+1?", "documents": ["2", "3"]}),
    ("/v1/rerank", {"query": "1+1?", "documents": ["2", "3"], "top_n": 1}),
    ("/get_reward", {"query": ["1+1? 2</s>"], "prompts": ["1+1? "], "labels": ["2"]}),
]
HARD: list[Any] = [
    None, True, False, 0, -1, 1e308, 10**400, float("nan"), float("inf"), 2**63, -0.0, 0.5,
    "", " ", "\n\n", "\x00", "\ud800", "\udfff\ud800", "\U0001f600" * 50, "a" * 20_000, "= " * 300,
    "1+" * 2000, "(" * 3000,
    "<extra_0>", "<|im_end|>", "{{", "}}", "{{ item }}", "{{ item.question }}" * 40, "{{ sample.output_json.a[0] }}",
    "{{ item.__class__.__mro__ }}", "{% for x in y %}", "c + s", "1/0", "9^9^9^9", "-" * 60 + "c", "min()", "exp(1e9)",
    "log(0)",
    "$hypothesis$: {B}\n$facts$:\nfact1: {A}", "fact1 -> int1: {B} ;", "\\frac{1}{0} = \\sqrt{-1}", "#### 10**10**10",
    "rewardkit/z3", "rewardkit/math-answer", "rewardkit/arithmetic", "prm", "../../etc/passwd", "http://127.0.0.1/",
    [], {}, [[]], [None], {"": ""}, {"type": "string_check"}, [0] * 300, ["x"] * 300, [{"a": 1}] * 30,
    {str(i): i for i in range(300)},
]  # fmt: skip
METHODS = ["POST"] * 30 + ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"]
TYPES = ["application/json"] * 30 + ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "", "é"]


def nested(depth: int) -> Any:
    """A list in a list in a list."""
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths to everything in a JSON value but itself."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [p for key, inner in pairs for p in ((*path, key), *places(inner, (*path, key)))]


def mutate(body: Any, rng: random.Random) -> Any:
    """The body with one to four changes."""
    body = copy.deepcopy(body)
    for _ in range(rng.randint(1, 4)):
        known = places(body)
        if not known or rng.random() < 0.02:
            return copy.deepcopy(rng.choice(HARD))
        *way, key = rng.choice(known)
        holder = body
        for part in way:
            holder = holder[part]
        change(holder, key, known, body, rng)
    return body


def change(holder: Any, key: Any, known: list[tuple[Any, ...]], body: Any, rng: random.Random) -> None:
    """One change at one place."""
    kind = rng.randrange(7)
    if kind <= 2:
        holder[key] = copy.deepcopy(rng.choice(HARD))
    elif kind == 3:
        del holder[key]
    elif kind == 4 and isinstance(holder, dict):
        holder[rng.choice(["type", "x", str(key) + "s", "\ud800", ""])] = holder.pop(key)
    elif kind == 5 and isinstance(holder[key], list):
        holder[key] = holder[key] * rng.choice([2, 2, 20])
    elif isinstance(holder[key], str):
        text = holder[key]
        at = rng.randint(0, len(text))
        holder[key] = text[:at] + rng.choice([h for h in HARD if isinstance(h, str)]) + text[at:]
    else:
        other: Any = body
        for part in rng.choice(known):
            other = other[part]
        holder[key] = nested(rng.choice([50, 180])) if rng.random() < 0.3 else copy.deepcopy(other)


def request(rng: random.Random) -> dict[str, Any]:
    """Keyword arguments of one `httpx.AsyncClient.request`."""
    path, body = rng.choice(SEEDS)
    content = json.dumps(mutate(body, rng), ensure_ascii=rng.random() < 0.9).encode("utf-8", "surrogatepass")
    if rng.random() < 0.1:
        at = rng.randint(0, len(content))
        content = (
            content[:at] + rng.choice([b"", b"\xff", b"\x00", b"}", b"[" * 5000]) + content[at + rng.randint(0, 3) :]
        )
    if rng.random() < 0.02:
        path = rng.choice(["/v1/nothing", "/v1/rewards/", "//v1/rewards", "/v1/%00", "/v1/models", "/metrics"])
    headers = {
        "Content-Type": rng.choice(TYPES).encode(),
        "X-Request-Id": rng.choice(["a", "é", "x" * 300, "a b"]).encode(),
    }
    return {"method": rng.choice(METHODS), "url": path, "content": content, "headers": headers}


def fault(response: httpx.Response, method: str) -> str | None:
    """What is wrong with an answer; None for a good one."""
    if response.status_code >= 500:
        return f"{response.status_code}: {response.text[:200]}"
    if response.status_code < 300 or (method == "HEAD" and response.status_code >= 400):
        return None
    try:
        error = response.json()["error"]
        shaped = error.keys() == {"message", "type", "param", "code"} and error["message"]
    except (ValueError, KeyError, TypeError, AttributeError):
        shaped = False
    return None if shaped else f"{response.status_code} without OpenAI's error body: {response.text[:200]}"


async def fuzz(app: Any, count: int, seed: int) -> tuple[Counter[int], list[str]]:
    """Send `count` requests, eight at a time; the statuses and what was wrong."""
    rng = random.Random(seed)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    statuses: Counter[int] = Counter()
    faults: list[str] = []

    async def one(http: httpx.AsyncClient, sent: dict[str, Any]) -> None:
        response = await asyncio.wait_for(http.request(**sent), 120)
        statuses[response.status_code] += 1
        if (wrong := fault(response, sent["method"])) is not None:
            faults.append(f"{wrong} <- {sent['method']} {sent['url']} {sent['content'][:400]!r}")

    async with httpx.AsyncClient(transport=transport, base_url="http://x") as http:
        for start in range(0, count, 8):
            await asyncio.gather(*(one(http, request(rng)) for _ in range(min(8, count - start))))
    return statuses, faults


def fuzz_by_schema(app: Any, key: str, examples: int, seed: int) -> tuple[Counter[int], list[str]]:
    """Let schemathesis send about `examples` allowed and as many forbidden requests to every route of ours.

    The answers must be as the description says (status, headers, media type, body), what it forbids must be refused,
    and nobody gets in without the key. Not held against it: that all it allows is accepted, since a model's name, a
    formula or a template may be wrong in ways that no schema says. `POST /v1/rewards` answers an input that is none in
    its place, with 200 for the others, so there what is forbidden may be accepted.
    """
    import hypothesis
    import schemathesis
    from schemathesis import GenerationMode, checks

    from rewardkit.server.openapi import ANSWERS

    checks.load_all_checks()
    names = ["not_a_server_error", "status_code_conformance", "content_type_conformance", "unsupported_method"]
    names += ["response_headers_conformance", "response_schema_conformance", "ignored_auth"]
    strict = checks.CHECKS.get_by_names([*names, "negative_data_rejection"])
    lenient = checks.CHECKS.get_by_names(names)
    headers = {"Authorization": f"Bearer {key}"}
    schema = schemathesis.openapi.from_asgi("/openapi.json", app, headers=headers)
    statuses: Counter[int] = Counter()
    faults: list[str] = []

    def send(case: Any) -> None:
        # A deadline that nothing can meet is a 504 that was asked for.
        case.headers.pop("X-Request-Timeout", None)
        response = case.call(headers=headers)
        statuses[response.status_code] += 1
        # schemathesis does not count 413 as a refusal.
        wanted = lenient if case.path == "/v1/rewards" or response.status_code == 413 else strict
        try:
            case.validate_response(response, checks=wanted, headers=headers)
        except BaseExceptionGroup as group:
            told = "; ".join(str(e).replace("\n", " ")[:200] for e in group.exceptions)
            faults.append(f"{told} <- {case.method} {case.path} {case.body!r:.300}")

    rules = hypothesis.settings(
        max_examples=examples,
        database=None,
        deadline=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    operations = [found.ok() for found in schema.get_all_operations()]
    for operation in (o for o in operations if o.path in ANSWERS):
        modes = [GenerationMode.POSITIVE, *([GenerationMode.NEGATIVE] if operation.body else [])]
        for mode in modes:
            strategy = operation.as_strategy(generation_mode=mode)
            hypothesis.seed(seed)(rules(hypothesis.given(case=strategy)(send)))()
    return statuses, faults


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    import sys

    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from tiny import build_tiny_reward_model

    from rewardkit.server.app import create_app, load_scorer

    with tempfile.TemporaryDirectory() as folder:
        scorer = load_scorer(build_tiny_reward_model(Path(folder)), name="prm")
        open_app, locked_app = create_app(scorer), create_app(scorer, keys=["k"])
        start, used = time.perf_counter(), time.process_time()
        statuses, faults = asyncio.run(fuzz(open_app, 1000 if options.quick else 20_000, options.seed))
        print(f"mutated, by status: {sorted(statuses.items())}", flush=True)
        more, wrong = fuzz_by_schema(locked_app, "k", 12 if options.quick else 190, options.seed)
        print(f"by schemathesis, by status: {sorted(more.items())}")
    for line in [*faults[:10], *wrong[:10]]:
        print(line)
    seconds, cpu = time.perf_counter() - start, time.process_time() - used
    print(f"{seconds:.0f} s, {cpu:.0f} s of CPU")
    print(f"fuzzed_requests: {statuses.total() + more.total()}")
    print(f"not_as_described: {len(wrong)} (target 0)")
    print(f"neither_2xx_nor_4xx_with_a_body: {len(faults)} (target 0)")


if __name__ == "__main__":
    main()
