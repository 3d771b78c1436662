"""What does a step label cost, and how right is it, with a real small model instead of a known policy?

    python benchmarks/rollouts_model.py [--quick] [--model smollm2-135m-instruct] [--output runs/rollouts-model]

`rollouts.py` on SmolLM2-135M-Instruct in vLLM on this machine. The problems are sums of reasoning-gym, written out in
steps ("6 + 2 = 8"), of which the model solves some, sometimes: those are kept of which 1 to 7 of 8 pilot samples are
right. One further sample of each is the trace whose steps Math-Shepherd, OmegaPRM and the adaptive test label, each
with continuations of its own; what is spent is that of the `rollout` labeler as it ships (`rewardkit synth`).

Two truths. `sampled` is what the labels mean: the value from more continuations with another seed, where it is plain
(0, or `PLAIN` and more). `exact` asks whether every step so far is a true sum that brings the problem on, though the
model mends some that are not. Parts that are done are kept in the output folder, and an interrupted benchmark goes on
with the same command. Needs vLLM (``rewardkit[cpu]``).
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from rewardkit.generate import GeneratorConfig
from rewardkit.generate.prompt import Example, PromptConfig
from rewardkit.generate.usage import hit_rate
from rewardkit.store import LabelledTrace, read_dataset
from rewardkit.store.config import ProblemsConfig, TracesConfig
from rewardkit.store.dataset import read_manifest
from rewardkit.store.files import write_text
from rewardkit.synth import SynthConfig, run_synth
from rewardkit.types import Trace

METHODS: dict[str, dict[str, Any]] = {
    "Math-Shepherd, hard, N=16": {"method": "math_shepherd", "n": 16},
    "OmegaPRM, k=16, one search": {"method": "omegaprm", "n": 16, "searches": 1},
    "adaptive": {"method": "adaptive"},
    "adaptive, own": {"method": "adaptive", "own": True},
}
BASE, OURS = "Math-Shepherd, hard, N=16", "adaptive"
PLAIN = 1 / 8
PILOT = 8
SHOWN = ((6, 2, 3), (9, 4, 8, 1), (5, 7, 2), (1, 3, 9, 6), (8, 8, 5, 3), (2, 9, 10), (7, 6, 4, 9), (10, 5, 1, 7))
SUMS = {"min_digits": 1, "max_digits": 1, "operators": ["+"], "allow_parentheses": False, "allow_negation": False}


def written_out(terms: Sequence[int]) -> str:
    """How a sum is solved.

    >>> written_out((6, 2, 3))
    '6 + 2 = 8\\n8 + 3 = 11\\n#### 11'
    """
    sums = list(accumulate(terms))
    lines = [f"{before} + {term} = {after}" for before, term, after in zip(sums, terms[1:], sums[1:], strict=False)]
    return "\n".join([*lines, f"#### {sums[-1]}"])


PROMPT = PromptConfig(
    examples=tuple(
        Example(problem=f"Calculate {' + '.join(map(str, terms))}.", response=written_out(terms)) for terms in SHOWN
    )
)


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--quick", action="store_true", help="few problems, and 8 continuations for the truth")
    options.add_argument("--model", default="smollm2-135m-instruct")
    options.add_argument("--output", type=Path, default=Path("runs/rollouts-model"))
    args = options.parse_args()
    if args.quick:
        args.output /= "quick"
    asked, many = (4, 8) if args.quick else (40, 32)
    args.output.mkdir(parents=True, exist_ok=True)
    traces = sampled(args.output, args.model, asked)
    truth = labelled(args.output / "truth", traces, args.model, {"method": "math_shepherd", "n": many, "soft": True}, 9)
    values = {row.trace.id: by_step(row) for row in read_dataset(truth)}
    describe(truth, values)
    print("| | completions a step | tokens a step | times fewer | prompt tokens from the prefix cache | "
          "accuracy, exact | accuracy, sampled | abstained |\n|---|" + "---|" * 7)  # fmt: skip
    found = {}
    for name, plan in METHODS.items():
        folder = labelled(args.output / slug(name), traces, args.model, plan, 0)
        found[name] = Score(folder, values)
        print(found[name].line(name, found[BASE]), flush=True)
    base, ours = found[BASE], found[OURS]
    print(f"label accuracy (sampled), adaptive: {ours.sampled:.4f} (target >= {base.sampled:.4f}, Math-Shepherd's)")
    print(f"label accuracy (exact), adaptive: {ours.exact:.4f} (target >= {base.exact:.4f}, Math-Shepherd's)")
    print(f"completions, Math-Shepherd N=16 over adaptive: {base.completions / ours.completions:.2f} (target >= 5)")
    print(f"tokens, Math-Shepherd N=16 over adaptive: {base.tokens / ours.tokens:.2f}")


def slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower())


# --- traces ---


def sampled(folder: Path, model: str, problems: int) -> Path:
    """One trace of each problem that the model solves sometimes, with the pilot's figures printed."""
    rows = []
    for terms in (3, 4):
        source = ProblemsConfig(
            source="reasoning-gym:basic_arithmetic", limit=problems,
            options={**SUMS, "min_terms": terms, "max_terms": terms},
        )  # fmt: skip
        rows += [{"problem": p.prompt, "answer": p.answer} for p in source.load().rows]
    pilot = answered(folder, "pilot", rows, model, PILOT, 0)
    right: dict[str, list[bool]] = {}
    for row in read_dataset(pilot):
        right.setdefault(row.trace.problem.text, []).append(row.labels[-1].p_correct == 1.0)
    chosen = [row for row in rows if 0 < sum(right.get(str(row["problem"]), [])) < PILOT]
    rate = sum(map(sum, right.values())) / (PILOT * len(right))
    kept = sum(sum(right[str(row["problem"])]) for row in chosen) / (PILOT * len(chosen))
    print(f"{len(right)} problems, pass rate {rate:.2f}; {len(chosen)} solved sometimes, pass rate {kept:.2f}")
    return answered(folder, "traces", chosen, model, 1, 1)


