"""Coq against the real `coqtop`: what it proves, refutes and leaves; its limits; what its process may do."""

from __future__ import annotations

import os
import random
import shutil
from fractions import Fraction
from pathlib import Path

import psutil
import pytest

from rewardkit.errors import VerifierError
from rewardkit.verifiers.coq import CoqVerifier
from rewardkit.verifiers.formula import Comparison, Number, Operation
from rewardkit.verifiers.statements import parse_formula, parse_sequent

pytestmark = pytest.mark.skipif(
    shutil.which("coqtop") is None and not os.environ.get("CI"), reason="there is no coqtop: apt-get install coq"
)


@pytest.fixture(scope="module")
def coq():
    with CoqVerifier(seconds=10) as verifier:  # whatever else the machine does
        yield verifier


def status(verifier, sequent):
    return verifier.verify(*parse_sequent(sequent)).status


PROVED = [
    "|- 48 + 48 / 2 = 72",
    "x = 48; y = x / 2 |- y = 24",
    "x = 2; y = 144 / (x + 4) |- y = 24",
    "x != 0 |- x / x = 1",
    "x != 1 |- (x ^ 2 - 1) / (x - 1) = x + 1",
    "|- 2 ^ -1 = 0.5",
    "|- sqrt(144) = 12",
    "|- abs(-5) = 5",
    "x * x = 4; x > 0 |- x = 2",
    "x ^ 2 - 5 * x + 6 = 0 |- x = 2 or x = 3",
    "a + b = 10; a - b = 2 |- a = 6 and b = 4",
    "|- 2 * x + 3 = 7 <-> x = 2",
    "Rain -> x = 2; Rain |- x = 2",
    "int_x > 2; int_x < 4 |- int_x = 3",
    "int_a * int_b = 6; int_a = 2 |- int_b = 3",
    "forall x: Man(x) -> Mortal(x); Man(socrates) |- Mortal(socrates)",
    "not (forall x: F(x)) |- exists x: not F(x)",
    "|- ((P -> Q) -> P) -> P",
    "forall x: F(x) |- exists x: F(x)",
    "false |- x = 2",
    "x = 5; x = 6 |- x = 7",  # so does its negation; the goal is tried first
]
REFUTED = [
    "|- 48 / 2 = 16",
    "|- 10 / 3 = 3.33",
    "|- 7 != 7",
    "|- 2 ^ 10 = 1000",
    "x = 48; y = x / 2 |- y = 25",
    "int_a * int_b = 6; int_a = 2 |- int_b = 4",
    "2 * x + 3 = 7 |- x = 5",
    "forall x: Man(x) -> Mortal(x); Man(socrates) |- not Mortal(socrates)",
    "P; P -> Q |- not Q",
]
UNKNOWN = [
    "x > 2 |- x > 3",  # neither it nor its negation follows
    "F(a) |- G(a)",
    "|- 5 / 0 = 7",
    "|- x / x = 1",
    "|- sqrt(x) ^ 2 = x",
    "|- 0 ^ 0 = 1",
    "y = 1 / x |- x * y = 1",
]


@pytest.mark.parametrize("sequent", PROVED)
def test_proves(coq, sequent):
    assert status(coq, sequent) == "proved"


@pytest.mark.parametrize("sequent", REFUTED)
def test_refutes(coq, sequent):
    assert status(coq, sequent) == "refuted"


@pytest.mark.parametrize("sequent", UNKNOWN)
def test_does_not_know(coq, sequent):
    assert status(coq, sequent) == "unknown"


@pytest.mark.parametrize("sequent", ["|- 5 / 0 = 7", "|- 1 / (3 - 3) = 7", "x = 0 |- 1 / x = 0", "|- sqrt(-4) = 0"])
def test_what_coq_gives_a_value_without_one_is_never_labelled(coq, sequent):
    """In Coq 1 / 0 and the root of -4 are numbers, so that something about them can be proved or refuted."""
    verdict = coq.verify(*parse_sequent(sequent))
    assert verdict.status == "unknown"
    assert "0" in verdict.reason or "zero" in verdict.reason


def test_verdict_names_the_solver(coq):
    assert coq.verify([], parse_formula("1 = 1")).solver.startswith("coq 8.")


def test_a_dropped_premise_is_noticed(coq):
    assert status(coq, "x = 48; y = x / 2 |- y = 24") == "proved"
    assert status(coq, "y = x / 2 |- y = 24") == "unknown"


