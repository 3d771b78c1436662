"""A temperature and a bias are fitted, measured on other problems, and served from then on."""

from __future__ import annotations

import json

import numpy as np
import pytest
from tiny import build_tiny_reward_model

from rewardkit.errors import ConfigError, DataError
from rewardkit.evaluate.recalibrate import run_calibrate
from rewardkit.evaluate.suites.recalibration import CalibrateConfig, log_odds
from rewardkit.labels.calibrate import temperature_and_bias
from rewardkit.models import RewardModelSpec, load_reward_model
from rewardkit.store import LabelledTrace, write_dataset
from rewardkit.types import Problem, StepLabel, Trace


@pytest.fixture(scope="module")
def traces():
    """Ninety traces of four steps."""
    draw = np.random.default_rng(0)
    return [
        Trace.create(Problem.create(f"How many clips has {n}?"), [f"{a} + {b} = {a + b}" for a, b in pairs])
        for n, pairs in enumerate(draw.integers(0, 99, (90, 4, 2)).tolist())
    ]


def labelled(traces, chances, meaning="prefix"):
    """Labels drawn with the chance of each step."""
    draw = np.random.default_rng(1)
    return [
        LabelledTrace(t, tuple(StepLabel(t.id, i, float(draw.random() < q), "z3", meaning) for i, q in enumerate(own)))
        for t, own in zip(traces, chances, strict=True)
    ]


def config(model, data, **values):
    return CalibrateConfig(
        model=str(model), data=(str(data),), output=str(data.parent / "out"), resamples=50, held_out=None, **values
    )


def test_the_map_that_the_labels_were_drawn_by_is_found_and_served(tmp_path, traces):
    model = build_tiny_reward_model(tmp_path / "model", temperature=2.0)
    spec = RewardModelSpec.load(model)
    raw = [log_odds(np.array(one.scores), spec) for one in load_reward_model(str(model)).score(traces)]
    write_dataset(tmp_path / "set", labelled(traces, [1 / (1 + np.exp(-(z + 0.5) / 0.25)) for z in raw]), {})
    found = run_calibrate(config(model, tmp_path / "set"))
    assert found.written and found.temperature == pytest.approx(0.25, rel=0.4)
    assert found.bias == pytest.approx(0.5, abs=0.2)
    figures = {figure.name: figure for figure in found.result.report.figures}
    assert figures["NLL saved by calibrating"].low > 0
    assert figures["after step AUROC"].value == pytest.approx(figures["before step AUROC"].value, abs=0.02)
    served = load_reward_model(str(model)).score(traces[:1])[0].scores
    wanted = 1 / (1 + np.exp(-(raw[0] + found.bias) / found.temperature))
    assert list(served) == pytest.approx(wanted.tolist(), abs=1e-4)  # another batch, other rounding
    beside = json.loads((model / "calibration.json").read_text())
    assert beside["held_out"]["after"]["NLL"]["value"] < beside["held_out"]["before"]["NLL"]["value"]
    assert set(found.result.report.reliability_by_source) == {"before", "after"}


def test_a_map_that_makes_nothing_better_is_not_written(tmp_path, traces):
    model = build_tiny_reward_model(tmp_path / "model")
    scores = [one.scores for one in load_reward_model(str(model)).score(traces)]
    write_dataset(tmp_path / "set", labelled(traces, scores), {})
    before = (model / "reward_model.json").read_bytes()
    found = run_calibrate(config(model, tmp_path / "set"))
    assert not found.written and "no better" in found.reason
    assert (model / "reward_model.json").read_bytes() == before


def test_labels_of_another_meaning_and_a_served_model_are_refused(tmp_path, traces):
    model = build_tiny_reward_model(tmp_path / "model")
    write_dataset(tmp_path / "set", labelled(traces[:9], [[0.5] * 4] * 9, "local"), {})
    with pytest.raises(DataError, match="labels of another meaning cannot calibrate them: z3 is local"):
        run_calibrate(config(model, tmp_path / "set"))
    with pytest.raises(ConfigError, match="give the folder"):
        run_calibrate(config("http://127.0.0.1:1", tmp_path / "set"))


def test_an_outcome_score_is_calibrated_by_the_last_step(tmp_path, traces):
    from rewardkit.evaluate.suites.base import Setting
    from rewardkit.evaluate.suites.recalibration import Recalibration

    draw = np.random.default_rng(2)
    rows = []
    for trace, score in zip(traces, draw.random(90).tolist(), strict=True):
        right = StepLabel(trace.id, 3, float(draw.random() < score), "answer", "prefix")
        elsewhere = StepLabel(trace.id, 0, 1.0, "answer", "prefix")
        rows.append(LabelledTrace(trace, (elsewhere, right), (score,)))
    spec = RewardModelSpec(kind="outcome")
    found = Recalibration(config("m", tmp_path / "x")).measure(rows, Setting(spec, "min", 10, 0))
    assert found.figures[-1].n == 90


def test_a_soft_target_counts_as_that_share_of_right_steps():
    hard = temperature_and_bias([1.0] * 4 + [-1.0] * 4, [1, 1, 1, 0, 1, 0, 0, 0])
    assert temperature_and_bias([1.0, -1.0], [0.75, 0.25]) == pytest.approx(hard, rel=0.01, abs=1e-6)
    assert temperature_and_bias([300.0, -300.0], [0.75, 0.25])[0] == pytest.approx(300 * hard[0], rel=0.01)
    with pytest.raises(DataError, match="no temperature mends a ranking"):
        temperature_and_bias([1.0, -1.0], [0.25, 0.75])
    with pytest.raises(DataError, match="all 2 verdicts say right"):
        temperature_and_bias([1.0, -1.0], [1, 1])
