"""What the algebra labeler proves, refutes and leaves open, one case a behaviour."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewardkit.labelers.algebra import AlgebraLabeler
from rewardkit.types import Problem, Trace


@pytest.fixture(scope="module")
def labeler():
    made = AlgebraLabeler()
    yield made
    made.close()


def label(labeler, steps, problem="What is it?"):
    """The verdict and evidence of the last step."""
    steps = [steps] if isinstance(steps, str) else steps
    found = labeler.label(Trace.create(Problem.create(problem), steps))[-1]
    return found.p_correct, found.evidence


PROVED = [
    "2x + 3 = 7, so x = 2",
    r"\(2x + 3 = 7\), so \(x = 2\)",
    r"Since $2x + 3 = 7$, we get $x = 2$.",
    r"\begin{align*} 2x + 3 &= 7 \\ 2x &= 4 \\ x &= 2 \end{align*}",
    "(x + 1)^2 = x^2 + 2x + 1",
    r"\[ (x + 1)(x - 1) = x^2 - 1 \]",
    r"\[ \frac{x^2 - 1}{x - 1} = x + 1 \]",
    r"\( \sqrt{8} = 2\sqrt{2} \)",
    r"\( \frac{1}{\sqrt{2}} = \frac{\sqrt{2}}{2} \)",
    "x^2 = 9, so x = 3 or x = -3",
    "x > 3, so x^2 > 9",
    "-2x > 4, so x < -2",
    "Let x = 3. Then 2x + 1 = 7.",
    "x + y = 10 and x - y = 2, so x = 6.",
    r"\(|x| = 3\), so \(x = 3\) or \(x = -3\)",
    "x = 2y and y = 3. So x = 6.",
]
REFUTED = [
    ("2x + 3 = 7, so x = 3", "x = 3 makes 2x + 3 = 7 into 9 = 7"),
    (r"\(2x + 3 = 7\), so \(2x = 10\)", "x = 5 makes 2x + 3 = 7 into 13 = 7"),
    (r"\( \frac{6}{10} = \frac{x}{8 - x} \Rightarrow x = \frac{24}{15} \)", "into 3/5 = 1/4"),
    ("x^2 = 16, so x = 4 or x = -5", "x = -5 makes x^2 = 16 into 25 = 16"),
    (r"\( \sqrt{8} = 3\sqrt{2} \)", "2.82843 is not 4.24264"),
    ("(x + 1)^2 = (x + 1)(x + 1) = x^2 + 1", "at x = 1 the sides are 4 and 2"),
    ("x + y = 10 and x - y = 2, so x = 5.", "not with x + y = 10; x - y = 2"),
]
OPEN = [
    "",
    "x = 3",
    "x^2 = 9, so x = 3",
    r"\(xy = xz\), so \(y = z\)",
    r"\(xy = z\), so \(y = \frac{z}{x}\)",
    "1/2x = 3, so x = 7",
    "f(x) = 3, so x = 4",
    r"\(x = 3 \pm 2\)",
    "2x + 3 = 7. Let's try x = 3: it does not work, since 9 is not 7.",
    "If x = 3 then what?",
    "3x = 10, so x = 3.33",
    r"\(3x = 10\), so \(x \approx 3\)",
    "x^2 = -1, so x = i",
    r"\(2x = 4\) or \(3x = 9\), so \(x = 5\)",
    "Then x - 3 = 0, x - 7 = 0, or 2x - 10 = 0.",
    "Case 1: x - 2 = 0. Case 2: x - 3 = 0.",
    r"\( 5x \equiv 3 \pmod{7} \), so \( x = 9 \)",
    "5 + 3 = 8",
    "2x = 4, so half of x = 7.",
    "2x = 4, so x = 7 more than y.",
    "sin x = 3, so x = 5",
]


@pytest.mark.parametrize("step", PROVED)
def test_what_follows_is_proved(labeler, step):
    assert label(labeler, step)[0] == 1.0


@pytest.mark.parametrize(("step", "shown"), REFUTED)
def test_what_contradicts_the_line_before_is_refuted_with_what_shows_it(labeler, step, shown):
    p_correct, evidence = label(labeler, step)
    assert p_correct == 0.0
    assert shown in evidence


@pytest.mark.parametrize("step", OPEN)
def test_what_cannot_be_decided_beyond_doubt_is_left_open(labeler, step):
    p_correct, evidence = label(labeler, step)
    assert p_correct is None
    assert evidence


def test_the_problem_and_earlier_steps_are_premises(labeler):
    assert label(labeler, ["Subtract 3: 2x = 4.", "So x = 2."], "Solve 2x + 3 = 7.")[0] == 1.0
    assert label(labeler, "So x = 3.", "Solve 2x + 3 = 7.")[0] == 0.0


def test_a_supposition_ends_with_its_step_and_a_definition_does_not(labeler):
    assert label(labeler, ["If x = 3, we stop.", "So 2x = 6."])[0] is None
    assert label(labeler, ["Let x = 3.", "So 2x = 6."])[0] == 1.0


def test_nothing_follows_from_what_contradicts_itself(labeler):
    p_correct, evidence = label(labeler, ["x = 3", "x = 4", "y = 7 x and x = 9"])
    assert p_correct is None
    assert evidence


def test_a_refuted_line_is_no_premise(labeler):
    assert label(labeler, ["x + y = 10 and x - y = 2.", "So x = 5.", "So x = 6 and y = 4."])[0] == 1.0


def test_a_quotient_needs_a_denominator_that_cannot_be_zero(labeler):
    given = r"\(xy = z\). "
    assert label(labeler, given + r"So \(y = \frac{z}{x}\).")[0] is None
    assert label(labeler, given + r"\(x > 0\). So \(y = \frac{z}{x}\).")[0] == 1.0


def test_each_step_gets_one_local_label():
    trace = Trace.create(Problem.create("?"), ["x + 1 = 2", "", "so x = 1"])
    labels = AlgebraLabeler(verifier=None).label(trace)
    assert [(x.step, x.source, x.meaning) for x in labels] == [(i, "algebra", "local") for i in range(3)]


numbers = st.integers(-20, 20)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 9), numbers, numbers, st.integers(1, 9))
def test_a_right_derivation_is_proved_and_a_wrong_root_refuted(factor, root, shift, off):
    total = factor * root + shift
    start = f"{factor}x + ({shift}) = {total}"
    plain = AlgebraLabeler(verifier=None)
    for line in (f"{factor}x = {total - shift}", f"x = {root}"):
        assert label(plain, [start, f"So {line}"])[0] == 1.0
    assert label(plain, [start, f"So x = {root + off}"])[0] == 0.0


@settings(max_examples=60, deadline=None)
@given(numbers, numbers, st.sampled_from([-2, -1, 1, 3]), st.integers(0, 2))
def test_an_expansion_is_proved_and_with_one_number_changed_never(p, q, off, where):
    coefficients = [1, p + q, p * q]
    plain = AlgebraLabeler(verifier=None)

    def line(a, b, c):
        return f"(x + ({p}))(x + ({q})) = ({a})x^2 + ({b})x + ({c})"

    assert label(plain, line(*coefficients))[0] == 1.0
    coefficients[where] += off
    assert label(plain, line(*coefficients))[0] != 1.0


PIECES = r"""
    x y 2 3 + - * / ^ = < ( ) [ ] { } | , . so or if let \frac \sqrt \( \) \[ \] $ \\ & \left \right _1 ² × ≤ х １
