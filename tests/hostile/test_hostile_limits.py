"""What provers never finish is stopped at their limit, and the next question is answered."""

from __future__ import annotations

import contextlib
import os
import shutil
import time

import pytest
from hostile_limits import GRACE_SECONDS, limits_kept

from rewardkit.verifiers.coq import CoqVerifier
from rewardkit.verifiers.cvc5 import Cvc5Verifier
from rewardkit.verifiers.statements import parse_sequent
from rewardkit.verifiers.z3 import Z3Verifier
from rewardkit.worker import LimitedWorker, WorkerTimeout, _Child

SECONDS = 1.0
ENDLESS = (
    "; ".join(f"x{i} * x{i + 1} > x{i + 2} ^ 2" for i in range(14)) + " |- x0 * x1 * x2 * x3 > x4 * x5",
    "|- int_x ^ 3 + int_y ^ 3 + int_z ^ 3 != 114",  # nobody knows
    "int_x > 1; int_y > 1 |- int_x ^ 7 + int_y ^ 7 != int_z ^ 7",
)
VERIFIERS = {"z3": Z3Verifier, "cvc5": Cvc5Verifier, "coq": CoqVerifier}


@pytest.mark.parametrize("name", VERIFIERS)
def test_what_never_ends_is_stopped_within_a_second_of_its_limit(name, monkeypatch):
    if name == "coq" and shutil.which("coqtop") is None and not os.environ.get("CI"):
        pytest.skip("there is no coqtop: apt-get install coq")
    with limits_kept(monkeypatch, SECONDS) as passed, VERIFIERS[name](seconds=SECONDS) as verifier:
        statuses = [verifier.verify(*parse_sequent(sequent)).status for sequent in ENDLESS]
        assert statuses.count("unknown") >= 2  # Z3 has a counter-model of the first
        assert "proved" not in statuses
        assert verifier.verify(*parse_sequent("x * x = 4; x > 0 |- x = 2")).status == "proved"
    assert len(passed) > len(ENDLESS)


@pytest.mark.parametrize(("slow", "kept"), [(1, True), (3, False)])
def test_a_limit_that_never_holds_is_told_from_a_wait(slow, kept, monkeypatch):
    kills = []
    kill = _Child.kill

    def slowly(child):
        kills.append(child)
        time.sleep(0 if len(kills) > slow else 0.2 + GRACE_SECONDS)
        kill(child)

    monkeypatch.setattr(_Child, "kill", slowly)
    with (
        contextlib.nullcontext() if kept else pytest.raises(AssertionError),
        limits_kept(monkeypatch, 0.1) as passed,
        LimitedWorker("time:sleep", seconds=0.1) as worker,
        pytest.raises(WorkerTimeout),
    ):
        worker.call(9)
    assert len(kills) == (2 if kept else 3)
    assert len(passed) == 1
