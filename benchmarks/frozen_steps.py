"""What benchmarks of labels share: steps of the shipped traces with frozen features, and heads on them.

No question of its own. A head with a hidden layer of 32 trains in a fraction of a second on the mean of each step's
hidden states behind layer 15 of SmolLM2-135M-Instruct; how the body would have changed it cannot show.
"""

from __future__ import annotations

from itertools import islice
from typing import Any

import numpy as np

from rewardkit.evaluate.features import FeatureReader
from rewardkit.evaluate.robustness.data import Steps, read_steps, truths
from rewardkit.evaluate.robustness.heads import Given, HeadOptions, Learner
from rewardkit.generate.replay import read_generations
from rewardkit.labelers.arithmetic import ArithmeticLabeler
from rewardkit.store import LabelledTrace, load_traces
from rewardkit.text.split import split_steps
from rewardkit.train.data import held_out
from rewardkit.train.losses import LossOptions
from rewardkit.types import Problem, Trace

MODEL = "smollm2-135m-instruct"
LAYER = 15
FAMILIES = {"arithmetic": "gsm8k", "logic": "logic"}
"""From a label source of `formal-traces` to the family of traces that it labels."""


def formal_steps(source: str, quick: bool = False) -> tuple[list[LabelledTrace], Steps]:
    """The first 700 traces with a label of a verifier (`quick`: 120), and the steps that it labelled.

    The first time that takes three CPU minutes.
    """
    reader, parts = formal_traces(source, quick)
    return [*parts[0], *parts[1]], _joined(*(read_steps(part, (source,), reader, None) for part in parts))


def formal_traces(source: str, quick: bool = False) -> tuple[FeatureReader, list[list[LabelledTrace]]]:
    """The traces of `formal_steps` in the two parts in which `formal_transfer.py` reads them: the same files serve."""
    reader = FeatureReader(MODEL, layer=LAYER)
    rows = [r for r in load_traces("sample:formal-traces").rows if r.trace.meta["family"] == FAMILIES[source]]
    rows = [r for r in rows if truths(r, (source,)) and reader.fits(r.trace)][: 120 if quick else 700]
    apart = [held_out(r.trace.problem.id, 0.25) for r in rows]
    return reader, [[r for r, out in zip(rows, apart, strict=True) if out is side] for side in (False, True)]


def answer_traces(count: int) -> tuple[FeatureReader, list[list[LabelledTrace]]]:
    """The first answers of `smollm2-traces` with the arithmetic labeler's verdicts, be there any or none."""
    reader, labeler = FeatureReader(MODEL, layer=LAYER), ArithmeticLabeler()
    rows = []
    for row in islice(read_generations("sample:smollm2-traces"), count):
        steps = [span.text for span in split_steps(row["text"])]
        trace = Trace.create(Problem.create(row["prompt"]), steps, sample=row["sample"])
        if steps and reader.fits(trace):
            rows.append(LabelledTrace(trace, tuple(labeler.label(trace))))
    return reader, [rows]


def every_step(reader: FeatureReader, parts: list[list[LabelledTrace]], source: str) -> Steps:
    """All steps of the traces, with the truth NaN where the source has no verdict."""
    features = np.concatenate([step for part in parts for step in reader.read([row.trace for row in part])])
    rows = [row for part in parts for row in part]
    known = [truths(row, (source,)) for row in rows]
    lengths = [len(row.trace.steps) for row in rows]
    return Steps(
        plain=features,
        marked=features,
        truth=np.array([own.get(i, np.nan) for own, n in zip(known, lengths, strict=True) for i in range(n)]),
        trace=np.repeat(np.arange(len(rows)), lengths),
        problems=np.repeat([row.trace.problem.id for row in rows], lengths),
    )


def _joined(first: Steps, second: Steps) -> Steps:
    return Steps(
        np.concatenate([first.plain, second.plain]),
        np.concatenate([first.marked, second.marked]),
        np.concatenate([first.truth, second.truth]),
        np.concatenate([first.trace, second.trace + first.trace.max() + 1]),
        np.concatenate([first.problems, second.problems]),
    )


def trained_head(features: Any, labels: Any, trace: Any, seed: int) -> Learner:
    """A head on standardised features, trained with cross-entropy on hard or soft labels."""
    none = np.zeros(0, dtype=np.int64)
    data = Given(features, np.asarray(labels, dtype=np.float64), trace, none, np.zeros(0))
    learner = Learner(data, HeadOptions(), seed)
    learner.fit(LossOptions().build())
    return learner


def standardised(train: Any, *others: Any) -> list[Any]:
    """Features less the mean of the training steps', over their spread."""
    middle, scale = train.mean(0), train.std(0) + 1e-6
    return [((part - middle) / scale).astype(np.float32) for part in (train, *others)]


def problems_apart(problems: Any, share: float, seed: int) -> Any:
    """(steps,) True for the steps of a share of the problems, drawn by the seed."""
    names, number = np.unique(problems, return_inverse=True)
    chosen = np.random.default_rng([seed, 7]).permutation(len(names)) < round(share * len(names))
    return chosen[number]
