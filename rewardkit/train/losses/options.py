"""Losses by name: what stands behind ``loss: {name: gce, q: 0.7}`` in a recipe.

A loss is a pydantic model of its parameters that is called as the Trainer calls its ``compute_loss_func``. One that
follows the training has ``attach(trainer)``; one that reads steps without a label has ``unlabelled``, their target.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ConfigDict, Field, field_validator, model_validator

from rewardkit.config import Config, validate
from rewardkit.errors import ConfigError
from rewardkit.registry import load
from rewardkit.train.losses import bags, pu, steps

if TYPE_CHECKING:
    import torch

LOSSES: dict[str, str] = {
    "bce": "rewardkit.train.losses.options:Bce",
    "soft_kl": "rewardkit.train.losses.options:SoftKl",
    "gce": "rewardkit.train.losses.options:Gce",
    "forward": "rewardkit.train.losses.options:Forward",
    "elr": "rewardkit.train.losses.elr:Elr",
    "count": "rewardkit.train.losses.options:Count",
    "any_wrong": "rewardkit.train.losses.options:AnyWrong",
    "pu": "rewardkit.train.losses.options:Pu",
}
"""From a name to ``module:Class``; the user's own is ``path/to/file.py:Class``."""

LossFunction = Callable[..., Any]
"""``(outputs, labels, num_items_in_batch) -> loss``, a scalar tensor."""


class LossOptions(Config):
    """A loss and its parameters, as a recipe names them.

    Attributes:
        name: a key of `LOSSES`, or ``path/to/file.py:Class``; every further key is a parameter of that loss.

    Raises:
        ConfigError: no such loss, or a parameter is unknown or does not fit.

    >>> LossOptions(name="gce", q=0.5).build()
    Gce(class_weights=None, q=0.5)
    >>> LossOptions(name="gce", qq=0.5)
    Traceback (most recent call last):
        ...
    rewardkit.errors.ConfigError: loss gce: unknown key 'qq': did you mean 'q'?
    """

    model_config = ConfigDict(extra="allow")

    name: str = "bce"

    @model_validator(mode="after")
    def _fits(self) -> LossOptions:
        self._load()
        return self

    def build(self, targets: Sequence[float] = ()) -> LossFunction:
        """The loss itself.

        Args:
            targets: of all labelled training steps, for ``class_weights: balanced``.

        Raises:
            ConfigError: balanced weights of targets of one class.

        >>> LossOptions(name="bce", class_weights="balanced").build([1.0, 1.0, 1.0, 0.0]).class_weights
        (2.0, 0.6666666666666666)
        """
        loss: LossFunction = self._load()
        if isinstance(loss, StepLoss) and loss.class_weights == "balanced":
            return loss.model_copy(update={"class_weights": steps.balanced_weights(targets)})
        return loss

    def _load(self) -> Any:
        kind, parameters = load(self.name, LOSSES, "loss"), dict(self.model_extra or {})
        if isinstance(kind, type) and issubclass(kind, Config):
            return validate(kind, parameters, f"loss {self.name}")
        try:
            return kind(**parameters)
        except TypeError as error:
            raise ConfigError(f"loss {self.name}: {error}") from None


class StepLoss(Config):
    """Base of losses that are a mean over labelled steps; see `rewardkit.train.losses.steps.step_mean`.

    Attributes:
        class_weights: of (wrong, right) steps; ``balanced`` weighs both classes alike.
    """

    class_weights: tuple[float, float] | str | None = None

    @field_validator("class_weights")
    @classmethod
    def _a_pair_or_balanced(cls, value: object) -> object:
        if isinstance(value, str) and value != "balanced":
            raise ValueError("give [weight of wrong steps, weight of right steps], or balanced")
        return value

    def per_step(self, z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """The loss of each step, from logits and targets of shape (steps,)."""
        raise NotImplementedError

    def __call__(
        self, outputs: Any, labels: torch.Tensor, num_items_in_batch: torch.Tensor | int | None = None
    ) -> torch.Tensor:
        """The loss of a batch, as the Trainer's ``compute_loss_func`` wants it."""
        return steps.step_mean(
            lambda z, y: steps.weighted(self.per_step(z, y), y, self._pair), outputs, labels, num_items_in_batch
        )

    @property
    def _pair(self) -> tuple[float, float] | None:
        if isinstance(self.class_weights, str):
            raise ConfigError("class_weights: balanced is worked out from the targets: LossOptions.build(targets)")
        return self.class_weights


class Bce(StepLoss):
    """Binary cross-entropy, hard and soft; see `steps.bce`."""

    def per_step(self, z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return steps.bce(z, y)


class SoftKl(StepLoss):
    """Divergence from the soft targets of a label model; see `steps.soft_kl`."""

    def per_step(self, z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return steps.soft_kl(z, y)


class Gce(StepLoss):
    """Generalised cross-entropy; see `steps.gce`.

    Attributes:
        q: towards 0 it is cross-entropy, at 1 the mean absolute error.
    """

    q: float = Field(0.7, gt=0, le=1)

    def per_step(self, z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return steps.gce(z, y, self.q)


class Forward(StepLoss):
    """Forward correction with a noise matrix; see `steps.forward_bce`.

    Attributes:
        noise: ``[[P(wrong|wrong), P(right|wrong)], [P(wrong|right), P(right|right)]]``: given label by true one, best
            counted on steps that a verifier labelled as well.
    """

    noise: tuple[tuple[float, float], tuple[float, float]]

    @model_validator(mode="after")
    def _is_noise(self) -> Forward:
        steps.check_noise(self.noise)
        return self

    def per_step(self, z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return steps.forward_bce(z, y, self.noise)


class Count(Config):
    """k of the response's steps are wrong; see `bags.count_loss`."""

    def __call__(
        self, outputs: Any, labels: torch.Tensor, num_items_in_batch: torch.Tensor | int | None = None
    ) -> torch.Tensor:
        return bags.count_loss(outputs, labels, num_items_in_batch)


class AnyWrong(Config):
    """At least one step of the response is wrong, or probably none; see `bags.any_wrong_loss`.

    Attributes:
        all_right: the share of responses labelled right in which every step is.
    """

    all_right: float = Field(0.9, gt=0, le=1)

    def __call__(
        self, outputs: Any, labels: torch.Tensor, num_items_in_batch: torch.Tensor | int | None = None
    ) -> torch.Tensor:
        return bags.any_wrong_loss(outputs, labels, num_items_in_batch, all_right=self.all_right)


class Pu(Config):
    """One side of the labels is trusted, the rest is unlabelled; see `pu.pu_loss`.

    Attributes:
        prior: the share of the trusted class among all steps.
        trusted: the labels to believe; all other steps, those without a label too, count as unlabelled.
    """

    prior: float = Field(gt=0, lt=1)
    trusted: Literal["right", "wrong"] = "right"

    @property
    def unlabelled(self) -> float:
        """The target that a step without a label gets in training."""
        return 0.0 if self.trusted == "right" else 1.0

    def __call__(
        self, outputs: Any, labels: torch.Tensor, num_items_in_batch: torch.Tensor | int | None = None
    ) -> torch.Tensor:
        wrong = self.trusted == "wrong"
        return pu.pu_loss(outputs, labels, num_items_in_batch, prior=self.prior, trusted_wrong=wrong)
