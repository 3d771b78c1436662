"""Z3 behind limits: verdicts, counter-models, time-outs, and the agreement of Z3 with the truth tables."""

import os
import random
from fractions import Fraction

import pytest

from rewardkit.errors import VerifierError
from rewardkit.verifiers import z3 as module
from rewardkit.verifiers.fol_parser import parse_formula
from rewardkit.verifiers.formula import Comparison, Connected, Not, Number, Operation, Predicate, Quantified, Variable
from rewardkit.verifiers.z3 import CONTRADICTION, Z3Verifier, default_verifier

x, y = Variable("x"), Variable("y")


@pytest.fixture(scope="module")
def solver():
    with Z3Verifier(seconds=10, tables=False, cache_size=0) as made:
        yield made


@pytest.fixture(scope="module", params=["tables", "solver"])
def verifier(request):
    with Z3Verifier(tables=request.param == "tables") as made:
        yield made


def number(value):
    return Number(Fraction(value))


def op(operator, *terms):
    return Operation(operator, tuple(number(t) if isinstance(t, int) else t for t in terms))


def compare(left, relation, right):
    left, right = (number(t) if isinstance(t, int) else t for t in (left, right))
    return Comparison(relation, left, right)


def status(verifier, premises, goal):
    return verifier.verify([parse_formula(p) for p in premises], parse_formula(goal)).status


# --- logic, by both ways ---


@pytest.mark.parametrize(
    ("premises", "goal", "expected"),
    [
        (["A", "A -> B"], "B", "proved"),
        (["B", "A -> B"], "A", "refuted"),
        ([], "A v ~A", "proved"),
        ([], "A", "refuted"),
        (["∀x (F(x) → G(x))", "F(a)"], "G(a)", "proved"),
        (["∀x (F(x) → G(x))", "F(a)"], "G(b)", "refuted"),
        (["∀x F(x)"], "∃x F(x)", "proved"),
        (["∃x F(x)"], "∀x F(x)", "refuted"),
        (["∃x F(x)", "∃x G(x)"], "∃x (F(x) ∧ G(x))", "refuted"),
        (["∃y ∀x R(x, y)"], "∀x ∃y R(x, y)", "proved"),
        (["∀x ∃y R(x, y)"], "∃y ∀x R(x, y)", "refuted"),
        (["∀x ∀y (R(x, y) → R(y, x))", "R(a, b)"], "R(b, a)", "proved"),
        (["F(a)", "a = b"], "F(b)", "proved"),
        (["∀x (F(x) ↔ ¬G(x))", "¬G(a)"], "F(a)", "proved"),
        (["A <-> ∀x F(x)", "A"], "F(a)", "proved"),
        (["F(a)"], "∃x (F(x) → ∀x F(x))", "proved"),
        (["∀x (F(x) v ∀x G(x))", "¬F(a)"], "G(b)", "proved"),
        (["∀x ∃x ∀y R(x, y)"], "∃x ∀y R(x, y)", "proved"),
        (["∀x ∃x ∀y R(x, y)"], "∃x ∀y R(y, x)", "refuted"),
    ],
)
def test_entailment(verifier, premises, goal, expected):
    assert status(verifier, premises, goal) == expected


def test_the_counter_model_is_in_the_names_as_written(verifier):
    verdict = verifier.verify(
        [parse_formula("∀x (Bird(x) → Flies(x))"), parse_formula("Flies(tux)")], parse_formula("Bird(tux)")
    )
    assert (verdict.status, set(verdict.witness.split(", "))) == ("refuted", {"Flies(tux)", "not Bird(tux)"})


def test_premises_that_contradict_each_other_are_told(verifier):
    assert verifier.verify([parse_formula("A"), parse_formula("~A")], parse_formula("B")).reason == CONTRADICTION
    assert verifier.verify([parse_formula("A")], parse_formula("A v B")).reason == ""


def test_one_predicate_at_two_arities_is_two(verifier):
    assert status(verifier, ["R(a)"], "R(a, a)") == "refuted"


def test_a_quantifier_shared_by_two_places_keeps_both_meanings(verifier):
    some = parse_formula("∃x F(x)")
    either = Connected("or", some, Predicate("P"))
    rule = Connected("or", Not(some), Predicate("Q"))
    found = verifier.verify([Connected("and", either, rule), parse_formula("F(a)")], Predicate("Q"))
    assert (found.status, found.reason) == ("proved", "")


