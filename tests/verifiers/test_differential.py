"""Z3, cvc5, Coq and the truth tables, which share no code, on random sequents: where two decide, they agree.

`benchmarks/differential.py` does the same with thousands.
"""

from __future__ import annotations

import importlib.util
import itertools
import os
import shutil

import pytest

from rewardkit.verifiers import ground
from rewardkit.verifiers.base import Verdict
from rewardkit.verifiers.coq import CoqVerifier
from rewardkit.verifiers.cvc5 import Cvc5Verifier
from rewardkit.verifiers.plain import print_sequent
from rewardkit.verifiers.samples import FAMILIES, agreement, random_sequents
from rewardkit.verifiers.z3 import CONTRADICTION, Z3Verifier

installed = shutil.which("coqtop") is not None and importlib.util.find_spec("cvc5") is not None
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not installed and not os.environ.get("CI"), reason="needs coqtop and cvc5"),
]


@pytest.fixture(scope="module")
def verifiers():
    with CoqVerifier() as coq, Z3Verifier(tables=False, cache_size=0) as z3, Cvc5Verifier(0.5, cache_size=0) as cvc5:
        yield [coq, z3, cvc5]


@pytest.mark.parametrize("family", FAMILIES)
def test_where_two_decide_they_agree(verifiers, family):
    count = {"polynomial": 12, "monadic": 50}.get(family, 100)
    decided = 0
    for premises, goal in random_sequents(family, count, seed=11):
        verdicts = [verifier.verify(premises, goal) for verifier in verifiers] + _table(premises, goal)
        for one, other in itertools.combinations(verdicts, 2):
            assert agreement(one, other) != "disagree", (print_sequent(premises, goal), one, other)
        decided += len({verdict.status for verdict in verdicts[:3]}) == 1 and verdicts[0].status != "unknown"
    assert decided > count // 3


def _table(premises, goal):
    decision = ground.decide(premises, goal)
    if decision is None:
        return []
    return [Verdict("proved" if decision.entailed else "refuted", CONTRADICTION if decision.contradiction else "")]


def test_disagreement_is_seen():
    assert agreement(Verdict("proved"), Verdict("refuted")) == "disagree"
    assert agreement(Verdict("proved", CONTRADICTION), Verdict("refuted")) == "either"
