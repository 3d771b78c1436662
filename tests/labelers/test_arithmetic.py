"""What the arithmetic labeler calls right, wrong and unchecked, one case a behaviour."""

from __future__ import annotations

import pytest

from rewardkit.labelers import LABELERS, load_labeler
from rewardkit.labelers.arithmetic import ArithmeticLabeler, check_text
from rewardkit.types import Problem, StepLabel, Trace

TRUE = [
    "48/2 = 24",
    "48 + 24 = 72",
    "5 + 3 = 4 + 4 = 8",
    "She sold 48/2 = <<48/2=24>>24 clips.",
    "20% of 50 = 10",
    "50 * 20% = 10",
    "15% = 0.15",
    "(5/20) * 100 = 25%",
    "100 + 15% = 115",
    "2 1/2 + 1/2 = 3",
    r"2\frac{1}{2} \times 2 = 5",
    r"2\left(\frac{3}{4}\right) = 1.5",
    r"\dfrac{1}{2} + \frac12 = 1",
    "½ + ¼ = ¾",
    "1,234 + 1 = 1,235",
    r"24,\!000 \cdot 2 = 48{,}000",
    "5 hours * $12/hour = $60",
    "48 clips / 2 = 24 clips",
    "$125 (Samantha) + $50 = $175",
    r"\[ \frac{480 \text{ miles}}{60 \text{ miles/hour}} = 8 \text{ hours} \]",
    r"\(5 \text{ trees} \times 6 \text{ lemons/tree} = 30 \text{ lemons}\)",
    "-3 - 4 = -7",
    "-2^2 = -4",
    "-2^2 = 4",
    "5^2 = 25",
    "5^{2} = 25",
    "5**2 = 25",
    "5² = 25",
    "3 x 4 = 12",
    "3 × 4 · 2 = 24",
    "12 ÷ 4 = 3",
    r"12 \div 4 \cdot 2 = 6",
    "(3)(4) = 12",
    "[2 + 3] * 2 = 10",
    "6/2(3) = 9",
    "6/2(3) = 1",
    "so **5 + 3 = 8** eggs",
    "So $5 + 3 = 8$ holds",
    "5! / 3! = 20",
    "3!=6",
    r"\sqrt{16} + 1 = 5",
    "10 / 3 = 3.33",
    "2 / 3 = 0.67",
    "2 / 3 = 0.66",
    "370 / 110 = 3.363...",
    "46/100*20 = 9.200000000000001",
    "22/7 ≈ 3.14",
    r"10/3 \approx 3.3",
    "5 + 3 < 9",
    "2 * 3 <= 6 < 7",
    "3 + 4 != 8",
    "48 / 2 is 24",
    "48 plus 24 equals 72",
    "48 / 2 is equal to 24",
    "Step 2: 5 + 3 = 8",
    "1. 3+4=7",
    "1) 3+4=7",
    "- 5 + 3 = 8",
    "* 5 + 3 = 8",
    "4x - 13 = 4(40) - 13 = 147",
    "so she can cook 3 shrimp per minute (since 30 / 10 = 3).",
    "5 + 3 = 8 * 2 = 16",
    "8 sets\n= 4 + 4",
    "\\begin{align*} x &= 5 \\times 3 \\\\ &= 15 \\end{align*}",
    "Total = 30 * 10. Total = 300.",
    "一共 5+3=8 个",
]

FALSE = [
    ("So she sold 48/2 = 16 clips.", "48/2 is 24, not 16"),
    ("In total, she sold 216 / 52 = 4 clips.", "216 / 52 is 54/13 (about 4.15385), not 4"),
    ("She sold 48/2 = <<48/2=16>>16 clips.", "48/2 is 24, not 16"),
    ("5 + 3 = 8, so 8 - 2 = 5", "8 - 2 is 6, not 5"),
    ("5 + 3 = 8 = 9 - 2", "9 - 2 is 7, not 8"),
    (r"\[ 100 (\text{first day}) + 150 = 200 \]", r"100 (\text{first day}) + 150 is 250, not 200"),
    ("She ate ¾*4 = 2 slices", "¾*4 is 3, not 2"),
    ("20% of 50 = 12", "20% of 50 is 10, not 12"),
    ("7 / 2 = 4", "7 / 2 is 3.5, not 4"),
    ("10 / 3 = 3.43", "10 / 3 is 10/3 (about 3.33333), not 3.43"),
    ("5 + 3 < 7", "5 + 3 < 7 is false"),
    ("48 / 2 is 16", "48 / 2 is 24, not 16"),
    ("15% = 0.5", "15% is 0.15, not 0.5"),
    ("Total = 30 * 10. Total = 400.", "30 * 10 is 300, not 400"),
    ("$4.20 + $9.45 + $1.35 = $14.99", "$4.20 + $9.45 + $1.35 is 15, not $14.99"),
    ("3 dogs + 4 cats = 8 animals", "3 dogs + 4 is 7, not 8"),
    ("5 + 3 = 8 = 9", "8 = 9 is false"),
    ("so 192 / 4 = 48.33 are left", "192 / 4 is 48, not 48.33"),  # 48 needs no rounding
    ("A 24-hour shift costs $160 * 24 = $3600.", "$160 * 24 is 3840, not $3600"),
]

