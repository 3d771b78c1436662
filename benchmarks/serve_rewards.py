"""How many responses a second does vLLM's POST /v1/rewards score, beside the plain transformers host?

    python benchmarks/serve_rewards.py --quick          16 responses, 2 repeats
    python benchmarks/serve_rewards.py --model DIR      a model of your own; --dtype bfloat16 for its speed and noise

The model is SmolLM2-135M with a random token head (a head's values do not change its speed); the responses are the
shipped GSM8K solutions. Both servers run at once and are asked in turn, with the same requests: 4 clients, one
request each. Every repeat uses other questions, so a prefix cache would not matter (this route does not read it yet).
Latency is that of one response in one request, nothing else running.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from rewardkit.models.embedded import quiet_transformers, resolve_model
from rewardkit.models.spec import RewardModelSpec
from rewardkit.server.launch import Server
from rewardkit.text.encode import find_separator

Items = list[dict[str, Any]]


def build_model(folder: Path) -> Path:
    """SmolLM2-135M with a random head of one label, and its ``reward_model.json``."""
    import torch
    from transformers import AutoModelForTokenClassification, AutoTokenizer

    base = resolve_model("smollm2-135m-instruct")
    tokenizer = AutoTokenizer.from_pretrained(base)
    torch.manual_seed(0)
    with quiet_transformers():
        model = AutoModelForTokenClassification.from_pretrained(base, num_labels=1, dtype="float32")
        model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    separator, separator_id = find_separator(tokenizer)
    RewardModelSpec(kind="token", separator=separator, separator_id=separator_id).save(folder)
    return folder


def responses(count: int) -> Items:
    """Questions with whole solutions of GSM8K's shipped sample."""
    import gzip
    import json

    from rewardkit.samples import sample_path

    with gzip.open(sample_path("gsm8k-solutions"), "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    items = [
        {"prompt": row["question"], "response": part["solution"]}
        for row in rows
        for part in row.values()
        if isinstance(part, dict)
    ]
    return [items[i % len(items)] for i in range(count)]


class Client:
    """Sends items to one server and keeps the times."""

    def __init__(self, server: Server) -> None:
        self.http = httpx.Client(base_url=server.url, timeout=600, trust_env=False)
        self.rates: list[float] = []
        self.latencies: list[float] = []

    def send(self, items: Items) -> list[float]:
        """All step scores of the items."""
        answer = self.http.post("/rewards", json={"input": items})
        answer.raise_for_status()
        return [score for datum in answer.json()["data"] for score in datum["step_scores"]]

    def throughput(self, items: Items) -> list[float]:
        """Score the items with 4 clients, one request each."""
        size = len(items) // 4
        parts = [items[i : i + size] for i in range(0, len(items), size)]
        start = time.perf_counter()
        with ThreadPoolExecutor(4) as pool:
            scores = [score for part in pool.map(self.send, parts) for score in part]
        self.rates.append(len(items) / (time.perf_counter() - start))
        return scores

    def latency(self, items: Items) -> None:
        """Score one item at a time."""
        for item in items:
            start = time.perf_counter()
            self.send([item])
            self.latencies.append(time.perf_counter() - start)


@contextmanager
def model_folder(given: str | None) -> Iterator[Path]:
    if given:
        yield Path(given)
        return
    with tempfile.TemporaryDirectory() as folder:
        yield build_model(Path(folder))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--model")
    parser.add_argument("--dtype", default="float32")
    options = parser.parse_args()
    count, repeats = (16, 2) if options.quick else (96, 5)
    items = responses(count * repeats)
    started = time.perf_counter()
    with (
        model_folder(options.model) as folder,
        Server(folder, backend="vllm", port=0, dtype=options.dtype) as engine,
        Server(folder, backend="transformers", port=0, dtype=options.dtype) as plain,
    ):
        print(
            f"both servers ready after {time.perf_counter() - started:.0f} s; {os.cpu_count()} cores, {options.dtype}"
        )
        vllm, transformers = Client(engine), Client(plain)
        differences = []
        for repeat in range(repeats):
            part = items[repeat * count : (repeat + 1) * count]
            pair = [client.throughput(part) for client in (vllm, transformers)]
            differences.append(max(abs(a - b) for a, b in zip(*pair, strict=True)))
            for client in (vllm, transformers):
                client.latency(part[:2])
            print(f"  repeat {repeat + 1}: {vllm.rates[-1]:.2f} vllm, {transformers.rates[-1]:.2f} transformers")
    report(vllm, transformers, max(differences), options.dtype)


def report(vllm: Client, transformers: Client, difference: float, dtype: str) -> None:
    rates = [statistics.median(client.rates) for client in (vllm, transformers)]
    latencies = [1000 * statistics.median(client.latencies) for client in (vllm, transformers)]
    target = "target <= 1e-05" if dtype == "float32" else "no target: batching alone moves it"
    print(f"serve_vllm_responses_per_s: {rates[0]:.2f} (no target)")
    print(f"serve_transformers_responses_per_s: {rates[1]:.2f} (no target)")
    print(f"serve_vllm_over_transformers: {rates[0] / rates[1]:.2f} (target >= 1.0)")
    print(f"serve_vllm_latency_ms: {latencies[0]:.0f} (no target)")
    print(f"serve_transformers_latency_ms: {latencies[1]:.0f} (no target)")
    print(f"serve_max_score_difference: {difference:.1e} ({target})")


if __name__ == "__main__":
    main()
