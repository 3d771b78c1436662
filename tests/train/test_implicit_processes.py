"""An implicit model on two real processes (gloo): the same losses as on one, the estimate of the KL included."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from outcomes import answers
from tinylm import build_tiny_lm
from torch import distributed

from rewardkit.store.dataset import write_dataset
from rewardkit.train.launch import leave_group

pytestmark = pytest.mark.slow


def train_losses(folder: Path, name: str, batch_size: int, *options: str) -> list[float]:
    small = "kind=implicit loss=kto beta=0.5 dtype=float32 device=cpu log_every=1 learning_rate=5e-3 max_traces=32"
    paths = f"data={folder / 'answers'} model={folder / 'tiny'} output={folder / name} batch_size={batch_size}"
    command = [sys.executable, "-m", "rewardkit", "train", *small.split(), *paths.split(), *options]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "REWARDKIT_CACHE": str(folder / f"cache-{name}")}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    log = json.loads((folder / name / "training.json").read_text())["log"]
    return [entry["loss"] for entry in log if "loss" in entry]


def test_two_processes_train_as_one_does(tmp_path):
    build_tiny_lm(tmp_path / "tiny")
    write_dataset(tmp_path / "answers", answers(12), {})
    alone = train_losses(tmp_path, "alone", 8)
    both = train_losses(tmp_path, "both", 4, "--accelerate", "cpu", "--processes", "2")
    assert both == pytest.approx(alone, abs=2e-4)
    assert abs(alone[-1] - 0.5) > 1e-3


def test_a_process_that_is_done_leaves_the_others(tmp_path, monkeypatch):
    """With its connections open it may abort at its end, and the launcher then ends the process that writes."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    leave_group()
    assert not distributed.is_initialized()
    leave_group()
