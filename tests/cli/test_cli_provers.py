"""A prover that is missing or too old: one line that says what to install, by way of the command that wants it."""

from __future__ import annotations

import pytest

from rewardkit.store import LabelledTrace, write_dataset
from rewardkit.types import Problem, StepLabel, Trace

# Read by Python at its start: packages that this process is not to find.
HIDE = """
import importlib.metadata, sys
HIDDEN = {hidden!r}
class Hide:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in HIDDEN:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Hide())
found = importlib.metadata.Distribution.from_name
def from_name(name):
    if name in HIDDEN:
        raise importlib.metadata.PackageNotFoundError(name)
    return found(name)
importlib.metadata.Distribution.from_name = from_name
"""


@pytest.fixture
def recheck(cli, tmp_path):
    """`rewardkit labels recheck` of one proof with a solver, some programs being as they are not here."""
    trace = Trace.create(Problem.create("?"), ["x"])
    label = StepLabel(trace.id, 0, 1.0, "proof", "local", "x = 1 |- x + 1 = 2 [proved by coq]")
    write_dataset(tmp_path / "set", [LabelledTrace(trace, (label,))], {})

    def run(solver, programs=None, hidden=()):
        folder = tmp_path / "programs"
        folder.mkdir()
        for name, script in (programs or {}).items():
            (folder / name).write_text(f"#!/bin/sh\n{script}\n")
            (folder / name).chmod(0o755)
        (folder / "sitecustomize.py").write_text(HIDE.format(hidden=set(hidden)))
        return cli("labels", "recheck", "set", f"solver={solver}", PATH=str(folder), PYTHONPATH=str(folder))

    return run


@pytest.mark.parametrize(
    ("solver", "programs", "hidden", "said"),
    [
        ("coq", {}, [], "apt-get install coq"),
        ("coq", {"coqtop": "echo version 8.9.1"}, [], "Coq 8.9.1 is too old for the Coq verifier: install it with"),
        ("lean", {}, [], "the Lean verifier needs `lean`, which is not to be found: install Lean 4.22 or later"),
        ("lean", {"lean": "echo 'Lean (version 4.9.0, x)'"}, [], "Lean 4.9.0 is too old for the Lean verifier"),
        ("isabelle", {}, ["isabelle_client"], "pip install 'isabelle-client>=1'"),
        ("cvc5", {}, ["cvc5"], "the cvc5 verifier needs the package cvc5: pip install 'cvc5>=1.2'"),
        ("z3", {}, ["z3", "z3-solver"], "the z3 verifier needs the package z3-solver: pip install 'z3-solver>=4.13'"),
    ],
)
def test_a_prover_that_is_not_to_be_had_is_one_line_and_exit_code_1(recheck, solver, programs, hidden, said):
    run = recheck(solver, programs, hidden)
    assert run.returncode == 1, run.stderr
    assert run.stderr.startswith("error: ")
    assert said in run.stderr
    assert run.stderr.count("\n") == 1
    assert run.stdout == ""


def test_with_the_prover_the_same_command_works(recheck):
    run = recheck("z3")
    assert (run.returncode, run.stderr) == (0, "")
