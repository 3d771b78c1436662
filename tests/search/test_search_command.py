"""`rewardkit search` from a recipe to what it writes, and steps from a real tiny model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from blocks import blocks, run
from tiny import build_tiny_tokenizer

from rewardkit.config import load_config
from rewardkit.errors import ConfigError
from rewardkit.generate import GeneratorConfig
from rewardkit.models import load_reward_model
from rewardkit.search.run import SearchConfig, run_search
from rewardkit.search.steps import load_steps
from rewardkit.search.stepwise import SearchPlan, search_steps
from rewardkit.text.encode import encode_prompt, encode_turns
from rewardkit.types import Problem

PAGE = Path(__file__).parents[2] / "docs" / "search.md"
EXAMPLES = [block for block in blocks(PAGE) if block.language != "text"]


def config(tmp_path, *overrides):
    return load_config(SearchConfig, "search", "majority-gsm8k", [f"output={tmp_path}/out", *overrides])


def rows(tmp_path):
    return [json.loads(line) for line in (tmp_path / "out" / "results.jsonl").read_text(encoding="utf-8").splitlines()]


def test_the_shipped_recipe_votes_among_recordings(tmp_path):
    result = run_search(config(tmp_path, "problems.limit=20"))
    assert (result.problems, len(rows(tmp_path))) == (20, 20)
    assert all(len(row["candidates"]) == 4 for row in rows(tmp_path))
    assert result.accuracy == sum(row["correct"] for row in rows(tmp_path)) / 20
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["config"]["method"] == "majority"


def test_a_reward_model_chooses_and_every_score_is_written(tmp_path, tiny_reward_model):
    run_search(config(tmp_path, "problems.limit=3", "method=best_of_n", f"model={tiny_reward_model}"))
    for row in rows(tmp_path):
        scores = [c["score"] for c in row["candidates"]]
        assert scores[row["chosen"]] == max(s for s in scores if s is not None)
        assert all(len(c["step_scores"]) > 0 or c["reason"] for c in row["candidates"])
    reasons = [c["reason"] for row in rows(tmp_path) for c in row["candidates"]]
    assert any("more than 512" in reason for reason in reasons), "a response too long to be scored keeps its place"


def test_more_samples_than_were_recorded_are_errors_and_lose(tmp_path):
    run_search(config(tmp_path, "problems.limit=2", "n=6"))
    for row in rows(tmp_path):
        assert [bool(c["reason"].startswith("error")) for c in row["candidates"]] == [False] * 4 + [True] * 2


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["method=best_of_n"], "needs a reward model"),
        (["method=dvts", "model=x", "n=4", "width=3"], "multiple of width=3"),
        (["methd=beam"], "did you mean 'method'"),
        (["n=0"], "n"),
    ],
)
def test_a_wrong_recipe_is_told_in_one_line(tmp_path, overrides, message):
    with pytest.raises(ConfigError, match=message):
        run_search(config(tmp_path, *overrides))


# --- steps from a model in this process ---


def test_a_begun_turn_is_gone_on_with_and_not_closed():
    tokenizer = build_tiny_tokenizer()
    asked = [{"role": "user", "content": "48 / 2?"}]
    begun = encode_turns(tokenizer, [*asked, {"role": "assistant", "content": "48 / 2 = 24\n\n"}])
    longer = encode_turns(tokenizer, [*asked, {"role": "assistant", "content": "48 / 2 = 24\n\nSo 24"}])
    assert encode_turns(tokenizer, asked) == encode_prompt(tokenizer, asked)
    assert begun[: len(encode_prompt(tokenizer, asked))] == encode_prompt(tokenizer, asked)
    assert longer[: len(begun)] == begun
    assert tokenizer.decode(longer).endswith("assistant\n48 / 2 = 24\n\nSo 24")


def test_a_search_over_a_real_model_in_this_process(tmp_path, tiny_reward_model):
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = build_tiny_tokenizer()
    LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_key_value_heads=1,
            bos_token_id=1,
            eos_token_id=2,
            pad_token_id=0,
        )  # fmt: skip
    ).save_pretrained(tmp_path / "policy")
    tokenizer.save_pretrained(tmp_path / "policy")
    steps = load_steps(
        GeneratorConfig(model=str(tmp_path / "policy"), temperature=1.0, max_new_tokens=8, device="cpu"), separator="\n"
    )
    model = load_reward_model(str(tiny_reward_model))
    problems = [Problem.create("1 + 1?"), Problem.create("2 + 2?")]
    results = search_steps(problems, steps, model, SearchPlan("beam", n=4, width=2, rounds=3, choose="best_of_n"))
    for result in results:
        assert result.choice.candidates[result.choice.chosen].score == max(c.score for c in result.choice.candidates)
        assert result.tokens > 0


@pytest.mark.parametrize("block", EXAMPLES, ids=lambda b: f"line {b.line}")
def test_the_example_prints_what_the_page_says(block, tmp_path):
    assert block.mark == "quick"
    run(block, tmp_path)
