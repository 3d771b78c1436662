"""A load test of a scoring service, with thresholds: exit code 1 where one of them is missed.

    export REWARDKIT_API_KEY=...
    locust -f serving/load/locustfile.py --headless -u 256 -r 32 -t 10m --host http://127.0.0.1:8000 --p99-ms 5000

Each client scores one group after another: `--group` responses of `--steps` steps to one problem, as an RL loop does;
with `--grow` it scores them as they grow, step by step, as a search does, which the prefix cache makes cheaper. 429 is
no failure: the client waits as long as the server says, and the share of such answers has a threshold of its own.
"""

from __future__ import annotations

import os
import random
import time
from typing import Any

from locust import FastHttpUser, events, task
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment

WORDS = ("then", "we", "add", "the", "first", "number", "to", "twice", "the", "second", "divide", "what", "is", "left")
refused = answered = 0


@events.init_command_line_parser.add_listener
def _options(parser: LocustArgumentParser) -> None:
    parser.add_argument("--model-name", default="", help="served name; empty takes the first")
    parser.add_argument("--group", type=int, default=8, help="responses of one problem in a request")
    parser.add_argument("--steps", type=int, default=6, help="steps of a response")
    parser.add_argument("--words", type=int, default=30, help="words of a step")
    parser.add_argument("--grow", action="store_true", help="score each group step by step")
    parser.add_argument("--p50-ms", type=float, default=float("inf"), help="threshold of the median")
    parser.add_argument("--p99-ms", type=float, default=float("inf"), help="threshold of the 99th percentile")
    parser.add_argument("--max-failures", type=float, default=0.0, help="allowed share of failed requests")
    parser.add_argument("--max-refused", type=float, default=1.0, help="allowed share of 429")


class Client(FastHttpUser):
    """Scores groups, one after another, as fast as they are answered."""

    def on_start(self) -> None:
        key = os.environ.get("REWARDKIT_API_KEY", "").partition(",")[0]
        self.headers = {"Authorization": f"Bearer {key}"} if key else {}

    @task
    def score_group(self) -> None:
        options = self.environment.parsed_options
        problem = f"Problem {random.randrange(10**9)}: " + " ".join(random.choices(WORDS, k=options.words))
        group = [[_step(options.words) for _ in range(options.steps)] for _ in range(options.group)]
        for length in range(1, options.steps + 1) if options.grow else [options.steps]:
            self._ask([{"prompt": problem, "steps": steps[:length]} for steps in group], options.model_name)

    def _ask(self, inputs: list[dict[str, Any]], model: str) -> None:
        global refused, answered
        body = {"input": inputs, "on_error": "fail"} | ({"model": model} if model else {})
        with self.client.post("/v1/rewards", json=body, headers=self.headers, catch_response=True) as response:
            answered += 1
            if response.status_code == 429:
                refused += 1
                response.success()
                time.sleep(min(float(response.headers.get("Retry-After") or 1), 30.0))
            elif response.status_code != 200 or len(response.json()["data"]) != len(inputs):
                response.failure(f"{response.status_code}: {response.text[:200] if response.text else 'no answer'}")


def _step(words: int) -> str:
    return " ".join(random.choices(WORDS, k=words)) + ".\n"


@events.quitting.add_listener
def _judge(environment: Environment, **_: Any) -> None:
    """Print every figure beside its threshold, and set the exit code."""
    options, total = environment.parsed_options, environment.stats.total
    figures = {
        "failures": (total.fail_ratio, options.max_failures),
        "refused": (refused / max(answered, 1), options.max_refused),
        "p50 ms": (total.get_response_time_percentile(0.5) or 0.0, options.p50_ms),
        "p99 ms": (total.get_response_time_percentile(0.99) or 0.0, options.p99_ms),
    }
    for name, (value, most) in figures.items():
        print(f"{name}: {value:g} (threshold <= {most:g})")
    scored = (total.num_requests - total.num_failures - refused) * options.group
    print(
        f"responses/s: {scored / max(total.last_request_timestamp - total.start_time, 1e-9):.1f}"
        if scored
        else "nothing scored"
    )
    passed = scored > 0 and all(value <= most for value, most in figures.values())
    environment.process_exit_code = 0 if passed else 1
