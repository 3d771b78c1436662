"""Stored labels checked again by another solver: what agrees, what does not, what cannot be asked."""

from __future__ import annotations

import json
import os
import shutil

import pytest

from rewardkit.cli import build_app
from rewardkit.errors import ConfigError, DataError
from rewardkit.labelers import load_labeler
from rewardkit.store import LabelledTrace, write_dataset
from rewardkit.types import Problem, StepLabel, Trace
from rewardkit.verifiers.recheck import recheck

PROBLEM = Problem.create("Natalia sold 48 clips.", "72")
RIGHT = "x = 48; y = x / 2 |- y = 24 [proved by coq 8.16.1]"


def dataset(folder, *labels, text="x"):
    """One trace a label: (p_correct, source, evidence, text of the step)."""
    rows = []
    for number, (p_correct, source, evidence, text) in enumerate(labels):
        trace = Trace.create(PROBLEM, [text], sample=number)
        rows.append(LabelledTrace(trace, (StepLabel(trace.id, 0, p_correct, source, "local", evidence),)))
    write_dataset(folder, rows, {})
    return folder


@pytest.fixture(params=["z3", "coq"])
def solver(request):
    if request.param == "coq" and shutil.which("coqtop") is None and not os.environ.get("CI"):
        pytest.skip("there is no coqtop: apt-get install coq")
    return request.param


def outcomes(folder, solver="z3"):
    return {one.label.evidence or one.label.trace_id: one.outcome for one in recheck(folder, solver=solver).checked}


def test_proof_labels_are_proved_again(tmp_path, solver):
    wrong = RIGHT.replace("y = 24", "y = 25")
    found = outcomes(dataset(tmp_path, (1.0, "proof", RIGHT, "x"), (1.0, "proof", wrong, "x")), solver)
    assert found == {RIGHT: "agree", wrong: "disagree"}


def test_refuted_labels_are_refuted_again(tmp_path, solver):
    refuted = "x = 48 |- x = 24 [refuted by coq 8.16.1]"
    assert outcomes(dataset(tmp_path, (0.0, "proof", refuted, "x"), (0.0, "proof", RIGHT, "x")), solver) == {
        refuted: "agree",
        RIGHT: "disagree",
    }


def test_what_a_solver_cannot_be_asked_is_undecided(tmp_path):
    labels = [(0.0, "proof", "x = 1 [bad citation: no earlier line is called s2]", "x"), (1.0, "proof", "lost", "x")]
    assert set(outcomes(dataset(tmp_path, *labels)).values()) == {"undecided"}


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("She sold 48/2 = 24 clips.", "agree"),
        ("She sold 48/2 = 25 clips.", "agree"),
        ("10 / 3 = 3.33", "agree"),
        ("20% of 50 = 10", "agree"),
        ("$3 * (4 + 5) = $27 in all", "agree"),
        ("266 hours / 12 = 22.166666666666668", "agree"),
        ("6/2(3) = 1", "undecided"),
        ("1 foot = 12 inches", "undecided"),
    ],
)
def test_arithmetic_labels_are_checked_from_the_text(tmp_path, solver, text, outcome):
    trace = Trace.create(PROBLEM, [text])
    (label,) = load_labeler("arithmetic").label(trace)
    write_dataset(tmp_path, [LabelledTrace(trace, (label,))], {})
    (one,) = recheck(tmp_path, solver=solver).checked
    assert one.outcome == outcome, one


@pytest.mark.parametrize("name", ["logic", "algebra"])
def test_other_labels_are_made_again_with_the_solver(tmp_path, name):
    problem = Problem.create("fact1: {A} fact2: {A} -> {B}\n$hypothesis$: {B}" if name == "logic" else "2x + 3 = 7")
    steps = ["fact1 & fact2 -> int1: {B};"] if name == "logic" else ["2x + 3 = 7, so x = 2."]
    trace = Trace.create(problem, steps)
    labeler = load_labeler(name)
    found = labeler.label(trace)
    labeler.verifier.close() if name == "logic" else labeler.close()
    if all(label.p_correct is None for label in found):
        pytest.skip(f"the {name} labeler finds nothing to judge here: {found}")
    write_dataset(tmp_path, [LabelledTrace(trace, tuple(found))], {})
    assert {one.outcome for one in recheck(tmp_path, solver="cvc5").checked} == {"agree"}


def test_arithmetic_label_that_the_text_belies_is_not_confirmed(tmp_path):
    (one,) = recheck(dataset(tmp_path, (1.0, "arithmetic", "48/2 = 25", "48/2 = 25")), solver="z3").checked
    assert one.outcome != "agree"


def test_sample_is_of_the_size_asked_and_the_same_each_time(tmp_path):
    dataset(tmp_path, *[(1.0, "proof", f"x = {i} |- x = {i} [proved by coq]", "x") for i in range(50)])
    first, again = (recheck(tmp_path, sample=10, solver="z3", seed=3) for _ in range(2))
    assert len(first.checked) == 10
    assert [x.label for x in first.checked] == [x.label for x in again.checked]
    assert first.counts == {"proof": {"agree": 10, "disagree": 0, "undecided": 0}}


def test_labels_of_people_and_abstentions_are_not_checked(tmp_path):
    dataset(tmp_path, (1.0, "human", "", "1 + 1 = 2"), (None, "arithmetic", "no calculation found", "x"))
    with pytest.raises(DataError, match="holds no label of"):
        recheck(tmp_path, solver="z3")


def test_unknown_solver_names_the_nearest(tmp_path):
    with pytest.raises(ConfigError, match="did you mean 'coq'"):
        recheck(dataset(tmp_path, (1.0, "proof", RIGHT, "x")), solver="coqq")


def run(*arguments):
    from typer.testing import CliRunner

    return CliRunner().invoke(build_app(), list(arguments), catch_exceptions=True)


def test_command_prints_counts_and_disagreements(tmp_path):
    wrong = RIGHT.replace("y = 24", "y = 25")
    dataset(tmp_path, (1.0, "proof", RIGHT, "x"), (1.0, "proof", wrong, "x"))
    shown = run("labels", "recheck", str(tmp_path), "solver=z3")
    assert shown.exit_code == 0
    assert "1 agree, 1 disagree, 0 undecided" in shown.stdout
    found = json.loads(run("labels", "recheck", str(tmp_path), "solver=z3", "--json").stdout)
    assert [row["stored"] for row in found["disagreements"]] == [wrong]


@pytest.mark.parametrize("bad", [["count", "."], ["recheck", ".", "size=3"], ["recheck", ".", "sample=many"]])
def test_misused_command_says_what_there_is(bad):
    result = run("labels", *bad)
    assert isinstance(result.exception, ConfigError)
