"""The examples of docs/rewards.md print what the page says."""

from __future__ import annotations

from pathlib import Path

import pytest
from blocks import blocks, run

PAGE = Path(__file__).parents[2] / "docs" / "rewards.md"
EXAMPLES = [block for block in blocks(PAGE) if block.language != "text"]


@pytest.mark.parametrize("block", EXAMPLES, ids=lambda b: f"line {b.line}")
def test_the_example_prints_what_the_page_says(block, tmp_path):
    assert block.mark == "quick"
    run(block, tmp_path)