"""


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(PIECES.split()), max_size=30), st.sampled_from(["", " "]))
def test_no_mixture_of_signs_raises(pieces, gap):
    text = gap.join(pieces)
    assert label(AlgebraLabeler(verifier=None), ["2x = 4", text])[0] in (0.0, 1.0, None)


@pytest.mark.parametrize(
    "text",
    [
        "(" * 10_000 + "x" + ")" * 10_000 + " = 1",
        r"\frac{" * 10_000 + "x = 1",
        "x = 9^9^9^9",
        "x = (x+1)^12^12",
        "x = " + "((x+y+z+w)^12)^12",
        "x" * 1_000_000 + " = 1",
        "x = 1 = " * 20_000,
        "x + " * 100_000 + "x = 1",
        "$" * 100_000 + "x = 1",
        "|" * 20_000 + "x = 1",
        "2^" * 20_000 + "x = 4",
        "x = " + "9" * 100_000,
        "__import__('os').system('true') = x",
        "х = 2, so х = 3",  # Cyrillic letters
        "-" * 100_000 + "x = 1",
    ],
    ids=lambda text: text[:12],
)
@pytest.mark.timeout(60)
def test_hostile_text_neither_raises_nor_gets_a_label(text):
    assert label(AlgebraLabeler(verifier=None), text)[0] is None


@pytest.mark.parametrize(
    ("line", "wanted"),
    [("7y = 44 - 2 = 42", 1.0), ("7y = 44 - 2 = 40", 0.0), ("y = 42/7 = 6", 1.0), ("y = 42/7 = 5.9", None)],
)
def test_every_link_of_a_chain_counts(line, wanted):
    """The first link alone follows in each of them."""
    trace = Trace.create(Problem.create("Solve 7y + 2 = 44."), [line])
    assert AlgebraLabeler(verifier=None).label(trace)[0].p_correct == wanted


@pytest.mark.parametrize(("line", "wanted"), [("y = 40/7", None), ("y = 6", 1.0)])
def test_a_line_that_says_two_things_neither_proves_nor_refutes_the_next(line, wanted):
    trace = Trace.create(Problem.create("Solve 7y + 2 = 44."), ["7y = 44 - 2 = 40", line])
    assert [x.p_correct for x in AlgebraLabeler(verifier=None).label(trace)] == [0.0, wanted]


@pytest.mark.parametrize("text", ["Suppose x = 3.", "If x = 3, the left side is 9.", "Let x = 3."])
def test_what_is_only_supposed_is_not_judged(labeler, text):
    """Asserted behind the same line, x = 3 is refuted."""
    assert label(labeler, ["2x = 4", text], "Solve 2x + 3 = 7.")[0] is None
    assert label(labeler, ["2x = 4", "So x = 3."], "Solve 2x + 3 = 7.")[0] == 0.0
