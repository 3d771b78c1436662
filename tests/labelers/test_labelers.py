"""Labelers of a user's own, by the path of their file."""

from __future__ import annotations

from pathlib import Path

import pytest

from rewardkit.errors import ConfigError
from rewardkit.labelers import load_labeler

_OWN = """
from rewardkit.config import Config


class Mine:
    name, meaning = "mine", "local"

    class Options({base}):
        bound: float = 0.5

    def __init__(self, options):
        self.bound = options.bound
"""


def test_options_of_ones_own_are_checked_and_given(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(_OWN.format(base="Config"))
    name = f"{tmp_path / 'mine.py'}:Mine"
    assert load_labeler(name).bound == 0.5
    assert load_labeler(name, options={"bound": 0.7}).bound == 0.7
    with pytest.raises(ConfigError, match="bond"):
        load_labeler(name, options={"bond": 0.7})


def test_options_that_are_no_config_are_refused(tmp_path: Path) -> None:
    (tmp_path / "plain.py").write_text(_OWN.format(base="object"))
    with pytest.raises(ConfigError, match=r"inherits from rewardkit\.config\.Config"):
        load_labeler(f"{tmp_path / 'plain.py'}:Mine")
