"""Fixtures and options that every test shares."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import hypothesis
import pytest

# A deadline for each example would time the machine, not the code: the tests run beside others on two cores.
hypothesis.settings.register_profile("steady", deadline=None)
hypothesis.settings.load_profile("steady")

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

# They hold no doctests, and several files of one name cannot be collected as modules; the script is run by a test.
collect_ignore_glob = ["conftest.py", "*/conftest.py", "*/trl_1_13_script.py"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="run the slow tests too: real vLLM, training and browser")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip the slow tests unless asked for, and the GPU tests where there is no GPU, each with its reason.

    Files with many slow tests start first, so that no process waits for another at the end.
    """
    if not config.getoption("--slow"):
        _skip(items, "slow", "slow: run with --slow")
    if any(item.get_closest_marker("gpu") for item in items) and not _gpu():
        _skip(items, "gpu", "there is no GPU")
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])


@pytest.fixture(scope="session")
def tiny_reward_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny random token reward model: checkpoint, tokenizer with chat template, reward_model.json."""
    from tiny import build_tiny_reward_model

    return build_tiny_reward_model(tmp_path_factory.mktemp("tiny") / "tiny-prm")


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder in which a small `rewardkit quickstart` has run with the real model and vLLM, and what it printed."""
    folder = tmp_path_factory.mktemp("demo")
    sizes = {"fresh_problems": 2, "labelled_problems": 150, "max_traces": 64}
    sizes |= {"max_held_out": 40, "max_processbench": 40, "max_problems": 10}
    command = [str(Path(sys.executable).with_name("rewardkit")), "quickstart", "backend=vllm"]
    done = subprocess.run(
        [*command, *(f"{k}={v}" for k, v in sizes.items())], capture_output=True, text=True, cwd=folder
    )
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


def _skip(items: list[pytest.Item], marker: str, reason: str) -> None:
    for item in items:
        if item.get_closest_marker(marker):
            item.add_marker(pytest.mark.skip(reason=reason))


def _gpu() -> bool:
    import torch

    return torch.cuda.is_available()
