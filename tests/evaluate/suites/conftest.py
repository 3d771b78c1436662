"""A stand-in for a reward model: it looks the scores up, so that every figure of a suite is known beforehand."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from rewardkit.evaluate.run import EvalResult, run_eval
from rewardkit.evaluate.suites import suite_config
from rewardkit.models.spec import RewardModelSpec
from rewardkit.types import StepScores, Trace

Scorer = Callable[[Trace], Sequence[float]]


class StandIn:
    """No model: ``scorer`` gives the scores of a trace."""

    def __init__(self, scorer: Scorer, kind: str = "token") -> None:
        self.scorer = scorer
        self.spec = RewardModelSpec(kind=kind, separator_id=5, meaning="local", base_model="nothing")
        self.asked: list[str] = []

    def score(self, traces: Sequence[Trace]) -> list[StepScores]:
        self.asked += [trace.id for trace in traces]
        return [StepScores(trace.id, tuple(self.scorer(trace))) for trace in traces]


@pytest.fixture
def measured(monkeypatch, tmp_path) -> Callable[..., EvalResult]:
    """Run a suite with a stand-in: ``measured("processbench", scorer, data=..., ...)``."""

    def run(suite: str, scorer: Scorer, *, kind: str = "token", **values: object) -> EvalResult:
        monkeypatch.setattr("rewardkit.evaluate.run.load_model", lambda name, **options: StandIn(scorer, kind))
        given = {"model": "stand-in", "output": str(tmp_path / "out"), "resamples": 20, **values}
        return run_eval(suite_config(suite, given))

    return run


@pytest.fixture
def value() -> Callable[[EvalResult, str], float | None]:
    """The value of a figure by its name."""

    def find(result: EvalResult, name: str) -> float | None:
        return next(figure.value for figure in result.report.figures if figure.name == name)

    return find
