"""A new head that starts where a regression on the untrained model's states ends.

Adapters begin as nothing and a new head as noise, so that a short training spends most of its steps on what the hidden
states say already. Here the head is fitted first, by a logistic regression on the states of some traces, and then
trained with the rest: "linear probing, then fine-tuning", Kumar et al. 2022 (arXiv 2202.10054), who find that it also
distorts the features less, and so does better on other data.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewardkit.errors import ConfigError, DataError
from rewardkit.models.heads import classification_head
from rewardkit.train.spans import means_at

Floats = NDArray[np.float64]

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1)
"""Inverse strengths of the penalty that are tried, on states scaled to unit variance."""
FOLDS = 5


def start_head(trainer: Any, traces: int, *, positive: int) -> None:
    """Fit the head of a trainer's model on some of its examples, before its training.

    Args:
        trainer: whose model has a new linear head and is whole on one device.
        traces: how many examples are read, drawn at random.
        positive: the index of "correct" among the head's labels.

    Raises:
        ConfigError: the model is spread over several devices.
        DataError: these examples have no right and wrong steps of five problems.
    """
    if trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled:
        raise ConfigError("head_start needs the whole model on one device; leave it out with FSDP and DeepSpeed")
    rows = trainer.train_dataset
    chosen = np.random.default_rng(trainer.args.seed).permutation(len(rows))[:traces]
    states, targets, problems = step_states(
        trainer.model, [rows[i] for i in chosen], trainer.data_collator, trainer.args.per_device_eval_batch_size
    )
    weight, bias = fit_regression(states, targets, problems)
    _set_head(trainer.model, weight, bias, positive)


def step_states(
    model: Any, rows: Sequence[Mapping[str, Any]], collate: Callable[..., dict[str, Any]], batch_size: int
) -> tuple[Floats, Floats, NDArray[np.str_]]:
    """What a model's head is given for every labelled step, as it will read it.

    Args:
        model: a token classifier.
        rows: examples.
        collate: makes batches of them.
        batch_size: examples in one.

    Returns:
        States of shape (steps, width), targets and problems of shape (steps,).
    """
    import torch

    seen: list[Any] = []
    hook = classification_head(model).register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    training, states, targets, problems = model.training, [], [], []
    model.eval()
    try:
        ordered = sorted(rows, key=lambda row: len(row["input_ids"]))
        for begin in range(0, len(ordered), batch_size):
            part = ordered[begin : begin + batch_size]
            batch = {k: v.to(model.device) for k, v in collate(part).items() if isinstance(v, torch.Tensor)}
            labels, ends = batch.pop("labels"), batch.pop("ends", None)
            with torch.no_grad():
                model(**batch)
                hidden = seen.pop().float()
                hidden = hidden if ends is None else means_at(hidden, ends)
            kept = labels >= 0
            states.append(hidden[kept].cpu().numpy().astype(np.float64))
            targets.append(labels[kept].cpu().numpy().astype(np.float64))
            counts = kept.sum(dim=1).tolist()
            problems += [row["problem"] for row, count in zip(part, counts, strict=True) for _ in range(count)]
    finally:
        hook.remove()
        model.train(training)
    return np.concatenate(states), np.concatenate(targets), np.array(problems)


def fit_regression(states: Floats, targets: Floats, problems: NDArray[np.str_]) -> tuple[Floats, float]:
    """A logistic regression, its penalty chosen by the cost of held-out problems.

    Args:
        states: shape (steps, width).
        targets: shape (steps,), from 0 to 1: a soft one counts on both sides.
        problems: shape (steps,).

    Returns:
        The weight, shape (width,), and the bias, of the log-odds of "correct".

    Raises:
        DataError: no right and wrong steps of five problems.

    >>> draw = np.random.default_rng(0)
    >>> states = draw.normal(size=(200, 3))
    >>> weight, bias = fit_regression(states, (states[:, 1] > 0).astype(float), np.arange(200).astype(str))
    >>> int(np.abs(weight).argmax()), bool(weight[1] > 0)
    (1, True)
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss
    from sklearn.model_selection import GroupKFold

    right = targets >= 0.5
    if min(len(set(problems[right])), len(set(problems[~right]))) < FOLDS:
        raise DataError(f"head_start needs right and wrong steps of {FOLDS} problems each; leave it out, or read more")
    middle, scale = states.mean(axis=0), states.std(axis=0) + 1e-6
    scaled = np.tile((states - middle) / scale, (2, 1))
    truth, weights, groups = (
        np.repeat([1.0, 0.0], len(targets)),
        np.concatenate([targets, 1 - targets]),
        np.tile(problems, 2),
    )
    folds = list(GroupKFold(FOLDS).split(scaled, truth, groups))

    def fitted(strength: float, index: Any) -> Any:
        return LogisticRegression(C=strength, max_iter=1000).fit(scaled[index], truth[index], weights[index])

    def cost(strength: float) -> float:
        held = [(test, fitted(strength, train).predict_proba(scaled[test])) for train, test in folds]
        return float(np.mean([log_loss(truth[i], p, sample_weight=weights[i], labels=[0.0, 1.0]) for i, p in held]))

    found = fitted(min(STRENGTHS, key=cost), np.arange(len(truth)))
    weight = found.coef_[0] / scale
    return weight, float(found.intercept_[0] - weight @ middle)


def _set_head(model: Any, weight: Floats, bias: float, positive: int) -> None:
    import torch

    layers = (m for m in classification_head(model).modules() if isinstance(m, torch.nn.Linear))
    linear = next(layer for layer in layers if layer.weight.requires_grad)
    with torch.no_grad():
        row, offset = torch.tensor(weight), torch.tensor(bias)
        linear.weight.zero_()
        linear.bias.zero_()
        if linear.out_features == 1:
            linear.weight[0], linear.bias[0] = row, offset
            return
        for label in range(2):
            sign = 0.5 if label == positive else -0.5
            linear.weight[label], linear.bias[label] = sign * row, sign * offset