@pytest.mark.parametrize("wrong", ["exact_no_check I", "vm_cast_no_check (eq_refl 0)", "admit", "give_up", "idtac"])
@pytest.mark.parametrize("sequent", ["|- 1 = 2", "|- 1 + 1 = 2", "x = 1 |- x = 2", "P |- Q or P"])
def test_a_wrong_proof_is_rejected_by_the_kernel(coq, monkeypatch, wrong, sequent):
    """A tactic that hands over nothing, or what is no proof: the goal may even be true."""
    monkeypatch.setattr("rewardkit.verifiers.coq._tactics", lambda sequent: (wrong,))
    monkeypatch.setattr("rewardkit.verifiers.coq.can_hold", lambda premises, goal: (True, False))
    assert status(coq, sequent) == "unknown"
    monkeypatch.setattr("rewardkit.verifiers.coq.can_hold", lambda premises, goal: (True, True))
    assert status(coq, sequent) == "unknown"


def random_term(rng, depth):
    if depth == 0 or rng.random() < 0.2:
        return Number(Fraction(rng.randint(-50, 50), rng.choice([1, 1, 1, 2, 3, 10])))
    operator = rng.choice("+-*/")
    return Operation(operator, (random_term(rng, depth - 1), random_term(rng, depth - 1)))


def value(term):
    if isinstance(term, Number):
        return term.value
    a, b = (value(part) for part in term.arguments)
    return {"+": lambda: a + b, "-": lambda: a - b, "*": lambda: a * b, "/": lambda: a / b}[term.operator]()


@pytest.mark.slow
def test_500_ground_statements_agree_with_exact_fractions(coq):
    rng = random.Random(7)
    wrong = []
    counts = {"proved": 0, "refuted": 0}
    while sum(counts.values()) < 500:
        left = random_term(rng, 3)
        try:
            exact = value(left)
        except ZeroDivisionError:
            continue
        claimed = exact if rng.random() < 0.5 else exact + rng.choice([1, -1, Fraction(1, 10), 10])
        relation = rng.choice(["=", "=", "=", "<", "<=", "!="])
        goal = Comparison(relation, left, Number(claimed))
        true = {"=": exact == claimed, "<": exact < claimed, "<=": exact <= claimed, "!=": exact != claimed}[relation]
        verdict = coq.verify([], goal)
        if verdict.status != ("proved" if true else "refuted"):
            wrong.append((goal, verdict))
        counts["proved" if true else "refuted"] += 1
    assert not wrong
    assert min(counts.values()) > 100


# Its powers are worked out to 50 million digits.
ENDLESS_NUMBER = "|- ((((2 ^ 61) ^ 61) ^ 61) ^ 61) ^ 13 = 1"
# Tactics for products try the product of each two premises.
ENDLESS_SEARCH = "; ".join(f"x{i} * x{i + 1} > x{i + 2} ^ 2" for i in range(14)) + " |- x0 * x1 * x2 * x3 > x4 * x5"


def test_a_number_too_large_to_work_out_is_unknown(coq):
    assert status(coq, ENDLESS_NUMBER) == "unknown"
    assert status(coq, "|- 1 = 2") == "refuted"


def test_a_statement_that_takes_too_long_is_stopped_and_the_next_one_answered():
    with CoqVerifier(seconds=1.0) as verifier:
        assert verifier.verify([], parse_formula("1 = 1")).status == "proved"
        pid = verifier.pid
        verdict = verifier.verify(*parse_sequent(ENDLESS_SEARCH))
        assert verdict.status == "unknown"
        assert "no answer within 1 s" in verdict.reason
        assert not psutil.pid_exists(pid)
        assert verifier.verify([], parse_formula("1 = 2")).status == "refuted"


def test_too_little_memory_is_an_error_that_says_so():
    with CoqVerifier(memory_mb=64) as verifier, pytest.raises(VerifierError, match="coqtop does not start"):
        verifier.verify([], parse_formula("1 = 1"))


def test_process_is_replaced_after_so_many_statements_and_leaves_nothing():
    with CoqVerifier(recycle=2) as verifier:
        pids = []
        for _ in range(3):
            assert verifier.verify([], parse_formula("1 = 1")).status == "proved"
            pids.append(verifier.pid)
        folder = psutil.Process(verifier.pid).cwd()
    assert pids[0] == pids[1] != pids[2]
    assert not any(psutil.pid_exists(pid) for pid in pids)
    assert not Path(folder).exists()


def test_a_killed_process_is_unknown_and_the_next_statement_starts_anew(coq):
    with CoqVerifier() as verifier:
        verifier.verify([], parse_formula("1 = 1"))
        psutil.Process(verifier.pid).kill()
        assert verifier.verify([], parse_formula("1 = 1")).status == "unknown"
        assert verifier.verify([], parse_formula("1 = 1")).status == "proved"


def test_settings_of_the_user_do_not_reach_coq(monkeypatch, tmp_path):
    (tmp_path / ".coqrc").write_text("Axiom wrong : False.\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("COQPATH", str(tmp_path))
    with CoqVerifier() as verifier:
        assert verifier.verify([], parse_formula("1 = 2")).status == "refuted"
        assert psutil.Process(verifier.pid).environ().keys() == {"PATH", "HOME", "LC_ALL", "OCAMLRUNPARAM"}
