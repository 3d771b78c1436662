"""The logic labeler: what each kind of step gets, FoVer's probes, gold proofs, and answers that need a derivation."""

import pytest

from rewardkit.labelers import load_labeler
from rewardkit.labelers.logic import NOTHING, LogicLabeler
from rewardkit.labels.derive import first_error, prefix_labels, rests_on_error
from rewardkit.types import Problem, Trace
from rewardkit.verifiers.base import Verdict
from rewardkit.verifiers.z3 import Z3Verifier

FACTS = {"fact1": "{A}", "fact2": "{A} -> {B}", "fact3": "{B} -> {C}", "fact4": "(x): {F}x -> {G}x", "fact5": "{F}{a}"}


@pytest.fixture(scope="module")
def labeler():
    with LogicLabeler(verifier=Z3Verifier()) as made:
        yield made


def trace_of(steps, facts=FACTS, hypothesis="{C}", label=None):
    meta = {"facts": facts, "hypothesis": hypothesis, "label": label}
    return Trace.create(Problem.create("?", meta=meta), steps)


@pytest.fixture
def judge(labeler):
    def run(steps, **problem):
        return [(label.p_correct, label.evidence) for label in labeler.label(trace_of(steps, **problem))]

    return run


def values(found):
    return [p for p, _ in found]


# --- one step ---


def test_an_entailed_step_is_right_and_names_its_premises(judge):
    assert judge(["fact1 & fact2 -> int1: {B} ;"]) == [(1.0, "follows from fact1, fact2")]


def test_a_step_that_does_not_follow_shows_a_counter_model(judge):
    assert judge(["fact2 -> int1: {B} ;"]) == [(0.0, "does not follow from fact2: not A, not B")]


def test_only_what_is_cited_counts(judge):
    assert values(judge(["fact2 -> int1: {B}", "fact1 & fact2 -> int2: {B}"])) == [0.0, 1.0]


def test_a_first_order_step(judge):
    assert values(judge(["fact4 & fact5 -> int1: {G}{a} ;", "fact4 & fact5 -> int2: {G}{b} ;"])) == [1.0, 0.0]


def test_a_quantified_conclusion_from_one_instance_is_wrong(judge):
    assert values(judge(["fact5 -> int1: (Ex): {F}x", "fact5 -> int2: (x): {F}x"])) == [1.0, 0.0]


def test_a_tautology_needs_no_premise(judge):
    assert judge(["-> int1: {Z} v ¬{Z}"]) == [(1.0, "holds without premises")]


def test_implication_is_right_associative(judge):
    assert values(judge(["-> int1: {Q} -> {R} -> {Q}"])) == [1.0]


@pytest.mark.parametrize("premises", ["fact1, fact2", "fact1 and fact2", "fact1&fact2", "Fact 1 & fact2"])
def test_ways_to_join_premises(judge, premises):
    assert values(judge([f"{premises} -> int1: {{B}};"])) == [1.0]


@pytest.mark.parametrize("arrow", ["->", "=>", "→", "⊢"])
def test_ways_to_write_the_arrow(judge, arrow):
    assert values(judge([f"fact1 & fact2 {arrow} int1: {{B}}"])) == [1.0]


def test_plain_notation_of_facts_and_steps(judge):
    facts = {"fact1": "∀x (Bird(x) → Flies(x))", "fact2": "Bird(tweety)"}
    found = judge(["fact1 & fact2 -> int1: Flies(tweety)", "fact2 -> int2: ~Bird(tweety)"], facts=facts)
    assert values(found) == [1.0, 0.0]


def test_contradicting_premises_abstain(judge):
    facts = {"fact1": "{A}", "fact2": "¬{A}"}
    found = judge(["fact1 & fact2 -> int1: {C}", "fact1 -> int2: {A} v {C}"], facts=facts)
    assert found[0] == (None, "the premises contradict each other: fact1, fact2")
    assert found[1][0] == 1.0


def test_a_merged_step_is_wrong_if_one_line_is(judge):
    right, wrong = "fact1 & fact2 -> int1: {B}", "fact1 -> int2: {C}"
    assert values(judge([f"{right}; fact3 & int1 -> int3: {{C}}", f"{right}\n{wrong}"])) == [1.0, 0.0]


def test_a_merged_step_with_an_unread_line_is_right_no_more_but_may_be_wrong(judge):
    right, wrong = "fact1 & fact2 -> int1: {B}", "fact1 -> int2: {C}"
    assert values(judge([f"{right}; and so on", f"and so on; {wrong}"])) == [None, 0.0]


def test_undecided_abstains():
    class Undecided:
        name = "none"

        def verify(self, premises, goal):
            return Verdict("unknown", "out of time")

        def close(self):
            pass

    (label,) = LogicLabeler(verifier=Undecided()).label(trace_of(["fact1 -> int1: {B}"]))
    assert (label.p_correct, label.evidence) == (None, "undecided: out of time")