def answered(folder: Path, name: str, rows: Sequence[dict[str, Any]], model: str, samples: int, seed: int) -> Path:
    """A dataset of answers to problems, held against the reference."""
    write_text(folder / f"{name}.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    run_synth(
        SynthConfig(
            problems=ProblemsConfig(source=str(folder / f"{name}.jsonl")),
            generator=generator(model).model_copy(update={"samples": samples}),
            prompt=PROMPT,
            labelers=("answer",),
            output=str(folder / name),
            seed=seed,
        )  # fmt: skip
    )
    return folder / name


def generator(model: str) -> GeneratorConfig:
    return GeneratorConfig(
        kind="vllm", model=model, temperature=0.5, max_new_tokens=48, batch_size=128, dtype="float32",
        engine={"max_model_len": 1024},
    )  # fmt: skip


def labelled(folder: Path, traces: Path, model: str, plan: dict[str, Any], seed: int) -> Path:
    """The traces with one method's labels."""
    options = {"generator": generator(model).model_dump(), "prompt": PROMPT.model_dump()}
    options |= {"seed": seed, "unit": 16, **plan}
    run_synth(
        SynthConfig(
            traces=TracesConfig(source=str(traces)),
            labelers=("rollout",),
            labeler_options={"rollout": options},
            output=str(folder),
        )  # fmt: skip
    )
    return folder


# --- truth and score ---


def still_right(trace: Trace) -> list[bool]:
    """Whether each step and all before it are true sums that bring the problem on, the last with its answer.

    >>> from rewardkit.types import Problem
    >>> problem = Problem.create("Calculate 6 + 2 + 3.", "11")
    >>> still_right(Trace.create(problem, ["6 + 2 = 8", "8 + 2 = 10", "#### 10"]))
    [True, False, False]
    """
    terms = [int(number) for number in re.findall(r"\d{1,9}", trace.problem.text)]
    before, used, found = 0, 0, []
    for step in trace.steps:
        numbers = [int(number) for number in re.findall(r"\d{1,9}", step.text)]
        if step.text.startswith("####"):
            right = used == len(terms) and numbers == [sum(terms)]
        else:
            *added, total = numbers or [0]
            start = [before] if used else []
            used += len(added) - len(start)
            right = len(added) > 1 and added == [*start, *terms[used - len(added) + len(start) : used]]
            right, before = right and total == sum(added), total
        found.append(right and (not found or found[-1]))
    return found


def plain(value: float | None) -> bool | None:
    """What a value says of its step: right from `PLAIN` on, wrong at 0, else nothing."""
    return None if value is None or 0 < value < PLAIN else value > 0


def by_step(row: LabelledTrace) -> list[float | None]:
    """The labels of the rollouts, one a step."""
    labels = sorted((label for label in row.labels if label.source == "rollout"), key=lambda label: label.step)
    return [label.p_correct for label in labels]


def accuracy(labels: Sequence[float | None], truth: Sequence[bool | None]) -> float:
    """The share of the known steps that are labelled so; an abstention is not right."""
    pairs = [(label, right) for label, right in zip(labels, truth, strict=True) if right is not None]
    return sum(label is not None and (label > 0) is right for label, right in pairs) / max(1, len(pairs))


def describe(folder: Path, values: dict[str, list[float | None]]) -> None:
    """What is labelled, and how the two truths agree."""
    rows = read_dataset(folder)
    exact = [right for row in rows for right in still_right(row.trace)]
    told = [plain(value) for row in rows for value in values[row.trace.id]]
    both = [a is b for a, b in zip(exact, told, strict=True) if b is not None]
    wrong_traces = sum(not still_right(row.trace)[-1] for row in rows)
    print(
        f"{len(rows)} traces, {wrong_traces / len(rows):.0%} wrong; {len(exact)} steps, "
        f"{exact.count(False) / len(exact):.0%} wrong; the sampled truth is plain for {len(both)} of them, "
        f"and agrees with the exact one in {sum(both) / len(both):.1%}"
    )


class Score:
    """What a method spent, from its manifest, and how right its labels are."""

    def __init__(self, folder: Path, values: dict[str, list[float | None]]) -> None:
        self.used = read_manifest(folder)["labelers"]["rollout"]
        self.completions, self.tokens = self.used["requests"], self.used["completion_tokens"]
        rows = read_dataset(folder)
        self.labels = [p for row in rows for p in by_step(row)]
        self.exact = accuracy(self.labels, [right for row in rows for right in still_right(row.trace)])
        self.sampled = accuracy(self.labels, [plain(value) for row in rows for value in values[row.trace.id]])

    def line(self, name: str, base: Score) -> str:
        steps = len(self.labels)
        spent = [self.completions / steps, self.tokens / steps, base.completions / max(1, self.completions)]
        shares = [hit_rate(self.used) or 0.0, self.exact, self.sampled, self.labels.count(None) / steps]
        return f"| {name} | " + " | ".join([f"{x:.2f}" for x in spent] + [f"{x:.1%}" for x in shares]) + " |"


if __name__ == "__main__":
    main()
