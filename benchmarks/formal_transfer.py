"""FoVer's question at our size: does training on formal labels help on steps that no solver checks?

    python benchmarks/formal_transfer.py --prmbench FOLDER [--quick]      # trains: some 20 minutes of an idle core
    python benchmarks/formal_transfer.py --prmbench FOLDER --frozen       # heads on frozen features alone
    python benchmarks/formal_transfer.py --implicit                       # and implicit models: half an hour more

The lowest 20 layers of SmolLM2-135M-Instruct are trained (as `rewardkit train prm` does, with LoRA in the upper five of
them and a head over each step's mean) on arithmetic labels, on logic labels and on half of each, with equal numbers of
traces, and measured on other problems of both families, on ProcessBench up to the first error, and on PRMBench. The
figure is the mean step AUROC over the seeds (of the draw, the order, the adapters and the head), its interval a
bootstrap over problems. Beside them: a constant, the base model's own verdicts, and the length of the step.

The layers below the adapters are computed once, and the scores of each finished run are kept in ``--folder``: a run
that was killed goes on with the next one. ``--frozen`` trains a hidden layer of 32 on the mean of each step's hidden
states behind layer 15.
"""

from __future__ import annotations

import argparse
import os
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from transformers import AutoConfig, AutoModelForCausalLM

from rewardkit.evaluate.baselines import load_baseline
from rewardkit.evaluate.bootstrap import bootstrap, paired_difference
from rewardkit.evaluate.features import FeatureReader
from rewardkit.evaluate.lower_layers import LowerLayers
from rewardkit.evaluate.robustness.data import read_steps, split, truths
from rewardkit.evaluate.robustness.heads import Given, HeadOptions, Learner, method
from rewardkit.evaluate.steps import step_auroc
from rewardkit.evaluate.suites import suite_config
from rewardkit.models.cpu import multiplies_bfloat16
from rewardkit.models.embedded import cache_folder, quiet_transformers, resolve_model
from rewardkit.models.implicit import ImplicitRewardModel
from rewardkit.models.spec import RewardModelSpec
from rewardkit.models.token import TokenRewardModel
from rewardkit.store import LabelledTrace, load_traces
from rewardkit.train.data import held_out
from rewardkit.train.implicit import ImplicitConfig, ImplicitPRM
from rewardkit.train.prm import PRMConfig, TokenPRM
from rewardkit.train.progress import use_progress
from rewardkit.train.run import build_model, load_tokenizer, training_arguments
from rewardkit.types import StepLabel, content_id

MODEL = "smollm2-135m-instruct"
IMPLICIT_TOP = 10
"""Layers with adapters of implicit models, which need the whole language model."""
FAMILIES = {"arithmetic": "gsm8k", "logic": "logic"}
TRAINING = {"arithmetic": ("arithmetic",), "logic": ("logic",), "both": ("arithmetic", "logic")}
HELD_OUT = 0.25

Scores = dict[str, np.ndarray]
"""From a test's name to the scores of its labelled steps."""


@dataclass(frozen=True)
class Test:
    """Traces with labels of some sources: truth and problem of every labelled step are in the order of `places`."""

    rows: list[LabelledTrace]
    sources: tuple[str, ...]

    @property
    def places(self) -> list[tuple[int, int, float]]:
        """(row, step, truth) of every labelled step."""
        found = [(i, truths(row, self.sources)) for i, row in enumerate(self.rows)]
        return [(i, step, value) for i, steps in found for step, value in sorted(steps.items())]

    def pick(self, values: Sequence[Sequence[float]]) -> np.ndarray:
        """The values of the labelled steps, of values of all steps."""
        return np.array([values[i][step] for i, step, _ in self.places], dtype=np.float64)

    @property
    def truth(self) -> np.ndarray:
        return np.array([value for *_, value in self.places])

    @property
    def problems(self) -> np.ndarray:
        return np.array([self.rows[i].trace.problem.id for i, *_ in self.places])


