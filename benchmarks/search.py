"""How much does beam search save by reading each prefix once?

    python benchmarks/search.py [--quick] [--repeats 3] [--model smollm2-135m-instruct]

The same beam search (same problems, seeds and plan) through `search_steps` over one vLLM engine in this process, in
turn with its prefix cache and without (``skip_reading_prefix_cache``, the cache emptied before each turn). Tokens
computed are the prompt tokens that vLLM did not find in its cache and the tokens that it wrote. Steps are scored by a
stand-in that costs nothing: what is measured is the generator. Needs vLLM (``pip install 'rewardkit[cpu]'``).
"""

from __future__ import annotations

import argparse
import statistics
import time
import zlib
from collections.abc import Sequence
from typing import Any

from rewardkit.config import load_config
from rewardkit.generate import GeneratorConfig
from rewardkit.generate.vllm import VllmGenerator
from rewardkit.models.spec import RewardModelSpec
from rewardkit.search.steps import GeneratorSteps
from rewardkit.search.stepwise import SearchPlan, search_steps
from rewardkit.store import load_problems
from rewardkit.synth import SynthConfig
from rewardkit.types import Problem, StepScores, Trace


class Hashes:
    """A stand-in for a reward model: the same text has the same score, at no cost."""

    spec = RewardModelSpec(kind="token", separator_id=0, base_model="none")

    def score(self, traces: Sequence[Trace]) -> list[StepScores]:
        return [StepScores(t.id, tuple(zlib.crc32(s.text.encode()) % 1000 / 1000 for s in t.steps)) for t in traces]


class Counted:
    """The engine of a `VllmGenerator`, with the cache read or not, and what it computed."""

    def __init__(self, llm: Any) -> None:
        self._llm, self.reuse, self.read, self.cached, self.written = llm, True, 0, 0, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._llm, name)

    def generate(self, inputs: Any, sampling: Sequence[Any], **options: Any) -> Any:
        for one in sampling:
            one.skip_reading_prefix_cache = not self.reuse
        made = self._llm.generate(inputs, sampling, **options)
        self.read += sum(len(output.prompt_token_ids) for output in made)
        self.cached += sum(output.num_cached_tokens or 0 for output in made)
        self.written += sum(len(output.outputs[0].token_ids) for output in made)
        return made


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--quick", action="store_true")
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--model", default="smollm2-135m-instruct")
    args = options.parse_args()
    problems, n, rounds, tokens = (1, 4, 3, 16) if args.quick else (2, 8, 6, 48)
    config = GeneratorConfig(
        kind="vllm",
        model=args.model,
        max_new_tokens=tokens,
        temperature=0.8,
        batch_size=32,
        engine={"max_model_len": 1024},
    )
    generator = VllmGenerator(config)
    engine = generator._llm = Counted(generator._llm)
    prompt = load_config(SynthConfig, "synth", "gsm8k-smollm2").prompt
    steps = GeneratorSteps(generator, prompt=prompt, separator="\n\n")
    plan = SearchPlan("beam", n=n, width=n // 2, rounds=rounds, choose="majority")
    rows = load_problems("sample:gsm8k-train", problems).rows
    turn(engine, steps, rows[:1], SearchPlan("beam", n=1, width=1, rounds=1, choose="majority"), reuse=True)  # warm up
    pairs = []
    for _ in range(1 if args.quick else args.repeats):
        pairs.append([turn(engine, steps, rows, plan, reuse=reuse) for reuse in (True, False)])
        for one in pairs[-1]:
            print(
                f"  reuse={one['reuse']}: {one['computed']:,} tokens computed ({one['written']:,} written), "
                f"{one['seconds']:.1f} s, {one['cpu']:.1f} CPU s",
                flush=True,
            )
    generator.close()
    for name, what in (("computed", "tokens computed"), ("seconds", "wall time"), ("cpu", "CPU time")):
        ratio = statistics.median(without[name] / with_[name] for with_, without in pairs)
        print(f"beam search, {what} without prefix reuse over with: {ratio:.2f} (target >= 2.0)")


def turn(
    engine: Counted, steps: GeneratorSteps, problems: Sequence[Problem], plan: SearchPlan, *, reuse: bool
) -> dict[str, Any]:
    """One search; what it computed and how long it took."""
    engine.reset_prefix_cache()
    engine.reuse, engine.read, engine.cached, engine.written = reuse, 0, 0, 0
    began, cpu = time.perf_counter(), time.process_time()
    search_steps(problems, steps, Hashes(), plan)
    return {
        "reuse": reuse,
        "computed": engine.read - engine.cached + engine.written,
        "written": engine.written,
        "seconds": time.perf_counter() - began,
        "cpu": time.process_time() - cpu,
    }


if __name__ == "__main__":
    main()
