"""FoVer's question at our size: does training on formal labels help on steps that no solver checks?

    python benchmarks/formal_transfer.py [--quick] [--processbench FILE] [--prmbench FOLDER]

Heads on frozen features of SmolLM2-135M-Instruct (the mean of each step's hidden states behind layer 15; a hidden layer
of 32) are trained on arithmetic labels, on logic labels and on both, with equal numbers of labelled steps, and
measured on held-out problems of both families, on ProcessBench and on PRMBench. Three seeds: the figure is the mean of
their step AUROC, its interval a bootstrap over problems. Beside them the constant prior, which ranks nothing (0.5), and
the base model asked for a verdict in words. A body that is trained too may do better; this shows what the labels say.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np

from rewardkit.evaluate.baselines import load_baseline
from rewardkit.evaluate.bootstrap import bootstrap
from rewardkit.evaluate.features import FeatureReader
from rewardkit.evaluate.robustness.data import Steps, read_steps, split
from rewardkit.evaluate.robustness.heads import Given, HeadOptions, Learner, method
from rewardkit.evaluate.steps import step_auroc
from rewardkit.evaluate.suites import suite_config
from rewardkit.models.spec import RewardModelSpec
from rewardkit.store import LabelledTrace, load_traces
from rewardkit.train.data import held_out

MODEL = "smollm2-135m-instruct"
TRAINING = {"arithmetic": ("arithmetic",), "logic": ("logic",), "both": ("arithmetic", "logic")}


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--quick", action="store_true", help="few traces, one seed")
    options.add_argument("--processbench", default="sample:processbench-gsm8k")
    options.add_argument("--prmbench", help="a folder of PRMBench's files; left out without")
    options.add_argument("--seeds", type=int, default=3)
    options.add_argument("--layer", type=int, default=15)
    options.add_argument("--rows", type=int, default=700, help="traces of each family")
    options.add_argument("--base", action="store_true", help="ask the base model too (slow)")
    args = options.parse_args()
    if args.quick:
        args.rows, args.seeds, args.layer = 60, 1, 2
    reader = FeatureReader(MODEL, layer=args.layer)
    families = {name: family(name, args.rows, reader) for name in ("arithmetic", "logic")}
    train = {name: read_steps(rows, (name,), reader, None) for name, (rows, _) in families.items()}
    tests = {f"held-out {name}": (rows, (name,)) for name, (_, rows) in families.items()}
    tests |= benches(args, reader)
    steps = {name: read_steps(rows, sources, reader, None) for name, (rows, sources) in tests.items()}
    size = min(len(part) for part in train.values())
    print(f"{size} labelled steps in each training set; layer {args.layer}, {args.seeds} seeds")
    print(f"{'step AUROC':14}" + "".join(f"{name} ({len(part)} steps)".rjust(34) for name, part in steps.items()))
    for name, sources in TRAINING.items():
        scores = [score(train, sources, size, seed, steps) for seed in range(args.seeds)]
        show(name, {test: [s[test] for s in scores] for test in steps}, steps)
    show("constant prior", {test: [np.full(len(part), 0.5)] for test, part in steps.items()}, steps)
    if args.base:
        show("base, asked", {name: [asked(rows, sources)] for name, (rows, sources) in tests.items()}, steps)


def family(name: str, most: int, reader: FeatureReader) -> tuple[list[LabelledTrace], list[LabelledTrace]]:
    """Traces with a label of the family, for training and, of other problems, for evaluation."""
    rows = load_traces("sample:formal-traces").rows
    wanted = [r for r in rows if any(x.source == name and x.p_correct is not None for x in r.labels)]
    wanted = [r for r in wanted if r.trace.meta["family"] in ("gsm8k", "logic") and reader.fits(r.trace)][:most]
    test = [held_out(row.trace.problem.id, 0.25) for row in wanted]
    return [r for r, t in zip(wanted, test, strict=True) if not t], [r for r, t in zip(wanted, test, strict=True) if t]


def benches(args: argparse.Namespace, reader: FeatureReader) -> dict[str, tuple[list[LabelledTrace], tuple[str, ...]]]:
    """Human labels: ProcessBench up to the first error, PRMBench's injected errors."""
    few = 20 if args.quick else 200
    rows = [up_to_first_error(r) for r in load_traces(args.processbench, few).rows if reader.fits(r.trace)]
    found = {"ProcessBench": (rows, ("human",))}
    if args.prmbench:
        values = {"model": "none", "output": "none", "data": args.prmbench, "max_rows": few // 5}
        suite = suite_config("prmbench", values)
        loaded = [r for part in suite.parts() for r in part.load().rows if reader.fits(r.trace)]
        found["PRMBench"] = (loaded, (loaded[0].labels[0].source,))
    return found


def up_to_first_error(row: LabelledTrace) -> LabelledTrace:
    """Behind the first error a prefix label says nothing of the step itself."""
    wrong = [x.step for x in row.labels if x.p_correct == 0.0]
    kept = tuple(x for x in row.labels if not wrong or x.step <= min(wrong))
    return LabelledTrace(row.trace, kept)


def score(
    train: dict[str, Steps], sources: Sequence[str], size: int, seed: int, tests: dict[str, Steps]
) -> dict[str, np.ndarray]:
    """A head on `size` labelled steps, as many of each source; its scores of every test's steps."""
    draw = np.random.default_rng(seed)
    parts = []
    for source in sources:
        chosen = np.zeros(len(train[source]), dtype=bool)
        chosen[draw.permutation(len(chosen))[: size // len(sources)]] = True
        parts.append(split(train[source], chosen))
    features = np.concatenate([part.plain for part in parts])
    middle, scale = features.mean(0), features.std(0) + 1e-6
    traces = np.concatenate([part.trace + 100_000 * i for i, part in enumerate(parts)])
    labels = np.concatenate([part.truth for part in parts])
    nothing = np.zeros(0, dtype=np.int64)
    data = Given((features - middle) / scale, labels, traces, nothing, np.zeros(0))
    learner = Learner(data, HeadOptions(), seed)
    method("bce")(learner)
    return {name: learner.score((part.plain - middle) / scale) for name, part in tests.items()}


def asked(rows: Sequence[LabelledTrace], sources: Sequence[str]) -> np.ndarray:
    """The untrained base model's chance of its word for a correct step, for each labelled step."""
    spec = RewardModelSpec(kind="token", separator_id=0, base_model=MODEL)
    model = load_baseline("base", spec, device=None, dtype=None, batch_tokens=4096)
    scored = model.score([row.trace for row in rows])
    return np.array(
        [
            found.scores[step]
            for row, found in zip(rows, scored, strict=True)
            for step in sorted({x.step for x in row.labels if x.source in sources and x.p_correct is not None})
        ]
    )


def show(name: str, scores: dict[str, list[np.ndarray]], steps: dict[str, Steps]) -> None:
    cells = []
    for test, runs in scores.items():
        part = steps[test]

        def mean_auroc(truth: np.ndarray, *columns: np.ndarray) -> float | None:
            found = [step_auroc(column, truth) for column in columns]
            return None if None in found else float(np.mean(found))

        value = bootstrap(mean_auroc, [part.truth, *runs], part.problems, n=500)
        cells.append(f"{value.value:.3f} [{value.low:.3f}, {value.high:.3f}]")
    print(f"{name:14}" + "".join(cell.rjust(34) for cell in cells), flush=True)


if __name__ == "__main__":
    main()
