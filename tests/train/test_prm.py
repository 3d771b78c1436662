"""The process reward model trainer, on a tiny real model: what it learns from, and what must not change the loss."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from sums import losses, sums
from tiny import SEPARATOR, build_tiny_reward_model

from rewardkit.errors import ConfigError, DataError
from rewardkit.models.spec import RewardModelSpec
from rewardkit.models.token import TokenRewardModel
from rewardkit.store.dataset import LabelledTrace, write_dataset
from rewardkit.train.data import build_examples, held_out
from rewardkit.train.prm import PRMConfig, train_prm
from rewardkit.train.run import _mean_loss
from rewardkit.types import Problem, StepLabel, Trace


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_reward_model(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "sums"
    write_dataset(folder, sums(80), {})
    return folder


def config(base: Path, data: Path, output: Path, **changes: object) -> PRMConfig:
    values = {
        "data": (str(data),),
        "output": str(output),
        "model": str(base),
        "separator": SEPARATOR,
        "dtype": "float32",
        "device": "cpu",
        "log_every": 1,
        "eval_every": 100,
        "save_every": 2,
    }
    return PRMConfig.model_validate({**values, **changes})


def test_accumulation_changes_neither_loss_nor_gradient(base: Path, data: Path, tmp_path: Path) -> None:
    train_prm(config(base, data, tmp_path / "whole", batch_size=8))
    train_prm(config(base, data, tmp_path / "parts", batch_size=2, accumulation=4))
    assert losses(tmp_path / "parts") == pytest.approx(losses(tmp_path / "whole"), abs=2e-4)


def test_a_finished_run_is_a_checkpoint_that_scores(base: Path, data: Path, tmp_path: Path) -> None:
    result = train_prm(config(base, data, tmp_path / "prm"))
    model = TokenRewardModel.load(result.output)
    assert model.spec == RewardModelSpec.load(result.output)
    assert model.spec.separator == SEPARATOR
    row = sums(1)[0]
    scores = model.score([row.trace])[0].scores
    assert len(scores) == len(row.trace.steps)
    assert all(0 < s < 1 for s in scores)
    assert train_prm(config(base, data, tmp_path / "prm")).reused


def test_a_run_that_ends_before_its_first_log_entry_has_the_trainers_loss() -> None:
    ended = [{"train_loss": 0.7, "step": 2}, {"eval_loss": 0.6, "step": 2}]
    assert _mean_loss(ended) == {"train_loss": 0.7}
    assert _mean_loss([{"loss": 0.9}, {"loss": 0.5}, *ended]) == {"train_loss": 0.7}
    assert _mean_loss([]) == {}


def test_an_adapter_is_no_base(base: Path, data: Path, tmp_path: Path) -> None:
    """PEFT's folder of a fine-tuning: transformers loads it over its base, and adapters over adapters fail late."""
    shutil.copytree(base, tmp_path / "sft")
    (tmp_path / "sft" / "adapter_config.json").write_text("{}")
    with pytest.raises(ConfigError, match="is a PEFT adapter; merge it first"):
        train_prm(config(tmp_path / "sft", data, tmp_path / "prm"))


def test_a_mistake_that_trained_nothing_does_not_block_the_folder(base: Path, data: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="separator"):
        train_prm(config(base, data, tmp_path / "prm", separator="two tokens"))
    assert train_prm(config(base, data, tmp_path / "prm", max_traces=8)).steps == 1


def test_merged_weights_score_as_the_trained_model_did(base: Path, data: Path, tmp_path: Path) -> None:
    result = train_prm(config(base, data, tmp_path / "prm", learning_rate=5e-3, epochs=2))
    model = TokenRewardModel.load(result.output)
    rows = [r for r in sums(80) if held_out(r.trace.problem.id, 0.2)]
    scores = model.score([r.trace for r in rows])
    truth = np.array([x.p_correct for r in rows for x in r.labels])
    mine = np.array([s for r in scores for s in r.scores])
    accuracy = float(((mine > 0.5) == (truth > 0.5)).mean())
    assert accuracy == pytest.approx(result.metrics["eval_step_accuracy"], abs=1e-6)


