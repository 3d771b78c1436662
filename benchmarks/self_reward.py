"""What do self-rewards teach a small policy, beside true answers and no training?

    python benchmarks/self_reward.py [--quick] [--seeds 0 1 2] [--output runs/self-reward] [--figure curves.svg]
    python benchmarks/self_reward.py --model smollm2-135m-instruct --output runs/self-reward-135m --figure curves.svg

GRPO (`rewardkit.train.grpo`) on sums of reasoning-gym, rewarded by the majority of the group (TTRL), by EVOL-RL and by
the true answers; held-out pass@1 and pass@8 beside the policy that was not trained, for each seed. The policy is a
small Llama that is first taught worked sums from scratch, until it solves some of them; ``--model`` takes a real one
instead, with LoRA, shorter problems and fewer of them. Each finished run is kept in the output folder and not made
again: an interrupted benchmark goes on with the same command, and processes with different ``--seeds`` may share a
folder that has its ``base``.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from rewardkit.evaluate.bootstrap import bootstrap, paired_difference
from rewardkit.generate import GenerationRequest, GeneratorConfig
from rewardkit.generate.prompt import Example, PromptConfig, build_messages
from rewardkit.generate.transformers import TransformersGenerator
from rewardkit.problems.gym import gym_problems
from rewardkit.rewards.base import Group
from rewardkit.rewards.health import pass_at_k
from rewardkit.rewards.outcome import outcome
from rewardkit.store.config import ProblemsConfig
from rewardkit.store.files import write_text
from rewardkit.train.config import LoraOptions
from rewardkit.train.data import held_out
from rewardkit.train.grpo import GRPOConfig, train_policy
from rewardkit.types import Problem

REWARDS: dict[str, dict[str, Any]] = {
    "true answers": {"reward": "outcome"},
    "majority": {"reward": "ttrl"},
    "EVOL-RL": {"reward": "evol_rl", "epsilon_high": 0.28, "entropy_coef": 0.003},
}
K, SAMPLES, HELD_OUT = 8, 16, 0.2
ASK = "State the final answer to the following arithmetic problem: "
SCRATCH: dict[str, Any] = {
    "problems": ProblemsConfig(
        source="reasoning-gym:chain_sum",
        limit=2500,
        options={"min_terms": 3, "max_terms": 3, "min_digits": 1, "max_digits": 1},
    ),
    "lora": None,
    "batch_size": 96,
    "steps": 60,
    "max_completion_length": 24,
    "learning_rate": 1e-4,
}
REAL: dict[str, Any] = {
    "prompt": PromptConfig(system="Solve.", examples=(Example(problem="6 + 2 =", response="6 + 2 = 8\n#### 8"),)),
    "lora": LoraOptions(top_layers=15),
    "batch_size": 32,
    "steps": 20,
    "max_completion_length": 16,
    "learning_rate": 1e-3,
}


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--quick", action="store_true", help="one seed, a hardly taught policy, two steps")
    options.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options.add_argument("--model", help="a real policy, in place of the one that is taught from scratch")
    options.add_argument("--output", type=Path, default=Path("runs/self-reward"))
    options.add_argument("--taught", type=int, default=401, help="steps of teaching from scratch")
    options.add_argument("--steps", type=int, help="of GRPO")
    options.add_argument("--held", type=int, default=150, help="held-out problems")
    options.add_argument("--figure", type=Path, help="draw the curves into this SVG")
    args = options.parse_args()
    if args.quick:
        args.seeds, args.taught, args.held, args.output = [0], 30, 8, args.output / "quick"
    args.output.mkdir(parents=True, exist_ok=True)
    plan = {**REAL, "problems": bare_sums(args.output)} if args.model else dict(SCRATCH)
    plan |= {"steps": 2, "batch_size": 16} if args.quick else {}
    plan |= {"steps": args.steps} if args.steps else {}
    model = args.model or str(teach(args.output / "base", plan["problems"], args.taught))
    runs: dict[tuple[str, int], dict[str, Any]] = {
        (name, seed): run(args.output, model, name, seed, plan, args.held)
        for seed in args.seeds
        for name in ("no training", *REWARDS)
    }
    table(runs)
    if args.figure:
        write_text(args.figure, svg(runs))


def run(folder: Path, model: str, name: str, seed: int, plan: dict[str, Any], held: int) -> dict[str, Any]:
    """One policy, trained and measured; read back where it is already there."""
    kept = folder / f"{name.replace(' ', '-')}-{seed}.json"
    if kept.is_file():
        made: dict[str, Any] = json.loads(kept.read_text())
        return made
    began, cpu, health = time.perf_counter(), time.process_time(), []
    if name in REWARDS:
        output = folder / f"{name.replace(' ', '-')}-{seed}"
        fixed = {"model": model, "seed": seed, "held_out": HELD_OUT, "num_generations": K, "device": "cpu"}
        fixed |= {"max_eval": 1, "eval_samples": 4, "save_every": 20, "log_every": 1, "output": str(output)}
        train_policy(GRPOConfig(**{**fixed, **plan, **REWARDS[name]}))
        model = str(output)
        health = [json.loads(line) for line in (output / "health.jsonl").read_text().splitlines()]
    made = {"right": measure(model, plan, seed, held), "health": health}
    made |= {"seconds": time.perf_counter() - began, "cpu": time.process_time() - cpu}
    write_text(kept, json.dumps(made) + "\n")
    shutil.rmtree(folder / kept.stem, ignore_errors=True)
    right = np.array(made["right"]) / SAMPLES
    print(f"  {name}, seed {seed}: pass@1 {right.mean():.3f}, {made['cpu']:.0f} CPU s", flush=True)
    return made


def measure(model: str, plan: dict[str, Any], seed: int, held: int) -> list[int]:
    """How many of `SAMPLES` answers are right, for each held-out problem."""
    problems = shared_out(plan["problems"], held=True)[:held]
    rows = sampled(model, problems, SAMPLES, plan, seed)
    groups = [Group.create(p.id, texts, reference=p.answer) for p, texts in zip(problems, rows, strict=True)]
    return [int(outcome(group).stats["right"]) for group in groups]


def shared_out(source: ProblemsConfig, *, held: bool) -> list[Problem]:
    """The problems that are held out, or the others, each once."""
    rows = source.load().rows
    return [p for p in {p.id: p for p in rows}.values() if held_out(p.id, HELD_OUT) == held]


def sampled(model: str, problems: Sequence[Problem], n: int, plan: dict[str, Any], seed: int) -> list[list[str]]:
    """n responses to each problem."""
    config = GeneratorConfig(
        kind="transformers",
        model=model,
        max_new_tokens=plan["max_completion_length"],
        temperature=1.0,
        device="cpu",
        dtype="bfloat16",
    )
    generator, prompt = TransformersGenerator(config), plan.get("prompt", PromptConfig())
    wanted = [
        GenerationRequest(f"{p.id}-{i}", p, i, build_messages(p, prompt), seed) for p in problems for i in range(n)
    ]
    texts: list[str] = []
    for at in range(0, len(wanted), 160):
        texts += [made.text for made in generator.generate(wanted[at : at + 160])]
    return [texts[i : i + n] for i in range(0, len(texts), n)]


def bare_sums(folder: Path) -> ProblemsConfig:
    """Every sum and difference of two digits as ``7 + 8 =``, drawn by reasoning-gym, its words left out."""
    sizes = {"min_terms": 2, "max_terms": 2, "min_digits": 1, "max_digits": 1}
    found = {p.text.removeprefix(ASK): p.answer for p in islice(gym_problems("chain_sum", sizes), 2000)}
    found.pop("6 + 2 =", None)  # the worked example
    lines = [json.dumps({"problem": text, "answer": answer}) for text, answer in sorted(found.items())]
    write_text(folder / "problems.jsonl", "\n".join(lines) + "\n")
    return ProblemsConfig(source=str(folder / "problems.jsonl"))


# --- the policy from scratch ---


def teach(folder: Path, problems: ProblemsConfig, steps: int) -> Path:
    """A small Llama that has seen worked sums, none of them held out: half with the answer alone, half in two steps."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    if (folder / "config.json").is_file():
        return folder
    rows = gym_problems("chain_sum", {**problems.options, "seed": 2})
    tokenizer = symbols()
    torch.manual_seed(0)
    shape = {"hidden_size": 96, "intermediate_size": 256, "num_hidden_layers": 3, "num_attention_heads": 3}
    ends = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id, "bos_token_id": None}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), tie_word_embeddings=True, **shape, **ends))
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.01)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    draw = np.random.default_rng(0)
    for step in range(steps):
        batch = [p for p in (next(rows) for _ in range(80)) if not held_out(p.id, HELD_OUT)]
        ids, labels = padded([lesson(p, tokenizer, bool(draw.random() < 0.5)) for p in batch], tokenizer.pad_token_id)
        loss = model(input_ids=torch.tensor(ids), labels=torch.tensor(labels)).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        rate.step()
        if step % 100 == 0:
            print(f"  taught {step} of {steps} steps, loss {loss.item():.3f}", flush=True)
    tokenizer.save_pretrained(folder)
    model.save_pretrained(folder)
    return folder


