"""A head that starts from a regression: it says what the regression says, whatever is around it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sums import sums
from tiny import SEPARATOR, build_tiny_reward_model
from tinylm import build_tiny_lm
from trainers import trainer_of

from rewardkit.errors import ConfigError, DataError
from rewardkit.store.dataset import write_dataset
from rewardkit.train.head_start import fit_regression, step_states
from rewardkit.train.prm import PRMConfig, TokenPRM, train_prm


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_lm(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "sums"
    write_dataset(folder, sums(60), {})
    return folder


def config(base: Path, data: Path, output: Path, **changes: object) -> PRMConfig:
    values = {"data": str(data), "output": str(output), "model": str(base), "separator": SEPARATOR, "device": "cpu"}
    return PRMConfig.model_validate({**values, "dtype": "float32", "head_start": 40, **changes})


@pytest.mark.parametrize(
    "changes",
    [{"reads": "mean"}, {"reads": "separator", "num_labels": 2}, {"reads": "mean", "num_labels": 2, "lora": None}],
)
def test_the_head_says_what_the_regression_says(changes, base, data, tmp_path) -> None:
    trainer = trainer_of(TokenPRM(config(base, data, tmp_path / "out", **changes)))
    rows = trainer.train_dataset
    chosen = [rows[i] for i in np.random.default_rng(0).permutation(len(rows))[:40]]
    weight, bias = fit_regression(*step_states(trainer.model, chosen, trainer.data_collator, 16))
    states, _, _ = step_states(trainer.model, rows, trainer.data_collator, 16)
    expected = states @ weight + bias
    ordered = sorted(rows, key=lambda row: len(row["input_ids"]))
    batches = [trainer.data_collator(ordered[i : i + 16]) for i in range(0, len(ordered), 16)]
    trainer.model.eval()
    with torch.no_grad():
        logits = [
            trainer.model(**batch).logits[labels >= 0] for batch, labels in ((b, b.pop("labels")) for b in batches)
        ]
    found = torch.cat(logits).numpy()
    found = found[:, 1] - found[:, 0] if found.shape[1] == 2 else found[:, 0]
    assert found == pytest.approx(expected, abs=1e-4)
    assert np.ptp(expected) > 0.01, "far more than the tolerance"


def test_the_penalty_is_chosen_by_other_problems() -> None:
    """Noise that names the problem is learned by heart with a weak penalty; with the right one it is passed over."""
    draw = np.random.default_rng(0)
    problems = np.repeat(np.arange(40), 5)
    targets = draw.integers(0, 2, size=40)[problems].astype(float)
    weight, bias = fit_regression(draw.normal(size=(40, 80))[problems], targets, problems.astype(str))
    assert np.abs(weight).sum() < 0.5


def test_a_soft_label_counts_on_both_sides() -> None:
    draw = np.random.default_rng(0)
    states, problems = draw.normal(size=(400, 2)), np.arange(400).astype(str)
    targets = np.where(states[:, 0] > 0, 0.7, 0.2)
    weight, bias = fit_regression(states, targets, problems)
    chances = 1 / (1 + np.exp(-(states @ weight + bias)))
    assert chances.mean() == pytest.approx(targets.mean(), abs=0.01)
    assert chances.max() < 0.95


def test_what_cannot_start_so_is_refused(base, data, tmp_path) -> None:
    tuned = build_tiny_reward_model(tmp_path / "tuned")
    with pytest.raises(ConfigError, match="comes with a trained head; leave out head_start"):
        train_prm(config(tuned, data, tmp_path / "a"))
    with pytest.raises(DataError, match="right and wrong steps of 5 problems"):
        train_prm(config(base, data, tmp_path / "b", max_traces=4))
