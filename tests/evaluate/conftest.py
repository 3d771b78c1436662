"""A dataset of real ProcessBench traces with known labels and scores, and a real browser to look at its page."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from chromium import launched

from rewardkit.evaluate.best_of_n import best_of_n_curves
from rewardkit.evaluate.calibration import reliability_bins
from rewardkit.evaluate.figure import Figure
from rewardkit.evaluate.page import write_page
from rewardkit.evaluate.report import BestOfN, Curves, EvalReport, Training
from rewardkit.evaluate.steps import precision_recall_points, roc_points
from rewardkit.samples import sample_path
from rewardkit.store.dataset import LabelledTrace, write_dataset
from rewardkit.types import Problem, StepLabel, Trace

EVIL = (
    '</script><script>document.title="owned"</script><img src=x onerror="document.title=\'owned\'">\u2028& "%%data%%"'
)


def real_rows(count: int) -> list[LabelledTrace]:
    """Traces with the human label of each step, and scores that agree except in every tenth trace."""
    with gzip.open(sample_path("processbench-gsm8k"), "rt", encoding="utf-8") as stream:
        rows = [json.loads(line) for line in stream][:count]
    return [_labelled(row, flip=number % 10 == 0) for number, row in enumerate(rows)]


def _labelled(row: dict, *, flip: bool) -> LabelledTrace:
    steps = [f"{text}\n\n" for text in row["steps"]]
    trace = Trace.create(Problem.create(row["problem"]), steps, model=row["generator"])
    end = len(steps) if row["label"] < 0 else row["label"] + 1
    right = [i != row["label"] for i in range(end)]
    labels = [
        StepLabel(trace.id, i, float(r), "human", "prefix", "" if r else "marked wrong") for i, r in enumerate(right)
    ]
    scores = [0.9 if i >= end or right[i] != flip else 0.1 for i in range(len(steps))]
    return LabelledTrace(trace, tuple(labels), tuple(scores))


def hand_made_rows() -> list[LabelledTrace]:
    """One trace a case: a disagreement, an attack, no labels at all."""
    wrong = Trace.create(
        Problem.create("What is 48/2 + 48?"), ["48/2 = 16\n", "So  it is\n\n  64."], "64", model="tiny"
    )
    labels = (
        StepLabel(wrong.id, 0, 0.0, "human", "prefix", "48/2 is 24, not 16"),
        StepLabel(wrong.id, 1, 1.0, "human", "prefix"),
        StepLabel(wrong.id, 1, None, "arithmetic", "local", "no equation found"),
    )
    evil = Trace.create(Problem.create(EVIL), [EVIL, "fine"], EVIL, model=EVIL, meta={EVIL: EVIL})
    bad = StepLabel(evil.id, 0, 1.0, "human", "prefix", EVIL)
    bare = Trace.create(Problem.create("Nobody looked at this."), ["a step"], model="tiny")
    return [
        LabelledTrace(wrong, labels, (0.97, 0.04)),
        LabelledTrace(evil, (bad,), (0.8, 0.5)),
        LabelledTrace(bare, (), (0.6,)),
    ]


def example_report() -> EvalReport:
    """Every plot, from a few made-up numbers."""
    scores, correct = [0.9, 0.8, 0.7, 0.3, 0.2, 0.6], [1, 1, 1, 0, 0, 0]
    n, curves = best_of_n_curves([[0.9, 0.2], [0.4, 0.6]], [[0, 1], [0, 1]], [[1, 0], [0, 1]])
    return EvalReport(
        figures=(Figure("step AUROC", 0.812, 0.79, 0.834, 1400), Figure("oracle", None, None, None, 0, EVIL)),
        baselines={"prior": (Figure("step AUROC", 0.5, None, None, 1400), Figure("oracle", None, None, None, 0))},
        reliability=tuple(reliability_bins(scores, correct)),
        reliability_by_source={"human": tuple(reliability_bins(scores, correct))},
        best_of_n=BestOfN(n=tuple(n), curves={k: tuple(v) for k, v in curves.items()}),
        curves=(
            Curves(
                title="Labels flipped",
                caption="Over the share.",
                x="share",
                y="AUROC",
                at=(0, 0.1, 0.4),
                lines={"bce": (0.8, 0.7, 0.5), "gce": (0.82, 0.78, 0.6)},
                bands={"gce": ((0.8, 0.84), (0.75, 0.8), (0.5, 0.7))},
            ),
        ),
        roc=tuple(roc_points(scores, correct)),
        precision_recall=tuple(precision_recall_points(scores, correct)),
        training=Training(loss=((1, 0.7), (50, 0.4), (100, 0.3)), eval=((50, 0.5), (100, 0.45))),
        model={"name": "prm-test"},
    )


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset folder: three hand-made traces, then sixty real ones, and an evaluation report."""
    folder = tmp_path_factory.mktemp("page") / "data-set"
    write_dataset(folder, [*hand_made_rows(), *real_rows(60)], {})
    example_report().save(folder)
    return folder


@pytest.fixture(scope="session")
def page_file(dataset: Path) -> Path:
    return write_page(dataset).path


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    yield from launched()