def _random_formula(draw, depth, bound):
    if depth == 0 or draw.random() < 0.2:
        name = draw.choice("FGP")
        if name == "P":
            return Predicate("P")
        terms = [*bound, Variable("a", "object"), Variable("b", "object")]
        arguments = (draw.choice(terms),) if name == "F" else (draw.choice(terms), draw.choice(terms))
        return Predicate(name, arguments)
    kind = draw.choice(["not", "and", "or", "implies", "iff", "forall", "exists"])
    if kind == "not":
        return Not(_random_formula(draw, depth - 1, bound))
    if kind in ("forall", "exists"):
        variable = Variable(draw.choice("xy"), "object")
        return Quantified(kind, variable, _random_formula(draw, depth - 1, [*bound, variable]))
    return Connected(kind, _random_formula(draw, depth - 1, bound), _random_formula(draw, depth - 1, bound))


@pytest.mark.parametrize("seed", range(4))
def test_truth_tables_agree_with_z3_on_random_sequents(solver, seed):
    draw = random.Random(seed)
    sequents = []
    for _ in range(250):
        premises = [_random_formula(draw, 3, []) for _ in range(draw.randint(0, 3))]
        sequents.append((premises, _random_formula(draw, 3, [])))
    tables = Z3Verifier(cache_size=0)
    decided = [(pair, tables._at_once(*pair)[0]) for pair in sequents]
    asked = [(pair, verdict) for pair, verdict in decided if verdict is not None]
    assert len(asked) > 150
    assert len({verdict.status for _, verdict in asked}) == 2
    for (pair, ours), theirs in zip(asked, solver.verify_many([pair for pair, _ in asked]), strict=True):
        assert (ours.status, ours.reason) == (theirs.status, theirs.reason), pair


# --- arithmetic ---


@pytest.mark.parametrize(
    ("premises", "goal", "expected"),
    [
        ([compare(op("+", op("*", 2, x), 3), "=", 7)], compare(x, "=", 2), "proved"),
        ([compare(op("+", op("*", 2, x), 3), "=", 7)], compare(x, "=", 3), "refuted"),
        ([compare(op("^", x, 2), "=", 4)], compare(x, "=", 2), "refuted"),
        ([compare(op("^", x, 2), "=", 4), compare(x, ">", 0)], compare(x, "=", 2), "proved"),
        ([], compare(op("^", op("+", x, y), 2), "=", op("^", op("-", x, y), 2)), "refuted"),
        ([], compare(op("abs", op("neg", x)), ">=", x), "proved"),
        ([compare(x, "=", op("sqrt", 16))], compare(x, "=", 4), "proved"),
        ([compare(x, "=", op("sqrt", 16))], compare(x, "=", -4), "refuted"),
        ([compare(Variable("n", "int"), ">", 1)], compare(Variable("n", "int"), ">=", 2), "proved"),
        ([compare(x, ">", 1)], compare(x, ">=", 2), "refuted"),
        ([], compare(op("/", 1, 2), "=", number("1/2")), "proved"),
        ([compare(x, ">", 1)], compare(op("/", x, x), "=", 1), "proved"),
        ([compare(op("/", 6, x), "=", 2)], compare(x, "=", 3), "proved"),
        ([compare(x, ">", 0)], compare(op("*", x, op("^", x, -1)), "=", 1), "proved"),
    ],
)
def test_arithmetic(solver, premises, goal, expected):
    assert solver.verify(premises, goal).status == expected


@pytest.mark.parametrize(
    ("premises", "goal"),
    [
        ([], compare(op("/", 5, 0), "=", 7)),
        ([compare(op("/", 5, 0), "=", 7)], compare(1, "=", 2)),
        ([], compare(op("/", x, x), "=", 1)),
        ([], compare(op("^", x, 0), "=", 1)),
        ([], compare(op("^", op("sqrt", x), 2), "=", x)),
        ([Connected("or", compare(x, "=", 0), compare(op("/", 1, x), "=", 2))], compare(x, "!=", 0)),
        ([], Quantified("forall", x, compare(op("/", x, x), "=", 1))),
        ([], compare(op("^", 2, op("neg", x)), ">", 0)),
        ([], compare(op("^", x, 1000), ">=", 0)),
        ([], compare(Number(Fraction(1 << 5000)), ">", 0)),
        ([], compare(Variable("a", "object"), ">", 0)),
    ],
    ids=range(11),
)
def test_what_may_be_undefined_or_is_out_of_bounds_is_unknown(solver, premises, goal):
    assert solver.verify(premises, goal).status == "unknown"