def symbols() -> Any:
    """A tokenizer of one token a digit, sign or word."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = (ASK + "+ - = \n # 0 1 2 3 4 5 6 7 8 9").replace(":", " : ").split(" ")
    vocabulary = {
        word: i for i, word in enumerate(dict.fromkeys(["<pad>", "<end>", "<unk>", " ", "####", *words, "\n"]))
    }
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Split(Regex(r"[A-Za-z]+|#+|[\s\S]"), "isolated")
    made.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        pad_token="<pad>",
        eos_token="<end>",
        unk_token="<unk>",
        clean_up_tokenization_spaces=False,
    )


def lesson(problem: Problem, tokenizer: Any, worked: bool) -> tuple[list[int], list[int]]:
    """Prompt and response as ids, and the labels: the response alone."""
    start, first, second, *more = problem.text.rpartition(": ")[2].rstrip(" =").split()
    lines = [f"#### {problem.answer}"]
    if worked:
        middle = int(start) + int(first + second)
        lines = [f"{start}{first}{second}={middle}", f"{middle}{''.join(more)}={problem.answer}", *lines]
    prompt = tokenizer.encode(problem.text + "\n", add_special_tokens=False)
    response = [*tokenizer.encode("\n".join(lines), add_special_tokens=False), tokenizer.eos_token_id]
    return prompt + response, [-100] * len(prompt) + response


def padded(rows: Sequence[tuple[list[int], list[int]]], pad: int) -> tuple[list[list[int]], list[list[int]]]:
    width = max(len(ids) for ids, _ in rows)
    return (
        [ids + [pad] * (width - len(ids)) for ids, _ in rows],
        [labels + [-100] * (width - len(labels)) for _, labels in rows],
    )


# --- what is shown ---


def table(runs: dict[tuple[str, int], dict[str, Any]]) -> None:
    """Held-out figures: the mean over seeds, its interval over problems, and each seed."""
    names = list(dict.fromkeys(name for name, _ in runs))
    rates = {name: np.array([solved(run["right"]) for (n, _), run in runs.items() if n == name]) for name in names}
    print("| reward | pass@1 | less no training | pass@8 | less no training | seeds, pass@1; pass@8 |")
    print("|---|---|---|---|---|---|")
    for name in names:
        cells = [f"{cell}" for k in range(2) for cell in compared(rates[name][:, :, k], rates[names[0]][:, :, k])]
        each = "; ".join(" ".join(f"{seed:.3f}" for seed in rates[name][:, :, k].mean(1)) for k in range(2))
        print(f"| {name} | {' | '.join(cells)} | {each} |")
    for name in names[1:]:
        print(f"{name}: " + health_line([run["health"] for (n, _), run in runs.items() if n == name]))
    for name in names[1:]:
        gained = rates[name].mean((0, 1)) - rates[names[0]].mean((0, 1))
        print(f"{name}, held-out pass@1 gained: {gained[0]:+.3f}, pass@{K} gained: {gained[1]:+.3f}")
    print(f"CPU seconds of all runs: {sum(run['cpu'] for run in runs.values()):.0f}")


def compared(values: np.ndarray, base: np.ndarray) -> tuple[str, str]:
    """(seeds, problems) as a mean with its interval, and its difference from no training on the same problems."""
    pair = [values.mean(0), base.mean(0)]
    own = bootstrap(lambda x, y: float(x.mean()), pair)
    gain = paired_difference(lambda x, y: float(x.mean()), lambda x, y: float(y.mean()), pair)
    shown = f"{own.value:.3f} [{own.low:.3f}, {own.high:.3f}]"
    return shown, "" if np.array_equal(values, base) else f"{gain.value:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]"


def solved(right: Sequence[int]) -> np.ndarray:
    """(problems, 2): pass@1 and the unbiased pass@K of each problem."""
    return np.array([(c / SAMPLES, pass_at_k(c, SAMPLES, K)) for c in right])


def health_line(logs: Sequence[list[dict[str, Any]]]) -> str:
    """The first and the last ten steps of what was watched, over all seeds."""
    parts = []
    for column in COLUMNS:
        ends = [[row[column] for log in logs for row in part(log) if column in row] for part in (head, tail)]
        parts.append(f"{column} {np.mean(ends[0]):.2f} to {np.mean(ends[1]):.2f}" if all(ends) else f"{column} unknown")
    warnings = sorted({w.partition(": ")[2][:60] for log in logs for row in log for w in row["warnings"]})
    return ", ".join(parts) + "; warnings: " + ("; ".join(warnings) or "none")


COLUMNS = ("pass_at_1", f"pass_at_{K}", "majority_share", "entropy", "label_accuracy")


def head(log: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return log[:10]


def tail(log: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return log[-10:]


COLOURS = {"true answers": "#1b7837", "majority": "#b2182b", "EVOL-RL": "#2166ac"}
TITLES = {
    "pass_at_1": "pass@1",
    f"pass_at_{K}": f"pass@{K}",
    "majority_share": "majority share",
    "label_accuracy": "label is right",
}
WIDTH, HEIGHT, MARGIN = 190, 130, 34


def svg(runs: dict[tuple[str, int], dict[str, Any]]) -> str:
    """A panel a figure of the training groups: the mean over seeds of ten steps each, and the spread of the seeds."""
    panels = [panel(i, column, runs) for i, column in enumerate(TITLES)]
    legend = "".join(
        f'<text x="{MARGIN + 120 * i}" y="{HEIGHT + 66}" fill="{colour}">{name}</text>'
        for i, (name, colour) in enumerate(COLOURS.items())
    )
    size = f'width="{len(panels) * (WIDTH + MARGIN) + 10}" height="{HEIGHT + 76}"'
    style = 'font-family="sans-serif" font-size="11" fill="#444"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}>\n' + "\n".join(panels) + f"\n{legend}\n</svg>\n"


def panel(place: int, column: str, runs: dict[tuple[str, int], dict[str, Any]]) -> str:
    left, made = place * (WIDTH + MARGIN) + MARGIN, []
    for name, colour in COLOURS.items():
        logs = [[row.get(column, np.nan) for row in run["health"]] for (n, _), run in runs.items() if n == name]
        seeds = np.array([smooth(log) for log in logs])
        steps = len(seeds[0])
        x = left + WIDTH * (np.arange(steps) + 0.5) / steps
        low, high, middle = (25 + HEIGHT * (1 - value) for value in (seeds.min(0), seeds.max(0), seeds.mean(0)))
        band = points([*zip(x, low, strict=True), *zip(x[::-1], high[::-1], strict=True)])
        made.append(f'<polygon points="{band}" fill="{colour}" opacity="0.15"/>')
        line = points(list(zip(x, middle, strict=True)))
        made.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="1.6"/>')
    ticks = [
        f'<path d="M{left} {25 + HEIGHT * (1 - y)}h{WIDTH}" stroke="#ddd"/>'
        f'<text x="{left - 4}" y="{29 + HEIGHT * (1 - y)}" text-anchor="end">{y:g}</text>'
        for y in (0, 0.25, 0.5, 0.75, 1)
    ]
    title = f'<text x="{left + WIDTH / 2}" y="14" text-anchor="middle" font-weight="bold">{TITLES[column]}</text>'
    last = max(len(run["health"]) for run in runs.values())
    below = f'<text x="{left + WIDTH / 2}" y="{HEIGHT + 42}" text-anchor="middle">step (of {last})</text>'
    return "".join([*ticks, *made, title, below])


def smooth(values: Sequence[float], width: int = 10) -> np.ndarray:
    """The mean of each step and the nine around it."""
    row = np.asarray(values, dtype=float)
    return np.array([np.nanmean(row[max(0, i - width // 2) : i + width // 2]) for i in range(len(row))])


def points(pairs: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in pairs)


if __name__ == "__main__":
    main()
