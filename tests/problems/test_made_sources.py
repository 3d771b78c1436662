"""Made sources of problems: generated deductions and reasoning-gym's tasks, by name and options."""

from __future__ import annotations

import sys

import pytest

from rewardkit.config import load_config
from rewardkit.errors import ConfigError, DataError
from rewardkit.problems.gym import TASKS
from rewardkit.store import load_problems
from rewardkit.synth import SynthConfig


def test_a_window_of_a_made_source_is_the_same_problems():
    options = {"depth": 2, "seed": 5}
    whole = load_problems("generate:deduction", 10, options=options)
    assert load_problems("generate:deduction", 4, offset=3, options=options).rows == whole.rows[3:7]
    assert whole.digest != load_problems("generate:deduction", 1, options={"depth": 2, "seed": 6}).digest


def test_problems_made_twice_are_counted_once():
    loaded = load_problems("generate:deduction", 300, options={"depth": 1, "distractors": 0, "logic": "propositional"})
    assert len(loaded.rows) + len(loaded.bad) == 300
    assert loaded.bad and {row.reason for row in loaded.bad} == {"the same as an earlier row"}


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        ("generate:deduction", {"dept": 2}, "unexpected keyword argument 'dept'"),
        ("generate:deduction", {"depth": 99}, "depth is 99"),
        ("generate:deductoin", {}, "did you mean 'deduction'"),
        ("reasoning-gym:cooking", {}, "no task of logic or arithmetic"),
        ("sample:gsm8k-train", {"depth": 2}, "takes no options"),
    ],
)
def test_wrong_source_or_option_is_one_clear_error(source, options, message):
    with pytest.raises((ConfigError, DataError), match=message):
        load_problems(source, 3, options=options)


def test_a_made_source_needs_a_limit():
    with pytest.raises(DataError, match=r"problems\.limit"):
        load_problems("generate:deduction")


def test_options_come_from_the_recipe():
    values = ["problems.source=generate:deduction", "problems.options.depth=[1, 4]", "output=x"]
    config = load_config(SynthConfig, "synth", None, values)
    assert config.problems is not None and config.problems.options == {"depth": [1, 4]}


def test_missing_library_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "reasoning_gym", None)
    with pytest.raises(DataError, match="pip install reasoning-gym"):
        load_problems("reasoning-gym:syllogism", 1)


@pytest.mark.parametrize("task", TASKS)
def test_every_named_task_gives_problems_with_answers(task):
    pytest.importorskip("reasoning_gym", reason="reasoning-gym is not installed")
    loaded = load_problems(f"reasoning-gym:{task}", 3, options={"seed": 1})
    assert loaded.rows and all(p.text for p in loaded.rows)
    # propositional_logic has many right answers, and names none.
    assert task == "propositional_logic" or all(p.answer for p in loaded.rows)
    again = load_problems(f"reasoning-gym:{task}", 3, options={"seed": 1})
    assert loaded.rows == again.rows


def test_option_that_a_task_does_not_take_is_an_error():
    pytest.importorskip("reasoning_gym", reason="reasoning-gym is not installed")
    with pytest.raises(DataError, match="reasoning-gym:chain_sum"):
        load_problems("reasoning-gym:chain_sum", 1, options={"spice": 3})
