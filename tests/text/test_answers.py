"""Comparing answers: exact numbers, formulas in a limited process, groups; with the real math-verify."""

import gzip
import json
import os
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewardkit.samples import sample_path
from rewardkit.text import mathverify
from rewardkit.text.answers import AnswerChecker, answers_equal, extract_answer, group_answers, matches_reference
from rewardkit.worker import LimitedWorker

TOWER = "9^{9^{9^{9}}}"


@pytest.fixture(scope="module")
def checker():
    with AnswerChecker(seconds=60) as checker:
        yield checker


EQUAL = [
    ("0.5", "1/2"),
    ("0.5", "50%"),
    ("1,000", "1000"),
    ("$18", "18"),
    ("18 dollars", "$18.00"),
    ("\\frac{1}{2}", "0.5"),
    ("\\sqrt{8}", "2\\sqrt{2}"),
    ("sqrt(8)", "2\\sqrt{2}"),
    ("\u221a8", "2 sqrt(2)"),
    ("2*3*x", "6x"),
    ("(x+1)**2", "x^2 + 2x + 1"),
    ("1,-2", "-2,1"),
    ("x = 5", "5"),
    ("3 pi", "3\\pi"),
    ("5 x 3", "15"),
    ("1 \\pm \\sqrt{19}", "1-\\sqrt{19}, 1+\\sqrt{19}"),
    ("\\begin{pmatrix} 1/2 \\\\ 3 \\end{pmatrix}", "\\begin{pmatrix} 0.5 \\\\ 3 \\end{pmatrix}"),
    ("(0,9) \\cup (9,36)", "(0,9)\u222a(9,36)"),
    ("East", "\\text{east}"),
]
DIFFERENT = [
    ("72", "172"),
    ("50%", "50"),
    ("0.333", "1/3"),
    ("-5", "5"),
    ("2\\pi", "\\pi"),
    ("(3,4]", "(3,4)"),
    ("(1,2)", "(2,1)"),
    ("x+1", "x+2"),
    ("east", "west"),
    ("(C)", "(D)"),
    ("\\sqrt{2}", "18"),
]
UNDECIDED = [
    ("", "18"),
    ("", ""),
    ("eighteen", "18"),
    ("Sunday", "on Sunday"),
    ("no solution", "x = 5"),
    ("about 3 apples or so", "x + 3"),
    ("x+" * 2000 + "1", "x"),
]


@pytest.mark.parametrize(("pairs", "verdict"), [(EQUAL, True), (DIFFERENT, False), (UNDECIDED, None)])
def test_verdicts_both_ways_round(checker, pairs, verdict):
    assert [pair for pair in pairs if checker.equal(*pair) is not verdict] == []
    assert [pair for pair in pairs if checker.equal(*pair[::-1]) is not verdict] == []


@given(st.fractions(), st.fractions())
def test_numbers_are_equal_only_if_their_values_are(first, second):
    assert answers_equal(str(first), str(second)) is (first == second)


def test_numbers_need_no_process():
    with AnswerChecker() as checker:
        assert checker.equal("1,000", "$1000.00") is True
        assert checker.equal("1,000", "1001") is False
        assert checker._worker.pid is None


def test_a_formula_that_never_ends_is_undecided_and_the_next_is_judged():
    with AnswerChecker(seconds=1.0) as checker:
        assert checker.equal(TOWER, "5x") is None
        checker._worker.seconds = 60
        assert checker.equal("\\sqrt{8}", "2\\sqrt{2}") is True


def test_an_undecided_pair_is_not_tried_twice():
    with AnswerChecker(seconds=1.0) as checker:
        checker.equal(TOWER, "5x")
        assert checker._worker.pid is None  # it was killed
        assert checker.equal("5x", TOWER) is None
        assert checker._worker.pid is None


def test_threads_share_a_checker(checker):
    pairs = [(f"\\sqrt{{{4 * n}}}", f"2\\sqrt{{{n}}}") for n in range(2, 12)] * 2
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda pair: checker.equal(*pair), pairs)) == [True] * len(pairs)


