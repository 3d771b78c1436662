"""Frozen features: what they are, that they are kept, and that a batch does not change them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from rewardkit.errors import ConfigError, DataError
from rewardkit.evaluate.features import FeatureReader
from rewardkit.text.encode import encode_prompt
from rewardkit.types import Problem, Trace

TRACES = [
    Trace.create(Problem.create("How many clips?"), ["48 / 2 = 24", "48 + 24 = 72"]),
    Trace.create(Problem.create("And now?"), ["3 + 4 = 7, and so the total is thus 7 as in the question"]),
]


def reader(model: Path, folder: Path, **options: object) -> FeatureReader:
    return FeatureReader(str(model), folder=folder, device="cpu", **{"layer": 1, "max_length": 200, **options})


def test_a_feature_is_the_mean_over_the_steps_tokens_after_that_layer(tiny_reward_model: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForTokenClassification

    made = reader(tiny_reward_model, tmp_path).read(TRACES)
    model = AutoModelForTokenClassification.from_pretrained(tiny_reward_model).eval()
    mine = reader(tiny_reward_model, tmp_path)
    encoded = mine._encode(TRACES[0], "")
    with torch.no_grad():
        hidden = model(torch.tensor([encoded.ids]), output_hidden_states=True).hidden_states[1][0]
    prompt = len(encode_prompt(mine.tokenizer, TRACES[0].problem.prompt))
    first = encoded.ids.index(mine.separator_id)
    assert made[0].shape == (2, 64)
    np.testing.assert_allclose(made[0][0], hidden[prompt : first + 1].mean(dim=0).numpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(made[0][1], hidden[first + 1 :].mean(dim=0).numpy(), rtol=1e-4, atol=1e-5)


def test_features_are_read_once(tiny_reward_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = reader(tiny_reward_model, tmp_path).read(TRACES)
    monkeypatch.setattr(FeatureReader, "_load", lambda self: pytest.fail("the model was loaded again"))
    again = reader(tiny_reward_model, tmp_path).read(TRACES)
    assert all((a == b).all() for a, b in zip(first, again, strict=True))


@pytest.mark.parametrize("options", [{"layer": 2}, {"separator": "</s>"}])
def test_another_layer_or_separator_is_read_anew(
    tiny_reward_model: Path, tmp_path: Path, options: dict[str, object]
) -> None:
    one = reader(tiny_reward_model, tmp_path).read(TRACES)
    other = reader(tiny_reward_model, tmp_path, **options).read(TRACES)
    assert not np.allclose(one[0], other[0])


def test_padding_changes_nothing(tiny_reward_model: Path, tmp_path: Path) -> None:
    together = reader(tiny_reward_model, tmp_path / "a").read(TRACES)
    alone = reader(tiny_reward_model, tmp_path / "b", batch_tokens=1).read(TRACES)
    for a, b in zip(together, alone, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_a_suffix_stands_at_the_end_of_each_step(tiny_reward_model: Path, tmp_path: Path) -> None:
    marked = reader(tiny_reward_model, tmp_path).read(TRACES[1:], suffix="(checked)")
    step = TRACES[1].steps[0].text
    written = Trace.create(TRACES[1].problem, [f"{step} (checked)"])
    np.testing.assert_array_equal(marked[0], reader(tiny_reward_model, tmp_path).read([written])[0])


def test_what_is_too_long_or_too_deep_is_an_error(tiny_reward_model: Path, tmp_path: Path) -> None:
    short = reader(tiny_reward_model, tmp_path, max_length=8)
    assert not short.fits(TRACES[0])
    with pytest.raises(DataError):
        short.read(TRACES)
    with pytest.raises(ConfigError, match="has 2 layers, not 3"):
        reader(tiny_reward_model, tmp_path, layer=3).read(TRACES)
