"""Splitting: no character is lost, cuts lie at white space, blocks stay whole, each rule cuts where it says."""

import gzip
import json
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewardkit.errors import ConfigError
from rewardkit.samples import sample_path
from rewardkit.text.split import SplitRule, split_steps
from rewardkit.types import Problem, Trace

RULES = get_args(SplitRule)
PIECES = [
    *(
        "\n",
        "\n\n",
        " ",
        "\t",
        "\r\n",
        "\u00a0",
        "\u2028",
        "a",
        "B",
        "3.5",
        ". ",
        "! ",
        "Mr. ",
        "e.g. ",
        "$",
        "$$",
        "```",
        "~~~",
    ),
    *("\\begin{align}", "\\end{align}", "\\begin{x}", "\\end{x}", "\\[", "\\]", "\\(", "\\)", "\\\\", "\\", "{", "}"),
    *("Step 1:", "### Step 2", "**Step 3**", "#### 72", "1. ", ")", '"', "\u3002"),
]
responses = st.one_of(st.text(), st.lists(st.sampled_from(PIECES), max_size=40).map("".join))


def texts(response, by="auto"):
    return [span.text for span in split_steps(response, by)]


@pytest.mark.parametrize("by", RULES)
@given(response=responses)
def test_the_steps_join_to_the_response_in_order(by, response):
    spans = split_steps(response, by)
    assert "".join(span.text for span in spans) == response
    assert all(response[span.start : span.end] == span.text for span in spans)


@pytest.mark.parametrize("by", RULES)
@given(response=responses)
def test_a_trace_of_the_steps_gives_the_response_back(by, response):
    assert Trace.create(Problem.create("?"), texts(response, by)).response == response


@pytest.mark.parametrize("by", RULES)
@given(response=responses.filter(str.strip))
def test_every_step_has_visible_text(by, response):
    assert all(step.strip() for step in texts(response, by))


@pytest.mark.parametrize("by", RULES)
def test_an_empty_response_has_no_steps_and_white_space_is_one(by):
    assert split_steps("", by) == []
    assert texts(" \n\n ", by) == [" \n\n "]


def test_real_solutions_split_without_loss():
    with gzip.open(sample_path("gsm8k-solutions"), "rt", encoding="utf-8") as rows:
        solutions = [json.loads(row)["ground_truth"] for row in rows]
    assert solutions
    for solution in solutions:
        steps = texts(solution, "lines")
        assert "".join(steps) == solution
        assert [step.strip() for step in steps] == [line.strip() for line in solution.splitlines() if line.strip()]


def test_lines_keep_their_indentation_and_own_the_blank_lines_behind_them():
    assert texts("\n a\n\n  b\nc", "lines") == ["\n a\n\n", "  b\n", "c"]


def test_paragraphs_are_cut_at_blank_lines_alone():
    assert texts("a\nb\n \t\nc\n\n\nd\n", "blank-lines") == ["a\nb\n \t\n", "c\n\n\n", "d\n"]


@pytest.mark.parametrize(
    "header",
    [
        "Step 2:",
        "**Step 2**",
        "### Step 2",
        "**Step 2:** add",
        "step 2. Add",
        "## **Step 2**",
        "Step 2 - add",
        "Step 2",
    ],
)
def test_headers_begin_a_step(header):
    assert texts(f"Plan\nfirst\n{header}\nmore", "headers") == ["Plan\nfirst\n", f"{header}\nmore"]


@pytest.mark.parametrize("line", ["Step 2 gives 5", "In Step 2: we", "Steps 2:", "Step two:"])
def test_other_lines_are_no_headers(line):
    assert texts(f"a\n{line}\nb", "headers") == [f"a\n{line}\nb"]


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("He has 3.5 kg. She has 2.", "He has 3.5 kg. "),
        ("Mr. Smith has 2. She has 3.", "Mr. Smith has 2. "),
        ("Some fruit, i.e. Apples. Others too.", "Some fruit, i.e. Apples. "),
        ("They cost $3.50 each. She buys 2.", "They cost $3.50 each. "),
        ("Is it 5? It is.", "Is it 5? "),
        ('He said "yes." Then he left.', 'He said "yes." '),
        ("**It is 5.** So on.", "**It is 5.** "),
        ("It costs approx. 5 dollars. Fine.", "It costs approx. 5 dollars. "),
        ("See no. 5 there. Done.", "See no. 5 there. "),
        ("We get $x = 5.$ Then $y$.", "We get $x = 5.$ "),
        ("1. First add. Then stop.", "1. First add. "),
        ("Step 1. Add them. Then stop.", "Step 1. Add them. "),
        ("no stop here\nNext line. End.", "no stop here\n"),
    ],
)
def test_where_the_first_sentence_ends(text, first):
    assert texts(text, "sentences")[0] == first


