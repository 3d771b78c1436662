"""OpenAI's grader call through the official client, unchanged, over the plain app in process."""

from __future__ import annotations

import asyncio
import importlib.util
import json

import httpx
import pytest

from rewardkit.server.app import create_app, load_scorer

QUESTION = "How many clips did she sell altogether?"
RESPONSE = "48 / 2 = 24 clips in May.\n\n48 + 24 = 72 clips altogether.\n\n#### 72"


@pytest.fixture(scope="module")
def app(tiny_reward_model):
    return create_app(load_scorer(tiny_reward_model, name="prm"), keys=["k"])


def call(app, use):
    """What `use` returns of an `openai.AsyncOpenAI` whose network is the app."""
    openai = pytest.importorskip("openai")

    async def run():
        http = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x/v1")
        async with openai.AsyncOpenAI(base_url="http://x/v1", api_key="k", http_client=http, max_retries=0) as client:
            return await use(client)

    return asyncio.run(run())


def grade(app, grader, sample=RESPONSE, item=None, **options):
    return call(
        app,
        lambda c: c.fine_tuning.alpha.graders.run(grader=grader, model_sample=sample, item=item or {}, **options),
    )


def refusal(app, grader, **options):
    import openai

    with pytest.raises(openai.APIStatusError) as caught:
        grade(app, grader, **options)
    assert caught.value.body.keys() == {"message", "type", "param", "code"}
    return caught.value


def check(operation, reference="{{ item.answer }}", text="{{sample.output_text}}"):
    return {"type": "string_check", "name": "check", "input": text, "reference": reference, "operation": operation}


def score_model(model="prm", messages=None, **more):
    messages = messages or [{"role": "user", "content": "{{ item.question }}"}]
    return {"type": "score_model", "name": "scored", "model": model, "input": messages, **more}


@pytest.mark.parametrize(
    ("operation", "sample", "reward"),
    [
        ("eq", "Yes", 1.0),
        ("eq", "yes", 0.0),
        ("ne", "yes", 1.0),
        ("like", "Oh Yes!", 1.0),
        ("like", "oh yes!", 0.0),
        ("ilike", "oh yes!", 1.0),
    ],
)
def test_string_checks(app, operation, sample, reward):
    assert grade(app, check(operation), sample, {"answer": "Yes"}).reward == reward


def test_output_json_of_the_sample_is_reached(app):
    grader = check("eq", text="{{ sample.output_json.steps[1]['value'] }}")
    assert grade(app, grader, json.dumps({"steps": [0, {"value": 72}]}), {"answer": 72}).reward == 1.0


def test_the_served_model_scores_as_v1_rewards_does(app):
    async def rewards(client):
        messages = [{"role": "user", "content": QUESTION}]
        return await client.post(
            "/rewards", cast_to=object, body={"input": {"messages": messages, "response": RESPONSE}}
        )

    direct = call(app, rewards)
    answer = grade(app, score_model(range=[-1, 1]), item={"question": QUESTION})
    assert answer.reward == pytest.approx(2 * direct["data"][0]["score"] - 1, abs=1e-6)
    assert answer.api_model_grader_token_usage_per_model == {"prm": direct["usage"]["total_tokens"]}
    assert answer.metadata.token_usage == direct["usage"]["total_tokens"]
    label = {**score_model(), "type": "label_model", "labels": ["good", "bad"], "passing_labels": ["good"]}
    passed = grade(app, label, item={"question": QUESTION}).reward
    assert passed == float(direct["data"][0]["score"] >= 0.5)


def test_a_last_message_of_the_assistant_is_the_response(app):
    question = {"role": "user", "content": QUESTION}
    given = score_model(messages=[question, {"role": "assistant", "content": "{{ item.r }}"}])
    one = grade(app, given, sample="unused", item={"r": RESPONSE})
    assert one.reward == grade(app, score_model(messages=[question])).reward


@pytest.mark.parametrize(("response", "reward"), [(RESPONSE, 1.0), ("48 / 2 = 16", 0.0), ("She sold many.", None)])
def test_the_arithmetic_verifier_says_right_wrong_or_nothing(app, response, reward):
    answer = grade(app, score_model("rewardkit/arithmetic"), response, {"question": QUESTION})
    assert answer.reward == reward
    assert answer.metadata.errors.unresponsive_reward_error is (reward is None)


def test_an_abstention_is_what_the_caller_says(app):
    grader = score_model("rewardkit/arithmetic")
    answer = grade(app, grader, "Many.", {"question": "?"}, extra_body={"abstain": 0.5})
    assert answer.reward == 0.5 and answer.metadata.scores == {"scored": None}


@pytest.mark.parametrize(("reference", "reward"), [("72", 1.0), ("73", 0.0), ("\\frac{144}{2}", 1.0)])
def test_the_answer_verifier_takes_its_reference_from_the_developer(app, reference, reward):
    messages = [{"role": "user", "content": QUESTION}, {"role": "developer", "content": "{{ item.answer }}"}]
    assert grade(app, score_model("rewardkit/math-answer", messages), item={"answer": reference}).reward == reward


