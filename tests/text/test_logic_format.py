"""FoVer's format of problems and responses."""

import pytest

from rewardkit.text.logic import FinalAnswer, Inference, LogicProblem, Prose, as_claim, read_problem, read_step
from rewardkit.types import Problem


def test_an_inference():
    assert read_step("fact1 & int2 -> int3: {A} -> {B} ;\n") == [Inference(("fact1", "int2"), "int3", "{A} -> {B}")]


def test_a_conclusion_of_the_hypothesis():
    assert read_step("int1 -> hypothesis;") == [Inference(("int1",), "hypothesis", "")]


def test_heading_and_first_step_on_one_line():
    assert read_step("$proof$: fact1 -> int1: {A};") == [Inference(("fact1",), "int1", "{A}")]


@pytest.mark.parametrize(
    "text", ["$proof_label$: PROVED", "$proof_label$ = PROVED", "**Proof label: PROVED**", "label: __PROVED__"]
)
def test_ways_to_write_the_answer(text):
    assert read_step(text) == [FinalAnswer("PROVED")]


@pytest.mark.parametrize("text", ["$proof_label$: MAYBE", "$proof_label$: PROVED or DISPROVED", "PROVED it is"])
def test_what_is_no_answer(text):
    assert read_step(text) == [Prose(text)]


@pytest.mark.parametrize("text", ["", "  \n\n", "$proof$:", "$proof$:\n\n", ";;"])
def test_nothing(text):
    assert read_step(text) == []


@pytest.mark.parametrize("text", ["fact1 & int2 -> {A} & {B}", "fact1 & int2 ⊢ ¬{A}"])
def test_a_conclusion_without_a_name(text):
    (line,) = read_step(text)
    assert (line.cites, line.concludes) == (("fact1", "int2"), "") and "{A}" in line.formula


@pytest.mark.parametrize(
    "text",
    [
        "fact1 -> {A} -> {B}",
        "A -> {B}",
        "{A} -> {B}",
        "-> {A}",
        "fact1 -> so {A}",
        "So int1: {A}",
        "fact1 -> int: {A}",
        "fact1 -> int1 because {A}",
    ],
)
def test_lines_out_of_format(text):
    assert read_step(text) == [Prose(text)]


def test_premises_that_are_no_names_are_told():
    (line,) = read_step("{A} & fact2 -> int1: {B}")
    assert line.unread == ("{a}",)


def test_meta_goes_before_the_prompt():
    problem = Problem.create(
        "fact1: {Z}", meta={"facts": ["{A}", "{B}"], "hypothesis": "{C}", "label": "__DISPROVED__"}
    )
    assert read_problem(problem) == LogicProblem({"fact1": "{A}", "fact2": "{B}"}, "{C}", "DISPROVED")


def test_the_last_block_of_a_prompt_counts():
    prompt = (
        "$context$:\nfact1: {Z}\nfact2: {Y}\n$hypothesis$: {X}\n$context$:\nfact1: {A}\n$hypothesis$: {B}\n$proof$:"
    )
    assert read_problem(Problem.create(prompt)) == LogicProblem({"fact1": "{A}"}, "{B}", None)


def test_a_prompt_without_facts():
    assert read_problem(Problem.create("What is 1 + 1?", "2")) == LogicProblem()


def test_labels_are_read_however_decorated():
    assert [as_claim(t) for t in ("proved", "$UNKNOWN$", None, "PROVEN")] == ["PROVED", "UNKNOWN", None, None]
