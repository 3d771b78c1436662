"""Generated deductions: every gold step holds, the label is right, and a seed gives the same problems."""

from __future__ import annotations

import itertools

import pytest
from fldcheck import check_proof, parse
from hypothesis import given, settings
from hypothesis import strategies as st

from rewardkit.errors import DataError
from rewardkit.problems.consistency import consistent, satisfiable
from rewardkit.problems.deduction import deductions
from rewardkit.verifiers.formula import Connected, Not, Predicate, Quantified, Variable

LOGICS = ("propositional", "monadic")


def problems(number, **options):
    return list(itertools.islice(deductions(**options), number))


def steps_of(problem):
    meta = problem.meta
    return check_proof(meta["facts"], meta["hypothesis"], meta["label"], meta["gold_proof"])


@pytest.mark.parametrize("logic", LOGICS)
@pytest.mark.parametrize("depth", [1, 2, 3, 5, 8])
def test_every_step_of_every_gold_proof_holds(logic, depth):
    for problem in problems(30, depth=depth, distractors=4, logic=logic, seed=depth):
        assert [line for line, holds in steps_of(problem) if not holds] == []


@pytest.mark.parametrize("logic", LOGICS)
def test_only_an_unknown_hypothesis_stays_without_its_last_step(logic):
    for problem in problems(60, depth=[1, 6], logic=logic):
        proof = problem.meta["gold_proof"]
        assert proof.endswith("-> hypothesis ;") == (problem.answer != "UNKNOWN")


@pytest.mark.parametrize("logic", LOGICS)
def test_depth_is_the_longest_way_through_the_proof(logic):
    for depth in range(1, 9):
        for problem in problems(12, depth=depth, logic=logic, labels=["PROVED", "DISPROVED"], seed=3):
            depths = dict.fromkeys(problem.meta["facts"], 0)
            for line in problem.meta["gold_proof"].splitlines():
                cited, _, result = line.partition(" -> ")
                last = depths[result.partition(":")[0]] = 1 + max(depths[name] for name in cited.split(" & "))
            assert last == depth == problem.meta["depth"]


def test_every_distractor_is_one_more_fact_that_the_proof_does_not_use():
    for problem in problems(30, depth=4, distractors=7, labels=["PROVED"]):
        used = {w for line in problem.meta["gold_proof"].splitlines() for w in line.split(" -> ")[0].split(" & ")}
        assert len(set(problem.meta["facts"]) - used) == 7


def test_labels_take_turns():
    assert [p.answer for p in problems(6)] == ["PROVED", "DISPROVED", "UNKNOWN"] * 2


def test_a_seed_gives_the_same_problems_and_another_seed_gives_others():
    options = {"depth": [1, 5], "distractors": [0, 6]}
    assert problems(20, seed=1, **options) == problems(20, seed=1, **options)
    assert not {p.id for p in problems(20, seed=1, **options)} & {p.id for p in problems(20, seed=2, **options)}


@pytest.mark.parametrize("logic", LOGICS)
def test_z3_agrees_with_every_label(logic):
    z3 = pytest.importorskip("z3")
    for problem in problems(60, depth=[1, 6], distractors=5, logic=logic, seed=9):
        facts = [to_z3(parse(text), z3) for text in problem.meta["facts"].values()]
        goal = to_z3(parse(problem.meta["hypothesis"]), z3)
        found = {sign: z3.Solver() for sign in ("PROVED", "DISPROVED", "consistent")}
        found["PROVED"].add(*facts, z3.Not(goal))
        found["DISPROVED"].add(*facts, goal)
        found["consistent"].add(*facts)
        closed = {sign for sign, solver in found.items() if solver.check() == z3.unsat}
        assert closed == {problem.answer} - {"UNKNOWN"}


def to_z3(formula, z3):
    sort = z3.DeclareSort("Object")
    kind, *parts = formula
    if kind == "var":
        name, argument = parts
        if argument is None:
            return z3.Bool(name)
        return z3.Function(f"{name}_of", sort, z3.BoolSort())(z3.Const(argument, sort))
    made = [to_z3(part, z3) for part in parts]
    x = z3.Const("x", sort)
    quantify = {"all": z3.ForAll, "some": z3.Exists}
    if kind in quantify:
        return quantify[kind](x, made[0])
    return {"not": z3.Not, "and": z3.And, "or": z3.Or, "implies": z3.Implies}[kind](*made)


@pytest.mark.parametrize(
    "options",
    [
        {"depth": 0},
        {"depth": 21},
        {"depth": [3, 2]},
        {"distractors": -1},
        {"logic": "modal"},
        {"labels": ["MAYBE"]},
        {"labels": []},
    ],
)
def test_option_out_of_range_is_an_error(options):
    with pytest.raises(DataError, match=next(iter(options))):
        deductions(**options)


def test_quantified_facts_that_clash_are_found_inconsistent():
    x, a = Variable("x", "object"), Variable("a", "object")

    def of(name, at):
        return Predicate(name, (at,))

    every = Quantified("forall", x, Connected("implies", of("F", x), of("G", x)))
    some = Quantified("exists", x, Connected("and", of("F", x), Not(of("G", x))))
    assert not consistent([every, some])
    assert not consistent([every, Not(every)])
    assert consistent([every, of("F", a), Not(of("G", Variable("b", "object")))])
    assert not consistent([every, of("F", a), Not(of("G", a))])


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from([-4, -3, -2, -1, 1, 2, 3, 4]), min_size=1, max_size=3).map(tuple), max_size=14)
)
def test_the_search_agrees_with_a_truth_table(clauses):
    tables = itertools.product((False, True), repeat=4)
    wanted = any(all(any(row[abs(x) - 1] == (x > 0) for x in clause) for clause in clauses) for row in tables)
    assert satisfiable(clauses) == wanted
