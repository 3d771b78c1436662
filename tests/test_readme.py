"""The commands and the printed output in README.md are what really happens."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from blocks import Block, blocks, fits, run, shape

from rewardkit.server.launch import Server

README = Path(__file__).parents[1] / "README.md"
BLOCKS = blocks(README)


def marked(mark: str) -> list[Block]:
    return [b for b in BLOCKS if b.mark == mark]


def where(block: Block) -> str:
    return f"line {block.line}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """One folder for all quick blocks, which run in the order of the page."""
    return tmp_path_factory.mktemp("readme")


@pytest.fixture(scope="module")
def server(demo) -> Iterator[str]:
    """The address of a server with the demo's model."""
    with Server(demo[0] / "runs" / "quickstart" / "model", port=0) as running:
        yield running.root


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("block", marked("panel"), ids=where)
def test_panel_has_the_lines_that_the_demo_prints(block, demo):
    ((_, expected),) = block.commands()
    assert shape(demo[1]) == shape(expected)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("block", marked("demo"), ids=where)
def test_block_that_needs_the_demo(block, demo):
    run(block, demo[0])


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("block", marked("server"), ids=where)
def test_block_that_needs_a_server(block, demo, server):
    run(block, demo[0], {"http://127.0.0.1:8000": server})


@pytest.mark.parametrize("block", marked("quick"), ids=where)
def test_quick_block(block, folder):
    run(block, folder)


def test_every_block_says_when_it_is_run():
    known = ("quick", "demo", "server", "panel")
    unmarked = [b.line for b in BLOCKS if b.mark not in known and not (b.mark or "").startswith("no, ")]
    assert unmarked == []


@pytest.mark.parametrize(
    ("expected", "printed", "same"),
    [
        ("AUROC 0.9...\n", "AUROC 0.913\n", True),
        ("a\n...\nz\n", "a\nb\nc\nz\n", True),
        ("a  \n\nb\n", "a\nb\n", True),
        ("AUROC 0.9...\n", "AUROC 0.813\n", False),
        ("a\n", "a\nb\n", False),
        ("a.c\n", "abc\n", False),
    ],
)
def test_dots_stand_for_what_varies(expected, printed, same):
    assert fits(expected, printed) is same


def test_blocks_are_found_with_their_marks_and_outputs(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "# T\n<!-- test: quick -->\n```python\nprint(1)\n```\n\n```text\n1\n```\n\n"
        "<!-- test: demo -->\n```console\n$ echo a \\\n  b\na b\n$ true\n```\n\n```sh\nls\n```\n"
    )
    python, console, plain = blocks(page)
    assert (python.line, python.mark, python.output) == (3, "quick", "1\n")
    assert [(c[-1], out) for c, out in console.commands()] == [("echo a \\\n  b", "a b\n"), ("true", "")]
    assert plain.mark is None


def test_block_that_prints_something_else_fails(tmp_path):
    with pytest.raises(AssertionError, match="should print"):
        run(Block(1, "quick", "console", "$ echo b\na\n", None), tmp_path)


def test_block_whose_command_fails_fails(tmp_path):
    with pytest.raises(AssertionError, match="line 7"):
        run(Block(7, "quick", "python", "raise SystemExit(3)\n", None), tmp_path)
