"""Final answers: what names one, in which order, and what is stripped."""

import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewardkit.samples import sample_path
from rewardkit.text.answers import extract_answer


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        ("48 + 24 = 72\n#### 72", "72"),
        ("#### 72\nI hope this helps.", "72"),
        ("#### 1,200 dollars", "1,200"),
        ("#### Step 4: check\nA: 18", "18"),
        ("so 9 * 2 = 18\nA: $18\n", "18"),
        ("So \\boxed{18}.", "18"),
        ("first \\boxed{3}, then \\boxed{\\frac{1}{2}}", "\\frac{1}{2}"),
        ("\\boxed{\\text{a set } \\{1, 2\\}}", "a set \\{1, 2\\}"),
        ("\\boxed{\\boxed{5}}", "5"),
        ("$\\fbox{5}$", "5"),
        ("\\boxed {5}", "5"),
        ("$\\boxed 7$", "7"),
        ("\\boxed{5} and a cut-off \\boxed{12", "5"),
        ("\\boxed{5} and an empty \\boxed{}", "5"),
        ("} \\boxed{5}", "5"),
        ("The answer is 18.", "18"),
        ("The answer is **18**.", "18"),
        ("the ANSWER is: $18.50 per day.", "18.50"),
        ("The answer is $18. She also paid $2 more.", "18"),
        ("The answer to the problem is 3.5 hours, so she is late.", "3.5"),
        ("The answer is 18 (since 9 * 2 is 18).", "18"),
        ("Final Answer: The final answer is $\\frac{1}{2}$. I hope it is correct.", "\\frac{1}{2}"),
        ("**Final Answer:** 18", "18"),
        ("Final answer:\n\n18", "18"),
        ("The final answer is \\(x + 1\\).", "x + 1"),
        ("Answer: 5 * 3 = 15 apples", "15"),
        ("The answer is 20 + 40 = 60 tons of concrete that will be needed, which", "60"),
        ("#### 11 * 2 = 22 inches", "22"),
        ("The answer is y = 2x.", "y = 2x"),
        ("The answer is 50%.", "50%"),
        ("The answer is (C).", "C"),
        ("The answer is 3, 5, 7.", "3, 5, 7"),
        ("Final answer: east", "east"),
        ("The answer is -5 degrees.", "-5"),
        ("The answer is 18.\nLet me check that the answer is correct.", "18"),
        ("<think>The answer is 5.</think> The answer is 6.", "6"),
        ("<think>The answer is 5.</think>", "5"),
    ],
)
def test_what_the_final_answer_is(response, answer):
    assert extract_answer(response) == answer


@pytest.mark.parametrize(
    "response",
    [
        "",
        "48 + 24 = 72",
        "I do not know.",
        "\\boxed{}",
        "\\boxed{12",
        "#### Final part\ntext",
        "The answer is not clear.",
        "A: ",
    ],
)
def test_a_response_that_names_no_answer_has_none(response):
    assert extract_answer(response) is None


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        ("#### 1\n\\boxed{2}\nThe answer is 3.\nA: 4", "2"),
        ("The answer is 3.\n#### 1\nA: 4", "1"),
        ("The answer is 3.\nA: 4", "4"),
    ],
)
def test_the_order_of_preference(response, answer):
    assert extract_answer(response) == answer


def test_every_shipped_gold_answer_is_found():
    with gzip.open(sample_path("gsm8k-train"), "rt", encoding="utf-8") as rows:
        golds = [json.loads(row)["answer"] for row in rows]
    assert golds
    assert [extract_answer(gold) for gold in golds] == [gold.rpartition("#### ")[2].strip() for gold in golds]


@given(
    st.one_of(
        st.text(),
        st.lists(st.sampled_from(["\\boxed{", "}", "{", "answer is", "####", "\n", "$", "5", "A:"])).map("".join),
    )
)
def test_any_text_gives_visible_text_or_none(response):
    answer = extract_answer(response)
    assert answer is None or answer.strip()


HOSTILE = [
    "\\boxed{",
    "{",
    "answer ",
    "answer is ",
    "answer a a a a a a ",
    "#### ",
    "####a\n",
    "answer: the\n",
    "answer is $",
    "\\",
]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("piece", HOSTILE)
def test_long_repetitive_text_does_not_backtrack(piece):
    extract_answer(piece * (1_000_000 // len(piece)))
