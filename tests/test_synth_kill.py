"""kill -9 at random moments: the same command goes on, and the end is that of an undisturbed run."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time

import pytest

from rewardkit.generate.replay import write_generations
from rewardkit.store import load_traces, read_dataset, read_manifest
from rewardkit.store.state import RunState

QUESTIONS, SAMPLES, KILLS = 150, 4, 20


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    rows = load_traces("sample:gsm8k-solutions", QUESTIONS).rows
    path = tmp_path_factory.mktemp("recorded") / "generations.jsonl"
    records = (
        {
            "prompt": row.trace.problem.prompt,
            "sample": i % SAMPLES,
            "text": row.trace.response,
            "model": row.trace.model,
        }
        for i, row in enumerate(rows)
    )
    write_generations(path, records)
    return path


def start(recorded, output):
    values = [
        "problems.source=sample:gsm8k-solutions",
        f"problems.limit={QUESTIONS}",
        f"generator.source={recorded}",
        f"generator.samples={SAMPLES}",
        "generator.batch_size=2",
        "rows_per_file=250",
        f"output={output}",
    ]
    command = [sys.executable, "-m", "rewardkit", "synth", "gsm8k-replay", *values]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=dict(os.environ))


def finish(process):
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors.decode()


def rows_done(folder):
    """How many rows the killed run had finished; 0 where it had not even begun."""
    if not (folder / ".run" / "state.sqlite").is_file():
        return 0
    with RunState.reopen(folder) as state:
        return sum(1 for _ in state.items())


@pytest.mark.slow
def test_twenty_kills_lose_and_double_nothing(tmp_path, recorded):
    began = time.monotonic()
    finish(start(recorded, tmp_path / "whole"))
    whole_run = time.monotonic() - began
    wanted = read_manifest(tmp_path / "whole")
    chance = random.Random()
    folder, kills, progress = tmp_path / "killed", 0, []
    while kills < KILLS:
        process = start(recorded, folder)
        try:
            process.wait(timeout=chance.uniform(0.1, 1.0) * whole_run)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            kills += 1
            progress.append(rows_done(folder))
            continue
        finish(process)
        assert read_manifest(folder)["data"] == wanted["data"]
        shutil.rmtree(folder)
    finish(start(recorded, folder))
    assert any(0 < done < QUESTIONS * SAMPLES for done in progress), progress
    assert read_manifest(folder)["data"] == wanted["data"]
    assert read_manifest(folder)["counts"] == wanted["counts"]
    rows = read_dataset(folder)
    assert len({row.trace.id for row in rows}) == len(rows) == QUESTIONS * SAMPLES
    assert rows == read_dataset(tmp_path / "whole")
