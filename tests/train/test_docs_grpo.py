"""docs/grpo.md prints what it says and names every key of the configuration."""

from __future__ import annotations

from pathlib import Path

import pytest
from blocks import blocks, run

from rewardkit.train.config import RunConfig
from rewardkit.train.grpo import GRPOConfig

PAGE = Path(__file__).parents[2] / "docs" / "grpo.md"
EXAMPLES = [block for block in blocks(PAGE) if block.language != "text"]


@pytest.mark.parametrize("block", EXAMPLES, ids=lambda b: f"line {b.line}")
def test_the_example_prints_what_the_page_says(block, tmp_path):
    assert block.mark == "quick"
    run(block, tmp_path)


def test_the_page_names_every_key_that_only_grpo_has():
    text = PAGE.read_text(encoding="utf-8")
    own = set(GRPOConfig.model_fields) - set(RunConfig.model_fields) - {"max_completion_length", "temperature", "top_p"}
    assert [key for key in sorted(own) if f"`{key}" not in text] == []
