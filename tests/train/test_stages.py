"""Training in stages: each from the model of the one before, and nothing trained where a stage is wrong."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from tiny import SEPARATOR, build_tiny_reward_model

from rewardkit.errors import ConfigError
from rewardkit.models.token import TokenRewardModel
from rewardkit.store.dataset import LabelledTrace, write_dataset
from rewardkit.train import train
from rewardkit.train.prm import PRMConfig
from rewardkit.train.stages import stage_configs
from rewardkit.types import Problem, StepLabel, Trace


def rows(count: int) -> list[LabelledTrace]:
    """Sums with labels of a verifier on some, and of a vote, which is often wrong, on all."""
    draw = random.Random(0)
    made = []
    for i in range(count):
        right = draw.random() < 0.5
        trace = Trace.create(Problem.create(f"Question {i}?"), [f"{i} + 1 = {i + 1 + (0 if right else 3)}"])
        labels = [StepLabel(trace.id, 0, float(right if draw.random() < 0.7 else not right), "vote", "value")]
        if i % 2:
            labels.append(StepLabel(trace.id, 0, float(right), "arithmetic", "local"))
        made.append(LabelledTrace(trace, tuple(labels)))
    return made


@pytest.fixture
def values(tmp_path: Path) -> dict[str, object]:
    write_dataset(tmp_path / "data", rows(60), {})
    base = build_tiny_reward_model(tmp_path / "base")
    places = {"data": [str(tmp_path / "data")], "output": str(tmp_path / "prm"), "model": str(base)}
    return {**places, "separator": SEPARATOR, "device": "cpu", "dtype": "float32", "lora": None, "learning_rate": 1e-3}


def test_a_stage_goes_on_from_the_one_before(values: dict[str, object], tmp_path: Path) -> None:
    stages = [{"sources": ["vote"], "epochs": 3}, {"sources": ["arithmetic"], "learning_rate": 1e-12}]
    result = train(PRMConfig.model_validate({**values, "stages": stages}))
    traces = [row.trace for row in rows(8)]
    first, last = (TokenRewardModel.load(tmp_path / name) for name in ("prm-stage1", "prm"))
    assert result.output == tmp_path / "prm"
    assert (first.spec.meaning, last.spec.meaning) == ("value", "local")
    before, after = ([s for r in model.score(traces) for s in r.scores] for model in (first, last))
    assert after == pytest.approx(before, abs=1e-6)
    assert before != pytest.approx(
        [s for r in TokenRewardModel.load(tmp_path / "base").score(traces) for s in r.scores]
    )


def test_a_head_is_started_in_the_first_stage_alone(values: dict[str, object]) -> None:
    config = PRMConfig.model_validate({**values, "head_start": 20, "stages": [{"sources": ["vote"]}, {"epochs": 2}]})
    assert [stage.head_start for stage in stage_configs(config)] == [20, None]


def test_the_same_command_trains_only_what_is_missing(values: dict[str, object]) -> None:
    stages = [{"sources": ["vote"]}, {"sources": ["arithmetic"]}]
    config = PRMConfig.model_validate({**values, "stages": stages})
    assert not train(config).reused
    assert train(config).reused


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        ({"source": ["vote"]}, "stage 2: unknown key 'source': did you mean 'sources'"),
        ({"output": "elsewhere"}, "stage 2: output cannot differ"),
        ({"loss": {"name": "gec"}}, "did you mean 'gce'"),
    ],
)
def test_a_wrong_stage_is_named_before_anything_is_trained(
    values: dict[str, object], tmp_path: Path, stage: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        train(PRMConfig.model_validate({**values, "stages": [{"sources": ["vote"]}, stage]}))
    assert not (tmp_path / "prm-stage1").exists()
