"""docs/losses.md prints what it says and knows every loss."""

from __future__ import annotations

from pathlib import Path

import pytest
from blocks import blocks, run

from rewardkit.config import Config
from rewardkit.registry import load
from rewardkit.train.losses import LOSSES

PAGE = Path(__file__).parents[2] / "docs" / "losses.md"
EXAMPLES = [block for block in blocks(PAGE) if block.language != "text"]


@pytest.mark.parametrize("block", EXAMPLES, ids=lambda b: f"line {b.line}")
def test_the_example_prints_what_the_page_says(block, tmp_path):
    assert block.mark == "quick"
    run(block, tmp_path)


@pytest.mark.parametrize("name", LOSSES)
def test_the_page_names_every_loss_and_its_parameters(name):
    kind = load(name, LOSSES, "loss")
    assert issubclass(kind, Config)
    row = next(line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith(f"| `{name}` "))
    assert [key for key in kind.model_fields if f"`{key}`" not in row] == []
