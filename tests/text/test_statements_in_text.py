"""Which equations and inequalities are read out of a text, and which are left alone."""

from __future__ import annotations

import pytest

from rewardkit.text.algebra import find_statements

READ = [
    ("2x + 3 = 7", ["2x + 3 = 7"]),
    (r"Since \(2x = 4\), we get \(x = 2\).", ["2x = 4", "x = 2"]),
    ("So $x = 2$ and $y = 3$.", ["x = 2", "y = 3"]),
    ("It costs $5 and x = 2.", ["x = 2"]),
    (r"\begin{align*} x &= 2y \\ &= 6 \end{align*}", ["x &= 2y", "= 6"]),
    (r"x = 1 (since 2x = 2)", ["x = 1", "2x = 2"]),
    (r"\[ 1 < x \leq \frac{3}{2} \]", [r"1 < x \leq \frac{3}{2}"]),
    (r"\boxed{x = 2}", ["x = 2"]),
    (r"\(x_1 + x_2 = 3\)", ["x_1 + x_2 = 3"]),
]
LEFT = [
    "half of x = 3",
    "x = 3 more than y",
    "1/2x = 3",
    r"\(2\frac{1}{2} = x\)",
    r"\(x = 3 \pm 2\)",
    r"\(\sqrt[3]{x} = 2\)",
    "f(x) = 3",
    r"\(P(3) = x\)",
    r"\(x' = 3\)",
    r"\(x^{n+1} = 3\)",
    r"\(\sin x = 1\)",
    r"\(x = 0.\overline{3}\)",
    r"\(x \approx 3\)",
    "x = i",
    "2^3^2 = x",
    "7 = x 3",
]


@pytest.mark.parametrize(("text", "found"), READ)
def test_what_can_be_read_whole_is_read(text, found):
    assert [s.text for s in find_statements(text)] == found


@pytest.mark.parametrize("text", LEFT)
def test_what_has_two_readings_or_none_is_left_alone(text):
    assert find_statements(text) == []


def test_a_chain_goes_on_behind_a_line_break():
    first, second = find_statements(r"\begin{align*} x &= 2y \\ &= 6 \end{align*}")
    assert second.terms[0] == first.terms[-1]


def test_alternatives_and_the_words_around_are_kept():
    first, second = find_statements("Now if x = 2 or x = 3 works")
    assert not first.alternative
    assert second.alternative
    assert "if" in first.words
    assert second.after == "works"
