"""Fixtures and options that every test shares."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

# They hold no doctests, and several files of one name cannot be collected as modules.
collect_ignore_glob = ["conftest.py", "*/conftest.py"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="run the slow tests too: real vLLM, training and browser")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip the slow tests unless asked for, and the GPU tests where there is no GPU, each with its reason."""
    if not config.getoption("--slow"):
        _skip(items, "slow", "slow: run with --slow")
    if any(item.get_closest_marker("gpu") for item in items) and not _gpu():
        _skip(items, "gpu", "there is no GPU")


@pytest.fixture(scope="session")
def tiny_reward_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny random token reward model: checkpoint, tokenizer with chat template, reward_model.json."""
    from tiny import build_tiny_reward_model

    return build_tiny_reward_model(tmp_path_factory.mktemp("tiny") / "tiny-prm")


def _skip(items: list[pytest.Item], marker: str, reason: str) -> None:
    for item in items:
        if item.get_closest_marker(marker):
            item.add_marker(pytest.mark.skip(reason=reason))


def _gpu() -> bool:
    import torch

    return torch.cuda.is_available()
