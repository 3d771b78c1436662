"""Lower layers that are computed once: the model over them gives what the whole model gives."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForTokenClassification

from rewardkit.errors import ConfigError
from rewardkit.evaluate.lower_layers import LowerLayers

TEXTS = [(5, 6, 7, 8, 9, 9), (5, 6, 7), (11, 12, 9, 9)]


def batch(pad: int) -> torch.Tensor:
    return torch.tensor([[*text, *[pad] * (6 - len(text))] for text in TEXTS])


def model_of(folder: Path, *adapted: int) -> torch.nn.Module:
    model = AutoModelForTokenClassification.from_pretrained(folder).eval()
    if not adapted:
        return model
    torch.manual_seed(0)
    lora = LoraConfig(r=2, target_modules=["q_proj"], layers_to_transform=list(adapted), init_lora_weights=False)
    return get_peft_model(model, lora).eval()


@pytest.mark.parametrize("pad", [0, 9])
def test_the_model_above_gives_what_the_whole_model_gives(tiny_reward_model: Path, tmp_path: Path, pad: int) -> None:
    model = model_of(tiny_reward_model, 1)
    ids, mask = batch(pad), torch.tensor([[1] * len(t) + [0] * (6 - len(t)) for t in TEXTS])
    with torch.no_grad():
        whole = model(input_ids=ids, attention_mask=mask).logits
        lower = LowerLayers(str(tiny_reward_model), 1, folder=tmp_path)
        lower.read(TEXTS)
        lower.put_under(model)
        above = model(input_ids=ids, attention_mask=mask).logits
    for row, text in enumerate(TEXTS):
        torch.testing.assert_close(above[row, : len(text)], whole[row, : len(text)])


def test_what_was_read_is_read_from_disk_and_what_was_not_is_computed(tiny_reward_model: Path, tmp_path: Path) -> None:
    first = LowerLayers(str(tiny_reward_model), 1, folder=tmp_path)
    first.read(TEXTS)
    again = LowerLayers(str(tiny_reward_model), 1, folder=tmp_path)
    again.read(TEXTS)
    assert again._model is None
    torch.testing.assert_close(again.states(TEXTS[0]), first.states(TEXTS[0]))
    assert again.states((30, 31)).shape == (2, 64)
    assert again._model is not None


def test_gradients_reach_the_adapters_above(tiny_reward_model: Path, tmp_path: Path) -> None:
    model = model_of(tiny_reward_model, 1)
    LowerLayers(str(tiny_reward_model), 1, folder=tmp_path).put_under(model)
    model(input_ids=batch(0)).logits.sum().backward()
    grads = [p.grad for p in model.parameters() if p.requires_grad]
    assert grads and all(g is not None and g.abs().sum() > 0 for g in grads)


def test_trained_layers_and_another_precision_are_refused(tiny_reward_model: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="lora.top_layers"):
        LowerLayers(str(tiny_reward_model), 1, folder=tmp_path).put_under(model_of(tiny_reward_model, 0, 1))
    with pytest.raises(ConfigError, match="bfloat16"):
        model = model_of(tiny_reward_model, 1)
        LowerLayers(str(tiny_reward_model), 1, dtype="bfloat16", folder=tmp_path).put_under(model)
    with pytest.raises(ConfigError, match="no 3 layers"):
        LowerLayers(str(tiny_reward_model), 3, folder=tmp_path).put_under(model_of(tiny_reward_model))
