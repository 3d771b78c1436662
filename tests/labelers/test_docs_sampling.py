"""The examples of docs/sampling.md print what the page says."""

from __future__ import annotations

from pathlib import Path

import pytest
from blocks import blocks, run

PAGE = Path(__file__).parents[2] / "docs" / "sampling.md"
EXAMPLES = [block for block in blocks(PAGE) if block.language == "python"]


@pytest.mark.parametrize("block", EXAMPLES, ids=lambda b: f"line {b.line}")
def test_the_example_prints_what_the_page_says(block, tmp_path):
    assert block.mark == "quick"
    run(block, tmp_path)


def test_the_recipe_on_the_page_is_one(tmp_path):
    import yaml

    from rewardkit.config import validate
    from rewardkit.labelers.judge import JudgeOptions
    from rewardkit.labelers.rollout import RolloutOptions
    from rewardkit.synth import SynthConfig

    [text] = [block.code for block in blocks(PAGE) if block.language == "yaml"]
    config = validate(SynthConfig, yaml.safe_load(text), "page")
    assert validate(RolloutOptions, config.labeler_options["rollout"], "rollout").method == "adaptive"
    assert validate(JudgeOptions, config.labeler_options["judge"], "judge").marks == "first_error"
