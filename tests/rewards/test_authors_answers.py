"""The compat readers of answers, on what the vectors do not reach: odd cases found in the authors' code."""

from __future__ import annotations

import pytest

from rewardkit.rewards.compat import difference, latex_text
from rewardkit.rewards.compat.boxes import last_box, mathruler_box
from rewardkit.rewards.compat.prm800k import grade
from rewardkit.rewards.compat.qwen import extract, strip


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("The final answer is $42$. I hope it is correct.", "42"),
        (r"\boxed{3} then \boxed{\frac{7}{2}} left", r"\frac{7}{2}"),
        ("So the answer is: 12 apples.", "12"),
        ("my final answer is 5/6", r"\frac{5}{6}"),
        ("\u7b54\u6848\u662f 9\n\nmore 3", "9"),
        ("values 1,234 and 5.50", "5.50"),
        (r"\boxed{unclosed", "unclosed"),
        (r"\boxed", ""),
        ("nothing here", ""),
        (r"\boxed{x = 5}", "5"),  # spaces go last: "x " and "=" are two characters and a sign
        (r"\boxed{12\text{ cm}}", "12"),
        (r"\boxed{50\%}", "50"),
        (r"\boxed{.5}", "0.5"),
        (r"\boxed{3.000}", "3"),
        (r"\boxed{one hundred twenty-three}", "123"),
        (r"\boxed{two million three thousand}", "2004003"),  # word2number counts the thousands twice
        (r"\boxed{two point five}", "2.5"),
    ],
)
def test_qwens_parser(text, answer):
    assert extract(text) == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("It is A or maybe c", "C"),
        ("no choice named.", "no choice named"),
        ("Just a guess", "A"),
        ("E", "E"),
    ],
)
def test_a_choice_is_the_last_lone_letter(text, answer):
    assert extract(text, "gpqa") == answer


def test_units_never_take_the_whole_answer():
    assert strip("m") == "m"
    assert strip("5 m") == "5"


def test_boxes():
    assert last_box(r"\boxed{1} and \boxed 2$ and \boxed{3}") == "2"
    assert last_box(r"\boxed{1") == ""
    assert last_box(r"\boxed{\text{a}{b}}") == r"\text{a}{b}"
    assert mathruler_box(r"\boxed{1} and \boxed{2") == "None"
    assert mathruler_box(r"\boxed 2") == "None"


@pytest.mark.parametrize(
    ("given", "truth", "equal"),
    [
        ("", "", True),
        ("", "1", False),
        ("1/4", "0.25", True),
        (r"\frac{2}{4}", r"\frac{1}{2}", False),  # unreduced
        ("5.0", "5", True),
        ("1,234", "1234", True),
        ("2.5", "5/2", True),
        ("4", "2+2", False),  # an integer must be matched strictly
        ("x+1", "1+x", True),
        ("x(x+1)", "x^2+x", False),  # a letter before a bracket is a function
        (r"\sqrt{8}", r"2\sqrt{2}", True),
        ("(1, 2)", "(1,2.0)", True),
        ("[1,2)", "(1,2)", False),
        ("3 hours", "3", True),
        ("abc+d", "d+abc", False),  # more than two letters are not looked into
        (r"\text{East}", "east", True),
        ("5 million", r"5*10^6", True),
        ("x=3", "3", True),
        ("2xx^2", "2x^3", True),
        (r"\theta+x", r"x+\theta", True),
        (r"e--\frac{1}{2}", "e--0.5", False),  # two dashes of LaTeX are one long one
    ],
)
def test_prm800ks_grader(given, truth, equal):
    assert grade(given, truth) is equal


def test_too_long_an_answer_equals_only_its_copy():
    assert grade("1" * 20_000, "1" * 20_000)
    assert not grade("1" * 20_000, "1")


@pytest.mark.parametrize(
    "text",
    ["__import__('os')", "(" * 40 + "1" + ")" * 40, "1 1", "1;2", "x.y", "[1]", "lambda x", "", "\u4e2d\u6587", "_"],
)
def test_the_difference_reads_nothing_but_its_grammar(text):
    assert difference.is_zero(text, "1") is False


@pytest.mark.slow
def test_a_huge_power_is_not_equal():
    assert grade("9**9**9**9", "x") is False


@pytest.mark.parametrize("piece", ["{", "\\frac", "\\sqrt", "\\begin{pmatrix}"])
def test_what_is_nested_too_deep_is_refused_by_the_reader_and_unequal_to_the_grader(piece):
    with pytest.raises(ValueError, match="too deep"):
        latex_text.to_text(piece * 1000)
    assert grade(piece * 1000, "5") is False
