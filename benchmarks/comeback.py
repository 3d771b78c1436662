"""What does a client see while an engine is killed and comes back?

    python benchmarks/comeback.py            the engine by SIGKILL, then vLLM's whole server process
    python benchmarks/comeback.py --quick    the engine alone

Real vLLM on a tiny random model. One client sends a request over a connection of its own every 50 ms, from the start of
`rewardkit serve` until the engine answers again.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import httpx
import psutil

BODY = {"input": {"prompt": "1+1?", "steps": ["1+1=2"]}}
VICTIMS = {"engine": "EngineCore", "server": "vllm.entrypoints"}
"""What its command line holds."""


class Client:
    """Asks a service again and again, and keeps what came.

    Args:
        root: the address of the service.
    """

    def __init__(self, root: str) -> None:
        self.root = root
        self.seen: Counter[str] = Counter()
        self.slowest = 0.0

    def ask(self) -> str:
        """One request over a new connection."""
        begun = time.monotonic()
        try:
            outcome = str(httpx.post(f"{self.root}/v1/rewards", json=BODY, trust_env=False, timeout=60).status_code)
        except httpx.ConnectError:
            outcome = "refused"
        except httpx.TransportError:
            outcome = "cut"
        self.slowest = max(self.slowest, time.monotonic() - begun)
        self.seen[outcome] += 1
        return outcome

    def until(self, wanted: Callable[[str], bool]) -> float:
        """Ask until an answer is wanted; the seconds that it took."""
        begun = time.monotonic()
        while not wanted(self.ask()):
            time.sleep(0.05)
        return time.monotonic() - begun


def find(process: int, mark: str) -> psutil.Process:
    """Of the processes below one, that with `mark` in its command line, the reaper aside."""
    below = psutil.Process(process).children(recursive=True)
    lines = [(child, " ".join(child.cmdline())) for child in below]
    return next(child for child, line in lines if mark in line and "rewardkit.server.reaper" not in line)


def kill(process: int, client: Client, victim: str) -> Client:
    """Kill a part of the service; what a client saw until it answers again."""
    after = Client(client.root)
    find(process, VICTIMS[victim]).kill()
    after.until(lambda outcome: outcome != "200")
    seconds = after.until(lambda outcome: outcome == "200")
    print(f"{victim:<7} {dict(after.seen)}  away {seconds:.1f} s, slowest answer {after.slowest:.2f} s", flush=True)
    return after


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from tiny import build_tiny_reward_model

    from rewardkit.server.port import free_port

    with tempfile.TemporaryDirectory() as folder:
        model, port = build_tiny_reward_model(Path(folder) / "prm"), free_port("127.0.0.1", 0)
        command = [sys.executable, "-m", "rewardkit", "serve", str(model), "profile=cpu", f"port={port}", "--json"]
        log = ["--log", str(model / "serve.log")]
        process = subprocess.Popen([*command, *log], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        first = Client(f"http://127.0.0.1:{port}")
        try:
            assert process.stdout is not None
            first.until(lambda outcome: outcome != "refused")
            loading = Client(first.root)
            seconds = loading.until(lambda outcome: outcome == "200")
            print(f"loading {dict(loading.seen)}  {seconds:.1f} s, slowest answer {loading.slowest:.2f} s", flush=True)
            json.loads("".join(iter(process.stdout.readline, "}\n")) + "}")
            seen = [kill(process.pid, first, victim) for victim in list(VICTIMS)[: 1 if options.quick else 2]]
        finally:
            process.terminate()
            process.wait()
    outcomes = sum((client.seen for client in seen), Counter())
    print(f"connections_refused: {outcomes['refused']} of {outcomes.total()} (target 0)")
    print(f"connections_cut: {outcomes['cut']} (target <= {len(seen)}: what was in flight)")
    print(f"slowest_answer_seconds: {max(client.slowest for client in seen):.2f} (target <= 1)")


if __name__ == "__main__":
    main()
