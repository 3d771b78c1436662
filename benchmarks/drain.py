"""Does a server that is told to end under load answer what it took, and then end?

    python benchmarks/drain.py                            20 trials of `rewardkit serve` over vLLM, about 15 minutes
    python benchmarks/drain.py --quick                    3 trials over transformers
    python benchmarks/drain.py --backend transformers --trials 20

A trial starts `rewardkit serve` on a tiny random model, lets clients send requests of three kinds without pause
(scores, a grader, and vLLM's own /pooling where it hosts), sends SIGTERM, and lets the clients go on until nobody
listens. Lost is a request that was in flight at SIGTERM and got neither its scores nor, where it arrived just behind
the signal, a 503 that says that it was not taken; hung is one without any end within a minute, or a server that has not
ended by its limit; cut is one sent after SIGTERM whose connection closed without an answer.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any

import httpx

DRAIN_SECONDS, END_SECONDS = 15, 60
STEPS = ["48 / 2 = 24 clips in May", "48 + 24 = 72 clips altogether"]
ITEM = {"prompt": "How many clips did Natalia sell altogether? " * 4, "steps": STEPS * 4}
SCORES = ("/v1/rewards", {"input": [ITEM] * 16})
GRADER = {"type": "score_model", "name": "s", "model": "prm", "input": [{"role": "user", "content": "{{item.q}}"}]}
GRADE = ("/v1/fine_tuning/alpha/graders/run", {"grader": GRADER, "model_sample": "1+1=2", "item": {"q": "1+1?"}})
POOLING = ("/pooling", {"model": "prm", "input": [f"{i} " + "clips in May " * 60 for i in range(16)]})


@dataclass
class Trial:
    """What became of the requests.

    Attributes:
        told: when SIGTERM was sent.
        in_flight, after: outcomes of requests begun before and not done by then, and of those begun after it.
        before: answers before it.
        seconds: from SIGTERM to the end of the process.
    """

    told: float = float("inf")
    before: Counter[str] = field(default_factory=Counter)
    in_flight: Counter[str] = field(default_factory=Counter)
    after: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    code: int | None = None

    @property
    def lost(self) -> int:
        return sum(n for outcome, n in self.in_flight.items() if outcome not in ("200", "not taken"))

    @property
    def hung(self) -> int:
        return self.in_flight["hung"] + self.after["hung"] + (self.code is None)

    @property
    def cut(self) -> int:
        return self.after["cut"]


async def client(url: str, requests: Iterator[tuple[str, dict[str, Any]]], trial: Trial) -> None:
    """Send one request after the other until nobody listens."""
    async with httpx.AsyncClient(base_url=url, trust_env=False, verify=False, timeout=END_SECONDS) as http:
        while True:
            path, body = next(requests)
            begun = time.monotonic()
            try:
                answer = await http.post(path, json=body)
                outcome = "not taken" if "is going down" in answer.text else str(answer.status_code)
            except httpx.ConnectError:
                outcome = "refused"
            except httpx.TimeoutException:
                outcome = "hung"
            except httpx.TransportError:
                outcome = "cut"
            done = time.monotonic()
            kind = trial.before if done < trial.told else trial.in_flight if begun < trial.told else trial.after
            kind[outcome] += 1
            if outcome in ("refused", "hung"):
                return
            if outcome == "not taken":
                await asyncio.sleep(0.05)


async def run_trial(model: Path, backend: str, clients: int, load_seconds: float) -> Trial:
    command = [sys.executable, "-m", "rewardkit", "serve", str(model), f"backend={backend}", "profile=cpu", "port=0"]
    command += ["name=prm", f"drain_seconds={DRAIN_SECONDS}", "--json", "--log", str(model / "serve.log")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    trial = Trial()
    try:
        assert process.stdout is not None
        url = json.loads(await asyncio.to_thread(_object, process.stdout))["url"].removesuffix("/v1")
        kinds = [SCORES, GRADE, *([POOLING] if backend == "vllm" else [])]
        working = [
            asyncio.create_task(client(url, cycle(kinds[i % len(kinds) :] + kinds), trial)) for i in range(clients)
        ]
        await asyncio.sleep(load_seconds)
        while trial.before.total() < 2 * clients:  # the machine may be slow
            await asyncio.sleep(0.05)
        await asyncio.sleep(random.uniform(0.1, 0.5))
        trial.told = time.monotonic()
        process.send_signal(signal.SIGTERM)
        await asyncio.gather(*working)
        try:
            trial.code = await asyncio.to_thread(process.wait, END_SECONDS)
        except subprocess.TimeoutExpired:
            trial.code = None
        trial.seconds = time.monotonic() - trial.told
    finally:
        process.kill()
        process.wait()
    return trial


def _object(lines: Any) -> str:
    text = ""
    for line in lines:
        text += line
        if line == "}\n":
            return text
    raise SystemExit("the server ended before it was ready")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--backend", choices=["vllm", "transformers"], default="vllm")
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--clients", type=int, default=12)
    parser.add_argument("--load-seconds", type=float, default=2.0)
    options = parser.parse_args()
    if options.quick:
        options.trials, options.backend = 3, "transformers"
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from tiny import build_tiny_reward_model

    trials = []
    with tempfile.TemporaryDirectory() as folder:
        model = build_tiny_reward_model(Path(folder) / "prm", num_labels=2)
        for number in range(1, options.trials + 1):
            trial = asyncio.run(run_trial(model, options.backend, options.clients, options.load_seconds))
            trials.append(trial)
            print(
                f"{number:>2}  before {dict(trial.before)}  in flight {dict(trial.in_flight)}  "
                f"after {dict(trial.after)}  ended in {trial.seconds:.1f} s with {trial.code}",
                flush=True,
            )
    answered = sum(t.in_flight["200"] for t in trials)
    print(f"in_flight_at_sigterm_and_scored: {answered} of {sum(t.in_flight.total() for t in trials)}")
    print(f"begun_before_but_not_taken: {sum(t.in_flight['not taken'] for t in trials)}")
    print(f"cut_after_sigterm: {sum(t.cut for t in trials)}")
    print(f"slowest_end_seconds: {max(t.seconds for t in trials):.1f} (target <= {DRAIN_SECONDS + 12 + 10})")
    print(f"trials_that_hung: {sum(t.hung > 0 for t in trials)} of {len(trials)} (target 0)")
    print(f"trials_that_lost_an_answer: {sum(t.lost > 0 for t in trials)} of {len(trials)} (target 0)")


if __name__ == "__main__":
    main()
