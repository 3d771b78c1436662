"""Heads on frozen features, trained on given labels with the losses of `rewardkit.train.losses`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from rewardkit.config import Config
from rewardkit.evaluate.robustness.data import Steps
from rewardkit.train.losses import IGNORE, LossFunction, LossOptions

if TYPE_CHECKING:
    import torch

Labels = NDArray[np.float64]


class HeadOptions(Config):
    """A head and how long it trains.

    Attributes:
        hidden: width of its one hidden layer; 0 makes it linear.
        epochs, batch_size, learning_rate, weight_decay: of AdamW; a batch is so many traces.
    """

    hidden: int = Field(32, ge=0)
    epochs: int = Field(20, ge=1)
    batch_size: int = Field(128, ge=1)
    learning_rate: float = Field(5e-3, gt=0)
    weight_decay: float = Field(0.01, ge=0)


@dataclass(frozen=True, slots=True)
class Given:
    """What a method may learn from.

    Attributes:
        features: (steps, width) as they are shown to it.
        labels: (steps,) as they are given, some of them wrong.
        trace: (steps,) the number of each step's trace.
        verified: indices of steps whose true label is known as well.
        truth: (verified,) their true labels.
    """

    features: NDArray[np.float32]
    labels: Labels
    trace: NDArray[np.int64]
    verified: NDArray[np.int64]
    truth: Labels


def given(train: Steps, flipped: NDArray[np.bool_], way: str, verified: NDArray[np.int64]) -> Given:
    """Training steps with flipped labels; for the way ``trigger`` the flipped ones carry the mark."""
    marked = flipped & (way == "trigger")
    features = np.where(marked[:, None], train.marked, train.plain)
    labels = np.where(flipped, 1 - train.truth, train.truth)
    return Given(features, labels, train.trace, verified, train.truth[verified])


class Learner:
    """Trains one head; each method of `METHODS` says how.

    Args:
        data: to learn from.
        options: of the head.
        seed: of its first weights and the order of the batches.
    """

    def __init__(self, data: Given, options: HeadOptions, seed: int) -> None:
        import torch

        torch.manual_seed(seed)
        width = data.features.shape[1]
        hidden = [torch.nn.Linear(width, options.hidden), torch.nn.ReLU()] if options.hidden else []
        self.head = torch.nn.Sequential(*hidden, torch.nn.Linear(options.hidden or width, 1))
        self.data, self.options = data, options
        self.draw = np.random.default_rng(seed)

    def fit(self, loss: LossFunction, *, on: NDArray[np.int64] | None = None, labels: Labels | None = None) -> None:
        """Train with a loss, on all steps and their given labels or on some steps with the labels named.

        The optimizer is a fresh one in every call. Rows of a batch are traces, so that losses of whole responses see
        them.

        Args:
            loss: as the Trainer takes it.
            on: indices of steps; None means all.
            labels: (on,) their labels; None means the given ones.
        """
        import torch

        steps = np.arange(len(self.data.labels)) if on is None else on
        targets = torch.tensor(self.data.labels[steps] if labels is None else labels, dtype=torch.float32)
        features = torch.from_numpy(self.data.features[steps])
        grid = _grid(self.data.trace[steps])
        options = self.options
        optimizer = torch.optim.AdamW(
            self.head.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay, fused=True
        )
        see = getattr(loss, "see", lambda inputs: None)
        for _ in range(options.epochs):
            order = torch.from_numpy(self.draw.permutation(len(grid)))
            for batch in torch.split(order, options.batch_size):
                index = grid[batch]
                there = index >= 0
                logits = torch.zeros(index.shape).masked_scatter(there, self.head(features[index[there]]).squeeze(-1))
                wanted = torch.where(there, targets[index.clamp(min=0)], IGNORE)
                see({"input_ids": index})
                optimizer.zero_grad()
                loss(SimpleNamespace(logits=logits.unsqueeze(-1)), wanted).backward()
                optimizer.step()

    def score(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """(steps,) the head's chance that each step is right."""
        import torch

        with torch.no_grad():
            logits = self.head(torch.from_numpy(features)).squeeze(-1).double()
        scores: NDArray[np.float64] = torch.sigmoid(logits).numpy()
        return scores


def _grid(trace: NDArray[np.int64]) -> torch.Tensor:
    """(traces, most steps of one) the index of each step in the row of its trace, -1 where there is none."""
    import torch

    numbers, row, counts = np.unique(trace, return_inverse=True, return_counts=True)
    order = np.argsort(row, kind="stable")
    grid = np.full((len(numbers), counts.max()), -1, dtype=np.int64)
    column = np.arange(len(trace)) - np.repeat(np.cumsum(counts) - counts, counts)
    grid[row[order], column] = order
    return torch.from_numpy(grid)


Method = Callable[[Learner], None]


def _forward(learner: Learner) -> None:
    """Forward correction with the noise matrix counted on the verified steps, each cell with one count more."""
    data = learner.data
    rows: list[tuple[float, float]] = []
    for true in (0.0, 1.0):
        found = data.labels[data.verified[data.truth == true]]
        right = float((found.sum() + 1) / (len(found) + 2))
        rows.append((1 - right, right))
    if rows[0][1] < rows[1][1]:  # else the labels say nothing, and nothing is what is learnt
        learner.fit(LossOptions(name="forward", noise=rows).build())


def _pu(learner: Learner) -> None:
    """nnPU that trusts right labels, with the share of right steps counted on the verified ones."""
    truth = learner.data.truth
    learner.fit(LossOptions(name="pu", prior=float((truth.sum() + 1) / (len(truth) + 2))).build())


def _two_stage(learner: Learner) -> None:
    """Cross-entropy on the given labels, then on the verified steps with their true ones."""
    learner.fit(LossOptions().build())
    learner.fit(LossOptions().build(), on=learner.data.verified, labels=learner.data.truth)


def _verified_only(learner: Learner) -> None:
    """Cross-entropy on the verified steps alone: what the weak labels must beat."""
    learner.fit(LossOptions().build(), on=learner.data.verified, labels=learner.data.truth)


METHODS: dict[str, Method] = {
    "forward": _forward,
    "pu": _pu,
    "two-stage": _two_stage,
    "verified only": _verified_only,
}
"""Methods that need the verified steps; any other name is a loss with its defaults, see `method`."""


def method(name: str) -> Method:
    """The method of a name: a key of `METHODS`, else the loss of that name.

    Raises:
        ConfigError: there is no such loss.
    """
    if name in METHODS:
        return METHODS[name]
    options = LossOptions(name=name)

    def fit(learner: Learner) -> None:
        learner.fit(options.build(learner.data.labels.tolist()))

    return fit
