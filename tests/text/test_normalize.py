"""One form for equal answers; numbers by a closed grammar."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewardkit.text.normalize import is_words, normalize_answer, parse_number, tidy, without_units


@pytest.mark.parametrize(
    ("answer", "value"),
    [
        *(
            ("18", "18"),
            ("-18", "-18"),
            ("+18", "18"),
            ("\u221218", "-18"),
            ("018", "18"),
            ("18.0", "18"),
            ("18.", "18"),
        ),
        *((".5", "1/2"), ("1,000", "1000"), ("1,234,567.5", "2469135/2"), ("1{,}000", "1000"), ("1\\,000", "1000")),
        *(("11,\\! 111,\\! 111", "11111111"), ("1 000", "1000"), ("1e5", "100000"), ("6.5 \\times 10^{-2}", "13/200")),
        *(("1/2", "1/2"), ("-3/4", "-3/4"), ("1 1/2", "3/2"), ("-1 1/2", "-3/2"), ("2 and 1/4", "9/4")),
        *(("\\frac{3}{4}", "3/4"), ("\\dfrac34", "3/4"), ("-\\frac{-3}{4}", "3/4"), ("1\\frac{4}{5}", "9/5")),
        *(("\\frac{270}7\\text{ degrees}", "270/7"), ("$\\frac 59$", "5/9"), ("\\boxed{5}", "5")),
        *(("50%", "1/2"), ("50\\%", "1/2"), ("50 percent", "1/2"), ("12.5%", "1/8")),
        *(("$18", "18"), ("\\$18.50", "37/2"), ("-$5", "-5"), ("$-5", "-5"), ("\u20ac20", "20"), ("20\u20ac", "20")),
        *(("18 dollars", "18"), ("18 eggs per day", "18"), ("5.4 \\text{ cents}", "27/5"), ("15\\mbox{ cm}^2", "15")),
        *(("5 km/h", "5"), ("10 \\text{ m/s}", "10"), ("5 m", "5"), ("90^\\circ", "90"), ("$18$ dollars", "18")),
        *(("1.8 billion", "1800000000"), ("2 million dollars", "2000000"), ("3/4 cup", "3/4")),
    ],
)
def test_numbers(answer, value):
    assert parse_number(answer) == Fraction(value)
    assert normalize_answer(answer) == str(Fraction(value))


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "x",
        "2k",
        "5r^5",
        "x=5",
        "52_8",
        "3, 5",
        "100,00",
        "1/0",
        "\\frac{1}{0}",
        "5 x 3",
        "12:30",
        "3 dozen",
        "5 or 6",
    ]
    + ["3 pi", "5 squared", "twelve", "1.2.3", "--5", "9" * 1000, "1e9999", "18 dollars and 50 cents", "[5]"],
)
def test_what_is_no_number(answer):
    assert parse_number(answer) is None


@given(st.fractions())
def test_a_fraction_reads_back(value):
    assert parse_number(str(value)) == value


@given(st.decimals(allow_nan=False, allow_infinity=False, places=4, min_value=-(10**12), max_value=10**12))
def test_a_decimal_with_thousands_separators_reads_back(value):
    assert parse_number(f"{value:,}") == Fraction(value)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("East", "\\text{east}."),
        ("(C)", "c"),
        ("\\left( 3, \\dfrac{\\pi}{2} \\right)", "(3,\\frac{\u03c0}{2})"),
        ("3 \\sqrt{13}", "$3\\sqrt{13}$"),
        ("x^{2}", "x^2"),
        ("4210_{5}", "4210_5"),
        ("**no solution**", "No solution"),
    ],
)
def test_spellings_of_one_answer(first, second):
    assert normalize_answer(first) == normalize_answer(second) != ""


@pytest.mark.parametrize(
    ("first", "second"), [("72", "172"), ("1 2", "12"), ("x", "x^2"), ("(1,2)", "(1,2]"), ("-x", "x")]
)
def test_different_answers_keep_different_forms(first, second):
    assert normalize_answer(first) != normalize_answer(second)


def test_a_matrix_keeps_its_row_breaks():
    assert "\\\\" in tidy("\\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}")


@pytest.mark.parametrize("empty", ["", "  ", "$$", "\\boxed{}", ".", "**", "\\text{}"])
def test_what_holds_nothing_is_empty(empty):
    assert normalize_answer(empty) == ""


@given(st.text())
def test_the_form_is_stable(answer):
    form = normalize_answer(answer)
    assert normalize_answer(answer) == form
    assert isinstance(without_units(answer), str)


def test_words_are_told_from_formulas():
    assert is_words("no solution")
    assert is_words("no")
    assert not is_words("sin x + 1")


HOSTILE = ["1", "1,", "1,111", "1 111", "a ", "\\frac{1}", "$", "{", "\\boxed{", "1.1 ab-", ".;", "x x ", "\\text{"]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("piece", HOSTILE)
def test_repetitive_text_does_not_backtrack(piece):
    for length in (1900, 1_000_000):
        normalize_answer(piece * (length // len(piece)))
        normalize_answer("1 " + piece * (length // len(piece)))
