"""How much faster does an implicit PRM train than by two plain forward passes over padded batches?

    python benchmarks/train_implicit.py [--quick] [--layers N] [--responses N] [--per-problem N] [--epochs N]

Both sides are one `transformers.Trainer` with the same LoRA adapters, responses (SmolLM2's answers to GSM8K
questions, up to four of each), number of steps, dtype and loss (CE), each in processes of its own, in turn. The plain
side takes padded batches in random order and forms all logits twice a step: of policy and of reference (adapters off).
Ours looks the reference up, forms logits of response tokens alone, in chunks, and computes the prompt of a problem's
responses once (batching=problem), or takes batches of like length. The first run of ours computes the reference once
and keeps it, which is part of its time; the second finds it.
Tokens are those of the responses and prompts, however often they are computed. Peak memory is the growth of the
process's resident set during the training (on a GPU what torch allocated). Both losses are also taken on one batch with
adapters that are not zero.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

SIDES = ("plain", "ours, first run", "ours, again", "ours, batching=length, first run")


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--quick", action="store_true", help="a cut of four layers, few responses")
    options.add_argument("--layers", type=int)
    options.add_argument("--responses", type=int)
    options.add_argument("--per-problem", type=int, default=4, help="responses of each problem at most, 1 to 4")
    options.add_argument("--repeats", type=int)
    options.add_argument("--epochs", type=int, default=1)
    options.add_argument("--batch-size", type=int, default=8)
    options.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    options.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    options.add_argument("--side", help=argparse.SUPPRESS)
    options.add_argument("--work", help=argparse.SUPPRESS)
    args = options.parse_args()
    args.layers = args.layers or (4 if args.quick else 30)
    args.responses = args.responses or (32 if args.quick else 160)
    args.repeats = args.repeats or (1 if args.quick else 3)
    if args.side:
        print(json.dumps(train(args)))
        return
    with tempfile.TemporaryDirectory() as work:
        cut_model(Path(work) / "model", args.layers)
        compare(args, Path(work))


def compare(args: argparse.Namespace, work: Path) -> None:
    """Run the sides in turn and print their medians."""
    results: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES}
    for repeat in range(args.repeats):
        for side, found in results.items():
            cache = work / ("length" if "length" in side else "problem") / str(repeat)
            found.append(run(args, side, work, cache))
    shape = f"{args.responses} responses, up to {args.per_problem} a problem, {args.epochs} epochs"
    shape += f", batches of {args.batch_size}"
    print(f"{args.layers} layers of SmolLM2-135M, LoRA, {shape}, {args.dtype}, {args.device}")
    middle = {side: {k: statistics.median(r[k] for r in found) for k in found[0]} for side, found in results.items()}
    for side, r in middle.items():
        print(
            f"{side:32} {r['tokens'] / r['seconds']:8.1f} tokens/s  {r['tokens'] / r['cpu']:8.1f} tokens/CPU s  "
            f"peak +{r['peak_mib']:6.0f} MiB  loss of one batch {r['loss']:.6f}"
        )
    plain = middle["plain"]
    for side in SIDES[1:]:
        r = middle[side]
        print(f"{side}, speed over plain: {plain['seconds'] / r['seconds']:.2f} (target >= 2.0)")
        print(f"{side}, speed over plain by CPU time: {plain['cpu'] / r['cpu']:.2f}")
    print(f"peak memory over plain: {middle[SIDES[1]]['peak_mib'] / plain['peak_mib']:.2f} (target <= 1.0)")
    print(
        f"difference of the loss: {max(abs(r['loss'] - plain['loss']) for r in middle.values()):.1e} (target <= 1e-5)"
    )


def run(args: argparse.Namespace, side: str, work: Path, cache: Path) -> dict[str, float]:
    """One side in a process of its own."""
    command = [sys.executable, __file__, "--side", side, "--work", str(work)]
    for name in ("layers", "responses", "per_problem", "epochs", "batch_size", "device", "dtype"):
        command += [f"--{name.replace('_', '-')}", str(getattr(args, name))]
    # The embedded model is found by the parent alone; the reference log-probs of each repeat start from nothing.
    environment = {**os.environ, "REWARDKIT_CACHE": str(cache)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def cut_model(folder: Path, layers: int) -> None:
    """The first layers of SmolLM2-135M-Instruct with its whole vocabulary, and its tokenizer."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from rewardkit.models.embedded import quiet_transformers, resolve_model

    base = resolve_model("smollm2-135m-instruct")
    with quiet_transformers():
        model = AutoModelForCausalLM.from_pretrained(base, dtype="float32")
        model.model.layers = model.model.layers[:layers]
        model.config.num_hidden_layers = layers
        model.config.layer_types = None
        model.save_pretrained(folder)
        AutoTokenizer.from_pretrained(base).save_pretrained(folder)


