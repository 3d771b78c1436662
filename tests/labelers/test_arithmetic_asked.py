"""Problems that ask for one expression: its value against the answers of a response; what a problem gives names for."""

from __future__ import annotations

import pytest

from rewardkit.labelers._asked import asked
from rewardkit.labelers.arithmetic import ArithmeticLabeler
from rewardkit.types import Problem, Trace

PRODUCT = "((-5 + 9 * -4 - 0) * (4 + -7 + 0 * -5)) ="
DERIVATION = (
    'This equation can be written as "A * B", where A = (-5 + 9 * -4 - 0) and B = (4 + -7 + 0 * -5).',
    "Let's calculate A = (-5 + 9 * -4 - 0) = (-5 + (9 * -4) - 0) = (-5 + (-36) - 0) = -5 - 36 = -41.",
    "Let's calculate B = (4 + -7 + 0 * -5) = (4 + -7 + 0) = (4 - 7) = -3.",
    "Then, the final equation is A * B = -41 * -3 = 123. So the answer is 123.",
)


def verdicts(problem, *steps):
    return [label.p_correct for label in ArithmeticLabeler().label(Trace.create(Problem.create(problem), steps))]


ASKED = [
    ("Compute (-5 + 9 * -4 - 0).", -41),
    ("What is 12 * 7?", 84),
    ("Calculate ( 56 + -33 ) - 84.", -61),
    ("State the final answer to the following arithmetic problem: 4 - 1 - 7 =", -4),
    ("Solve the following multiplication: 18271 * 43432. Give only the result as your final answer.", 793546072),
    (r"Evaluate $6 + 5 \times 3 \div (2+1).$", 11),
    (PRODUCT, 123),
    ("Q: 2 + 2 =", 4),
]
OTHER = [
    "",
    "What is 7?",
    "What is the last digit of 12 * 7?",
    "What is 12 * 7, rounded to the nearest ten?",
    "What is 12 * 7 mod 5?",
    "What is -2^2?",  # two readings
    "Simplify the fraction 13524/57134 to its lowest terms.",
    "Tim has 3 + 4 cats. How many is that?",
    "What is 3 + 4? What is 5 + 6?",
    "Is the answer 3 + 4?",
    "What is 5 / 0?",
    "What is " + "(" * 900 + "1 + 1" + ")" * 900 + "?",
]


@pytest.mark.parametrize(("problem", "value"), ASKED)
def test_the_expression_of_a_problem_is_read(problem, value):
    assert asked(problem).operand.value == value


@pytest.mark.parametrize("problem", OTHER)
def test_a_problem_that_may_ask_for_something_else_is_left_alone(problem):
    assert asked(problem) is None


ANSWERS = [
    ("Compute (-5 + 9 * -4 - 0)", "The answer is -41.", 1.0),
    ("Compute (-5 + 9 * -4 - 0)", "The answer is 41.", 0.0),
    ("Compute (-5 + 9 * -4 - 0)", "= -40", 0.0),
    ("What is 12 * 7?", "#### 84", 1.0),
    ("What is 12 * 7?", r"so \boxed{85}", 0.0),
    ("What is 5 - 8?", "The answer is 3.", 0.0),
    ("What is 10 / 3?", "The answer is 3.33", 1.0),
    ("What is 10 / 3?", "The answer is 3.", None),  # perhaps in whole numbers
    ("What is 10 / 3?", "The answer is 5.", 0.0),
    ("What is 1.5 + 2.25?", "The answer is 3.8.", 1.0),
    ("What is 1.5 + 2.25?", "The answer is 3.9.", 0.0),
    ("What is 12 * 7?", "The answer is unknown.", None),
    ("Tim has 12 rows of 7. How many is that?", "The answer is 85.", None),
]


@pytest.mark.parametrize(("problem", "step", "p_correct"), ANSWERS)
def test_an_answer_is_held_against_what_the_problem_asks(problem, step, p_correct):
    assert verdicts(problem, step) == [p_correct]


def test_only_the_last_answer_of_a_response_is_its_answer():
    assert verdicts("What is 12 * 7 + 1?", "First 12 * 7. The answer is 84.", "So the answer is 85.") == [None, 1.0]


def test_a_derivation_with_named_parts_is_right_throughout():
    assert verdicts(PRODUCT, *DERIVATION) == [1.0, 1.0, 1.0, 1.0]


SPOILT = [
    (0, "9 * -4", "9 * -3", [0.0, 1.0, 1.0, 1.0]),
    (1, "= -5 - 36 = -41", "= -5 - 36 = -31", [1.0, 0.0, 1.0, 1.0]),
    (2, "(4 - 7) = -3", "(4 - 7) = 3", [1.0, 1.0, 0.0, 1.0]),
    (3, "the answer is 123", "the answer is 132", [1.0, 1.0, 1.0, 0.0]),
]


@pytest.mark.parametrize(("at", "right", "wrong", "expected"), SPOILT)
def test_the_step_that_was_spoilt_is_called_wrong(at, right, wrong, expected):
    steps = list(DERIVATION)
    assert right in steps[at]
    steps[at] = steps[at].replace(right, wrong)
    assert verdicts(PRODUCT, *steps) == expected


def test_names_that_the_problem_gives_stand_for_their_values():
    problem = "If A = 5 and B = 7, what is A + B?"
    assert verdicts(problem, "A + B = 12", "A + B = 13") == [1.0, 0.0]


def test_a_name_that_the_problem_gives_twice_stands_for_nothing():
    assert verdicts("Let A = 5 or A = 6.", "A + 1 = 9") == [None]
