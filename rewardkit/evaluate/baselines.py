"""What a reward model is measured beside: a constant, its own base model asked in words, or any other reward model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rewardkit.errors import ConfigError
from rewardkit.models import RewardModel, RewardModelSpec, load_reward_model
from rewardkit.models.remote import RemoteRewardModel

PRIOR = "prior"
BASE = "base"


def load_model(name: str, **options: Any) -> RewardModel:
    """A reward model from a folder or an address; ``device``, ``dtype`` and ``batch_tokens`` are for folders."""
    return load_reward_model(name, **({} if name.startswith(("http://", "https://")) else options))


@contextmanager
def opened(model: RewardModel) -> Iterator[RewardModel]:
    """The model, whose connections are closed at the end where it has some."""
    try:
        yield model
    finally:
        if isinstance(model, RemoteRewardModel):
            model.close()


def load_baseline(name: str, spec: RewardModelSpec, **options: Any) -> RewardModel:
    """The model of a baseline.

    Args:
        name: ``base`` for the base model of the measured one, asked for a verdict after each step without any training
            (a token head without training would be noise); else a model folder or an address.
        spec: of the measured model, which names its base.
        options: ``device``, ``dtype`` and ``batch_tokens``.

    Raises:
        ConfigError: the base model is not known or cannot be loaded, or there is no such folder.

    >>> load_baseline("base", RewardModelSpec(kind="token", separator_id=5))
    Traceback (most recent call last):
    ...
    rewardkit.errors.ConfigError: the baseline 'base' needs base_model in the model's reward_model.json
    """
    if name != BASE:
        return load_model(name, **options)
    if spec.base_model == "unknown":
        raise ConfigError("the baseline 'base' needs base_model in the model's reward_model.json")
    return _prompted(spec.base_model, spec.max_length, **options)


def _prompted(base: str, max_length: int, device: str | None, dtype: str | None, batch_tokens: int) -> RewardModel:
    """A causal language model that is asked for 'correct' or 'incorrect', as `rewardkit train generative` begins."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from rewardkit.models.embedded import quiet_transformers, resolve_model
    from rewardkit.models.generative import GenerativeRewardModel
    from rewardkit.train.generative import GenerativeConfig, GenerativePRM

    folder = resolve_model(base)
    place = device or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        with quiet_transformers():
            tokenizer = AutoTokenizer.from_pretrained(folder)
            model = AutoModelForCausalLM.from_pretrained(
                folder, dtype=dtype or ("float32" if place == "cpu" else "auto")
            )
    except (OSError, ValueError) as error:
        raise ConfigError(f"the base model {base} cannot be loaded: {' '.join(str(error).split())[:300]}") from None
    config = GenerativeConfig(data=("none",), output="none", model=base, max_length=max_length)
    spec = GenerativePRM(config).describe(tokenizer)
    return GenerativeRewardModel(model.to(place), tokenizer, spec, batch_tokens=batch_tokens)
