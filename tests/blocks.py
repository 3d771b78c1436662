"""Runs the code blocks of a Markdown page and compares what they print with what the page says.

A comment above a block says when it is run:

    <!-- test: quick -->      by every test run
    <!-- test: demo -->       by the slow tests, in the folder that `rewardkit quickstart` filled
    <!-- test: server -->     the same, while the demo's model is served
    <!-- test: panel -->      not run: it shows what the demo prints, compared by its shape, since figures differ
    <!-- test: no, REASON --> never, for the reason given

In a ``console`` block a line ``$ command`` is run by a shell, and the lines up to the next one are what it prints. A
``python`` block is run as a program, and a ``text`` block right after it is what it prints. In the printed text ``...``
stands for anything, also for several lines.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_BLOCK = re.compile(
    r"(?:^<!-- test: (?P<mark>[^\n]*?) -->\n)?^```(?P<language>\w+)\n(?P<code>.*?)^```$"
    r"(?:\n\n?```text\n(?P<output>.*?)^```$)?",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """One code block: the line it begins at, when it is run, its language, its text and the text it should print."""

    line: int
    mark: str | None
    language: str
    code: str
    output: str | None

    def commands(self) -> Iterator[tuple[list[str], str | None]]:
        """Each command to run, with the text it should print (None: whatever)."""
        if self.language == "python":
            yield [sys.executable, "-c", self.code], self.output
            return
        for part in re.split(r"^\$ ", self.code, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            while command.endswith("\\"):
                more, _, output = output.partition("\n")
                command += "\n" + more
            yield ["bash", "-c", command], output


def blocks(path: Path) -> list[Block]:
    """Every fenced block of a page; the expected text of one is part of it, not a block of its own."""
    text = path.read_text(encoding="utf-8")
    return [
        Block(text.count("\n", 0, m.start("language")) + 1, m["mark"], m["language"], m["code"], m["output"])
        for m in _BLOCK.finditer(text)
    ]


def fits(expected: str, printed: str) -> bool:
    """Whether the printed text is the expected one, up to ``...``, white space at line ends and blank lines."""
    pattern = ".*".join(re.escape(part) for part in _tidy(expected).split("..."))
    return re.fullmatch(pattern, _tidy(printed), re.DOTALL) is not None


def shape(text: str) -> str:
    """A text without its numbers and the spaces that align them.

    >>> shape("AUROC  0.913  [0.88, 0.94]  n = 1,200") == shape("AUROC  0.5 [0.1, 1.0]  n = 7")
    True
    """
    return re.sub(r" +", " ", re.sub(r"\d[\d.,]*(?:e[+-]?\d+)?", "0", _tidy(text)))


def run(block: Block, folder: Path, replace: dict[str, str] | None = None) -> None:
    """Run a block in a folder, with this environment's programs first, and compare what it prints."""
    programs = Path(sys.executable).parent
    env = os.environ | {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
    for command, expected in block.commands():
        for old, new in (replace or {}).items():
            command = [part.replace(old, new) for part in command]
        done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=env, stdin=subprocess.DEVNULL)
        assert done.returncode == 0, f"line {block.line}: {command[-1]}\n{done.stderr}"
        if expected is not None:
            assert fits(expected, done.stdout), (
                f"line {block.line}: {command[-1]}\nshould print\n{expected}\nbut prints\n{done.stdout}"
            )


def _tidy(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.splitlines() if line.strip())