@pytest.mark.skipif(importlib.util.find_spec("z3") is None, reason="no z3")
@pytest.mark.parametrize(("conclusion", "reward"), [("{B}", 1.0), ("{C}", 0.0)])
def test_z3_checks_a_deduction(app, conclusion, reward):
    problem = "$hypothesis$: {B}\n$facts$:\nfact1: {A} -> {B}\nfact2: {A}"
    answer = grade(app, score_model("rewardkit/z3"), f"fact1 & fact2 -> int1: {conclusion} ;", {"question": problem})
    assert answer.reward == reward


def test_a_multi_grader_joins_scores_by_its_formula(app):
    multi = {
        "type": "multi",
        "name": "both",
        "graders": {
            "right": check("like", "72"),
            "exact": check("eq", "72"),
            "sums": score_model("rewardkit/arithmetic"),
        },
        "calculate_output": "0.5 * right + 2 ^ exact * max(0.25, 0) + sums",
    }
    answer = grade(app, multi, item={"question": QUESTION})
    assert answer.reward == 1.75
    assert answer.sub_rewards == {"right": 1.0, "exact": 0.0, "sums": 1.0}
    vague = grade(app, multi, "Many.", {"question": QUESTION})
    assert vague.reward is None and vague.sub_rewards["right"] == 0.0


def test_multi_graders_may_be_a_list_by_their_names(app):
    multi = {"type": "multi", "name": "m", "graders": [check("like", "72")], "calculate_output": "check / 4"}
    assert grade(app, multi).reward == 0.25


@pytest.mark.parametrize(
    "formula", ["check + other", "check.__class__", "check(1)", "1 +", "((check)", "a" * 3000, "1" + "+1" * 900]
)
def test_a_formula_that_is_none_is_refused(app, formula):
    multi = {"type": "multi", "name": "m", "graders": {"check": check("like", "72")}, "calculate_output": formula}
    error = refusal(app, multi)
    assert error.status_code == 400 and error.body["param"] == "grader.calculate_output"


@pytest.mark.parametrize("formula", ["1 / (check - 1)", "exp(9 ^ 9)", "(-check) ^ 0.5", "log(check - 1)"])
def test_a_formula_without_a_finite_value_is_refused(app, formula):
    multi = {"type": "multi", "name": "m", "graders": {"check": check("like", "72")}, "calculate_output": formula}
    assert "no finite value" in refusal(app, multi).body["message"]


@pytest.mark.parametrize(
    "template",
    ["{{ item.none }}", "{{ item.__class__ }}", "{{ 1 + 1 }}", "{{ item.a", "{{ env.PATH }}", "{{ item.a | x }}"],
)
def test_a_template_that_leads_nowhere_is_refused(app, template):
    assert refusal(app, check("eq", template), item={"a": "b"}).status_code == 400


def test_what_a_template_puts_in_is_not_read_again_and_stays_small(app):
    assert grade(
        app, check("eq", "{{ item.a }}", "{{ sample.output_text }}"), "{{ item.b }}", {"a": "{{ item.b }}"}
    ).reward
    assert (
        "renders to more" in refusal(app, check("eq", "{{ item.a }}" * 100), item={"a": "x" * 50_000}).body["message"]
    )


def test_python_graders_are_refused(app):
    error = refusal(app, {"type": "python", "name": "p", "source": "def grade(sample, item): return 1.0"})
    assert error.status_code == 400 and error.body["code"] == "python_grader_refused"


def test_an_unknown_model_is_404(app):
    error = refusal(app, score_model("gpt-4o"), item={"question": "?"})
    assert error.status_code == 404 and "rewardkit/arithmetic" in error.body["message"]


def test_validate_repeats_a_good_grader_and_names_the_fault_of_a_bad_one(app):
    import openai

    answer = call(app, lambda c: c.fine_tuning.alpha.graders.validate(grader=check("eq")))
    assert answer.grader.operation == "eq"
    with pytest.raises(openai.BadRequestError, match="'{{'"):
        call(app, lambda c: c.fine_tuning.alpha.graders.validate(grader=check("eq", "{{ item")))


@pytest.mark.parametrize(
    ("metric", "needs", "reward"),
    [
        ("fuzzy_match", "rapidfuzz", 0.8182),
        ("rouge_l", "rapidfuzz", 0.6667),
        ("rouge_1", "json", 0.6667),
        ("rouge_2", "json", 0.5),
        ("gleu", "nltk", 0.5),
        ("bleu", "nltk", None),
    ],
)
def test_text_similarity(app, metric, needs, reward):
    pytest.importorskip(needs)
    grader = {"type": "text_similarity", "name": "s", "input": "{{ sample.output_text }}", "reference": "{{ item.r }}"}
    got = grade(app, {**grader, "evaluation_metric": metric}, "the cat sat", {"r": "the cat ran"}).reward
    assert got == pytest.approx(reward, abs=1e-3) if reward is not None else 0 < got < 1


@pytest.mark.parametrize("metric", ["cosine", "meteor"])
def test_metrics_that_need_a_model_or_data_are_refused(app, metric):
    grader = {"type": "text_similarity", "name": "s", "input": "a", "reference": "a", "evaluation_metric": metric}
    assert "needs" in refusal(app, grader).body["message"]
