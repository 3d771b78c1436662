"""Coq's commands inside steps: none reaches Coq, none is executed, none changes what Coq says of later steps.

The fast run takes a part of the cases; ``--slow`` takes 2,000.
"""

from __future__ import annotations

import os
import re
import shutil
from collections import Counter
from pathlib import Path

import psutil
import pytest
from hostile_cases import CANARY, coq_cases
from hostile_limits import limits_kept
from hostile_targets import PROOF, SUMS

from rewardkit.labelers.proof import ProofLabeler
from rewardkit.types import Trace
from rewardkit.verifiers._coqtop import Coqtop
from rewardkit.verifiers.coq import CoqVerifier

pytestmark = pytest.mark.skipif(
    shutil.which("coqtop") is None and not os.environ.get("CI"), reason="there is no coqtop: apt-get install coq"
)
SECONDS = 2.0
OURS = re.compile(
    r"Goal|Abort|first|assert|forall|exists|as|_|by|timeout|abstract|intros|repeat|split|idtac|rk|OK|REF|DEN|UNK"
    r"|True|False|rk_[a-z_]+|Rabs|Z|abs|sqrt|Type|Prop|obj|some|[vbp][0-9]+|[0-9]+|R|type"
    r"|[np]"  # of what is tried when Coq starts
)
WORD = re.compile(r"\w+")


@pytest.fixture(scope="module")
def labeler():
    with CoqVerifier(seconds=SECONDS) as verifier:
        yield ProofLabeler(verifier)


@pytest.fixture(autouse=True)
def overruns(monkeypatch):
    with limits_kept(monkeypatch, SECONDS):
        yield


@pytest.fixture
def sentences(monkeypatch):
    """Every sentence that goes to Coq."""
    seen = []
    ask = Coqtop.ask
    monkeypatch.setattr(
        Coqtop, "ask", lambda self, sentence, seconds: seen.append(sentence) or ask(self, sentence, seconds)
    )
    return seen


def label(labeler, text):
    (*_, last) = labeler.label(Trace.create(SUMS, [*PROOF, text]))
    return last.p_correct


def attack(labeler, folder: Path, seed: int, number: int) -> Counter[str]:
    canary = folder / "canary"
    counts = Counter[str]()
    for case in coq_cases(seed, number):
        text = case.text.replace(CANARY, str(canary))
        found = label(labeler, text)
        counts[case.kind] += 1
        counts[str(found)] += 1
        assert not (case.nonsense and found is not None), f"{found} for {text!r}"
    return counts


def check(labeler, folder, sentences):
    """Nothing was written, nothing but our own words went to Coq, and Coq judges as before."""
    assert list(folder.iterdir()) == []
    if labeler.verifier.pid:
        written = {path.name for path in Path(psutil.Process(labeler.verifier.pid).cwd()).iterdir()}
        assert written <= {".csdp.cache", "trace"}  # csdp's own
    assert {word for sentence in sentences for word in WORD.findall(sentence) if not OURS.fullmatch(word)} == set()
    assert all(sentence.isascii() and '"' not in re.sub('"rk:[A-Z]+"', "", sentence) for sentence in sentences)
    assert [label(labeler, f"have s1: y = {n}") for n in (24, 25)] == [1.0, 0.0]


def test_commands_of_coq_in_steps_come_to_nothing(labeler, tmp_path, sentences):
    counts = attack(labeler, tmp_path, seed=0, number=120)
    assert set(counts) >= {"command", "names", "logic", "1.0", "0.0", "None"}
    check(labeler, tmp_path, sentences)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 5))
def test_two_thousand_attacks_on_coq_come_to_nothing(labeler, tmp_path, sentences, seed):
    attack(labeler, tmp_path, seed, 500)
    assert len(sentences) > 50
    check(labeler, tmp_path, sentences)
