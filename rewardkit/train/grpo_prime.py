"""PRIME in the loop: an implicit process reward model that learns from the policy's rollouts and rewards each token.

Cui et al. (arXiv 2502.01456). At every generated batch the model of `rewardkit.train.online` scores the rollouts and
is trained on their outcomes; advantages are leave-one-out per source, summed, as token-level returns, and whitened over
the batch. Not here: more than one process.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from rewardkit.config import Config
from rewardkit.errors import ConfigError
from rewardkit.rewards.advantages import at_last_token, prime_advantages, whitened
from rewardkit.train.online import OnlineImplicitPRM, keep_by_accuracy

if TYPE_CHECKING:
    from rewardkit.rewards.base import Group, GroupResult
    from rewardkit.train.grpo import GRPO

STATE = "prime.pt"


class PrimeOptions(Config):
    """The online implicit process reward model, for ``credit=prime``.

    Attributes:
        beta: the scale of the log-ratio.
        learning_rate: of its adapters (1e-6 in the paper, for all weights).
        update: when it is trained; see `rewardkit.train.online.Update`.
        weight: of its token rewards beside the outcome, whose weight is ``outcome_weight``.
        keep: only prompts whose share of right rollouts lies between these are learned from, by it and by the policy.
    """

    beta: float = Field(0.05, gt=0)
    learning_rate: float = Field(1e-5, gt=0)
    update: Literal["none", "after", "before", "reverse"] = "after"
    weight: float = Field(1.0, ge=0)
    keep: tuple[float, float] = (0.2, 0.8)


class PrimeCredit:
    """Token advantages from the implicit model and the outcomes.

    Args:
        kind: of the run; the model starts from the policy's own start, its adapters off are the reference.
        base: the folder or Hub id of that.
        device: where the policy is.

    Raises:
        ConfigError: all weights are trained, or there are several processes.
    """

    def __init__(self, kind: GRPO, base: str, device: Any) -> None:
        from rewardkit.train.launch import launched_processes
        from rewardkit.train.run import build_model

        if kind.config.lora is None or launched_processes() > 1:
            raise ConfigError("credit=prime needs adapters (lora) and one process")
        self._options: PrimeOptions = kind.config.prime
        self._outcome_weight: float = kind.config.outcome_weight
        options = self._options
        self._prm = OnlineImplicitPRM(
            build_model(kind, base).to(device),
            beta=options.beta,
            update=options.update,
            learning_rate=options.learning_rate,
        )
        self.figures: dict[str, float] = {}

    def advantages(
        self,
        prompts: Sequence[Sequence[int]],
        completions: Sequence[Sequence[int]],
        seen: Sequence[tuple[Group, GroupResult]],
        width: int,
        trained: Sequence[bool] | None = None,
    ) -> NDArray[np.float64]:
        """(B, width) advantages, zero behind the end of each completion and for rollouts that are not learned from.

        Args:
            prompts: token ids, one a rollout.
            completions: likewise.
            seen: the groups of these rollouts with their rewards, in order; a reward is the outcome, from 0 to 1, or
                None where it is not known.
            width: T.
            trained: which rollouts are learned from, by it and by the policy; the others are compared with alone.
        """
        outcomes = [reward for _, result in seen for reward in result.rewards]
        groups = [at for at, (group, _) in enumerate(seen) for _ in range(group.size)]
        kept = keep_by_accuracy(outcomes, groups, *self._options.keep)
        usable = [outcome is not None for outcome in outcomes]
        kept = [all(flags) for flags in zip(kept, usable, trained or usable, strict=True)]
        known = [outcome if keep else None for outcome, keep in zip(outcomes, kept, strict=True)]
        step = self._prm.step(prompts, completions, known, groups)
        figures = {"prm_loss": step.loss, "prm_accuracy": step.accuracy, "kept": float(np.mean(kept))}
        self.figures = {name: value for name, value in figures.items() if value is not None}
        tokens, mask = np.zeros((len(completions), width)), np.zeros((len(completions), width), dtype=bool)
        for row, (values, ids) in enumerate(zip(step.token_rewards, completions, strict=True)):
            tokens[row, : len(ids)], mask[row, : len(ids)] = values, True
        made, at = np.zeros_like(tokens), 0
        for group, _ in seen:
            rows = slice(at, at + group.size)
            sure = [outcome for outcome in outcomes[rows] if outcome is not None] or [0.0]
            # One that is not known is no baseline for the others either: their mean moves none of them.
            rewards = [float(np.mean(sure)) if outcome is None else outcome for outcome in outcomes[rows]]
            sources = {"implicit": (tokens[rows], mask[rows]), "outcome": at_last_token(rewards, mask[rows])}
            weights = {"implicit": self._options.weight, "outcome": self._outcome_weight}
            made[rows] = prime_advantages(sources, mask[rows], weights=weights, whiten=False)[0]
            at += group.size
        mask &= np.array(kept)[:, None]
        return np.where(mask, whitened(made, mask), 0.0)

    def save(self, folder: Path) -> None:
        """Write what is trained, and the optimizer, into a checkpoint."""
        import torch

        torch.save(self._prm.state(), folder / STATE)

    def load(self, folder: Path) -> None:
        """Go on from a checkpoint.

        Raises:
            ConfigError: the run was killed while it was written.
        """
        import torch

        if not (folder / STATE).is_file():
            raise ConfigError(
                f"{folder} was not written to its end (no {STATE}); remove it to go on from the one before"
            )
        self._prm.load_state(torch.load(folder / STATE, weights_only=True, map_location=self._prm.model.device))


def save_with(trainer: Any, credit: PrimeCredit) -> None:
    """Write the model into every checkpoint of a trainer."""
    from transformers import TrainerCallback

    class Saves(TrainerCallback):  # type: ignore[misc]  # transformers is lazily imported and untyped here
        """Behind the Trainer's own files."""

        def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            credit.save(Path(args.output_dir) / f"checkpoint-{state.global_step}")

    trainer.add_callback(Saves())
