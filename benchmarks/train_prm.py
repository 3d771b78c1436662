"""How much faster does a token PRM train here than with TRL 1.13, the last release that had a trainer for it?

    python benchmarks/train_prm.py [--quick] [--steps N] [--layers N] [--device cuda]

One script on both sides, differing in its import: the same rows (SmolLM2's traces with arithmetic labels), model,
optimizer, dtype, number of steps and examples a step, full training, no gradient checkpointing; a third side is TRL as
it comes, with its default of gradient checkpointing. TRL 1.13 is installed into a folder of its own, beside the same
torch and transformers. Each side runs in processes of its own, in turn;
tokens are those that are not padding, and the time is that of the training loop. Peak memory is the process's resident
set (on a GPU what torch allocated).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

OURS, THEIRS, DEFAULTS = "rewardkit", "trl 1.13", "trl 1.13, its defaults"


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--quick", action="store_true", help="a cut of four layers, few steps")
    options.add_argument("--steps", type=int)
    options.add_argument("--layers", type=int)
    options.add_argument("--repeats", type=int)
    options.add_argument("--batch-size", type=int, default=8)
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
    results: dict[str, list[dict]] = {OURS: [], THEIRS: [], DEFAULTS: []}
    for _ in range(args.repeats):
        for side, found in results.items():
            found.append(run(args, side, work))
    print(f"{args.layers} layers of SmolLM2-135M, {args.steps} steps of {args.batch_size}, float32, {args.device}")
    for side, found in results.items():
        speed = [r["tokens"] / r["seconds"] for r in found]
        print(
            f"{side:22} {statistics.median(speed):8.1f} tokens/s ({min(speed):.1f} to {max(speed):.1f})  "
            f"peak {statistics.median(r['peak_mib'] for r in found):7.0f} MiB  "
            f"padding {statistics.median(r['padding'] for r in found):.1%}  "
            f"loss {found[0]['loss']:.4f} over {found[0]['tokens']:,} tokens"
        )
    ours = results[OURS]
    for side, name in ((THEIRS, "train_prm"), (DEFAULTS, "train_prm beside TRL's defaults")):
        pairs = list(zip(ours, results[side], strict=True))
        speed = statistics.median((a["tokens"] / a["seconds"]) / (b["tokens"] / b["seconds"]) for a, b in pairs)
        memory = statistics.median(a["peak_mib"] / b["peak_mib"] for a, b in pairs)
        print(f"{name} speed: {speed:.2f} (target >= 2.0)")
        print(f"{name} memory: {memory:.2f} (target <= 1.0)")


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
    if side != OURS:
        env["PYTHONPATH"] = str(work / "trl")
        env["TRL_EXPERIMENTAL_SILENCE"] = "1"
    command = [sys.executable, __file__, "--side", side, "--work", str(work), "--device", args.device]
    command += ["--steps", str(args.steps), "--batch-size", str(args.batch_size)]
    done = subprocess.run(command, env=env, check=False, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def train(args: argparse.Namespace) -> dict:
    """The script of a user: all but the import is the same."""
    import resource

    import torch
    from datasets import load_dataset
    from transformers import AutoModelForTokenClassification, AutoTokenizer

    if args.side == OURS:
        from rewardkit.train.trl import PRMConfig, PRMTrainer
    else:
        from trl.experimental.prm import PRMConfig, PRMTrainer

    work = Path(args.work)
    model = AutoModelForTokenClassification.from_pretrained(work / "model", dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(work / "model")
    rows = load_dataset("json", data_files=str(work / "rows.jsonl"), split="train", cache_dir=str(work / "cache"))
    rows = rows.select(range(min(len(rows), args.steps * args.batch_size)))
    config = PRMConfig(
        output_dir=str(work / "out"),
        per_device_train_batch_size=args.batch_size,
        num_train_epochs=1,
        learning_rate=1e-5,
        bf16=False,
        gradient_checkpointing=args.side == DEFAULTS,
        use_cpu=args.device == "cpu",
        save_strategy="no",
        report_to="none",
        seed=0,
        disable_tqdm=True,
        logging_steps=1,
    )
    trainer = PRMTrainer(model=model, args=config, processing_class=tokenizer, train_dataset=rows)
    count = Count(trainer)
    result = trainer.train()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if args.device != "cpu":
        peak = torch.cuda.max_memory_allocated() / 2**20
    return {
        "seconds": result.metrics["train_runtime"],
        "loss": result.training_loss,
        "tokens": count.real,
        "padding": 1 - count.real / count.all,
        "peak_mib": peak,
    }


class Count:
    """Counts the tokens of the batches that a trainer's collator makes."""

    def __init__(self, trainer: Any) -> None:
        self.real = self.all = 0
        self._inner = trainer.data_collator
        trainer.data_collator = self

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        lengths = [len(row["input_ids"]) for row in rows]
        batch = self._inner(rows)
        self.real += sum(lengths)
        self.all += batch["input_ids"].numel()
        return batch


if __name__ == "__main__":
    main()
