"""The online implicit process reward model of PRIME: it learns from the policy's own rollouts, for an RL loop.

    prm = OnlineImplicitPRM(model, reference, update="after")
    ...
    step = prm.step(prompts, completions, outcomes)      # token ids and 1.0 (right) or 0.0 (wrong)
    step.token_rewards                                   # one array a completion, for the policy's update

Cui et al., "Process Reinforcement through Implicit Rewards" (arXiv 2502.01456); the order of update and scoring as in
verl's ``recipe/prime``. Not here: the policy's own update, its advantages, and more than one process.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from rewardkit.errors import ConfigError, DataError
from rewardkit.models.local import length_batches
from rewardkit.models.logprobs import base_logprobs, log_ratios, pad_responses, require_plain_head, response_logprobs
from rewardkit.train.implicit_losses import ce_loss, dpo_loss

if TYPE_CHECKING:
    import torch

Update = Literal["none", "after", "before", "reverse"]
"""``none``: score only. ``after``: the rewards are those of the model before its update, from the same forward pass.
``before``: the rewards are those of the updated model, from a second pass. ``reverse``: score first; the update then
compares each response with the mean of the group's others of the opposite outcome (DPO with a fixed other side)."""


@dataclass(frozen=True, slots=True)
class OnlineStep:
    """What one step gives.

    Attributes:
        token_rewards: ``beta * log(pi / pi_ref)`` of each completion token: one float32 array a completion.
        loss: mean over the rollouts that have an outcome, before the update; None where nothing was updated.
        grad_norm: before clipping; None where nothing was updated.
        accuracy: share of rollouts whose summed reward has the sign of their outcome, before the update; None where no
            outcome is known.
    """

    token_rewards: tuple[np.ndarray, ...]
    loss: float | None
    grad_norm: float | None
    accuracy: float | None