# --- FoVer's probes: what its checker lets pass or drops ---


def test_steps_in_a_circle(judge):
    found = judge(["int2 -> int1: {B}", "int1 -> int2: {B}"])
    assert found[0] == (0.0, "circular: int2 itself rests on int1")
    assert found[1][0] == 1.0


def test_a_step_that_cites_itself(judge):
    assert judge(["fact1 & int1 -> int1: {B}"]) == [(0.0, "circular: int1 itself rests on int1")]


def test_a_long_circle(judge):
    steps = ["int3 -> int1: {B}", "int1 -> int2: {B}", "int2 -> int3: {B}"]
    assert judge(steps)[0] == (0.0, "circular: int3 itself rests on int1")


def test_the_hypothesis_as_a_premise(judge):
    assert judge(["hypothesis -> int1: {C}"]) == [(0.0, "the hypothesis itself is cited as a premise")]


def test_a_step_cited_before_it_is_defined(judge):
    found = judge(["int2 & fact3 -> int1: {C}", "fact1 & fact2 -> int2: {B}"])
    assert found[0] == (0.0, "int2 is cited before it is defined")
    assert found[1][0] == 1.0


def test_a_name_given_two_meanings(judge):
    steps = ["fact1 & fact2 -> int1: {B}", "int1 & fact3 -> int2: {C}", "fact1 -> int1: {A}"]
    found = judge(steps)
    assert values(found) == [1.0, 1.0, 0.0]
    assert found[2][1] == "int1 is already defined as something else"


def test_saying_a_step_again_is_no_error(judge):
    assert values(judge(["fact1 & fact2 -> int1: {B}", "fact2 & fact1 -> int1: {B}"])) == [1.0, 1.0]


def test_giving_a_fact_a_new_meaning(judge):
    assert judge(["fact1 -> fact2: {A}"])[0] == (0.0, "fact2 is given and cannot be concluded anew")


def test_a_contradiction_planted_earlier_proves_nothing(judge):
    found = judge(["fact1 -> int1: ¬{A}", "fact1 & int1 -> int2: {C}", "int2 -> hypothesis", "$proof_label$: PROVED"])
    assert values(found) == [0.0, None, 1.0, 0.0]
    assert found[3][1] == "the hypothesis is derived through step 0, which is wrong"


def test_an_answer_without_a_derivation(judge):
    found = judge(["fact1 & fact2 -> int1: {B} ;", "$proof_label$: PROVED"], label="PROVED")
    assert found[1] == (0.0, "the hypothesis is never derived")


@pytest.mark.parametrize(
    ("premise", "evidence"),
    [("int9", "int9 is never defined"), ("fact99", "fact99 is not among the facts")],
)
def test_an_undefined_reference_spoils_its_step_only(judge, premise, evidence):
    found = judge([f"fact1 & {premise} -> int1: {{B}}", "fact1 & fact2 -> int2: {B}"])
    assert found[0] == (0.0, evidence)
    assert found[1][0] == 1.0


def test_a_name_that_stands_in_unread_text_may_be_defined_there(judge):
    assert values(judge(["int1: {B}, from fact1 and fact2", "int1 & fact3 -> int2: {C}"])) == [None, None]


def test_without_known_facts_no_reference_to_one_is_wrong(judge):
    assert judge(["fact1 -> int1: {A}"], facts=None) == [(None, "the problem's facts are not known")]


def test_an_unknown_predicate_does_not_follow(judge):
    assert values(judge(["fact1 -> int1: {ZZ}{b}", "fact1 -> int2: {A} v {ZZ}{b}"])) == [0.0, 1.0]


def test_prose_and_blank_lines_abstain_alone(judge):
    found = judge(["$proof$:\n", "\n", "Let us see.", "fact1 & fact2 -> int1: {B}"])
    assert values(found) == [None, None, None, 1.0]
    assert found[0][1] == found[1][1] == NOTHING
    assert found[2][1] == "not in the format of a step: 'Let us see.'"


@pytest.mark.parametrize(
    ("step", "evidence"),
    [
        ("fact1 -> int1: {A", "the conclusion cannot be read: unexpected '{'"),
        ("fact1 -> int1:", "the conclusion states no formula"),
        ("fact1 -> int1: {F}x", "the conclusion cannot be read: variable 'x' stands outside of its quantifier"),
        ("{A} & fact2 -> int1: {B}", "'{a}' is no reference to a fact or an earlier step"),
        ("void -> assump1: {B}", "assumptions are not supported"),
    ],
)
def test_what_cannot_be_read_abstains(judge, step, evidence):
    assert judge([step]) == [(None, evidence)]