def test_a_formula_nested_too_deeply_is_unknown(solver):
    formula = Predicate("A")
    for _ in range(5000):
        formula = Not(formula)
    assert solver.verify([], formula).status == "unknown"


# --- limits ---


def hard():
    """Is 42 a sum of three cubes? It is, with numbers of 17 digits."""
    cubes = [op("^", Variable(name, "int"), 3) for name in "ijk"]
    return compare(op("+", cubes[0], op("+", cubes[1], cubes[2])), "!=", 42)


def test_a_hard_sequent_ends_within_its_limit_and_the_next_call_works():
    with Z3Verifier(seconds=1.0) as verifier:
        verifier.verify([], compare(x, "=", x))
        verdict = verifier.verify([], hard())  # left alone it takes hours
        assert (verdict.status, verdict.reason) == ("unknown", "out of time")
        assert verifier.verify([compare(x, ">", 1)], compare(x, ">", 0)).status == "proved"


def test_a_solver_that_ignores_its_limit_is_killed(monkeypatch):
    with Z3Verifier(seconds=0.5) as verifier:
        verifier.verify([], compare(x, "=", x))
        pid = verifier._workers[0].pid
        monkeypatch.setattr(Z3Verifier, "_milliseconds", staticmethod(lambda seconds: 600_000))
        verdict = verifier.verify([], hard())
        assert (verdict.status, verdict.reason) == ("unknown", "took longer than 0.5 s")
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
        monkeypatch.undo()
        assert verifier.verify([compare(x, ">", 1)], compare(x, ">", 0)).status == "proved"


def test_a_hard_sequent_in_a_batch_harms_no_other():
    sequents = [([compare(x, ">", i)], compare(x, ">", 5)) for i in range(10)]
    sequents.insert(3, ([], hard()))
    with Z3Verifier(seconds=1.0) as verifier:
        found = [verdict.status for verdict in verifier.verify_many(sequents)]
    assert found == ["refuted"] * 3 + ["unknown"] + ["refuted"] * 2 + ["proved"] * 5


def test_a_killed_process_is_replaced(solver):
    solver.verify([], compare(x, "=", x))
    os.kill(solver._workers[0].pid, 9)
    assert solver.verify([], compare(x, "=", y)).status == "refuted"


def test_two_workers_give_the_same_answers(solver):
    sequents = [([compare(x, ">", i)], compare(x, ">", 50)) for i in range(100)]
    with Z3Verifier(workers=2) as two:
        found = [verdict.status for verdict in two.verify_many(sequents)]
    assert found == [verdict.status for verdict in solver.verify_many(sequents)]


# --- the cache ---


def test_a_renamed_sequent_is_answered_from_the_cache_in_its_own_names():
    with Z3Verifier() as verifier:
        first = verifier.verify([parse_formula("A -> B"), parse_formula("B")], parse_formula("A"))
        second = verifier.verify([parse_formula("Q"), parse_formula("P -> Q")], parse_formula("P"))
        assert verifier.counts == {"cached": 1, "table": 1, "solver": 0}
        assert (first.witness, second.witness) == ("not A, B", "not P, Q")


def test_unknown_is_not_kept():
    with Z3Verifier(seconds=0.2) as verifier:
        assert [verifier.verify([], hard()).status for _ in range(2)] == ["unknown"] * 2
        assert verifier.counts["solver"] == 2


def test_the_cache_is_bounded():
    with Z3Verifier(cache_size=10) as verifier:
        goal = Predicate("A")
        for _ in range(40):
            goal = Not(Not(goal))
            verifier.verify([], goal)
        assert len(verifier._cache) <= 10


def test_equal_sequents_of_one_batch_are_asked_once():
    with Z3Verifier() as verifier:
        found = verifier.verify_many([([compare(v, ">", 1)], compare(v, ">", 2)) for v in (x, y)])
        assert verifier.counts["solver"] == 1
        assert [verdict.witness.partition(" ")[0] for verdict in found] == ["x", "y"]


def test_a_missing_solver_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(Z3Verifier, "_package", "no-such-solver")
    with Z3Verifier() as verifier, pytest.raises(VerifierError, match="pip install 'no-such-solver"):
        verifier.verify([], compare(x, "=", x))


def test_the_shared_verifier_is_one(monkeypatch):
    monkeypatch.setattr(module, "_default", None)
    assert default_verifier() is default_verifier()