def main() -> None:
    args = options().parse_args()
    if args.quick:
        args.traces, args.tests, args.seeds, args.layers, args.top_layers, args.layer = 8, 6, 1, 4, 2, 2
        args.max_length, args.epochs, args.head_start = 220, 1.0, 0
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    train, tests = read(args)
    shown = {name: f"{name} ({len(t.places)})" for name, t in tests.items()}
    print(f"{'step AUROC':28}" + "".join(name.rjust(32) for name in shown.values()), flush=True)
    learn = frozen(train, tests, args) if args.frozen else partial(trained, train, tests, args)
    runs: dict[str, list[Scores]] = {}
    for seed in range(args.seeds):
        for name, sources in TRAINING.items():
            for found, scores in learn(name, sources, seed).items():
                runs.setdefault(found, []).append(scores)
    rows = {name: {test: [s[test] for s in found] for test in tests} for name, found in runs.items()}
    rows["step length"] = {name: [t.pick([lengths(row) for row in t.rows])] for name, t in tests.items()}
    rows["constant prior"] = {name: [np.full(len(t.truth), 0.5)] for name, t in tests.items()}
    if not args.frozen:
        base = kept(args, ("base",), tests, lambda: asked(tests))
        rows["base model, asked"] = {name: [base[name]] for name in tests}
    for name, scores in rows.items():
        show(name, scores, tests)
    conclude(rows, tests)


def options() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser()
    made.add_argument("--quick", action="store_true", help="few and short traces, one seed, two layers")
    made.add_argument("--frozen", action="store_true", help="heads on frozen features, on all the traces")
    made.add_argument("--implicit", action="store_true", help="implicit models from outcomes too")
    made.add_argument("--processbench", default="sample:processbench-gsm8k")
    made.add_argument("--prmbench", help="a folder of PRMBench's files; left out without")
    made.add_argument("--seeds", type=int, default=3)
    made.add_argument("--traces", type=int, default=240, help="in each training")
    made.add_argument("--tests", type=int, default=48, help="traces of each test")
    made.add_argument("--max-length", type=int, default=384, help="longer traces are left out, in tokens")
    made.add_argument("--layers", type=int, default=20, help="of the model, from below, over which the head stands")
    made.add_argument("--top-layers", type=int, default=5, help="of these, with adapters")
    made.add_argument("--reads", default="mean", choices=["mean", "separator"], help="of a step, by the head")
    made.add_argument("--head-start", type=int, default=150, help="traces of the regression that the head starts from")
    made.add_argument("--epochs", type=float, default=3.0)
    made.add_argument("--batch-size", type=int, default=2)
    made.add_argument("--learning-rate", type=float, default=1e-3)
    made.add_argument("--implicit-learning-rate", type=float, default=3e-4)
    made.add_argument("--layer", type=int, default=15, help="of the frozen features")
    made.add_argument("--folder", type=Path, default=cache_folder() / "formal-transfer", help="for scores")
    return made


