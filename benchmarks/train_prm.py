"""How much faster does a token PRM train here than with TRL 1.13, the last release that had a trainer for it?

    python benchmarks/train_prm.py [--quick] [--steps N] [--layers N] [--responses N] [--device cuda]

One script on all sides, differing in its import: the same rows (SmolLM2's traces with arithmetic labels, up to four of
each problem), model, optimizer, dtype, number of steps and examples a step, full training. Ours shares the prompts of a
problem's responses (batching=problem), or only groups by length; TRL runs with the same settings, and as it comes, with
gradient checkpointing, beside which ours is measured with and without it. TRL 1.13 is installed into a folder of its
own, beside the same torch and transformers. Each side runs in processes of its own, in turn; tokens are those of the
examples, however often they are computed, and the time is that of the training loop. Peak memory is the process's
resident set (on a GPU what torch allocated). The loss of one batch is taken with shared prompts and without.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

OURS, LENGTH, LEAN = "ours, batching=problem", "ours, batching=length", "ours, problem, checkpoints"
THEIRS, DEFAULTS = "trl 1.13", "trl 1.13, its defaults"
SIDES = (OURS, LENGTH, LEAN, THEIRS, DEFAULTS)
PAIRS = (
    ("train_prm", OURS, THEIRS),
    ("train_prm, batching=length", LENGTH, THEIRS),
    ("train_prm beside TRL's defaults", OURS, DEFAULTS),
    ("train_prm with checkpoints beside TRL's defaults", LEAN, DEFAULTS),
)


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--quick", action="store_true", help="a cut of four layers, few steps")
    options.add_argument("--steps", type=int)
    options.add_argument("--layers", type=int)
    options.add_argument("--repeats", type=int)
    options.add_argument("--batch-size", type=int, default=8)
    options.add_argument("--responses", type=int, default=4, help="of each problem at most, 1 to 4")
    options.add_argument("--device", default="cpu")
    options.add_argument("--side", help=argparse.SUPPRESS)
    options.add_argument("--work", help=argparse.SUPPRESS)
    args = options.parse_args()
    args.steps = args.steps or (6 if args.quick else 30)
    args.layers = args.layers or (4 if args.quick else 30)
    args.repeats = args.repeats or (1 if args.quick else 3)
    if args.side:
        print(json.dumps(train(args)))
        return
    with tempfile.TemporaryDirectory() as work:
        compare(args, Path(work))


def compare(args: argparse.Namespace, work: Path) -> None:
    prepare(args, work)
    results: dict[str, list[dict]] = {side: [] for side in SIDES}
    for _ in range(args.repeats):
        for side, found in results.items():
            found.append(run(args, side, work))
    shape = f"{args.steps} steps of {args.batch_size}, up to {args.responses} responses a problem"
    print(f"{args.layers} layers of SmolLM2-135M, {shape}, float32, {args.device}")
    for side, found in results.items():
        speed = [r["tokens"] / r["seconds"] for r in found]
        print(
            f"{side:26} {statistics.median(speed):8.1f} tokens/s ({min(speed):.1f} to {max(speed):.1f})  "
            f"{statistics.median(r['tokens'] / r['cpu'] for r in found):8.1f} tokens/CPU s  "
            f"peak {statistics.median(r['peak_mib'] for r in found):7.0f} MiB  "
            f"computed {found[0]['computed']:.3f} a token  "
            f"loss {found[0]['loss']:.4f} over {found[0]['tokens']:,} tokens"
        )
    for name, mine, theirs in PAIRS:
        pairs = list(zip(results[mine], results[theirs], strict=True))
        for label, key in (("speed", "seconds"), ("speed by CPU time", "cpu")):
            ratio = statistics.median((a["tokens"] / a[key]) / (b["tokens"] / b[key]) for a, b in pairs)
            print(f"{name} {label}: {ratio:.2f} (target >= 2.0)")
        memory = statistics.median(a["peak_mib"] / b["peak_mib"] for a, b in pairs)
        print(f"{name} memory: {memory:.2f} (target <= 1.0)")
    print(f"difference of the loss: {max(r['difference'] for r in results[OURS]):.1e} (target <= 1e-5)")


def prepare(args: argparse.Namespace, work: Path) -> None:
    """The model, the rows and TRL 1.13, each in the work folder."""
    from transformers import AutoModelForTokenClassification, AutoTokenizer

    from rewardkit.config import load_config
    from rewardkit.models.embedded import resolve_model
    from rewardkit.store import iter_dataset
    from rewardkit.store.formats import export_format
    from rewardkit.synth import SynthConfig, run_synth

    base = resolve_model("smollm2-135m-instruct")
    model = AutoModelForTokenClassification.from_pretrained(base, num_labels=2, num_hidden_layers=args.layers)
    model.float().save_pretrained(work / "model")
    AutoTokenizer.from_pretrained(base).save_pretrained(work / "model")
    limit = 20 + args.steps * args.batch_size  # problems of four traces each, some of which begin without a label
    run_synth(load_config(SynthConfig, "synth", "gsm8k-replay", [f"problems.limit={limit}", f"output={work / 'data'}"]))
    export_format(work / "rows.jsonl", iter_dataset(work / "data"), "trl-stepwise", "arithmetic")
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(work / "trl"), "trl==1.13.0"]
    subprocess.run(pip, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def run(args: argparse.Namespace, side: str, work: Path) -> dict:
    env = dict(os.environ)
    if side in (THEIRS, DEFAULTS):
        env["PYTHONPATH"] = str(work / "trl")
        env["TRL_EXPERIMENTAL_SILENCE"] = "1"
    command = [sys.executable, __file__, "--side", side, "--work", str(work), "--device", args.device]
    for name in ("steps", "batch_size", "responses"):
        command += [f"--{name.replace('_', '-')}", str(getattr(args, name))]
    done = subprocess.run(command, env=env, check=False, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def train(args: argparse.Namespace) -> dict:
    """The script of a user: all but the import is the same."""
    import resource
    import time

    import torch
    from datasets import load_dataset
    from transformers import AutoModelForTokenClassification, AutoTokenizer

    settings: dict[str, Any] = {"gradient_checkpointing": args.side in (DEFAULTS, LEAN)}
    if args.side in (THEIRS, DEFAULTS):
        from trl.experimental.prm import PRMConfig, PRMTrainer
    else:
        from rewardkit.train.trl import PRMConfig, PRMTrainer

        settings["batching"] = "length" if args.side == LENGTH else "problem"

    work = Path(args.work)
    model = AutoModelForTokenClassification.from_pretrained(work / "model", dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(work / "model")
    rows = load_dataset("json", data_files=str(work / "rows.jsonl"), split="train", cache_dir=str(work / "cache"))
    met: Counter[str] = Counter()
    kept = [i for i, prompt in enumerate(rows["prompt"]) if met.update([prompt]) or met[prompt] <= args.responses]
    rows = rows.select(kept[: args.steps * args.batch_size])
    config = PRMConfig(
        output_dir=str(work / "out"),
        per_device_train_batch_size=args.batch_size,
        num_train_epochs=1,
        learning_rate=1e-5,
        bf16=False,
        **settings,
        use_cpu=args.device == "cpu",
        save_strategy="no",
        report_to="none",
        seed=0,
        disable_tqdm=True,
        logging_steps=1,
    )
    trainer = PRMTrainer(model=model, args=config, processing_class=tokenizer, train_dataset=rows)
    count = Count(trainer)
    cpu = time.process_time()
    result = trainer.train()
    cpu = time.process_time() - cpu
    real, computed = count.real, count.all / count.real
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if args.device != "cpu":
        peak = torch.cuda.max_memory_allocated() / 2**20
    return {
        "seconds": result.metrics["train_runtime"],
        "cpu": cpu,
        "loss": result.training_loss,
        "tokens": real,
        "computed": computed,
        "peak_mib": peak,
        "difference": difference(trainer, args.batch_size) if args.side == OURS else 0.0,
    }


def difference(trainer: Any, size: int) -> float:
    """Of the loss of the first rows with shared prompts and without."""
    import torch

    from rewardkit.train.sharing import SharingCollator

    rows, width = trainer.train_dataset[:size], trainer.model.config.hidden_size
    with torch.no_grad():
        found = [
            float(trainer.compute_loss(trainer.model, collate(rows)))
            for collate in (trainer.data_collator, SharingCollator(trainer.data_collator, width))
        ]
    return abs(found[0] - found[1])


class Count:
    """Counts the tokens of the rows that a trainer's collator is given, and the places that its model computes."""

    def __init__(self, trainer: Any) -> None:
        self.real = self.all = 0
        self._inner = trainer.data_collator
        trainer.data_collator = self
        trainer.model.get_input_embeddings().register_forward_hook(self._embedded)

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        self.real += sum(len(row["input_ids"]) for row in rows)
        return self._inner(rows)

    def _embedded(self, module: Any, given: Any, output: Any) -> None:
        self.all += given[0].numel()


if __name__ == "__main__":
    main()
