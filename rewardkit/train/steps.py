"""What the kinds that are trained on step labels share: the token head and the generative judge."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeVar

from rewardkit.train.config import TrainConfig
from rewardkit.train.data import Collator, Encode, Examples, step_splits
from rewardkit.train.kind import TrainingKind
from rewardkit.train.losses import LossFunction, LossOptions, step_logits
from rewardkit.train.losses.options import StepLoss

if TYPE_CHECKING:
    from rewardkit.models.spec import RewardModelSpec
    from rewardkit.store.dataset import LabelledTrace


class StepConfig(TrainConfig):
    """The keys that these kinds share; see `TrainConfig` for those of all kinds.

    Attributes:
        separator: the token after each step; None takes one that text never needs.
        loss: by name with its parameters, such as ``{name: gce, q: 0.7}`` or ``{name: bce, class_weights: balanced}``;
            see `rewardkit.train.losses.LOSSES`.
    """

    separator: str | None = None
    loss: LossOptions = LossOptions()


S = TypeVar("S", bound=StepConfig)


class StepTraining(TrainingKind[S]):
    """One or two logits at a position of each step, and a loss over the steps that have a label."""

    shown = ("eval_loss", "eval_step_auroc", "eval_step_accuracy", "eval_prior_accuracy")

    @abstractmethod
    def describe(self, tokenizer: Any) -> RewardModelSpec:
        """What the model will be, but for the meaning of its labels."""

    @abstractmethod
    def encoder(self, tokenizer: Any, spec: RewardModelSpec) -> Encode:
        """How its input is made, in training and in scoring."""

    def prepare(self, rows: Sequence[LabelledTrace], tokenizer: Any) -> tuple[RewardModelSpec, Mapping[str, Examples]]:
        config = self.config
        self.spec = self.describe(tokenizer)
        splits = step_splits(config, rows, self.encoder(tokenizer, self.spec))
        self._loss = config.loss.build(splits["train"].targets())
        if (unlabelled := getattr(self._loss, "unlabelled", None)) is not None:
            splits["train"].fill(unlabelled)
        meaning = next(x.meaning for r in rows for x in r.labels if x.source in config.sources)
        return self.spec.model_copy(update={"meaning": meaning}), splits

    def collator(self, tokenizer: Any) -> Collator:
        return Collator(tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0)

    def loss(self) -> LossFunction:
        return self._loss

    def trainer(self, **arguments: Any) -> Any:
        # One number a position is all that the metrics need: evaluation keeps no more of the logits.
        arguments["preprocess_logits_for_metrics"] = lambda logits, labels: self.one_logit(logits)
        trainer = super().trainer(**arguments)
        if attach := getattr(self._loss, "attach", None):
            attach(trainer)
        return trainer

    def one_logit(self, logits: Any) -> Any:
        """The log-odds of "correct" at each position, from logits of shape (..., labels)."""
        return step_logits(logits)

    def metrics(self) -> Callable[[Any], dict[str, float]]:
        return partial(step_metrics, loss=self._loss if isinstance(self._loss, StepLoss) else None)


def step_metrics(prediction: Any, loss: StepLoss | None = None) -> dict[str, float]:
    """Accuracy and AUROC over labelled steps, for the Trainer's evaluation, and the mean loss of a step.

    Args:
        prediction: ``predictions`` and ``label_ids``, both of shape (rows, tokens).
        loss: of single steps, see `mean_loss`.
    """
    kept = prediction.label_ids >= 0
    logits, targets = prediction.predictions[kept], prediction.label_ids[kept]
    found = binary_metrics(logits, targets)
    named = {name if name.startswith("prior") else f"step_{name}": value for name, value in found.items()}
    return named if loss is None else {**named, **mean_loss(loss, logits, targets)}


def mean_loss(loss: LossFunction, logits: Any, targets: Any) -> dict[str, float]:
    """The mean loss of a step, as a metric in place of the Trainer's own.

    That is a mean over rows, each with the mean of its batch, and so changes with the batch size.

    Args:
        loss: a mean over labelled steps.
        logits: numpy, shape (steps,).
        targets: likewise.
    """
    import torch

    with torch.no_grad():
        outputs = SimpleNamespace(logits=torch.from_numpy(logits)[:, None])
        return {"loss": float(loss(outputs, torch.from_numpy(targets)))}


def binary_metrics(logits: Any, targets: Any) -> dict[str, float]:
    """Accuracy, that of the more frequent class, and AUROC where there are two.

    Args:
        logits: numpy, shape (items,).
        targets: numpy, shape (items,); from 0.5 on they count as right.

    >>> import numpy as np
    >>> binary_metrics(np.array([2.0, -1.0, 1.0]), np.array([1.0, 0.0, 0.0]))["auroc"]
    1.0
    """
    from sklearn.metrics import roc_auc_score

    truth = targets >= 0.5
    metrics = {
        "accuracy": float(((logits > 0) == truth).mean()),
        "prior_accuracy": float(max(truth.mean(), 1 - truth.mean())),
    }
    if truth.any() and not truth.all():
        metrics["auroc"] = float(roc_auc_score(truth, logits))
    return metrics