def test_the_model_learns(base: Path, data: Path, tmp_path: Path) -> None:
    result = train_prm(config(base, data, tmp_path / "prm", lora=None, learning_rate=3e-3, epochs=15))
    log = losses(result.output)
    assert np.mean(log[-5:]) < 0.6 * np.mean(log[:5])


def test_frozen_weights_in_bfloat16_train_close_to_float32(base: Path, data: Path, tmp_path: Path) -> None:
    train_prm(config(base, data, tmp_path / "whole"))
    train_prm(config(base, data, tmp_path / "half", dtype="bfloat16"))
    assert losses(tmp_path / "half") == pytest.approx(losses(tmp_path / "whole"), abs=0.05)


def test_a_time_limit_ends_the_training_with_a_whole_model(base: Path, data: Path, tmp_path: Path) -> None:
    result = train_prm(config(base, data, tmp_path / "prm", epochs=50, max_minutes=1e-6))
    assert result.steps == 1
    assert "eval_loss" in result.metrics
    assert RewardModelSpec.load(result.output).kind == "token"


def test_soft_labels_stay_soft(base: Path) -> None:
    from transformers import AutoTokenizer

    trace = Trace.create(Problem.create("?"), ["1 + 1 = 2", "2 + 2 = 4"])
    row = LabelledTrace(trace, (StepLabel(trace.id, 0, 0.7, "arithmetic", "value"),))
    tokenizer = AutoTokenizer.from_pretrained(base)
    made = build_examples([row], tokenizer, 5, sources=("arithmetic",), max_length=64).examples[0]
    assert made.targets == (0.7, None)
    assert [v for v in made.row()["labels"] if v != -100.0] == [0.7]


def test_long_and_unlabelled_traces_are_left_out_and_counted(base: Path) -> None:
    from transformers import AutoTokenizer

    rows = sums(3)
    silent = Trace.create(Problem.create("silent"), ["no number here"])
    rows.append(LabelledTrace(silent, (StepLabel(silent.id, 0, None, "arithmetic", "local"),)))
    long = Trace.create(Problem.create("long " * 300), ["1 + 1 = 2"])
    rows.append(LabelledTrace(long, (StepLabel(long.id, 0, 1.0, "arithmetic", "local"),)))
    made = build_examples(rows, AutoTokenizer.from_pretrained(base), 5, sources=("arithmetic",), max_length=200)
    assert len(made.examples) == 3
    assert made.dropped == {"no labelled step": 1, "longer than 200 tokens": 1}


def test_meanings_are_never_mixed(base: Path) -> None:
    from transformers import AutoTokenizer

    rows = [*sums(1), *sums(1, seed=1, meaning="value")]
    with pytest.raises(DataError, match="different meaning"):
        build_examples(rows, AutoTokenizer.from_pretrained(base), 5, sources=("arithmetic",), max_length=200)


def test_another_config_in_the_same_folder_is_refused(base: Path, data: Path, tmp_path: Path) -> None:
    train_prm(config(base, data, tmp_path / "prm"))
    with pytest.raises(ConfigError, match="learning_rate"):
        train_prm(config(base, data, tmp_path / "prm", learning_rate=1e-5))


@pytest.mark.parametrize("change", [{"data": ("nowhere",)}, {"model": "no/such-model"}, {"separator": "<nope>"}])
def test_bad_input_is_a_clear_error(base: Path, data: Path, tmp_path: Path, change: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        train_prm(config(base, data, tmp_path / "prm").model_copy(update=change))


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_end(base: Path, data: Path, tmp_path: Path) -> None:
    options = {"save_every": 1, "epochs": 4, "learning_rate": 1e-3}
    train_prm(config(base, data, tmp_path / "whole", **options))
    killed = config(base, data, tmp_path / "killed", **options)
    code = "import sys; from rewardkit.train.prm import *; train_prm(PRMConfig.model_validate_json(sys.argv[1]))"
    process = subprocess.Popen([sys.executable, "-c", code, killed.model_dump_json()], stderr=subprocess.DEVNULL)
    folder = tmp_path / "killed" / "checkpoints"
    while process.poll() is None and not list(folder.glob("checkpoint-1?")):
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "killed" / "reward_model.json").exists()
    result = train_prm(killed)
    assert result.resumed
    assert losses(tmp_path / "killed") == pytest.approx(losses(tmp_path / "whole"), abs=1e-4)
