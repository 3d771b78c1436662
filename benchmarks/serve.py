"""How fast is `POST /v1/rewards`, beside vLLM's own route, vLLM without HTTP, and transformers one by one?

    python benchmarks/serve.py [--quick] [--dtype float32] [--clients 1,32,256]

The model is SmolLM2-135M with a random token head (a head's values do not change its speed). The same responses of
GSM8K's shipped solutions, one a question, go in turn to four sides: ours (one request each from 32 clients, text in,
step scores out), a plain vLLM server's ``/pooling`` (the same, token ids in, logits of all tokens out as JSON), vLLM's
``LLM.encode`` in this process, and the model through transformers, one response after the other. Every repeat numbers
its questions anew, so that no prefix cache helps ours. Then the time of one request with so many clients at once, each
of which sends its next request when it has its answer. All sides have all cores.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil

from rewardkit.models import load_reward_model
from rewardkit.models.embedded import quiet_transformers, resolve_model
from rewardkit.models.spec import RewardModelSpec
from rewardkit.samples import sample_path
from rewardkit.server.config import serve_config
from rewardkit.server.engine import vllm_environment
from rewardkit.server.launch import Server
from rewardkit.server.port import free_port
from rewardkit.text.encode import find_separator
from rewardkit.text.split import split_steps
from rewardkit.types import Problem, Trace

ENGINE = {"block-size": 32, "max-num-batched-tokens": 2048, "max-model-len": 2048}
"""Of every vLLM here; the rest is the profile ``cpu``."""
_ENTRY = "vllm.entrypoints.launchers.api_server.entry"
Send = Callable[[httpx.AsyncClient, Trace], Awaitable[list[float]]]


def cut(name: str, layers: int | None, **changes: Any) -> Any:
    """The config of a model with its first layers alone; all of them for None."""
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(name, **changes, **({} if layers is None else {"num_hidden_layers": layers}))


def build_model(folder: Path, layers: int | None = None) -> Path:
    """SmolLM2-135M with a random head of one label, and its ``reward_model.json``."""
    import torch
    from transformers import AutoModelForTokenClassification, AutoTokenizer

    base = resolve_model("smollm2-135m-instruct")
    tokenizer = AutoTokenizer.from_pretrained(base)
    torch.manual_seed(0)
    with quiet_transformers():
        config = cut(base, layers, num_labels=1)
        model = AutoModelForTokenClassification.from_pretrained(base, config=config, dtype="float32")
        model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    separator, separator_id = find_separator(tokenizer)
    RewardModelSpec(kind="token", separator=separator, separator_id=separator_id).save(folder)
    return folder


def responses(count: int, label: object) -> list[Trace]:
    """So many solutions of GSM8K's shipped sample, one a question; the label makes the questions new."""
    with gzip.open(sample_path("gsm8k-solutions"), "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    made = []
    for i in range(count):
        row = rows[i % len(rows)]
        steps = [span.text for span in split_steps(row["175b_verification"]["solution"], by="lines")]
        made.append(Trace.create(Problem.create(f"({label}.{i}) {row['question']}"), steps))
    return made


class PlainVllm:
    """A vLLM API server without our routes, in a process of its own.

    Args:
        folder: a checkpoint.
        flags: of vLLM, beside `ENGINE`.
        dtype: of the weights.
    """

    def __init__(self, folder: str | Path, dtype: str, log: Path, **flags: Any) -> None:
        self.port = free_port("127.0.0.1", 0)
        given = {"model": folder, "host": "127.0.0.1", "port": self.port, "dtype": dtype, **ENGINE, **flags}
        pairs = [(f"--{name.replace('_', '-')}", str(value)) for name, value in given.items()]
        command = [sys.executable, "-m", _ENTRY, "--enforce-eager", *itertools.chain(*pairs)]
        environment = {**vllm_environment(serve_config({"profile": "cpu"}), os.environ), "VLLM_PLUGINS": ""}
        with log.open("wb") as output:
            self.process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
        self.root = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> PlainVllm:
        with httpx.Client(base_url=self.root, trust_env=False) as client:
            while self.process.poll() is None:
                try:
                    if client.get("/health").status_code == 200:
                        return self
                except httpx.TransportError:
                    time.sleep(0.5)
        raise SystemExit("the plain vLLM server ended; see its log")

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()


def peak_memory(pid: int) -> float:
    """GiB that a process and all below it have had resident at most, each by itself."""
    total = 0
    for process in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
        status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
        total += next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")), 0)
    return total / 2**20


async def ours(client: httpx.AsyncClient, trace: Trace) -> list[float]:
    """Step scores from our route."""
    item = {"prompt": trace.problem.prompt, "steps": [step.text for step in trace.steps]}
    answer = await client.post("/v1/rewards", json={"input": item})
    scores: list[float] = answer.raise_for_status().json()["data"][0]["step_scores"]
    return scores


class RawPooling:
    """Step scores from vLLM's own route: ids in, and the sigmoid of the logits at the steps' positions.

    Encoding is done before the clock starts, which is in its favour.
    """

    def __init__(self, encode: Callable[[Trace], Any]) -> None:
        self.encode, self.encoded = encode, {}

    def prepare(self, traces: Sequence[Trace]) -> None:
        self.encoded = {trace.id: self.encode(trace) for trace in traces}

    async def __call__(self, client: httpx.AsyncClient, trace: Trace) -> list[float]:
        item = self.encoded[trace.id]
        body = {"input": list(item.input_ids), "use_activation": False}
        answer = (await client.post("/pooling", json=body)).raise_for_status().json()
        return sigmoid([answer["data"][0]["data"][i][0] for i in item.positions])


def sigmoid(logits: Sequence[float]) -> list[float]:
    return [float(p) for p in 1 / (1 + np.exp(-np.asarray(logits, dtype=np.float64)))]


async def load(root: str, send: Send, traces: Sequence[Trace], clients: int) -> tuple[list[list[float]], list[float]]:
    """All scores, and the seconds of each request, with so many clients that wait for their answers."""
    scores: list[list[float]] = [[] for _ in traces]
    seconds = []
    queue = iter(enumerate(traces))
    limits = httpx.Limits(max_connections=clients, max_keepalive_connections=clients)
    async with httpx.AsyncClient(base_url=root, timeout=600, trust_env=False, limits=limits) as client:

        async def one() -> None:
            for i, trace in queue:
                start = time.perf_counter()
                scores[i] = await send(client, trace)
                seconds.append(time.perf_counter() - start)

        await asyncio.gather(*(one() for _ in range(clients)))
    return scores, seconds


class Sides:
    """The four sides, on one model, and what they took."""

    def __init__(self, server: Server, plain: PlainVllm, llm: Any, local: Any) -> None:
        self.server, self.plain, self.llm, self.local = server, plain, llm, local
        self.raw = RawPooling(local.encode)
        self.rates: dict[str, list[float]] = {}
        self.difference = 0.0

    def repeat(self, traces: Sequence[Trace], few: int) -> None:
        """All sides in turn on the same responses; transformers on the first few."""
        encoded = [self.local.encode(trace) for trace in traces]
        tokens = [len(item) for item in encoded]
        self.raw.prepare(traces)
        given = [
            self._timed("ours", sum(tokens), lambda: self._http(self.server.root, ours, traces)),
            self._timed("pooling", sum(tokens), lambda: self._http(self.plain.root, self.raw, traces)),
            self._timed("offline", sum(tokens), lambda: self._offline(encoded)),
        ]
        one_by_one = self._timed("transformers", sum(tokens[:few]), lambda: self._local(traces[:few]))
        for scores in given:
            pairs = zip(itertools.chain(*scores), itertools.chain(*one_by_one), strict=False)
            self.difference = max([self.difference, *(abs(a - b) for a, b in pairs)])
        print("  " + ", ".join(f"{name} {rates[-1]:.0f}" for name, rates in self.rates.items()) + " tokens/s")

    def _timed(self, name: str, tokens: int, score: Callable[[], list[list[float]]]) -> list[list[float]]:
        start = time.perf_counter()
        scores = score()
        self.rates.setdefault(name, []).append(tokens / (time.perf_counter() - start))
        return scores

    def _http(self, root: str, send: Send, traces: Sequence[Trace]) -> list[list[float]]:
        return asyncio.run(load(root, send, traces, 32))[0]

    def _offline(self, encoded: Sequence[Any]) -> list[list[float]]:
        from vllm import PoolingParams, TokensPrompt

        prompts = [TokensPrompt(prompt_token_ids=list(item.input_ids)) for item in encoded]
        params = PoolingParams(task="token_classify", use_activation=False)
        outputs = self.llm.encode(prompts, params, pooling_task="token_classify", use_tqdm=False)
        return [
            sigmoid(output.outputs.data.flatten()[list(item.positions)].tolist())
            for item, output in zip(encoded, outputs, strict=True)
        ]

    def _local(self, traces: Sequence[Trace]) -> list[list[float]]:
        return [list(self.local.score([trace])[0].scores) for trace in traces]

    def latency(self, clients: int, requests: int, label: str) -> dict[str, tuple[float, float]]:
        """p50 and p99 in milliseconds, of ours and of vLLM's route."""
        found = {}
        for name, root, send in (("ours", self.server.root, ours), ("pooling", self.plain.root, self.raw)):
            traces = responses(requests, f"{label}.{clients}.{name}")
            self.raw.prepare(traces)
            seconds = asyncio.run(load(root, send, traces, clients))[1]
            found[name] = (1000 * float(np.percentile(seconds, 50)), 1000 * float(np.percentile(seconds, 99)))
        return found


@contextmanager
def all_sides(folder: Path, work: Path, dtype: str) -> Iterator[Sides]:
    os.environ.update({"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_NUM_OF_RESERVED_CPU": "0", "VLLM_PLUGINS": ""})
    from vllm import LLM

    settings = {name.replace("-", "_"): value for name, value in ENGINE.items()}
    with (
        Server(folder, profile="cpu", port=0, dtype=dtype, engine=ENGINE, log=work / "ours.log") as server,
        PlainVllm(folder, dtype, work / "plain.log", runner="pooling") as plain,
    ):
        llm = LLM(str(folder), runner="pooling", dtype=dtype, enforce_eager=True, disable_log_stats=True, **settings)
        try:
            yield Sides(server, plain, llm, load_reward_model(str(folder), dtype=dtype))
        finally:
            llm.llm_engine.engine_core.shutdown()  # else the end of this process waits for it


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--layers", type=int, help="keep so many of the model's 30 layers")
    parser.add_argument("--clients", default="1,32,256")
    options = parser.parse_args()
    count, few, repeats = (32, 4, 2) if options.quick else (128, 16, 5)
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        with all_sides(build_model(work / "model", options.layers), work, options.dtype) as sides:
            sides.repeat(responses(8, "warm"), 2)
            sides.rates.clear()
            for repeat in range(repeats):
                sides.repeat(responses(count, repeat), few)
            report(sides, options.dtype)
            for clients in map(int, options.clients.split(",")):
                requests = max(clients, 8) * (1 if options.quick else 3)
                for side, (p50, p99) in sides.latency(clients, requests, "latency").items():
                    print(f"serve_{side}_{clients}_clients_p50_p99_ms: {p50:.0f} {p99:.0f} (no target)")


def report(sides: Sides, dtype: str) -> None:
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {dtype}")
    for name, rates in sides.rates.items():
        print(f"serve_{name}_tokens_per_s: {statistics.median(rates):.0f} (no target)")
    for other, target in (("pooling", "target >= 0.95"), ("offline", "no target"), ("transformers", "target >= 1.0")):
        ratios = [a / b for a, b in zip(sides.rates["ours"], sides.rates[other], strict=True)]
        print(f"serve_ours_over_{other}: {statistics.median(ratios):.2f} ({target})")
    target = "target <= 1e-05" if dtype == "float32" else "no target: batching alone moves it"
    print(f"serve_max_score_difference: {sides.difference:.1e} ({target})")


if __name__ == "__main__":
    main()