def test_a_bad_reference_is_an_error_even_where_the_formula_cannot_be_read(judge):
    assert judge(["int7 -> int1: {A"]) == [(0.0, "int7 is never defined")]


def test_citing_an_unreadable_step_abstains(judge):
    assert values(judge(["fact1 -> int1: {A", "int1 -> int2: {A}"])) == [None, None]


def test_an_unreadable_fact_abstains_where_it_is_cited(judge):
    facts = {"fact1": "{A}", "fact2": "All birds fly."}
    assert values(judge(["fact1 & fact2 -> int1: {A}", "fact1 -> int2: {A}"], facts=facts)) == [None, 1.0]


# --- the answer ---

DERIVED = ["fact1 & fact2 -> int1: {B}", "int1 & fact3 -> hypothesis"]


def test_a_derived_answer_is_right_without_a_gold_label(judge):
    assert judge([*DERIVED, "$proof_label$: PROVED"])[-1] == (1.0, "the hypothesis is derived")


def test_a_disproof_derives_the_negation(judge):
    found = judge([*DERIVED, "$proof_label$: DISPROVED"], hypothesis="¬{C}", label="DISPROVED")
    assert values(found) == [1.0, 1.0, 1.0]


def test_a_proof_does_not_count_as_disproof(judge):
    assert values(judge([*DERIVED, "$proof_label$: DISPROVED"])) == [1.0, 0.0, 0.0]


def test_a_derivation_of_an_int_with_the_hypothesis_counts(judge):
    steps = [DERIVED[0], "int1 & fact3 -> int2: {C}", "$proof_label$: PROVED"]
    assert values(judge(steps)) == [1.0, 1.0, 1.0]


def test_an_answer_before_its_derivation_has_none(judge):
    assert judge(["$proof_label$: PROVED", *DERIVED])[0][0] == 0.0


def test_a_derivation_through_an_unread_step_abstains(judge):
    steps = ["fact1 -> int1: {B", "int1 -> int2: {C}", "$proof_label$: PROVED"]
    found = judge(steps)
    assert values(found) == [None, None, None]


def test_a_gold_label_against_a_valid_derivation_abstains(judge):
    found = judge([*DERIVED, "$proof_label$: PROVED"], label="DISPROVED")
    assert found[-1] == (None, "the hypothesis is derived, but gold: DISPROVED")


def test_unknown_against_a_valid_derivation_is_wrong(judge):
    assert judge([*DERIVED, "$proof_label$: UNKNOWN"], label="UNKNOWN")[-1][0] == 0.0


@pytest.mark.parametrize(("hypothesis", "p_correct"), [("{C}", 0.0), ("¬{C}", 0.0), ("{D}", 1.0)])
def test_unknown_without_gold_is_checked_against_all_facts(judge, hypothesis, p_correct):
    assert judge(["$proof_label$: UNKNOWN"], hypothesis=hypothesis)[0][0] == p_correct


def test_no_hypothesis_abstains(judge):
    found = judge(["fact1 -> hypothesis", "$proof_label$: PROVED"], hypothesis=None)
    assert values(found) == [None, None]
    assert found[0][1] == "the hypothesis is not given"


# --- whole problems with gold proofs, three for each label ---

GOLD = [
    (
        "PROVED",
        "{C}",
        ["{A}", "{A} -> {B}", "{B} -> {C}"],
        ["fact1 & fact2 -> int1: {B}", "int1 & fact3 -> hypothesis"],
    ),
    (
        "PROVED",
        "{H}{b}",
        ["(x): ({F}x & {G}x) -> {H}x", "{F}{b}", "(x): {G}x"],
        ["fact3 -> int1: {G}{b}", "fact2 & int1 -> int2: ({F}{b} & {G}{b})", "fact1 & int2 -> hypothesis"],
    ),
    (
        "PROVED",
        "(Ex): ({F}x & ¬{G}x)",
        ["{F}{c}", "¬({G}{c} v {H}{c})"],
        ["fact2 -> int1: ¬{G}{c}", "fact1 & int1 -> int2: ({F}{c} & ¬{G}{c})", "int2 -> hypothesis"],
    ),
    ("DISPROVED", "{B}", ["{A}", "{A} -> ¬{B}"], ["fact1 & fact2 -> hypothesis"]),
    (
        "DISPROVED",
        "(x): {F}x",
        ["¬{G}{a}", "(x): {F}x -> {G}x"],
        ["fact1 & fact2 -> int1: ¬{F}{a}", "int1 -> hypothesis"],
    ),
    (
        "DISPROVED",
        "¬({A} & {B})",
        ["{A} v {C}", "¬{C}", "{A} -> {B}"],
        ["fact1 & fact2 -> int1: {A}", "int1 & fact3 -> int2: {B}", "int1 & int2 -> hypothesis"],
    ),
    ("UNKNOWN", "{C}", ["{A}", "{A} -> {B}"], ["fact1 & fact2 -> int1: {B}"]),
    ("UNKNOWN", "{G}{b}", ["{F}{a}", "(x): {F}x -> {G}x"], ["fact1 & fact2 -> int1: {G}{a}"]),
    ("UNKNOWN", "(x): {F}x", ["(Ex): {F}x", "(x): {F}x -> {G}x"], ["fact1 & fact2 -> int1: (Ex): {G}x"]),
]


