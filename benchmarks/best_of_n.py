"""Does a process reward model that we trained choose better answers than a vote, on problems that it has not seen?

    python benchmarks/best_of_n.py [--quick] [--output runs/best-of-n] [--base runs/self-reward/base]

A small policy (`self_reward.py`: a Llama taught worked sums) answers sums; its steps are labelled by exact arithmetic,
its last steps by the true answer. A token PRM over the same Llama is trained on each of the two labels, and chooses
among 16 answers to held-out problems, beside the first sample, the majority and the oracle (`rewardkit eval search`).
Nothing here is mocked; all of it is small. Parts that are done are kept in the output folder.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from self_reward import HELD_OUT, SCRATCH, shared_out, teach

from rewardkit.evaluate.run import run_eval
from rewardkit.evaluate.suites import suite_config
from rewardkit.generate import GeneratorConfig
from rewardkit.store.config import ProblemsConfig
from rewardkit.store.files import write_text
from rewardkit.synth import SynthConfig, run_synth
from rewardkit.train import train
from rewardkit.train.prm import PRMConfig
from rewardkit.types import Problem

SOURCES = {"arithmetic": "min", "answer": "last"}
"""What the PRM learns from, and how its step scores become one: a step's own calculation, or how the answer ends."""


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--quick", action="store_true", help="a hardly taught policy and few problems")
    options.add_argument("--output", type=Path, default=Path("runs/best-of-n"))
    options.add_argument("--base", type=Path, help="a policy that `self_reward.py` has taught already")
    args = options.parse_args()
    if args.quick:
        args.output /= "quick"
    taught, most, held, n = (30, 40, 10, 4) if args.quick else (401, 300, 150, 16)
    args.output.mkdir(parents=True, exist_ok=True)
    began, cpu = time.perf_counter(), time.process_time()
    policy = args.base or teach(args.output / "base", SCRATCH["problems"], taught)
    parts = {"train": (shared_out(SCRATCH["problems"], held=False)[:most], 8)}
    parts["held-out"] = (shared_out(SCRATCH["problems"], held=True)[:held], n)
    for name, (problems, samples) in parts.items():
        labelled(args.output / name, str(policy), problems, samples)
    for source, reducer in SOURCES.items():
        # Those of the test have a hash below HELD_OUT; a little more of its range is left to watch the training.
        model = args.output / f"prm-{source}"
        train(
            PRMConfig(
                model=str(policy), data=(str(args.output / "train"),), sources=(source,), reducer=reducer,
                separator="<unk>", lora=None, dtype="float32", device="cpu", held_out=HELD_OUT + 0.05,
                learning_rate=5e-4, batch_size=32, epochs=1 if args.quick else 2, output=str(model),
            )  # fmt: skip
        )  # fmt: skip
        show(model, args.output / "held-out", source)
    print(f"{time.perf_counter() - began:.0f} s, {time.process_time() - cpu:.0f} CPU s")


def labelled(folder: Path, policy: str, problems: list[Problem], n: int) -> None:
    """A dataset of n answers to each problem, its steps labelled (`rewardkit synth`; equal answers stay n answers)."""
    asked = folder.with_suffix(".jsonl")
    write_text(asked, "".join(json.dumps({"problem": p.prompt, "answer": p.answer}) + "\n" for p in problems))
    generator = GeneratorConfig(
        model=policy,
        samples=n,
        temperature=1.0,
        max_new_tokens=SCRATCH["max_completion_length"],
        batch_size=160,
        device="cpu",
    )
    source = ProblemsConfig(source=str(asked))
    run_synth(SynthConfig(problems=source, generator=generator, labelers=tuple(SOURCES), output=str(folder)))


def show(model: Path, data: Path, source: str) -> None:
    """The curve over n, with intervals, as a table."""
    values = {"model": str(model), "data": str(data), "output": str(model.parent / f"eval-{source}"), "device": "cpu"}
    report = run_eval(suite_config("search", values)).report
    print(f"PRM of {source} labels:")
    for figure in report.figures:
        print(f"  {figure}")


if __name__ == "__main__":
    main()
