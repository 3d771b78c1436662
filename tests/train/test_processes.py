"""Training on two real processes (gloo): the same losses as on one, also after a kill in mid-run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from sums import losses, sums
from tiny import SEPARATOR, build_tiny_reward_model

from rewardkit.errors import ConfigError
from rewardkit.models.token import TokenRewardModel
from rewardkit.store.dataset import write_dataset
from rewardkit.train.launch import find_profile, profiles


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The overrides that name a tiny model and 65 traces, 52 of which train: 13 whole steps of four."""
    folder = tmp_path_factory.mktemp("inputs")
    base = build_tiny_reward_model(folder / "tiny")
    write_dataset(folder / "sums", sums(80), {})
    small = "max_traces=56 dtype=float32 device=cpu log_every=1 eval_every=100 save_every=2 learning_rate=3e-3"
    return [f"data={folder / 'sums'}", f"model={base}", f"separator={SEPARATOR}", *small.split()]


def command(inputs: list[str], output: Path, batch_size: int, *options: str) -> list[str]:
    return [
        *(sys.executable, "-m", "rewardkit", "train", "prm", *inputs),
        *(f"output={output}", f"batch_size={batch_size}", "epochs=2", "--json", *options),
    ]


def run(*arguments: object, check: bool = True) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([*arguments], capture_output=True, text=True, env=environment, timeout=300)  # type: ignore[list-item]
    assert not check or done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def alone(inputs: list[str], tmp_path_factory: pytest.TempPathFactory) -> list[float]:
    """The losses of one process."""
    output = tmp_path_factory.mktemp("alone") / "prm"
    run(*command(inputs, output, 8))
    return losses(output)


@pytest.mark.slow
def test_two_processes_have_the_loss_curve_of_one(inputs, alone, tmp_path):
    done = run(*command(inputs, tmp_path / "prm", 4, "--accelerate", "cpu", "--processes", "2"))
    assert losses(tmp_path / "prm") == pytest.approx(alone, abs=2e-4)
    printed = json.loads(done.stdout[done.stdout.index("{") :])
    assert printed["steps"] == len(alone) == 14
    assert TokenRewardModel.load(tmp_path / "prm").spec.kind == "token"
    assert not list((tmp_path / "prm").rglob("*.bin"))


@pytest.mark.slow
def test_a_kill_of_two_processes_changes_nothing(inputs, alone, tmp_path):
    arguments = command(inputs, tmp_path / "prm", 4, "--accelerate", "cpu", "--processes", "2")
    with subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as going:
        deadline = time.monotonic() + 240
        while not list((tmp_path / "prm").glob("checkpoints/checkpoint-*/trainer_state.json")):
            assert going.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
        parent = psutil.Process(going.pid)
        for process in [*parent.children(recursive=True), parent]:  # torchrun's workers have sessions of their own
            process.kill()
    done = run(*arguments)
    assert json.loads(done.stdout[done.stdout.index("{") :])["resumed"]
    assert losses(tmp_path / "prm") == pytest.approx(alone, abs=2e-4)


def test_every_profile_says_how_it_is_run():
    for path in profiles().values():
        head = path.read_text(encoding="utf-8").split("\n\n")[0]
        assert "# Run " in head


def test_an_unknown_profile_names_the_nearest():
    with pytest.raises(ConfigError, match="no accelerate profile 'fsdp': did you mean 'fsdp2'"):
        find_profile("fsdp")
