"""A trainer as `rewardkit train` makes it, before its training."""

from __future__ import annotations

from typing import Any

from rewardkit.train.run import _trainer, build_model, load_tokenizer, training_arguments


def trainer_of(kind: Any) -> Any:
    """The trainer of a kind over its data."""
    config = kind.config
    tokenizer = load_tokenizer(config.model)
    _, splits = kind.prepare([row for name in config.data for row in kind.read(name)], tokenizer)
    return _trainer(kind, training_arguments(config), build_model(kind, config.model), tokenizer, splits)
