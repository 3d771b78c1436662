"""The proof labeler over the real Coq: premises, citations, definitions, contradictions, final answers."""

from __future__ import annotations

import os
import shutil

import pytest

from rewardkit.config import load_config
from rewardkit.labelers.proof import ProofLabeler
from rewardkit.synth import SynthConfig
from rewardkit.types import Problem, Step, Trace
from rewardkit.verifiers.base import Verdict
from rewardkit.verifiers.coq import CoqVerifier
from rewardkit.verifiers.statements import parse_sequent

NATALIA = Problem.create("Natalia sold 48 clips in April and half as many in May. How many altogether?", "72")
needs_coq = pytest.mark.skipif(
    shutil.which("coqtop") is None and not os.environ.get("CI"), reason="there is no coqtop: apt-get install coq"
)


@pytest.fixture(scope="module")
def labeler():
    made = ProofLabeler(CoqVerifier(seconds=10))
    yield made
    made.close()


def labels(labeler, *lines, problem=NATALIA):
    return labeler.label(Trace.create(problem, lines))


def values(labeler, *lines):
    return [label.p_correct for label in labels(labeler, *lines)]


@needs_coq
def test_a_right_solution_is_proved_step_by_step(labeler):
    found = labels(
        labeler,
        "fact h1: april = 48\n",
        "have s1: may = april / 2 = 24 from h1\n",
        "show s2: total = april + may = 72 from h1, s1\n",
        "#### 72",
    )
    assert [label.p_correct for label in found] == [None, 1.0, 1.0, 1.0]
    assert found[0].evidence == "nothing to check: assumes april = 48"
    assert found[1].evidence.startswith("may = april / 2; april = 48 |- april / 2 = 24 [proved by coq 8.")
    assert {(label.source, label.meaning) for label in found} == {("proof", "local")}


@needs_coq
def test_a_planted_error_is_found_and_what_rests_on_it_is_not_called_right(labeler):
    found = values(
        labeler,
        "fact h1: april = 48",
        "have s1: may = april / 2 = 25 from h1",
        "show s2: total = april + may = 73 from h1, s1",
        "#### 73",
    )
    assert found == [None, 0.0, None, None]


@needs_coq
def test_without_citations_facts_and_proved_steps_are_the_premises(labeler):
    assert values(labeler, "fact x = 48", "have y = x / 2 = 24", "have y + x = 72", "have y + x = 73") == [
        None,
        1.0,
        1.0,
        0.0,
    ]


@needs_coq
def test_a_dropped_premise_is_noticed(labeler):
    """What it cites does not entail the step, though all facts together do."""
    found = labels(
        labeler, "fact h1: x = 48", "fact h2: y = 2", "have s1: x / y = 24 from h1", "have s2: x = 48 from h1"
    )
    assert [label.p_correct for label in found] == [None, None, None, 1.0]


@needs_coq
def test_a_citation_must_reach_back(labeler):
    found = labels(
        labeler, "fact h1: x = 1", "have s1: x = 1 from s2", "have s2: x = 1 from s1", "have s3: x = 1 from s3"
    )
    assert [label.p_correct for label in found] == [None, 0.0, 1.0, 0.0]
    assert found[1].evidence == "x = 1 [bad citation: no earlier line is called s2]"


@needs_coq
def test_contradictory_facts_prove_nothing(labeler):
    found = labels(labeler, "fact h1: x = 5", "fact h2: x = 6", "have x = 7", "have 1 + 1 = 2")
    assert [label.p_correct for label in found] == [None, None, None, 1.0]
    assert "contradict" in found[2].evidence


@needs_coq
def test_a_fact_about_numbers_alone_is_a_claim(labeler):
    assert values(labeler, "fact h1: 16 = 4", "fact h2: 1/2 + 1/2 = 1", "have 2 = 2") == [0.0, 1.0, 1.0]