def test_a_percentage_matches_a_reference_without_its_sign():
    assert matches_reference("50%", "50") is True
    assert matches_reference("50%", "0.5") is True
    assert matches_reference("50", r"50\%") is True
    assert matches_reference("5", "50%") is False
    assert matches_reference("0.5", "50") is False
    assert matches_reference("50%", "500") is False


def test_groups_keep_the_order_and_empties_stay_alone():
    assert group_answers(["1/2", "", "3", "0.5", None, "50%", "3.0", " "]) == [[0, 3, 5], [1], [2, 6], [4], [7]]


def test_groups_join_formulas_with_numbers(checker):
    assert checker.group(["\\sqrt{4}", "x", "2", "2.0", "\\sqrt{2}"]) == [[0, 2, 3], [1], [4]]


class Pairs(AnswerChecker):
    """A checker whose equality is a given set of pairs, which need not be transitive."""

    def equal(self, first, second):
        return {first, second} in ({"a", "b"}, {"b", "c"}) or None


def test_groups_are_transitive_in_every_order():
    assert Pairs().group(["a", "c", "b", "d"]) == [[0, 1, 2], [3]]
    assert Pairs().group(["b", "a", "d", "c"]) == [[0, 1, 3], [2]]


def test_agreement_with_the_flags_of_the_shipped_solutions():
    with gzip.open(sample_path("gsm8k-solutions"), "rt", encoding="utf-8") as rows:
        solved = [json.loads(row) for row in rows]
    checked = [
        (extract_answer(part["solution"]), extract_answer(row["ground_truth"]), part["is_correct"])
        for row in solved
        for part in row.values()
        if isinstance(part, dict)
    ]
    assert len(checked) == 4 * len(solved) > 0
    assert [c for c in checked if bool(c[0] and matches_reference(c[0], c[1])) is not c[2]] == []


def test_text_is_never_evaluated(tmp_path):
    """sympy would evaluate what its number class or its expression parser is given; the child bars both."""
    mark = tmp_path / "evaluated"
    attack = f"__import__('os').mkdir('{mark}')"
    with LimitedWorker("rewardkit.text.mathverify:compare", setup="rewardkit.text.mathverify:prepare") as worker:
        for answer in (attack, f"\\text{{{attack}}}", f"\\mathrm{{{attack}}}", f"\\frac{{{attack}}}{{1}}"):
            answers_equal(answer, "5x")
            worker.call(answer, "5x")
    assert not mark.exists()


def test_sympy_in_the_child_refuses_to_evaluate(monkeypatch, tmp_path):
    (tmp_path / "probe.py").write_text(
        "import sympy\n"
        "def number(text):\n    return str(sympy.Number(text))\n"
        "def parse(text):\n    from sympy.parsing import parse_expr\n    return str(parse_expr(text))\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    setup = f"{mathverify.__name__}:prepare"
    with LimitedWorker("probe:number", setup=setup, seconds=60) as worker:
        assert worker.call("18") == "18"
        with pytest.raises(Exception, match="never evaluated"):
            worker.call("1+1")
    with LimitedWorker("probe:parse", setup=setup, seconds=60) as worker, pytest.raises(Exception, match="ValueError"):
        worker.call("1+1")


def test_a_formula_that_needs_too_much_memory_is_undecided_not_different(monkeypatch, tmp_path):
    """math-verify takes every exception for "not equal"."""
    (tmp_path / "starved.py").write_text(
        "from math_verify import grader\n"
        "from rewardkit.text import mathverify\n"
        "def simplify(*_):\n    raise MemoryError\n"
        "def prepare():\n    grader.simplify = simplify\n    mathverify.prepare()\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    with LimitedWorker("rewardkit.text.mathverify:compare", setup="starved:prepare", seconds=60) as worker:
        assert worker.call("(x+1)^2", "x^3") is None


def test_the_shared_checker_is_one_per_process():
    from rewardkit.text.answers import default_checker

    assert default_checker() is default_checker()
    answers_equal("\\sqrt{8}", "2\\sqrt{2}")
    pid = default_checker()._worker.pid
    os.kill(pid, 0)
    default_checker().close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
