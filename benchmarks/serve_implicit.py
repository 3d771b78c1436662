"""How fast does vLLM score with an implicit reward model here, beside two calls that ask for ``prompt_logprobs``?

    python benchmarks/serve_implicit.py [--quick] [--dtype bfloat16]

The policy is SmolLM2-135M with a little noise, the reference SmolLM2-135M. Ours is one server that holds both. The
other side is what vLLM offers by itself: two plain servers, policy and reference, each asked for the log-probability
of every token of the prompt (``max_tokens: 1, prompt_logprobs: 0``), both calls at once. Three kinds of work, in turn
on both sides, with other texts in every repeat, 16 clients:

whole     different questions, each with one response
growing   responses step by step, as a search asks: each prefix is scored, the next when the one before has its scores
siblings  several responses to one long prompt (five worked examples)

Peak memory is that of all processes of each side (not with --quick, where one plain server takes both calls). All
servers have all cores; float32 unless told otherwise.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
from serve import ENGINE, PlainVllm, cut, peak_memory, responses

from rewardkit.models.embedded import quiet_transformers, resolve_model
from rewardkit.models.spec import RewardModelSpec
from rewardkit.server.launch import Server
from rewardkit.text.encode import encode_response
from rewardkit.types import Problem, Trace

BETA = 0.05
Job = Sequence[Trace]
"""Traces that are scored one after the other."""


def build_pair(folder: Path, layers: int | None) -> tuple[Path, Path]:
    """A policy, SmolLM2-135M with noise on its query projections, and SmolLM2-135M as its reference."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    base = resolve_model("smollm2-135m-instruct")
    torch.manual_seed(0)
    with quiet_transformers(), torch.no_grad():
        model = AutoModelForCausalLM.from_pretrained(base, dtype="float32", config=cut(base, layers))
        model.save_pretrained(folder / "reference")
        for name, weight in model.named_parameters():
            if "q_proj" in name:
                weight += 0.1 * weight.std() * torch.randn_like(weight)
        model.save_pretrained(folder / "policy")
    for part in ("policy", "reference"):
        AutoTokenizer.from_pretrained(base).save_pretrained(folder / part)
    RewardModelSpec(kind="implicit", beta=BETA, reference=str(folder / "reference")).save(folder / "policy")
    return folder / "policy", folder / "reference"


def grown(trace: Trace) -> list[Trace]:
    """All prefixes of a response."""
    return [replace(trace, id=f"{trace.id}-{k}", steps=trace.steps[:k]) for k in range(1, len(trace.steps) + 1)]


def work(kind: str, count: int, label: str) -> list[Job]:
    """So many jobs of a kind."""
    if kind == "whole":
        return [[trace] for trace in responses(count, label)]
    if kind == "growing":
        return [grown(trace) for trace in responses(count, label) if len(trace.steps) > 1]
    shown = responses(5, label)
    lead = "\n\n".join(f"Question: {t.problem.text}\nAnswer: {t.response}" for t in shown)
    problem = Problem.create(f"{lead}\n\nQuestion: {responses(6, label)[5].problem.text}")
    return [[replace(trace, problem=problem)] for trace in responses(count, label)]


class Ours:
    """One request to one server; gives the rewards of the steps."""

    def __init__(self, server: Server) -> None:
        self.root = server.root
        self.cached = self.tokens = 0

    async def __call__(self, client: httpx.AsyncClient, trace: Trace) -> list[float]:
        item = {"prompt": trace.problem.prompt, "steps": [step.text for step in trace.steps]}
        body = {"input": item, "return": ["raw"]}
        answer = (await client.post(f"{self.root}/v1/rewards", json=body)).raise_for_status().json()
        self.tokens += answer["usage"]["prompt_tokens"]
        self.cached += answer["usage"]["prompt_tokens_details"]["cached_tokens"]
        raw: list[float] = answer["data"][0]["raw"]
        return raw