@pytest.mark.parametrize(("label", "hypothesis", "facts", "proof"), GOLD)
@pytest.mark.parametrize("with_gold", [True, False])
def test_every_step_of_a_gold_proof_is_right(judge, label, hypothesis, facts, proof, with_gold):
    known = {f"fact{i}": fact for i, fact in enumerate(facts, 1)}
    steps = [f"{line} ;\n" for line in proof] + [f"\n$proof_label$: {label}"]
    found = judge(steps, facts=known, hypothesis=hypothesis, label=label if with_gold else None)
    assert values(found) == [1.0] * len(steps)


@pytest.mark.parametrize(("label", "hypothesis", "facts", "proof"), GOLD)
def test_every_wrong_answer_to_a_gold_problem_is_wrong(judge, label, hypothesis, facts, proof):
    known = {f"fact{i}": fact for i, fact in enumerate(facts, 1)}
    for wrong in {"PROVED", "DISPROVED", "UNKNOWN"} - {label}:
        assert judge([*proof, f"$proof_label$: {wrong}"], facts=known, hypothesis=hypothesis)[-1][0] == 0.0


# --- views and the rest ---


def test_views_of_a_response(labeler):
    steps = ["$proof$:", "fact1 -> int1: {B}", "int1 & fact3 -> int2: {C}", "fact1 & fact2 -> int3: {B}"]
    found = labeler.analyse(trace_of(steps))
    assert [label.p_correct for label in found.labels] == [None, 0.0, 1.0, 1.0]
    assert first_error(found.labels) == 1
    assert [label.p_correct for label in prefix_labels(found.labels, found.neutral)] == [1.0, 0.0, 0.0, 0.0]
    assert rests_on_error(found.labels, found.citations) == [False, False, True, False]


def test_many_traces_get_what_each_gets_alone(labeler):
    traces = [trace_of(DERIVED), trace_of(["fact1 -> int1: {C}"]), trace_of([])]
    assert [a.labels for a in labeler.analyse_many(traces)] == [labeler.label(trace) for trace in traces]


def test_facts_from_the_prompt_after_worked_examples(labeler):
    prompt = (
        "$hypothesis$: {Z}\n$facts$:\nfact1: {Z}\nfact7: {B}\n\n"
        "$hypothesis$: {B}\n$facts$:\nfact1: {A}\nfact2: {A} -> {B}\n$proof$:"
    )
    steps = ["fact1 & fact2 -> hypothesis", "fact7 -> int1: {B}", "$proof_label$: PROVED"]
    labels = labeler.label(Trace.create(Problem.create(prompt), steps))
    assert [label.p_correct for label in labels] == [1.0, 0.0, 1.0]


def test_it_is_registered():
    labeler = load_labeler("logic")
    assert (labeler.name, labeler.meaning) == ("logic", "local")


def test_a_response_of_too_many_lines_abstains(judge):
    steps = [f"int{i + 1} -> int{i}: {{A}}" for i in range(20000)]
    assert set(values(judge(steps))) == {None}


@pytest.mark.parametrize(
    "text",
    [
        "->" * 3000,
        "fact1 -> int1: " + "(" * 10000 + "{A}",
        "fact1 -> int1: " + "¬" * 10000 + "{A}",
        "fact1 -> int1: " + "{A} -> " * 3000 + "{A}",
        "&" * 100000 + "-> int1: {A}",
        "fact1 -> int1: __import__('os').system('true')",
        "fact1 -> int1: (assert false)(exit)",
        "$proof_label$:" * 5000,
        "\x00\ud800",
        "fact1 -> int1: " + "(x): " * 300 + "{F}x",
        ";" * 100000,
    ],
    ids=range(11),
)
def test_hostile_text_gets_no_label(judge, text):
    assert values(judge([text])) == [None]


def test_a_conclusion_without_a_name_is_judged_and_cannot_be_cited(judge):
    found = judge(["fact1 & fact2 -> {B} ;", "fact2 -> {B} ;", "fact2 -> {C} ;", "int1 -> hypothesis ;"])
    assert values(found) == [1.0, 0.0, 0.0, 0.0]
    assert found[3][1] == "int1 is never defined"
