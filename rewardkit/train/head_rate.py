"""The learning rate of a head over a language model's last hidden states: not that of the adapters below it.

A step of Adam moves every weight by about the learning rate, and so a logit by up to that times the sum of the absolute
values of the hidden state, which behind the last norm is about its width (750 for SmolLM2's 576 numbers). At a rate of
1e-3, which suits adapters, every step throws all logits up or down by most of 1, and all of them alike, since the
states at a separator are alike: a short training learns nothing else. Yang et al., "Tensor Programs V" (arXiv
2203.03466), divide the rate of an output layer by the width.
"""

from __future__ import annotations

from typing import Any

from rewardkit.models.heads import HEADS

STEP = 0.04
"""How far a step may move a logit, about."""


def head_rate(learning_rate: float, width: int) -> float:
    """The rate at which one step moves a logit by about `STEP`, never above the rate of the rest.

    >>> round(head_rate(1e-3, 576), 6), head_rate(1e-5, 576)
    (6.9e-05, 1e-05)
    """
    return min(learning_rate, STEP / width)


def with_head_rate(trainer: Any, rate: float | None) -> Any:
    """Let a Trainer train the parameters of its model's head at a rate of their own.

    Args:
        trainer: whose optimizer is not made yet.
        rate: None takes `head_rate`.
    """
    create = trainer.create_optimizer
    own = rate or head_rate(trainer.args.learning_rate, trainer.model.config.get_text_config().hidden_size)

    def create_optimizer(model: Any = None) -> Any:
        made = trainer.optimizer is None
        optimizer = create() if model is None else create(model)
        if made:
            named = (model or trainer.model).named_parameters()
            heads = {id(p) for name, p in named if not set(HEADS).isdisjoint(name.split("."))}
            for group in list(optimizer.param_groups):
                ours = [p for p in group["params"] if id(p) in heads]
                if ours and own != group["lr"]:
                    group["params"] = [p for p in group["params"] if id(p) not in heads]
                    optimizer.add_param_group({**group, "params": ours, "lr": own})
        return optimizer

    trainer.create_optimizer = create_optimizer
    return trainer