class TwoCalls:
    """The same from two ``prompt_logprobs`` calls; ids are made before the clock starts, which is in its favour."""

    def __init__(self, roots: Sequence[str], tokenizer: Any) -> None:
        self.roots, self.tokenizer = roots, tokenizer
        self.encoded: dict[str, Any] = {}

    def prepare(self, jobs: Sequence[Job]) -> int:
        """The ids of all; their number."""
        for trace in (trace for job in jobs for trace in job):
            steps = [step.text for step in trace.steps]
            self.encoded[trace.id] = encode_response(self.tokenizer, trace.problem.prompt, steps)
        return sum(len(self.encoded[trace.id]) for job in jobs for trace in job)

    async def __call__(self, client: httpx.AsyncClient, trace: Trace) -> list[float]:
        item = self.encoded[trace.id]
        policy, reference = await asyncio.gather(*(self._logprobs(client, root, item) for root in self.roots))
        sums = np.concatenate([[0.0], np.cumsum(BETA * (policy - reference))])
        ends = sums[np.array(item.positions) + 1 - item.start]
        return [float(r) for r in np.diff(ends, prepend=0.0)]

    async def _logprobs(self, client: httpx.AsyncClient, root: str, item: Any) -> np.ndarray:
        body = {"prompt": list(item.input_ids), "max_tokens": 1, "prompt_logprobs": 0, "temperature": 0}
        answer = (await client.post(f"{root}/v1/completions", json=body)).raise_for_status().json()
        rows = answer["choices"][0]["prompt_logprobs"][item.start :]
        ids = item.input_ids[item.start :]
        return np.array([row[str(token)]["logprob"] for row, token in zip(rows, ids, strict=True)])


async def run(side: Any, jobs: Sequence[Job], clients: int = 16) -> list[list[float]]:
    """The rewards of all traces; the jobs are shared out, the traces of one follow each other."""
    rewards: dict[str, list[float]] = {}
    queue = iter(jobs)
    async with httpx.AsyncClient(timeout=900, trust_env=False) as client:

        async def one() -> None:
            for job in queue:
                for trace in job:
                    rewards[trace.id] = await side(client, trace)

        await asyncio.gather(*(one() for _ in range(clients)))
    return [rewards[trace.id] for job in jobs for trace in job]


def compare(kind: str, mine: Ours, theirs: TwoCalls, count: int, repeats: int) -> float:
    """Run both sides in turn and print their rates; the largest difference of a reward."""
    asyncio.run(run(mine, work(kind, 2, "warm")))
    theirs.prepare(warm := work(kind, 2, "warm"))
    asyncio.run(run(theirs, warm))
    ratios, worst = [], 0.0
    mine.cached = mine.tokens = 0
    for repeat in range(repeats):
        jobs = work(kind, count, f"{kind}{repeat}")
        tokens, taken, given = theirs.prepare(jobs), [], []
        for side in (mine, theirs):
            start = time.perf_counter()
            given.append(asyncio.run(run(side, jobs)))
            taken.append(time.perf_counter() - start)
        ratios.append(taken[1] / taken[0])
        worst = max(worst, max(abs(a - b) for x, y in zip(*given, strict=True) for a, b in zip(x, y, strict=True)))
        rates = ", ".join(f"{name} {tokens / s:.0f}" for name, s in zip(("ours", "two calls"), taken, strict=True))
        print(f"  {kind}: {rates} tokens/s ({tokens} tokens, ours {mine.cached / mine.tokens:.0%} cached)")
    target = 1.3 if kind == "whole" else 2.5
    print(f"serve_implicit_{kind}_over_two_calls: {statistics.median(ratios):.2f} (target >= {target})", flush=True)
    return worst


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--layers", type=int, help="keep so many of the models' 30 layers")
    parser.add_argument("--kinds", default="whole,growing,siblings")
    options = parser.parse_args()
    from transformers import AutoTokenizer

    counts = (
        {"whole": 8, "growing": 3, "siblings": 6} if options.quick else {"whole": 48, "growing": 16, "siblings": 32}
    )
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        at = Path(name)
        folder, base = build_pair(at, options.layers)
        # All load at once; with --quick the reference's calls go to the policy's server, which costs the same.
        plain = [
            PlainVllm(m, options.dtype, at / f"plain{i}.log") for i, m in enumerate([folder, base][: 2 - options.quick])
        ]
        for one in plain:
            stack.callback(one.stop)
        server = Server(folder, profile="cpu", port=0, dtype=options.dtype, engine=ENGINE, log=at / "ours.log")
        for one in (server, *plain):
            stack.enter_context(one)
        mine = Ours(server)
        theirs = TwoCalls([plain[0].root, plain[-1].root], AutoTokenizer.from_pretrained(base))
        repeats = 1 if options.quick else 3
        worst = max(compare(kind, mine, theirs, counts[kind], repeats) for kind in options.kinds.split(","))
        print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {options.dtype}")
        if options.quick:
            return
        theirs_pids = {one.process.pid for one in plain}
        mine_pids = {child.pid for child in psutil.Process().children()} - theirs_pids
        memory = [sum(map(peak_memory, pids)) for pids in (mine_pids, theirs_pids)]
        print(f"serve_implicit_peak_gib: {memory[0]:.2f} (target < {memory[1]:.2f}, that of two calls)")
        print(f"serve_implicit_max_reward_difference: {worst:.1e} (no target)")


if __name__ == "__main__":
    main()
