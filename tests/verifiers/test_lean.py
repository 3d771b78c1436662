"""The Lean verifier against a stand-in that prints what ``lean --json`` prints; real Lean is not to be had here."""

from __future__ import annotations

import json
import sys
import time

import psutil
import pytest

from rewardkit.errors import VerifierError
from rewardkit.verifiers.lean import LeanVerifier, judge, lean_file, read_messages
from rewardkit.verifiers.printing import prepare
from rewardkit.verifiers.statements import parse_sequent

# A Lean that knows how to compare two whole numbers, and nothing else: it reads the theorems of the file.
STAND_IN = """#!{python}
import json, re, sys, time
if "--version" in sys.argv:
    print("Lean (version 4.22.0, x86_64-unknown-linux-gnu, commit abc, Release)")
    sys.exit()
assert sys.argv[1:3] == ["--json", "-DmaxErrors=1000"], sys.argv
failed = set()
for number, line in enumerate(open(sys.argv[3], encoding="utf-8"), 1):
    if line.startswith("theorem"):
        found = re.match(r"theorem (\\w+) +: (.*) := by", line)  # it knows no hypotheses
        claim = found[2].replace(" : Int", "") if found else ""
        holds = claim in ("((1) = (1))", "(\\u00ac ((1) = (2)))")
        if not holds:
            failed.add(line.split()[1])
            print(json.dumps({{"severity": "error", "pos": {{"line": number, "column": 0}}, "data": "unsolved goals"}}))
    elif line.startswith("#print axioms"):
        name = line.split()[-1]
        says = "depends on axioms: [sorryAx]" if name in failed else "does not depend on any axioms"
        data = f"'{{name}}' {{says}}"
        print(json.dumps({{"severity": "information", "pos": {{"line": number, "column": 0}}, "data": data}}))
{extra}
sys.exit(1 if failed else 0)
"""


@pytest.fixture
def lean(tmp_path):
    def make(extra="", text=STAND_IN, **options):
        path = tmp_path / "lean"
        path.write_text(text.format(python=sys.executable, extra=extra))
        path.chmod(0o755)
        return LeanVerifier((str(path),), **options)

    return make


def whole(sequent):
    premises, goal = parse_sequent(sequent)
    return prepare(premises, goal)


def test_theorem_and_negation_are_printed_and_judged(lean, monkeypatch):
    monkeypatch.setattr("rewardkit.verifiers.printing._theory", lambda nodes: "int")
    verifier = lean()
    proved = verifier.verify(*parse_sequent("|- 1 = 1"))
    assert (proved.status, proved.solver) == ("proved", "lean 4.22.0")
    assert verifier.verify(*parse_sequent("|- 1 = 2")).status == "refuted"
    assert verifier.verify(*parse_sequent("x = 1 |- x = 1")).status == "unknown"  # the stand-in knows no hypotheses


def test_real_numbers_need_mathlib(lean):
    assert "Mathlib" in lean().verify(*parse_sequent("|- 1 / 2 = 0.5")).reason


def test_file_with_mathlib_has_obligations_first():
    text, lines = lean_file(whole("x = 2 |- 48 / x = 24"), mathlib=True)
    rows = text.splitlines()
    assert rows[0] == "import Mathlib"
    assert rows[lines["defined"] - 1].startswith(
        "theorem defined (v0 : Real) (h0 : (v0 = (2 : Real))) : ((v0 ≠ (0 : Real)))"
    )
    assert rows[lines["proved"] - 1].startswith(
        "theorem proved (v0 : Real) (h0 : (v0 = (2 : Real))) (d0 : (v0 ≠ (0 : Real))) : "
        "(((48 : Real) / v0) = (24 : Real)) := by "
    )
    assert all(rows[line] == f"#print axioms {name}" for name, line in lines.items())


def test_logic_is_printed_over_a_domain_that_is_not_empty():
    text, lines = lean_file(whole("forall x: Man(x) -> Mortal(x); Man(s) |- Mortal(s)"), mathlib=False)
    assert (
        "(obj : Type) (some : obj) (v0 : obj) (p0 : obj → Prop) (p1 : obj → Prop)"
        in text.splitlines()[lines["proved"] - 1]
    )
    assert "Man" not in text


def said(line, data, severity="information"):
    return {"severity": severity, "pos": {"line": line, "column": 0}, "data": data}


FREE = "does not depend on any axioms"


@pytest.mark.parametrize(
    ("messages", "status"),
    [
        ([], "unknown"),  # silence proves nothing
        ([said(4, f"'proved' {FREE}")], "proved"),
        ([said(4, "'proved' depends on axioms: [propext, Classical.choice, Quot.sound]")], "proved"),
        ([said(4, "'proved' depends on axioms: [propext,\n sorryAx]")], "unknown"),
        ([said(4, "'proved' depends on axioms: [Lean.ofReduceBool]")], "unknown"),
        ([said(3, "unsolved goals", "error"), said(4, f"'proved' {FREE}")], "unknown"),
        ([said(6, f"'refuted' {FREE}")], "refuted"),
        ([said(1, "unknown module prefix 'Mathlib'", "error"), said(4, f"'proved' {FREE}")], "unknown"),
        ([said(4, f"'refuted' {FREE}")], "unknown"),
    ],
)
def test_only_an_axiom_free_theorem_without_an_error_counts(messages, status):
    assert judge(messages, {"proved": 3, "refuted": 5})[0] == status


def test_a_theorem_with_a_division_counts_only_if_its_denominator_is_shown():
    lines = {"defined": 3, "proved": 5, "refuted": 7}
    proved = said(6, f"'proved' {FREE}")
    assert judge([proved], lines)[0] == "unknown"
    assert judge([said(4, f"'defined' {FREE}"), proved], lines)[0] == "proved"


def test_lines_that_are_no_messages_are_left_out():
    printed = "info: building\n" + json.dumps(said(4, "x")) + "\n[1]\nnull\n"
    assert read_messages(printed) == [said(4, "x")]


def test_lean_that_hangs_is_killed(lean, monkeypatch):
    monkeypatch.setattr("rewardkit.verifiers.printing._theory", lambda nodes: "int")
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    began = time.monotonic()
    verdict = lean("time.sleep(600)", seconds=1.0).verify(*parse_sequent("|- 1 = 1"))
    assert verdict.status == "unknown"
    assert "no answer within 1 s" in verdict.reason
    assert time.monotonic() - began < 30
    assert {child.pid for child in psutil.Process().children(recursive=True)} <= before


def test_lean_that_crashes_is_an_error(lean, monkeypatch):
    monkeypatch.setattr("rewardkit.verifiers.printing._theory", lambda nodes: "int")
    with pytest.raises(VerifierError, match="ended with status 139"):
        lean("sys.exit(139)").verify(*parse_sequent("|- 1 = 1"))


def test_missing_lean_says_how_to_install_it(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(VerifierError, match="elan"):
        LeanVerifier().verify(*parse_sequent("P |- P"))


@pytest.mark.parametrize("version", ["3.51.1", "4.9.0", "4.21.0-rc2"])
def test_an_old_lean_says_which_is_needed(lean, version):
    with pytest.raises(VerifierError, match=rf"Lean {version[:6]}.* is too old.*4\.22 or later"):
        lean(text=f"#!/bin/sh\necho 'Lean (version {version}, commit x)'\n").verify(*parse_sequent("P |- P"))


def test_something_else_of_that_name_is_an_error(lean):
    with pytest.raises(VerifierError, match="is no Lean 4"):
        lean(text="#!/bin/sh\necho hello\n").verify(*parse_sequent("P |- P"))
