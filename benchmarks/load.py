"""Does a server hold under many clients for a long time: no 5xx, bounded memory?

    python benchmarks/load.py --minutes 10       256 clients on vLLM with a tiny random model
    python benchmarks/load.py --quick            32 clients for half a minute, over transformers
    python benchmarks/load.py --model DIR --backend transformers --clients 64

Every client sends one request after the other: two responses of two steps to a question of its own. 429 is an answer
that a client is told to expect: it waits as Retry-After says. Memory is the resident set of the server and all its
processes; it grows while caches fill, so its growth is told from the first third on.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import psutil

WORDS = ["48", "/", "2", "=", "24", "clips", "in", "May", "so", "the", "total", "is", "thus", "72", "altogether"]


class Load:
    """What all clients have seen so far."""

    def __init__(self, seconds: float) -> None:
        self.end = time.monotonic() + seconds
        self.statuses: Counter[str] = Counter()
        self.times: list[float] = []

    async def client(self, url: str, number: int) -> None:
        rng = random.Random(number)
        async with httpx.AsyncClient(base_url=url, trust_env=False, verify=False, timeout=120) as http:
            while time.monotonic() < self.end:
                begun = time.perf_counter()
                try:
                    answer = await http.post("/v1/rewards", json=body(rng))
                except httpx.TransportError as error:
                    self.statuses[type(error).__name__] += 1
                    continue
                self.statuses[str(answer.status_code)] += 1
                if answer.status_code == 200:
                    self.times.append(time.perf_counter() - begun)
                elif answer.status_code == 429:
                    await asyncio.sleep(float(answer.headers["retry-after"]))


def body(rng: random.Random) -> dict[str, Any]:
    steps = [[" ".join(rng.choices(WORDS, k=rng.randint(5, 25))) for _ in range(2)] for _ in range(2)]
    return {"input": [{"prompt": " ".join(rng.choices(WORDS, k=20)), "steps": s} for s in steps]}


def resident_mib(processes: list[psutil.Process]) -> float:
    """Of those that still run; what they share is counted in each."""
    total = 0
    for process in processes:
        try:
            total += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total / 2**20


def percentile(times: list[float], share: float) -> float:
    return sorted(times)[min(len(times) - 1, int(share * len(times)))] if times else float("nan")


async def watch(load: Load, processes: list[psutil.Process], every: float) -> list[float]:
    """Print a line now and then; the memory at each."""
    start, memory, seen = time.monotonic(), [resident_mib(processes)], 0
    while (now := time.monotonic()) < load.end:
        await asyncio.sleep(min(every, load.end - now + 0.01))
        memory.append(resident_mib(processes))
        recent = load.times[seen:]
        seen = len(load.times)
        print(
            f"{time.monotonic() - start:5.0f} s  {load.statuses.total():7} requests  "
            f"p50 {percentile(recent, 0.5):.2f} s  p99 {percentile(recent, 0.99):.2f} s  {memory[-1]:6.0f} MiB",
            flush=True,
        )
    return memory


async def run(url: str, processes: list[psutil.Process], clients: int, seconds: float) -> tuple[Load, list[float]]:
    load = Load(seconds)
    memory, *_ = await asyncio.gather(
        watch(load, processes, max(5.0, seconds / 20)), *(load.client(url, i) for i in range(clients))
    )
    return load, memory


def report(load: Load, memory: list[float], seconds: float) -> None:
    settled = memory[len(memory) // 3 :]
    growth = 100 * (max(settled) / settled[0] - 1)
    ok, bad = load.statuses["200"], {k: n for k, n in load.statuses.items() if k not in ("200", "429")}
    print(f"statuses: {dict(load.statuses)}")
    print(f"requests_per_second: {ok / seconds:.1f}")
    print(f"p50_seconds: {percentile(load.times, 0.5):.3f}")
    print(f"p99_seconds: {percentile(load.times, 0.99):.3f}")
    print(f"memory_mib: {settled[0]:.0f} to {max(settled):.0f}")
    print(f"memory_growth_percent: {growth:.1f} (target <= 10)")
    print(f"neither_200_nor_429: {sum(bad.values())} (target 0)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--backend", choices=["vllm", "transformers"], default="vllm")
    parser.add_argument("--clients", type=int, default=256)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--model", type=Path, help="a model folder; without it a tiny random one")
    options = parser.parse_args()
    if options.quick:
        options.backend, options.clients, options.minutes = "transformers", 32, 0.5
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from tiny import build_tiny_reward_model

    with tempfile.TemporaryDirectory() as folder:
        model = options.model or build_tiny_reward_model(Path(folder) / "prm")
        log = Path(folder) / "log"
        command = [sys.executable, "-m", "rewardkit", "serve", str(model), f"backend={options.backend}", "profile=cpu"]
        with psutil.Popen([*command, "port=0", "--json", "--log", str(log)], stdout=-1, stderr=-3, text=True) as server:
            url = address(server)
            processes = [psutil.Process(server.pid), *psutil.Process(server.pid).children(recursive=True)]
            load, memory = asyncio.run(run(url, processes, options.clients, options.minutes * 60))
            server.terminate()
    report(load, memory, options.minutes * 60)


def address(server: Any) -> str:
    """What `rewardkit serve --json` prints once it serves."""
    for line in server.stdout:
        if '"url"' in line:
            return str(line.split('"')[3]).removesuffix("/v1")
    raise SystemExit("the server ended before it was ready")


if __name__ == "__main__":
    main()