@needs_coq
def test_a_name_is_defined_once(labeler):
    found = labels(labeler, "fact h1: x = 5", "define y = x + 1", "define y = x + 2", "define z = z + 1", "have y = 6")
    assert [label.p_correct for label in found] == [None, None, 0.0, 0.0, 1.0]
    assert found[1].evidence == "nothing to check: defines y = x + 1"


@needs_coq
def test_the_answer_must_be_what_was_shown(labeler):
    lines = ["fact h1: x = 48", "show s1: y = x / 2 from h1"]
    assert values(labeler, *lines, "#### 24") == [None, None, 1.0]
    assert values(labeler, *lines, "#### $1,000.") == [None, None, 0.0]
    assert values(labeler, "fact h1: x = 48", "#### 24") == [None, None]


@needs_coq
def test_formal_text_stands_before_the_step_s_own(labeler):
    trace = Trace.create(
        NATALIA, [Step("Two and two make four.", "have 2 + 2 = 4"), Step("have 2 + 2 = 4", "have 2 + 2 = 5")]
    )
    assert [label.p_correct for label in labeler.label(trace)] == [1.0, 0.0]


@needs_coq
def test_a_step_of_several_lines_is_wrong_if_one_is(labeler):
    assert values(labeler, "have 1 = 1\nhave 1 = 2", "fact x = 1\nhave x = 1", "have 1 = 1\nwell") == [0.0, 1.0, None]


@needs_coq
def test_division_by_zero_is_no_label(labeler):
    assert values(labeler, "fact h: x = 0", "have 1 / x = 0 from h", "have 5 / 0 = 0") == [None, None, None]


@needs_coq
def test_evidence_can_be_read_back(labeler):
    found = labels(labeler, "fact h1: x = 48", "have s1: y = x / 2 = 24 from h1", "have y = 25")
    for label in found[1:]:
        premises, goal = parse_sequent(label.evidence.rpartition(" [")[0])
        assert labeler.verifier.verify(premises, goal).status == ("proved" if label.p_correct else "refuted")


class Silent:
    """A verifier that is never to be asked."""

    name = "silent"

    def verify(self, premises, goal):
        raise AssertionError("nothing here is a claim")

    def close(self):
        pass


class Unsure(Silent):
    def verify(self, premises, goal):
        return Verdict("unknown", "no time")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n \n",
        "So she sold 48/2 = 24.",
        'have s1: 1 = 1. Axiom wrong : False. Load "/etc/passwd".',
        "have s1: " + "(" * 10_000 + "1",
        "have s1: x = 9" + "9" * 100_000,
        "\x00\ud800",
        "have s1: 1 = 1\n" * 1000,
        "#### nothing",
    ],
)
def test_what_is_no_statement_is_an_abstention_and_never_reaches_the_verifier(text):
    (label,) = labels(ProofLabeler(Silent()), text)
    assert label.p_correct is None
    assert label.evidence.startswith(("[unparsed: ", "[unknown: no `show`"))


def test_unknown_is_an_abstention_with_its_reason():
    (label,) = labels(ProofLabeler(Unsure()), "have 1 = 1")
    assert (label.p_correct, label.evidence) == (None, "|- 1 = 1 [unknown: no time]")


def test_a_number_that_the_problem_does_not_say_is_noted():
    evidence = [label.evidence for label in labels(ProofLabeler(Silent()), "fact x = 48", "fact y = 47")]
    assert evidence == [
        "nothing to check: assumes x = 48",
        "nothing to check: assumes y = 47; the problem does not say 47",
    ]


@needs_coq
def test_examples_of_the_recipe_are_proved(labeler):
    config = load_config(SynthConfig, "synth", "fover-proof", [])
    for example in config.prompt.examples:
        found = labels(labeler, *example.response.splitlines(), problem=Problem.create(example.problem))
        checked = [x for x in found if "nothing to check" not in x.evidence]
        assert checked
        assert [x.p_correct for x in checked] == [1.0] * len(checked), [x.evidence for x in checked]