@pytest.mark.parametrize(
    "text", ["about 3.5 kg vs. Others", "5! = 120", "a. b. c.", "e.g. this", "x >= 3. 5.5.", "Dr. No"]
)
def test_one_sentence_stays_one(text):
    assert len(texts(text.replace("x >= 3. 5.5.", "3.5.5"), "sentences")) == 1


BLOCKS = {
    "fence": "```python\nx = 1\n\nStep 1: y. Z\n```",
    "tilde fence": "~~~\na\n\n```\nb\n~~~",
    "environment": "\\begin{align*}\nx &= 1\n\n\\\\ Step 2: y. Z\n\\end{align*}",
    "nested environment": "\\begin{a}\n\\begin{b}\n\n\\end{b}\n\n\\end{a}",
    "same name nested": "\\begin{a}\n\\begin{a}\n\n\\end{a}\n\n\\end{a}",
    "brackets": "\\[\nx. Y\n\n= 2\n\\]",
    "dollars": "$$\nx. Y\n= 2\n$$",
}


@pytest.mark.parametrize("by", ["lines", "blank-lines", "sentences", "auto"])
@pytest.mark.parametrize("block", BLOCKS.values(), ids=BLOCKS)
def test_a_block_stays_whole(by, block):
    assert texts(f"before\n\n{block}\n\nafter", by) == ["before\n\n", f"{block}\n\n", "after"]


@pytest.mark.parametrize("opening", ["\\[", "$$", "\\begin{align}", "\\(", "\\end{align}", "\\]"])
def test_an_opening_without_its_end_protects_nothing(opening):
    assert len(texts(f"{opening} a\n\nb\n\nc", "lines")) == 3


def test_a_line_break_with_an_optional_length_opens_no_display_math():
    assert len(texts("a \\\\[2pt]\nb\n\\]\nc", "lines")) == 4


def test_a_fence_that_never_closes_holds_the_rest():
    assert texts("a\n```\nb\n\nc", "lines") == ["a\n", "```\nb\n\nc"]


@pytest.mark.parametrize(
    ("response", "rule"),
    [
        ("Step 1: a\n\nb\nStep 2: c. D", "headers"),
        ("Plan\nStep 1: a\n\nb\nStep 2: c. D", "headers"),
        ("Plan\nStep 1: a\n\nb. C", "blank-lines"),
        ("Step 1: a\nb\n\nc", "blank-lines"),
        ("a. B\nc", "lines"),
        ("a b. C d.", "sentences"),
        ("```\nStep 1:\nStep 2:\n```\n\na\nb", "blank-lines"),
    ],
)
def test_auto_takes_the_first_rule_that_finds_two_steps(response, rule):
    assert split_steps(response) == split_steps(response, rule)
    assert len(split_steps(response)) > 1


def test_an_unknown_rule_is_named_with_the_known_ones():
    with pytest.raises(ConfigError, match="'words'; there are auto, headers"):
        split_steps("a", "words")  # type: ignore[arg-type]


LONG = [
    "$",
    "\\begin{a}",
    "\\begin{a}\\end{b}",
    "a. ",
    "\n",
    "```\n",
    "\\[\n",
    "Step 1:\n",
    ").",
    " \n",
    "$$\n",
    " ",
    "\\(",
]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("piece", LONG)
def test_long_repetitive_text_is_split_without_backtracking(piece):
    text = piece * (200_000 // len(piece))
    assert "".join(texts(text)) == "".join(texts(text, "sentences")) == text
