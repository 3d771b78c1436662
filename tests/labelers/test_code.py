"""The `code` labeler: what a program is said to print against what it prints; off unless allowed."""

from __future__ import annotations

import os

import pytest

from rewardkit.config import load_config
from rewardkit.errors import ConfigError, VerifierError
from rewardkit.labelers import load_labeler
from rewardkit.labelers.code import CodeLabeler, read_parts
from rewardkit.synth import SynthConfig, run_synth
from rewardkit.types import Problem, Trace
from rewardkit.verifiers.sandbox import require_sandbox

try:
    require_sandbox()
except VerifierError as error:
    pytestmark = pytest.mark.skipif("CI" not in os.environ, reason=str(error))

SUM = "```python\nprint(sum(range(10)))\n```\n"


def verdicts(*steps):
    trace = Trace.create(Problem.create("?"), steps)
    return [label.p_correct for label in CodeLabeler(seconds=2).label(trace)]


@pytest.mark.parametrize(
    ("claim", "p_correct"),
    [
        ("Output: 45", 1.0),
        ("Output: 55", 0.0),
        ("**Output:** `45`", 1.0),
        ("The output is: 45", 1.0),
        ("Output:\n```\n45\n```", 1.0),
        ("Output:\n\n```text\n46\n```", 0.0),
        ("It prints 45.", 1.0),
        ("The program prints `44`.", 0.0),
        ('This outputs "45"', 1.0),
        ("So we would expect a number.", None),
        ("Output: '45'", None),
        ("Output: 45.0", None),
    ],
)
def test_stated_output_against_the_real_one(claim, p_correct):
    assert verdicts(SUM + claim) == [p_correct]


@pytest.mark.parametrize(
    ("program", "claim", "p_correct"),
    [
        ("assert sorted([2, 1]) == [1, 2]", "All tests pass.", 1.0),
        ("assert sorted([2, 1]) == [2, 1]", "All tests pass.", 0.0),
        ("assert 1 + 1 == 3", "The test fails.", 1.0),
        ("assert 1 + 1 == 2", "The test fails", 0.0),
        ("assert open('x')", "The tests pass.", None),
        ("assert True", "The tests pass if the list is sorted.", None),
    ],
)
def test_stated_result_of_a_test(program, claim, p_correct):
    assert verdicts(f"```python\n{program}\n```\n{claim}") == [p_correct]


def test_a_claim_may_stand_in_a_later_step():
    assert verdicts("Let us run this:\n", SUM, "Output: 45\n", "Output: 46") == [None, None, 1.0, 0.0]


@pytest.mark.parametrize(
    "program",
    [
        "print(undefined)",
        "print(input())",
        "import numpy\nprint(1)",
        "print(open('data.txt').read())",
        "while True: pass",
        "import random\nprint(random.random())",
        "print({'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i'})",
        "import time\nprint(time.time())",
        "print(1",
        "raise SystemExit(3)",
    ],
)
def test_what_cannot_be_judged_gets_no_label(program):
    assert verdicts(f"```python\n{program}\n```\nOutput: 1") == [None]


@pytest.mark.parametrize(
    "text",
    [
        "Output: 45",
        "```python\nprint(45)\n\nOutput: 45",
        "```sql\nSELECT 45;\n```\nOutput: 46",
        "print(45)\nOutput: 46",
    ],
)
def test_a_claim_without_a_closed_python_block_runs_nothing(text):
    assert verdicts(text) == [None]


def test_programs_of_one_trace_are_limited():
    found = verdicts(*[SUM + "Output: 45"] * 14)
    assert found == [1.0] * 10 + [None] * 4


def test_long_steps_are_read_in_time_of_their_length():
    assert len(list(read_parts("```python\nx\n" * 20_000))) <= 20_000
    assert list(read_parts("Output" + " " * 90_000)) == []


def test_it_is_off_unless_the_recipe_allows_it(tmp_path):
    with pytest.raises(ConfigError, match="allow_code: true"):
        load_labeler("code")
    assert load_labeler("code", allow_code=True).name == "code"
    values = ["traces.source=sample:gsm8k-solutions", "traces.limit=1", "labelers=[code]", f"output={tmp_path / 'run'}"]
    with pytest.raises(ConfigError, match="allow_code: true"):
        run_synth(load_config(SynthConfig, "synth", None, values))
    result = run_synth(load_config(SynthConfig, "synth", None, [*values, "allow_code=true"]))
    assert result.counts["labels"]["code"]["abstained"] == result.counts["steps"]
