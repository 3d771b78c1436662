"""Models in this process: which specs they take; and two rows of a vocabulary head say what all of it says."""

from __future__ import annotations

import pytest
import torch

from rewardkit.errors import ConfigError, DataError
from rewardkit.models.generative import GenerativeRewardModel, only_labels
from rewardkit.models.outcome import OutcomeRewardModel
from rewardkit.models.spec import RewardModelSpec
from rewardkit.models.token import TokenRewardModel
from rewardkit.types import Problem, Trace

JUDGE = {"kind": "generative", "label_token_ids": (7, 9), "layout": "turns", "template": "{problem} {step}"}


@pytest.mark.parametrize(
    ("model", "values", "reason"),
    [
        (TokenRewardModel, JUDGE, "kind 'token'"),
        (TokenRewardModel, {"kind": "token"}, "separator id"),
        (GenerativeRewardModel, {**JUDGE, "positive_label": 1, "template": None}, "template"),
        (GenerativeRewardModel, {**JUDGE, "positive_label": 0}, "positive_label 1"),
        (OutcomeRewardModel, {"kind": "outcome"}, "separator id"),
    ],
)
def test_a_spec_that_lacks_what_the_kind_needs_is_refused(model, values, reason) -> None:
    with pytest.raises(ConfigError, match=reason):
        model.check_spec(RewardModelSpec.model_validate(values))


def test_only_an_outcome_model_has_no_step_scores() -> None:
    kinds = ("token", "generative", "implicit", "outcome")
    assert [RewardModelSpec(kind=kind).scores_steps for kind in kinds] == [True, True, True, False]


def test_a_model_that_gives_nan_gives_no_scores(tiny_reward_model) -> None:
    model = TokenRewardModel.load(tiny_reward_model)
    model.model.score.weight.data.fill_(float("nan"))
    with pytest.raises(DataError, match="trace .*: the model gives NaN"):
        model.score([Trace.create(Problem.create("?"), ["a"])])


def test_label_logits_are_those_of_the_whole_model_soft_cap_included() -> None:
    """Gemma 2 squashes its logits behind the head: the two that are left must be squashed too."""
    from transformers import Gemma2Config, Gemma2ForCausalLM

    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = Gemma2Config(
        vocab_size=50, num_key_value_heads=1, head_dim=16, final_logit_softcapping=0.5, initializer_range=0.1, **sizes
    )
    model = Gemma2ForCausalLM(config).eval()
    ids = torch.tensor([[3, 4, 5]])
    with torch.inference_mode():
        whole = model(ids).logits
        only_labels(model, (7, 9))
        two = model(ids).logits
    assert two.shape == (1, 3, 2)
    assert torch.allclose(two, whole[..., [9, 7]], atol=1e-6)
    assert whole.abs().max() <= 0.5


def test_label_logits_of_bfloat16_weights_are_float32() -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=50, **sizes)).to(torch.bfloat16)
    only_labels(model, (7, 9))
    with torch.inference_mode():
        assert model(torch.tensor([[3, 4]])).logits.dtype == torch.float32