UNCHECKED = [
    "",
    "Let x = 5.",
    "2x + 3 = 7",
    "90 + x + 45 = 200",
    "Solving 2y / 2 = 22 / 2 gives y = 12",
    "50 minutes - 12 hours = 24 hours",
    "2 dozen + 10 = 22 eggs",
    "$5.00 * 3 = 1600 cents",
    "1/4 = 20 students",
    "1/3 is 20 miles",
    "25% = 10 students",
    "48 = 100% + 20% of the number",
    "40 pieces of $1 bills = 40 x $1.00",
    "410÷333 = 1 remainder 77",
    "17 / 5 = 3 R2",
    "7 / 2 = 4 (rounded up)",
    "13 / 4 = 3 and 1/4",
    "What is 5 + 3 = 9?",
    "If 5 + 3 = 9 then so be it",
    "5 + 3 is not equal to 9",
    "It is wrong that 5 + 3 = 9.",
    "The range is 5-10 and it is 3:30 on 12/25/2024.",
    "The ratio 3:4 = 6:8",
    "0900-0130 = 0730 hours",
    "17 mod 5 = 3",
    r"17 \equiv 3 \pmod{5}",
    "101_2 + 1 = 5",
    "sin 30 * 2 = 5",
    r"\log 100 + 1 = 5",
    "f(5) + 3 = 9",
    "gcd(4, 6) + 1 = 9",
    r"5 + 2(\mathbf{a} + \mathbf{b}) = 0",
    r"\frac{2}{9} = 0.\overline{2}",
    r"\sqrt{2} + 1 = 3",
    "5 / 0 = 7",
    "9**9**9 = 1",
    "999! = 1",
    "1" * 100 + " + 1 = 2",
    "the number of dogs - 2 = 9",
    "half of 5 + 3 = 4",
    "Area = 5 * width = 10",
    "3,5 + 2,5 = 7",
    "There are 29 + 24 trees next to the 5 + 3 flowers = 61 plants",
    "10 pages on day 1 * 2 = 20 pages",
    "3 pencils + 1 eraser = 124 cents",  # the words stand for prices
    "2 chairs + 1 desk = 90",
    "ignoring the units: (4/3)πr³ = 4πr²",
    "\\times 5! = 720",  # goes on from the step before
    ".8 + . 84 + .82 = 2.46",
    "For a triangle we need 2 + 1 > 3",
    "$18 + $40 + $35 = $18 + $40",  # and goes on from there
    "so 20/40 is equal to 3*+6 = 18",
]


@pytest.mark.parametrize("text", TRUE)
def test_a_true_calculation_is_called_right(text):
    assert check_text(text)[0] == 1.0


@pytest.mark.parametrize(("text", "evidence"), FALSE)
def test_a_false_calculation_is_called_wrong_with_what_is_right(text, evidence):
    assert check_text(text) == (0.0, evidence)


@pytest.mark.parametrize("text", UNCHECKED)
def test_what_cannot_be_checked_beyond_doubt_is_left_out(text):
    p_correct, evidence = check_text(text)
    assert p_correct is None
    assert evidence


def test_one_false_calculation_outweighs_true_ones():
    assert check_text("1 + 1 = 2. 2 + 2 = 5. 3 + 3 = 6.") == (0.0, "2 + 2 is 4, not 5")


def test_a_reason_says_what_is_in_the_way():
    assert check_text("5/0 = 7")[1] == "division by zero"
    assert check_text("9**9**9 = 1")[1] == "a power is too large"
    assert check_text("50 minutes - 12 hours = 24 hours")[1] == "the units differ"


def test_each_step_gets_one_local_label_in_order():
    trace = Trace.create(Problem.create("?"), ["2 + 2 = 4", "so", "3 + 3 = 7"])
    assert ArithmeticLabeler().label(trace) == [
        StepLabel(trace.id, 0, 1.0, "arithmetic", "local", "2 + 2 = 4"),
        StepLabel(trace.id, 1, None, "arithmetic", "local", "no calculation found"),
        StepLabel(trace.id, 2, 0.0, "arithmetic", "local", "3 + 3 is 6, not 7"),
    ]


