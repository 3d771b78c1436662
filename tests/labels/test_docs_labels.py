"""The commands on the page about labels print what it says."""

from __future__ import annotations

from pathlib import Path

import pytest
from blocks import blocks, run

PAGE = Path(__file__).parents[2] / "docs" / "labels.md"
BLOCKS = [block for block in blocks(PAGE) if block.mark == "quick"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """One folder for all blocks, which run in the order of the page."""
    return tmp_path_factory.mktemp("labels")


@pytest.mark.slow
@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: f"line {block.line}")
def test_block(block, folder):
    run(block, folder)


def test_there_are_blocks_to_run():
    assert len(BLOCKS) == 2