def read(args: argparse.Namespace) -> tuple[dict[str, list[LabelledTrace]], dict[str, Test]]:
    """The training traces of each family, of which each seed draws some; and the tests."""
    reader = FeatureReader(MODEL, max_length=1024 if args.frozen else args.max_length)
    pool, most = (700, 10**6) if args.frozen else (args.traces * 3 // 2, args.tests)
    train, tests = {}, {}
    for source, name in FAMILIES.items():
        rows = [r for r in load_traces("sample:formal-traces").rows if r.trace.meta["family"] == name]
        rows = [r for r in rows if truths(r, (source,)) and reader.fits(r.trace)]
        rows = rows[:pool] if args.frozen else rows
        apart = [held_out(r.trace.problem.id, HELD_OUT) for r in rows]
        train[source] = draw([r for r, out in zip(rows, apart, strict=True) if not out], pool)
        tests[f"held-out {source}"] = Test(
            draw([r for r, out in zip(rows, apart, strict=True) if out], most), (source,)
        )
    people = load_traces(args.processbench, 200 if args.frozen else None).rows
    people = [r for r in map(up_to_first_error, people) if reader.fits(r.trace)]
    tests["ProcessBench"] = Test(draw(people, most), ("human",))
    if args.prmbench:
        values = {"model": "none", "output": "none", "data": args.prmbench, "max_rows": 40 if args.frozen else None}
        parts = suite_config("prmbench", values).parts()
        injected = [r for part in parts for r in part.load().rows if reader.fits(r.trace)]
        tests["PRMBench"] = Test(draw(injected, most), (injected[0].labels[0].source,))
    return train, tests


def draw(rows: list[LabelledTrace], most: int, seed: int = 0) -> list[LabelledTrace]:
    return rows if len(rows) <= most else random.Random(seed).sample(rows, most)


def up_to_first_error(row: LabelledTrace) -> LabelledTrace:
    """Behind the first error a prefix label says nothing of the step itself; the scores before it do not see it."""
    wrong = [x.step for x in row.labels if x.p_correct == 0.0]
    if not wrong:
        return row
    trace = replace(row.trace, steps=row.trace.steps[: min(wrong) + 1])
    return LabelledTrace(trace, tuple(x for x in row.labels if x.step <= min(wrong)))


def trained(
    train: dict[str, list[LabelledTrace]],
    tests: dict[str, Test],
    args: argparse.Namespace,
    name: str,
    sources: tuple[str, ...],
    seed: int,
) -> dict[str, Scores]:
    """A token PRM, and for one family an implicit one on the same traces: their scores of every test."""
    rows = [r for source in sources for r in draw(train[source], args.traces // len(sources), seed)]
    spare = tests[f"held-out {sources[0]}"].rows[0]  # the trainer wants something to evaluate
    setting = (args.epochs, args.batch_size, seed, [r.trace.id for r in rows])
    shared = {
        "data": ("none",),
        "held_out": HELD_OUT,
        "epochs": args.epochs,
        "batch_size": args.batch_size,
        "seed": seed,
        "max_eval": 1,
        "eval_every": 10**6,
        "save_every": 10**6,
    }
    prm = {**shared, "model": cut(args.layers, args.folder), "sources": sources, "learning_rate": args.learning_rate}
    prm |= {"lora": {"r": 16, "alpha": 32, "top_layers": args.top_layers}}
    prm |= {"reads": args.reads, "head_start": args.head_start or None}
    made = {
        name: kept(
            args,
            (name, args.layers, args.top_layers, args.learning_rate, args.reads, args.head_start, setting),
            tests,
            lambda: token_scores(prm, [*rows, spare], tests),
        )
    }
    if args.implicit and len(sources) == 1:
        rate = args.implicit_learning_rate
        implicit = {
            **shared,
            "model": MODEL,
            "learning_rate": rate,
            "lora": {"r": 16, "alpha": 32, "top_layers": IMPLICIT_TOP},
        }
        outcomes = [with_outcome(r, sources[0]) for r in (*rows, spare)]
        both = kept(args, ("implicit", rate, setting), tests, lambda: implicit_scores(implicit, outcomes, tests))
        for kind in ("r_t", "q_t"):
            made[f"{name}, outcomes, {kind}"] = {test: both[f"{test} {kind}"] for test in tests}
    return made


def kept(args: argparse.Namespace, about: object, tests: dict[str, Test], make: Callable[[], Scores]) -> Scores:
    """The scores of a run: from disk where it was finished before."""
    key = content_id("formal-1", about, {name: [r.trace.id for r in t.rows] for name, t in tests.items()})
    file = args.folder / f"{key}.npz"
    if not file.is_file():
        wall, work = time.perf_counter(), time.process_time()
        scores = make()
        file.parent.mkdir(parents=True, exist_ok=True)
        unfinished = file.with_suffix(".tmp.npz")
        np.savez(unfinished, **scores)
        unfinished.replace(file)
        seconds = f"{time.perf_counter() - wall:.0f} s, {time.process_time() - work:.0f} s of the processor"
        print(f"  {str(about)[:60]}: {seconds}", flush=True)
    with np.load(file, allow_pickle=False) as held:
        return {name: held[name] for name in held.files}


def with_outcome(row: LabelledTrace, source: str) -> LabelledTrace:
    """One label for the whole response: whether none of its checked steps was refuted; not which."""
    right = min(truths(row, (source,)).values())
    return LabelledTrace(row.trace, (StepLabel(row.trace.id, len(row.trace.steps) - 1, right, "outcome", "value"),))


def token_scores(values: dict[str, Any], rows: list[LabelledTrace], tests: dict[str, Test]) -> Scores:
    model = train_model(TokenPRM, TokenRewardModel, PRMConfig, values, rows, tests)
    return {name: t.pick([s.scores for s in model.score([r.trace for r in t.rows])]) for name, t in tests.items()}


def implicit_scores(values: dict[str, Any], rows: list[LabelledTrace], tests: dict[str, Test]) -> Scores:
    """Of each step what it added, r_t, and where the response stands behind it, q_t."""
    values = {**values, "sources": ("outcome",)}
    model = train_model(ImplicitPRM, ImplicitRewardModel, ImplicitConfig, values, rows, tests)
    found: Scores = {}
    for name, t in tests.items():
        scored = model.score([r.trace for r in t.rows])
        found[f"{name} r_t"] = t.pick([s.raw for s in scored])
        found[f"{name} q_t"] = t.pick([s.scores for s in scored])
    return found


def train_model(
    kind_class: Any,
    model_class: Any,
    config_class: Any,
    values: dict[str, Any],
    rows: list[LabelledTrace],
    tests: dict[str, Test],
) -> Any:
    """What `rewardkit train` does, over lower layers that are computed once; the model is scored as it is trained."""
    with tempfile.TemporaryDirectory() as folder:
        config = config_class(output=folder, **values)
        kind = kind_class(config)
        base = resolve_model(config.model)
        lower = lower_layers(AutoConfig.from_pretrained(base).num_hidden_layers - config.lora.top_layers)
        tokenizer = load_tokenizer(base)
        spec, splits = kind.prepare(rows, tokenizer)
        data = {part: [example.row() for example in made.examples] for part, made in splits.items()}
        model = build_model(kind, base)
        scorer = model_class(model, tokenizer, spec, batch_tokens=4096)
        texts = [row["input_ids"] for part in data.values() for row in part]
        lower.read(texts + [scorer.encode(r.trace).input_ids for t in tests.values() for r in t.rows])
        lower.put_under(model)
        trainer = kind.trainer(
            model=model,
            args=training_arguments(config),
            data_collator=kind.collator(tokenizer),
            train_dataset=data["train"],
            eval_dataset=data["eval"],
            compute_loss_func=kind.loss(),
            compute_metrics=kind.metrics(),
            processing_class=tokenizer,
        )
        use_progress(trainer)
        trainer.train()
    model.eval()
    return scorer


def cut(layers: int, folder: Path) -> str:
    """The lowest layers of the model as a checkpoint of its own; the whole model where it has no more."""
    base = resolve_model(MODEL)
    config = AutoConfig.from_pretrained(base)
    if layers >= config.num_hidden_layers:
        return MODEL
    made = folder / f"{MODEL}-{layers}-layers"
    if not (made / "config.json").is_file():
        config.num_hidden_layers = layers
        with quiet_transformers():
            AutoModelForCausalLM.from_pretrained(base, config=config).save_pretrained(made)
        load_tokenizer(base).save_pretrained(made)
    return str(made)


@cache
def lower_layers(layers: int) -> LowerLayers:
    """One for all runs, in the precision in which they are trained."""
    return LowerLayers(MODEL, layers, dtype="bfloat16" if multiplies_bfloat16() else "float32")


def frozen(train: dict[str, list[LabelledTrace]], tests: dict[str, Test], args: argparse.Namespace) -> Any:
    """Heads on frozen features: for a training set and a seed, the scores of every test."""
    reader = FeatureReader(MODEL, layer=args.layer)
    given = {name: read_steps(rows, (name,), reader, None) for name, rows in train.items()}
    read = {name: read_steps(t.rows, t.sources, reader, None) for name, t in tests.items()}
    size = min(len(part) for part in given.values())
    print(f"{size} labelled steps in each training set", flush=True)

    def learn(name: str, sources: Sequence[str], seed: int) -> dict[str, Scores]:
        chance = np.random.default_rng(seed)
        parts = []
        for source in sources:
            chosen = np.zeros(len(given[source]), dtype=bool)
            chosen[chance.permutation(len(chosen))[: size // len(sources)]] = True
            parts.append(split(given[source], chosen))
        features = np.concatenate([part.plain for part in parts])
        middle, scale = features.mean(0), features.std(0) + 1e-6
        traces = np.concatenate([part.trace + 100_000 * i for i, part in enumerate(parts)])
        labels = np.concatenate([part.truth for part in parts])
        data = Given((features - middle) / scale, labels, traces, np.zeros(0, dtype=np.int64), np.zeros(0))
        learner = Learner(data, HeadOptions(), seed)
        method("bce")(learner)
        return {name: {test: learner.score((part.plain - middle) / scale) for test, part in read.items()}}

    return learn


def asked(tests: dict[str, Test]) -> Scores:
    """The untrained base model's chance of its word for a correct step."""
    spec = RewardModelSpec(kind="token", separator_id=0, base_model=MODEL)
    dtype = "bfloat16" if multiplies_bfloat16() else None
    model = load_baseline("base", spec, device=None, dtype=dtype, batch_tokens=4096)
    return {name: t.pick([s.scores for s in model.score([r.trace for r in t.rows])]) for name, t in tests.items()}


def lengths(row: LabelledTrace) -> list[float]:
    """Short steps count as right."""
    return [-float(len(step.text)) for step in row.trace.steps]


def mean_auroc(truth: np.ndarray, *columns: np.ndarray) -> float | None:
    """Over the seeds."""
    found = [step_auroc(column, truth) for column in columns]
    return None if None in found else float(np.mean([value for value in found if value is not None]))


def show(name: str, scores: dict[str, list[np.ndarray]], tests: dict[str, Test]) -> None:
    cells = []
    for test, runs in scores.items():
        truth, problems = tests[test].truth, tests[test].problems
        found = bootstrap(mean_auroc, [truth, *runs], problems, n=500)
        spread = f" ±{np.std([step_auroc(run, truth) for run in runs]):.3f}" if len(runs) > 1 else ""
        interval = "" if found.low is None else f" [{found.low:.3f}, {found.high:.3f}]{spread}"
        cells.append("none" if found.value is None else f"{found.value:.3f}{interval}")
    print(f"{name:28}" + "".join(cell.rjust(32) for cell in cells), flush=True)


def conclude(rows: dict[str, dict[str, list[np.ndarray]]], tests: dict[str, Test]) -> None:
    """By how much each training is above the base model's verdicts where its own labels do not reach."""
    base = "base model, asked" if "base model, asked" in rows else "constant prior"
    pairs = [(name, test) for name in rows if (name in TRAINING) for test in tests]
    for name, test in pairs:
        if name in test or (name == "both" and test.startswith("held-out")):
            continue
        found = paired_difference(
            lambda truth, other, *runs: mean_auroc(truth, *runs),
            lambda truth, other, *runs: step_auroc(other, truth),
            [tests[test].truth, rows[base][test][0], *rows[name][test]],
            tests[test].problems,
            n=500,
        )
        if found.value is not None and found.low is not None:
            print(f"{name} labels on {test}, over {base}: {found.value:+.3f} [{found.low:+.3f}, {found.high:+.3f}]")


if __name__ == "__main__":
    main()
