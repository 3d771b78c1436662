"""Sequences as trees: every token gets what it gets in a row of its own, in any layout, and what cannot is refused."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from tinylm import build_tiny_lm
from transformers import AutoModelForCausalLM, MambaConfig, MambaForCausalLM, MistralConfig, MistralForCausalLM

from rewardkit.errors import ConfigError
from rewardkit.models.logprobs import pad_responses, response_logprobs
from rewardkit.models.prefixes import model_inputs, prefix_batches, require_any_mask, share_prefixes, tree_tokens


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return AutoModelForCausalLM.from_pretrained(build_tiny_lm(tmp_path_factory.mktemp("lm") / "tiny")).float().train()


def branching(seed: int, problems: int = 3, samples: int = 4) -> list[list[int]]:
    """Responses of some problems that share prompts and some of their steps; one of them is there twice."""
    draw = random.Random(seed)

    def some(most: int) -> list[int]:
        return [draw.randint(1, 90) for _ in range(draw.randint(1, most))]

    made = []
    for _ in range(problems):
        prompt, steps = some(20), [some(9) for _ in range(3)]
        made += [prompt + sum(steps[: draw.randint(0, 3)], []) + some(12) for _ in range(samples)]
    made.append(made[0])
    draw.shuffle(made)
    return made


def gradients(model: Any, loss: Any) -> list[torch.Tensor]:
    return list(torch.autograd.grad(loss, list(model.parameters())))


@pytest.mark.parametrize("width", [0, 16, 10**6])
@pytest.mark.parametrize("seed", range(3))
def test_hidden_states_and_gradients_are_those_of_single_rows(model: Any, seed: int, width: int) -> None:
    sequences = branching(seed)
    shared = share_prefixes(sequences, width)
    joined = model.model(**model_inputs(shared), use_cache=False).last_hidden_state.flatten(0, 1)[shared["places"]]
    alone = [model.model(torch.tensor([ids]), use_cache=False).last_hidden_state[0] for ids in sequences]
    for mine, theirs in zip(joined, alone, strict=True):
        torch.testing.assert_close(mine[: len(theirs)], theirs, atol=1e-5, rtol=1e-5)
    head = torch.linspace(-1, 1, 32)
    tops = [mine[len(ids) - 1] @ head for mine, ids in zip(joined, sequences, strict=True)]
    theirs = gradients(model, sum(row[-1] @ head for row in alone))
    for a, b in zip(gradients(model, sum(tops)), theirs, strict=True):
        assert (a - b).norm() <= 1e-5 * b.norm()


def test_a_wide_model_joins_all_and_a_narrow_one_nothing() -> None:
    sequences = branching(0)
    different = {tuple(ids) for ids in sequences}
    joined = share_prefixes(sequences, 10**6)
    assert len(joined["places"].unique()) == tree_tokens(sequences) < 0.7 * sum(map(len, sequences))
    apart = share_prefixes(sequences, 0)
    assert tree_tokens(sequences) < len(apart["places"].unique()) <= sum(map(len, different))  # twice the same is free
    assert len(apart["input_ids"]) < len(different)  # short ones stand beside each other, where padding would be


@pytest.mark.parametrize("seed", range(3))
def test_response_logprobs_and_their_gradients_are_those_of_padded_rows(model: Any, seed: int) -> None:
    rows = [(ids, 1 + i % (len(ids) - 1)) for i, ids in enumerate(branching(seed)) if len(ids) > 1]
    plain = response_logprobs(model, pad_responses(rows))
    shared = response_logprobs(model, pad_responses(rows, share_width=10**6))
    torch.testing.assert_close(shared, plain, atol=1e-5, rtol=1e-5)
    weights = torch.linspace(-1, 1, len(rows))
    theirs = gradients(model, (plain.sum(1) * weights).sum())
    for a, b in zip(gradients(model, (shared.sum(1) * weights).sum()), theirs, strict=True):
        assert (a - b).norm() <= 1e-5 * b.norm()


def test_batches_keep_what_begins_alike_together() -> None:
    sequences = branching(5, problems=8)
    batches = list(prefix_batches(sequences, 120))
    assert sorted(i for batch in batches for i in batch) == list(range(len(sequences)))
    assert max(tree_tokens([sequences[i] for i in batch]) for batch in batches) <= 120
    assert sum(tree_tokens([sequences[i] for i in b]) for b in batches) < 1.2 * tree_tokens(sequences)


SMALL = {"vocab_size": 99, "hidden_size": 32, "num_hidden_layers": 1}


def mistral(**changes: Any) -> Any:
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 32}
    return MistralForCausalLM(MistralConfig(**SMALL, **heads, **changes))


def test_a_model_that_takes_any_mask_is_found_to(model: Any) -> None:
    require_any_mask(model, 10**6)
    assert model.training
    require_any_mask(mistral(sliding_window=64, layer_types=["sliding_attention"]), 64)


def test_models_that_cannot_share_are_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="MistralForCausalLM cannot share prompts, .* looks back 64 tokens"):
        require_any_mask(mistral(sliding_window=64, layer_types=["sliding_attention"]), 65)
    with pytest.raises(ConfigError, match="its attention is 'eager'"):
        require_any_mask(mistral(attn_implementation="eager"), 65)
    with pytest.raises(ConfigError, match="MambaForCausalLM cannot share prompts"):
        require_any_mask(MambaForCausalLM(MambaConfig(**SMALL, state_size=4)), 65)
    blind = mistral()
    blind.base_model.forward = lambda input_ids, **_: (blind.get_input_embeddings()(input_ids).cumsum(1),)
    with pytest.raises(ConfigError, match="it gives other values under a mask of ours"):
        require_any_mask(blind, 65)
