"""What the types take, and what they refuse in place of making something that nobody meant."""

from __future__ import annotations

from typing import Any

import pytest

from rewardkit.text.split import split_steps
from rewardkit.types import Problem, Trace


def test_an_answer_that_is_a_number_is_refused_with_the_text_to_give() -> None:
    number: Any = 72
    with pytest.raises(TypeError, match="text, not int: give '72'"):
        Problem.create("How many?", number)


def test_a_response_in_one_piece_is_not_cut_into_letters() -> None:
    with pytest.raises(TypeError, match="split_steps"):
        Trace.create(Problem.create("1+1?"), "1+1 = 2")


def test_spans_are_refused_with_the_way_to_their_text() -> None:
    spans: Any = split_steps("1+1 = 2\n\n#### 2")
    with pytest.raises(TypeError, match=r"text, not StepSpan: give its \.text"):
        Trace.create(Problem.create("1+1?"), spans)
    steps = [span.text for span in spans]
    assert [step.text for step in Trace.create(Problem.create("1+1?"), steps).steps] == steps


def test_a_step_that_is_nothing_is_refused() -> None:
    steps: Any = ["1+1 = 2", None]
    with pytest.raises(TypeError, match="text, not NoneType"):
        Trace.create(Problem.create("1+1?"), steps)