def train(args: argparse.Namespace) -> dict[str, float]:
    """Train one side and say how long it took and what it held."""
    import torch

    from rewardkit.train.implicit import ImplicitConfig, ImplicitPRM
    from rewardkit.train.implicit_data import ResponseCollator
    from rewardkit.train.run import build_model, training_arguments

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)))
    config = ImplicitConfig.model_validate(
        {
            "data": "none",
            "output": str(Path(args.work) / "out"),
            "model": str(Path(args.work) / "model"),
            "dtype": args.dtype,
            "device": args.device,
            "epochs": args.epochs,
            "batch_size": args.batch_size,
            "save_every": 10**6,
            "eval_every": 10**6,
            "batching": "length" if args.side == "plain" or "length" in args.side else "problem",
        }
    )
    kind = ImplicitPRM(config)
    model = build_model(kind, config.model).to(args.device)
    rows = load_rows(config.model, args.responses, args.per_problem)
    options = {
        "model": model,
        "args": training_arguments(config),
        "train_dataset": rows,
        "eval_dataset": [],
        "data_collator": ResponseCollator(),
    }
    before = peak(args.device)
    started, cpu = time.perf_counter(), time.process_time()
    trainer = plain_trainer(config.beta, options) if args.side == "plain" else kind.trainer(**options)
    trainer.train()
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    grown = peak(args.device) - before
    return {
        "seconds": seconds,
        "cpu": cpu,
        "tokens": float(args.epochs * sum(len(row["input_ids"]) for row in rows)),
        "peak_mib": grown,
        "loss": one_loss(trainer, model, rows[: args.batch_size]),
    }


def load_rows(model: str, count: int, per_problem: int) -> list[dict[str, Any]]:
    """Recorded answers as training rows; their labels take turns, since values do not change the speed."""
    from rewardkit.samples import sample_path
    from rewardkit.text.encode import encode_response
    from rewardkit.train.run import load_tokenizer

    tokenizer = load_tokenizer(model)
    rows: list[dict[str, Any]] = []
    with gzip.open(sample_path("smollm2-traces"), "rt", encoding="utf-8") as file:
        for line in file:
            given = json.loads(line)
            if len(rows) < count and given["sample"] < per_problem and given["text"].strip():
                encoded = encode_response(tokenizer, given["prompt"], given["text"].splitlines(keepends=True))
                row = {"input_ids": list(encoded.input_ids), "start": encoded.start, "labels": float(len(rows) % 2)}
                rows.append({**row, "reference": 0.0, "problem": given["problem_id"]})
    return rows


def plain_trainer(beta: float, options: dict[str, Any]) -> Any:
    """Two forward passes with all their logits, as a user would write it; the adapters off are the reference."""
    import torch
    import torch.nn.functional as F
    from transformers import Trainer

    class PlainTrainer(Trainer):
        loss_is_scaled_for_ga = True

        def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **more: Any) -> Any:
            places = torch.arange(inputs["input_ids"].shape[1], device=inputs["input_ids"].device)
            held = (places < inputs["lengths"][:, None]).long()
            answer = held[:, 1:] * (places[1:] >= inputs["starts"][:, None])

            def logps() -> Any:
                logits = model(input_ids=inputs["input_ids"], attention_mask=held, use_cache=False).logits
                chosen = logits[:, :-1].float().log_softmax(-1).gather(2, inputs["input_ids"][:, 1:, None])[..., 0]
                return (chosen * answer).sum(1)

            with torch.no_grad(), model.disable_adapter():
                reference = logps()
            return F.binary_cross_entropy_with_logits(beta * (logps() - reference), inputs["labels"])

    return PlainTrainer(**options)


def one_loss(trainer: Any, model: Any, rows: list[dict[str, Any]]) -> float:
    """The loss of one batch with random adapters, the same on both sides."""
    import torch

    from rewardkit.train.implicit_data import ResponseCollator
    from rewardkit.train.implicit_trainer import fill_references
    from rewardkit.train.sharing import SharingCollator

    torch.manual_seed(0)
    for name, parameter in sorted(model.named_parameters()):
        if ".lora_" in name:
            torch.nn.init.normal_(parameter, std=0.02)
    share = getattr(trainer, "shares_prompts", False)
    fill_references(model, rows, share=share)
    collate = SharingCollator(ResponseCollator(), model.config.hidden_size) if share else ResponseCollator()
    batch = trainer._prepare_inputs(collate(rows))
    with torch.no_grad():
        return float(trainer.compute_loss(model.eval(), batch))


def peak(device: str) -> float:
    """In MiB."""
    import torch

    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


if __name__ == "__main__":
    main()