class OnlineImplicitPRM:
    """Scores rollouts by an implicit process reward model and trains it on their outcomes.

    Args:
        model: a causal language model, at first usually the policy's own start; what requires a gradient is trained.
        reference: the model it is measured against. None takes `model` with its adapters off.
        beta: the scale of the log-ratio.
        update: when the model is trained; see `Update`.
        learning_rate: of AdamW; 1e-6 in the paper, for all weights.
        max_grad_norm: 10 in the paper.
        batch_tokens: the most tokens, padding included, in one forward pass; the update accumulates over passes.
        optimizer: in place of AdamW, over the model's parameters.

    Raises:
        ConfigError: no reference, or a model whose head is no plain linear layer.
    """

    def __init__(
        self,
        model: Any,
        reference: Any = None,
        *,
        beta: float = 0.05,
        update: Update = "after",
        learning_rate: float = 1e-6,
        max_grad_norm: float = 10.0,
        batch_tokens: int = 8192,
        optimizer: torch.optim.Optimizer | None = None,
    ) -> None:
        import torch

        if reference is None and not hasattr(model, "disable_adapter"):
            raise ConfigError(
                "an implicit model needs a reference: another model, or adapters that can be switched off"
            )
        require_plain_head(model)
        # Without dropout, so that the values of the update are those of scoring.
        self.model = model.eval()
        self.beta = beta
        self.update: Update = update
        self.max_grad_norm = max_grad_norm
        self.batch_tokens = batch_tokens
        self._reference: Callable[[Any], torch.Tensor] = (
            partial(base_logprobs, model) if reference is None else partial(response_logprobs, reference.eval())
        )
        self._trained = [p for p in model.parameters() if p.requires_grad]
        self._optimizer = optimizer or torch.optim.AdamW(self._trained, lr=learning_rate, weight_decay=0.0)

    def step(
        self,
        prompts: Sequence[Sequence[int]],
        completions: Sequence[Sequence[int]],
        outcomes: Sequence[float | None],
        groups: Sequence[Hashable] | None = None,
    ) -> OnlineStep:
        """Score rollouts and, unless ``update`` is ``none``, train on them once.

        Args:
            prompts: token ids, one prompt a rollout.
            completions: token ids, one completion a rollout.
            outcomes: from 0.0 (wrong) to 1.0 (right); None (not known) is scored and not learned from.
            groups: which rollouts answer the same prompt; None goes by equal prompts. Read by ``reverse`` alone.

        Raises:
            DataError: the arguments differ in length, or a prompt or completion is empty.
        """
        rollouts = _rollouts(prompts, completions, outcomes)
        if self.update == "none":
            return self._result(self.rewards(rollouts), outcomes)
        if self.update == "reverse":
            rewards = self.rewards(rollouts)
            sums = [float(r.sum()) for r in rewards]
            others = opposite_means(sums, outcomes, groups or [tuple(p) for p in prompts])
            _, loss, norm = self._learn(rollouts, outcomes, others)
            return self._result(rewards, outcomes, loss, norm)
        rewards, loss, norm = self._learn(rollouts, outcomes)
        step = self._result(rewards, outcomes, loss, norm)
        if self.update == "before":
            return OnlineStep(tuple(self.rewards(rollouts)), loss, norm, step.accuracy)
        return step

    def rewards(self, rollouts: Sequence[tuple[Sequence[int], int]]) -> list[np.ndarray]:
        """Token rewards of the model as it is.

        Args:
            rollouts: token ids, prompt included, and the index where the completion starts.
        """
        import torch

        with torch.no_grad():
            return self._forward(rollouts, lambda indices, sums: None)

    def state(self) -> dict[str, Any]:
        """What is trained and the optimizer's state, as `load_state` takes them."""
        return {"trained": [p.detach().cpu() for p in self._trained], "optimizer": self._optimizer.state_dict()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from `state`, of a model with the same trained weights."""
        import torch

        with torch.no_grad():
            for parameter, value in zip(self._trained, state["trained"], strict=True):
                parameter.copy_(value)
        self._optimizer.load_state_dict(state["optimizer"])

    def _forward(
        self, rollouts: Sequence[tuple[Sequence[int], int]], use: Callable[[list[int], torch.Tensor], None]
    ) -> list[np.ndarray]:
        """Token rewards; `use` is given the indices of the rollouts of each pass and their summed rewards."""
        results: list[np.ndarray] = [np.empty(0, np.float32)] * len(rollouts)
        for indices in length_batches([len(ids) for ids, _ in rollouts], self.batch_tokens):
            batch = pad_responses([rollouts[i] for i in indices], self.model.device)
            values = self.beta * log_ratios(self.model, batch, self._reference)
            use(indices, values.sum(1))
            for i, row in zip(indices, values.detach().cpu().numpy(), strict=True):
                ids, start = rollouts[i]
                results[i] = row[start : len(ids)]
        return results

    def _learn(
        self,
        rollouts: Sequence[tuple[Sequence[int], int]],
        outcomes: Sequence[float | None],
        others: Sequence[float] | None = None,
    ) -> tuple[list[np.ndarray], float | None, float | None]:
        """One optimizer step over all rollouts with an outcome; the rewards are those from before it."""
        import torch

        known = [i for i, y in enumerate(outcomes) if y is not None]
        if not known:
            return self.rewards(rollouts), None, None
        total = 0.0

        def backward(indices: list[int], sums: torch.Tensor) -> None:
            nonlocal total
            rows = [row for row, i in enumerate(indices) if outcomes[i] is not None]
            if rows:
                chosen = [indices[row] for row in rows]
                loss = _losses(sums[rows], [outcomes[i] for i in chosen], others and [others[i] for i in chosen])
                loss = loss.sum() / len(known)
                loss.backward()  # type: ignore[no-untyped-call]
                total += float(loss.detach())

        self._optimizer.zero_grad()
        rewards = self._forward(rollouts, backward)
        norm = float(torch.nn.utils.clip_grad_norm_(self._trained, self.max_grad_norm))
        self._optimizer.step()
        self._optimizer.zero_grad()
        return rewards, total, norm

    def _result(
        self,
        rewards: Sequence[np.ndarray],
        outcomes: Sequence[float | None],
        loss: float | None = None,
        norm: float | None = None,
    ) -> OnlineStep:
        right = [(float(r.sum()) > 0) == (y >= 0.5) for r, y in zip(rewards, outcomes, strict=True) if y is not None]
        return OnlineStep(tuple(rewards), loss, norm, sum(right) / len(right) if right else None)


def _losses(sums: torch.Tensor, outcomes: Sequence[float | None], others: Sequence[float] | None) -> torch.Tensor:
    """Cross-entropy of each rollout, or DPO against the fixed mean reward of the other side."""
    labels = sums.new_tensor(outcomes)
    if others is None:
        return ce_loss(sums, labels)
    sign = (labels >= 0.5).to(sums.dtype) * 2 - 1
    return dpo_loss(sign * sums, sign * sums.new_tensor(others))


def opposite_means(
    rewards: Sequence[float], outcomes: Sequence[float | None], groups: Sequence[Hashable]
) -> list[float]:
    """For each rollout the mean reward of those of its group with the opposite outcome; 0 where there are none.

    Args:
        rewards: summed, one a rollout.
        outcomes: right from 0.5 on; None takes no part.
        groups: which rollouts belong together.

    >>> opposite_means([1.0, 3.0, 5.0, 7.0], [1.0, 0.0, 0.0, 1.0], ["a", "a", "a", "b"])
    [4.0, 1.0, 1.0, 0.0]
    """
    found: dict[tuple[Hashable, bool], list[float]] = {}
    for reward, outcome, group in zip(rewards, outcomes, groups, strict=True):
        if outcome is not None:
            found.setdefault((group, outcome >= 0.5), []).append(reward)
    means = {key: sum(values) / len(values) for key, values in found.items()}
    return [
        0.0 if outcome is None else means.get((group, outcome < 0.5), 0.0)
        for outcome, group in zip(outcomes, groups, strict=True)
    ]


def keep_by_accuracy(
    outcomes: Sequence[float | None], groups: Sequence[Hashable], low: float = 0.2, high: float = 0.8
) -> list[bool]:
    """Which rollouts to train on: those of prompts that are neither too easy nor too hard, PRIME's online filter.

    Args:
        outcomes: right from 0.5 on; None is not known, and does not count.
        groups: which rollouts answer the same prompt.
        low: the least share of right rollouts of a prompt that is kept, inclusive.
        high: the greatest, inclusive.

    >>> keep_by_accuracy([1.0, 0.0, 1.0, 1.0, None], ["a", "a", "b", "b", "c"])
    [True, True, False, False, False]
    """
    known: dict[Hashable, list[bool]] = {}
    for outcome, group in zip(outcomes, groups, strict=True):
        if outcome is not None:
            known.setdefault(group, []).append(outcome >= 0.5)
    kept = {group for group, right in known.items() if low <= sum(right) / len(right) <= high}
    return [group in kept for group in groups]


def _rollouts(
    prompts: Sequence[Sequence[int]], completions: Sequence[Sequence[int]], outcomes: Sequence[float | None]
) -> list[tuple[list[int], int]]:
    if not len(prompts) == len(completions) == len(outcomes):
        counts = f"{len(prompts)} prompts, {len(completions)} completions, {len(outcomes)} outcomes"
        raise DataError(f"{counts}; give one of each for every rollout")
    if not all(map(len, prompts)) or not all(map(len, completions)):
        raise DataError("a rollout has no prompt or no completion tokens; leave it out")
    return [([*p, *c], len(p)) for p, c in zip(prompts, completions, strict=True)]
