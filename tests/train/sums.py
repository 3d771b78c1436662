"""Data that several tests of training share: sums, about half of them false."""

from __future__ import annotations

import json
import random
from pathlib import Path

from rewardkit.store.dataset import LabelledTrace
from rewardkit.types import Problem, StepLabel, Trace


def sums(count: int, seed: int = 0, meaning: str = "local") -> list[LabelledTrace]:
    """Traces of small sums, about half of them false, labelled by whether they are."""
    draw = random.Random(seed)
    rows = []
    for i in range(count):
        steps, truth = [], []
        for _ in range(draw.randint(1, 5)):
            a, b = draw.randint(1, 9), draw.randint(1, 9)
            truth.append(draw.random() < 0.5)
            steps.append(f"{a} + {b} = {a + b + (0 if truth[-1] else 3)}")
        trace = Trace.create(Problem.create(f"Question {i}?"), steps)
        labels = tuple(StepLabel(trace.id, k, float(ok), "arithmetic", meaning) for k, ok in enumerate(truth))
        rows.append(LabelledTrace(trace, labels))
    return rows


def losses(folder: Path) -> list[float]:
    """The training losses of a finished run, one an optimizer step."""
    log = json.loads((folder / "training.json").read_text())["log"]
    return [entry["loss"] for entry in log if "loss" in entry]
