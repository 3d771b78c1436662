"""Traces with outcomes for tests: what a right response says differs from what a wrong one does, in one step."""

from __future__ import annotations

import random

from rewardkit.store.dataset import LabelledTrace
from rewardkit.types import Problem, StepLabel, Trace


def answers(problems: int, samples: int = 4, seed: int = 0) -> list[LabelledTrace]:
    """Responses to sums, right or wrong by chance, labelled by their outcome alone; one step tells which."""
    draw = random.Random(seed)
    rows = []
    for i in range(problems):
        problem = Problem.create(f"Question {i}?", "7")
        for sample in range(samples):
            right = draw.random() < 0.5
            steps = [f"{draw.randint(1, 9)} is next\n"] * draw.randint(0, 3)
            trace = Trace.create(problem, [*steps, "total so\n" if right else "earn how\n", "#### 7"], sample=sample)
            last = len(trace.steps) - 1
            rows.append(LabelledTrace(trace, (StepLabel(trace.id, last, float(right), "answer", "value"),)))
    return rows