NEEDED = {
    "rollout": {"generator": {"kind": "transformers"}},
    "judge": {"judges": [{"kind": "replay"}]},
    "skills": {"teacher": {"kind": "replay"}, "skills": ["units"]},
    "hybrid": {
        "rollout": {"generator": {"kind": "transformers"}},
        "judge": {"judges": [{"kind": "replay"}], "marks": "first_error"},
    },
}


@pytest.mark.parametrize("name", LABELERS)
def test_every_registered_labeler_loads_and_names_itself(name):
    assert load_labeler(name, allow_code=True, options=NEEDED.get(name, {})).name == name


def labelled(*steps):
    """Verdict and evidence of the last step of a trace."""
    label = ArithmeticLabeler().label(Trace.create(Problem.create("?"), steps))[-1]
    return label.p_correct, label.evidence


CARRIED = [
    (["A = 12", "A + 3 = 15"], 1.0),
    (["A = 12", "A + 3 = 16"], 0.0),
    (["A = (-5 + 9 * -4 - 0) = -41 and B = (4 + -7) = -3.", "So A - B = -41 - (-3) = -38"], 1.0),
    (["A = (-5 + 9 * -4 - 0) = -41 and B = (4 + -7) = -3.", "So A * B = -41 * 3 = -123"], 0.0),
    (["Total = 300", "Total + 20 = 320"], 1.0),
    (["Total = 300", "Total + 20 = 330"], 0.0),
    (["A = 5", "A = 7", "A + 3 = 9"], None),
    (["If A = 5, stop.", "A + 3 = 9"], None),
    (["A = 10/3", "A + 1 = 5"], None),
    (["the square of A = 9", "A + 1 = 11"], None),
    (["A = 12", "2A + 3 = 7"], None),
    (["A = 12", "A(3) + 3 = 7"], None),
    (["A = B + 1 = 5", "A + 1 = 7"], None),
    (["(-5 + 9 * -4 - 0)\n= (-5 + (-36) - 0)", "= -5 - 36", "= -41"], 1.0),
    (["(-5 + 9 * -4 - 0)\n= (-5 + (-36) - 0)", "= -5 - 36", "= -40"], 0.0),
    (["5 + 3 = 8 apples", "= 9"], None),
]


@pytest.mark.parametrize(("steps", "p_correct"), CARRIED)
def test_values_are_carried_from_step_to_step(steps, p_correct):
    assert labelled(*steps)[0] == p_correct


def test_the_evidence_says_what_a_name_stands_for():
    assert labelled("A = 12", "A + 3 = 16") == (0.0, "A + 3 is 15, not 16 (A = 12)")


@pytest.mark.parametrize(
    ("text", "p_correct"),
    [
        ("(-5 + 9 * -4 - 0) = (-5 + (-36) - 0) = -41", 1.0),
        ("(-5 + 9 * -4 - 0) = (-5 + (-36) - 0) = -40", 0.0),
        ("-41 * -3 = 123", 1.0),
        ("-41 * -3 = -123", 0.0),
        ("5 - 8 = 3", None),
        ("(4 - -6 - -9 * -9) = (4 - -6 - 81) = -71", 1.0),
    ],
)
def test_signs_are_minded_where_they_are_written(text, p_correct):
    assert check_text(text)[0] == p_correct


UNITS = [
    ("60 mi/h * 2 h = 120 mi", 1.0),
    ("1 hour = 60 minutes", 1.0),
    ("3 feet = 36 inches", 1.0),
    ("60 miles/hour * 30 minutes = 30 miles", 1.0),
    ("2 hours + 30 minutes = 150 minutes", 1.0),
    ("60 miles/hour * 30 minutes = 1800 miles", 0.0),
    ("60 miles per hour * 30 minutes = 40 miles", 0.0),
    ("10 hours * 60 minutes = 600 minutes", 1.0),  # sloppy
    ("120 minutes / 60 = 2 hours", 1.0),
    ("1 day = 8 hours", None),  # of work
    ("2 inches = 5 miles", None),  # on a map
    ("3 feet = 30 inches", None),
    ("50 minutes - 12 hours = 24 hours", None),
]


@pytest.mark.parametrize(("text", "p_correct"), UNITS)
def test_quantities_are_compared_with_their_units(text, p_correct):
    pytest.importorskip("pint")
    assert check_text(text)[0] == p_correct


def test_without_pint_units_are_left_open(monkeypatch):
    monkeypatch.setattr("rewardkit.labelers._units._registry", lambda: None)
    assert check_text("1 hour = 60 minutes")[0] is None
