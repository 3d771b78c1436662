"""The answer labeler: the outcome at the last step, and abstentions with their reasons."""

import gzip
import json

import pytest

from rewardkit.labelers import load_labeler
from rewardkit.labelers.answer import AnswerLabeler
from rewardkit.samples import sample_path
from rewardkit.text.answers import AnswerChecker
from rewardkit.text.split import split_steps
from rewardkit.types import Problem, Trace


def judged(response, reference, answer=None, **options):
    trace = Trace.create(Problem.create("?", reference), [s.text for s in split_steps(response)], answer)
    (label,) = AnswerLabeler(**options).label(trace)
    assert (label.trace_id, label.step, label.source) == (trace.id, len(trace.steps) - 1, options.get("name", "answer"))
    assert label.meaning == "value"
    return label.p_correct, label.evidence


def test_a_right_answer_is_one_at_the_last_step():
    assert judged("9 * 2 = 18\n#### 18", "18") == (1.0, "final answer 18, reference 18")


def test_a_wrong_answer_is_zero():
    assert judged("9 * 2 = 172\n#### 172", "72") == (0.0, "final answer 172, reference 72")


def test_the_answer_of_the_trace_goes_before_the_text():
    assert judged("#### 18", "18", answer="19")[0] == 0.0


def test_a_reference_may_be_a_whole_solution():
    assert judged("The answer is $18.", "9 * 2 = <<9*2=18>>18\n#### 18") == (1.0, "final answer 18, reference 18")


def test_a_percentage_matches_a_bare_reference():
    assert judged("The answer is 50%.", "50")[0] == 1.0


@pytest.mark.parametrize("reference", [None, "", "  "])
def test_no_reference_abstains(reference):
    assert judged("#### 18", reference) == (None, "no reference answer")


def test_no_final_answer_abstains():
    assert judged("9 * 2 = 18 and th", "18") == (None, "no final answer found")


def test_what_cannot_be_compared_abstains():
    assert judged("The answer is eighteen.", "18") == (
        None,
        "final answer eighteen, reference 18: could not be compared",
    )


def test_long_answers_are_cut_in_the_evidence():
    _, evidence = judged("step", "18", answer="word " * 200)
    assert len(evidence) < 150


def test_a_trace_without_steps_has_no_label():
    assert AnswerLabeler().label(Trace.create(Problem.create("?", "18"), [], "18")) == []


def test_the_registry_knows_it():
    labeler = load_labeler("answer")
    assert (labeler.name, labeler.meaning) == ("answer", "value")


def test_a_checker_of_ones_own_is_used():
    with AnswerChecker(seconds=1) as checker:
        assert judged("\\boxed{9^{9^{9^{9}}}}", "5x", checker=checker)[0] is None


def test_it_agrees_with_the_flags_of_the_shipped_solutions():
    with gzip.open(sample_path("gsm8k-solutions"), "rt", encoding="utf-8") as rows:
        for row in map(json.loads, rows):
            for part in row.values():
                if isinstance(part, dict):
                    p_correct, _ = judged(part["solution"], row["ground_truth"])
                    assert p_correct in ({1.0} if part["is_correct"] else {0.0, None}), part["solution"]
