"""Early-learning regularisation: hold on to what the model said of a step before it began to learn labels by heart.

Liu et al. 2020, arXiv 2007.00151, with the order of operations of the authors' code: update the target, then use it.

**In one epoch it does nothing of use.** The target of a step is the history of the model's answers to that step, and in
one epoch each step is answered once: the target is then the present answer itself. Below five epochs or so take
`teacher`, whose target is the answer of an exponential moving average of the weights (the paper's ELR+ averages
weights as well): one more forward pass a batch, no history.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field, PrivateAttr

from rewardkit.errors import ConfigError
from rewardkit.train.losses.options import StepLoss
from rewardkit.train.losses.steps import IGNORE, bce, items, step_logits, weighted

if TYPE_CHECKING:
    import torch

_CLAMP = 1e-4
_EPOCHS = 5


def elr_penalty(z: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """``log(1 - <p̃, t>)`` of each step: small where the model agrees with its own past, whatever the label says.

    Args:
        z: (steps,) logits; ``p̃ = (1 - p, p)``, clamped to [1e-4, 1 - 1e-4].
        targets: (steps, 2), t for (wrong, right), each row of sum 1 at most; without gradient.

    >>> import torch
    >>> round(elr_penalty(torch.tensor([0.0]), torch.tensor([[0.3, 0.7]])).item(), 4)
    -0.6931
    """
    return (1 - (two_class(z) * targets).sum(dim=-1)).log()


def two_class(z: torch.Tensor) -> torch.Tensor:
    """(steps, 2): the chances of (wrong, right), clamped as the authors do.

    >>> import torch
    >>> [round(v, 4) for v in two_class(torch.tensor([0.0, 50.0])).flatten().tolist()]
    [0.5, 0.5, 0.0001, 0.9999]
    """
    import torch

    p = torch.sigmoid(z.float())
    return torch.stack([1 - p, p], dim=-1).clamp(_CLAMP, 1 - _CLAMP)


class Memory:
    """The targets of every step seen so far: ``t <- β t + (1 - β) p̃ / Σp̃``, beginning at (0, 0).

    Args:
        decay: β.
    """

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self.targets: dict[int, tuple[float, float]] = {}
        self.changed: set[int] = set()

    def update(self, keys: Sequence[int], predictions: torch.Tensor) -> torch.Tensor:
        """Fold the predictions, (steps, 2), into the targets of their steps; gives the new targets, (steps, 2).

        >>> import torch
        >>> memory = Memory(decay=0.7)
        >>> _ = memory.update([5], torch.tensor([[0.2, 0.8]]))
        >>> [round(v, 3) for v in memory.update([5], torch.tensor([[0.5, 0.5]]))[0].tolist()]
        [0.192, 0.318]
        """
        held = predictions.new_tensor([self.targets.get(key, (0.0, 0.0)) for key in keys]).reshape(-1, 2)
        share = predictions / predictions.sum(dim=-1, keepdim=True)
        new = self.decay * held + (1 - self.decay) * share
        self.targets.update(zip(keys, map(tuple, new.tolist()), strict=True))
        self.changed.update(keys)
        return new

    def share(self) -> None:
        """Give every process what the others have learnt since the last call; each sees other steps in each epoch."""
        import torch.distributed as dist

        if dist.is_available() and dist.is_initialized():
            news: list[dict[int, tuple[float, float]]] = [{} for _ in range(dist.get_world_size())]
            dist.all_gather_object(news, {key: self.targets[key] for key in sorted(self.changed)})
            for update in news:
                self.targets.update(update)
        self.changed.clear()

    def arrays(self) -> dict[str, np.ndarray]:
        """The memory as arrays, for `restore`."""
        keys = np.fromiter(self.targets, dtype=np.int64, count=len(self.targets))
        return {"keys": keys, "targets": np.array(list(self.targets.values()), dtype=np.float32).reshape(-1, 2)}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take on what `arrays` gave."""
        pairs = zip(arrays["keys"].tolist(), map(tuple, arrays["targets"].tolist()), strict=True)
        self.targets = dict(pairs)
        self.changed.clear()


def step_keys(input_ids: torch.Tensor, position_ids: torch.Tensor | None = None) -> torch.Tensor:
    """A number for each position that stands for all tokens up to it: the content's own id, whatever batch it is in.

    ``Σ_{j <= t} (id_j + 1) w_{pos(j)}`` modulo 2^64 with fixed random weights; two prefixes share one with a chance of
    2^-48. Where `position_ids` begin again (packed rows), so does the sum.

    Args:
        input_ids: (rows, tokens), padded on the right.
        position_ids: (rows, tokens); None means 0, 1, 2, ...

    >>> import torch
    >>> alone, packed = torch.tensor([[5, 6]]), torch.tensor([[9, 9, 5, 6]])
    >>> bool((step_keys(alone)[0] == step_keys(packed, torch.tensor([[0, 1, 0, 1]]))[0, 2:]).all())
    True
    """
    import torch

    rows, tokens = input_ids.shape
    place = torch.arange(tokens, device=input_ids.device).expand(rows, tokens)
    within = place if position_ids is None else position_ids.expand(rows, tokens)
    size = max(int(within.max()) + 1, 1)
    weights = torch.randint(-(2**62), 2**62, (size,), generator=torch.Generator().manual_seed(20), dtype=torch.int64)
    terms = (input_ids + 1) * weights.to(input_ids.device)[within]
    sums = terms.cumsum(dim=1)
    return sums - (sums - terms).gather(1, place - within)


class Elr(StepLoss):
    """Early-learning regularisation: `bce` plus `weight` times `elr_penalty`.

    It sees the batches through `attach`, and keeps its state beside the Trainer's checkpoints. In evaluation it is
    plain cross-entropy.

    Attributes:
        weight: λ; 3 and 7 in the paper's symmetric settings, 1 in the asymmetric one. 0 is cross-entropy.
        decay: β of the memory; 0.7 in the paper, 0.9 where there are many classes or asymmetric noise.
        teacher: the decay of the averaged weights, such as 0.99; their answers then stand in the memory's place.
    """

    weight: float = Field(3.0, ge=0)
    decay: float = Field(0.7, ge=0, lt=1)
    teacher: float | None = Field(None, gt=0, lt=1)
    _memory: Memory = PrivateAttr()
    _teacher: Teacher | None = PrivateAttr(None)
    _inputs: dict[str, Any] = PrivateAttr(default_factory=dict)

    def model_post_init(self, context: Any) -> None:
        self._memory = Memory(self.decay)

    def __call__(
        self, outputs: Any, labels: torch.Tensor, num_items_in_batch: torch.Tensor | int | None = None
    ) -> torch.Tensor:
        """The loss of a batch, as the Trainer's ``compute_loss_func`` wants it.

        Raises:
            ConfigError: neither `attach` nor `see` was called.
        """
        import torch

        labelled = labels != IGNORE
        z, y = step_logits(outputs.logits[labelled]), labels[labelled].float()
        losses = weighted(bce(z, y), y, self._pair)
        if torch.is_grad_enabled() and self.weight:
            losses = losses + self.weight * elr_penalty(z, self._targets(z.detach(), labelled))
        return losses.sum() / items(labelled, num_items_in_batch)

    def _targets(self, z: torch.Tensor, labelled: torch.Tensor) -> torch.Tensor:
        if self._teacher is not None:
            return two_class(self._teacher.logits(self._inputs)[labelled])
        if "input_ids" not in self._inputs:
            raise ConfigError("elr must see the batches: call attach(trainer) before trainer.train()")
        keys = step_keys(self._inputs["input_ids"], self._inputs.get("position_ids"))
        return self._memory.update(keys[labelled].tolist(), two_class(z))

    def attach(self, trainer: Any) -> None:
        """Follow a `transformers.Trainer`: see its batches, save and restore the state with its checkpoints."""
        self._teacher = Teacher(trainer.model, self.teacher) if self.teacher is not None else None
        trainer.model.register_forward_pre_hook(lambda module, args, inputs: self.see(inputs), with_kwargs=True)
        trainer.add_callback(_callback(self))

    def see(self, inputs: Mapping[str, Any]) -> None:
        """What the model is about to be given: ``input_ids`` at least. For a training loop without a Trainer."""
        self._inputs = {k: v for k, v in inputs.items() if k != "num_items_in_batch"}

    def share(self) -> None:
        """Bring the memories of all processes together."""
        self._memory.share()

    def save(self, path: Path) -> None:
        """Write the state into a .npz file."""
        state = (self._teacher or self._memory).arrays()
        temporary = path.with_name(f".{path.name}")
        with temporary.open("wb") as file:
            np.savez(file, allow_pickle=False, **state)
        temporary.replace(path)

    def load(self, path: Path) -> None:
        """Read what `save` wrote.

        Raises:
            ConfigError: there is no such file.
        """
        if not path.is_file():
            raise ConfigError(f"the checkpoint has no {path.name}, so elr cannot go on from it; remove the checkpoint")
        with np.load(path) as arrays:
            (self._teacher or self._memory).restore(arrays)

    def warn(self, epochs: float) -> None:
        """Say so where there are too few epochs for the memory to hold a history."""
        if self.teacher is None and self.weight and epochs < _EPOCHS:
            warnings.warn(
                f"elr remembers what the model said in earlier epochs, and there are {epochs:g}: it does little or "
                "nothing. Train for more epochs, or set loss.teacher=0.99",
                stacklevel=2,
            )


class Teacher:
    """An exponential moving average of the weights that are trained, and its answers.

    The decay rises with the steps to its full value, ``min(decay, (1 + s) / (10 + s))``, so that a short run's
    teacher is not the untrained model.

    Args:
        model: that is trained.
        decay: of the average, per optimizer step.
    """

    def __init__(self, model: Any, decay: float) -> None:
        self.model, self.decay = model, decay
        self.weights = {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad}

    def follow(self, step: int) -> None:
        """Move towards the model's weights after an optimizer step."""
        decay = min(self.decay, (1 + step) / (10 + step))
        trained = dict(self.model.named_parameters())
        for name, weight in self.weights.items():
            moved = trained[name].detach()
            self.weights[name] = weight.to(moved.device).lerp(moved, 1 - decay)

    def logits(self, inputs: Mapping[str, Any]) -> torch.Tensor:
        """One logit a position from the averaged weights, (rows, tokens), without gradient and without dropout."""
        import torch

        was_training = self.model.training
        self.model.eval()
        try:
            with torch.no_grad():
                outputs = torch.func.functional_call(self.model, self.weights, (), dict(inputs))
        finally:
            self.model.train(was_training)
        return step_logits(outputs.logits)

    def arrays(self) -> dict[str, np.ndarray]:
        """The averaged weights as arrays, for `restore`."""
        return {name: weight.float().cpu().numpy() for name, weight in self.weights.items()}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take on what `arrays` gave."""
        import torch

        for name, weight in self.weights.items():
            self.weights[name] = torch.from_numpy(arrays[name]).to(weight)


def _callback(loss: Elr) -> Any:
    """The Trainer's callback that keeps the state of the loss beside the checkpoints, as ``elr-STEP.npz``."""
    from transformers import TrainerCallback

    def file(args: Any, step: int) -> Path:
        return Path(args.output_dir) / f"elr-{step}.npz"

    class ElrState(TrainerCallback):  # type: ignore[misc]  # transformers is lazily imported and untyped here
        """Written before the checkpoint is, so that a checkpoint that is whole has its state."""

        kept = -1

        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            loss.warn(state.num_train_epochs)
            if state.global_step:
                loss.load(file(args, state.global_step))

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if loss._teacher is not None:
                loss._teacher.follow(state.global_step)
            self.keep(args, state, control)

        def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            loss.share()
            self.keep(args, state, control)

        def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if self.kept != state.global_step:  # another callback asked for this checkpoint after us
                self.keep(args, state, control, now=True)

        def keep(self, args: Any, state: Any, control: Any, now: bool = False) -> None:
            if not (control.should_save or now):
                return
            self.kept = state.global_step
            loss.share()
            if state.is_world_process_zero:
                folder = Path(args.output_dir)
                folder.mkdir(parents=True, exist_ok=True)
                loss.save(file(args, state.global_step))
                for old in folder.glob("elr-*.npz"):
                    step = old.stem.removeprefix("elr-")
                    if int(step) != state.global_step and not (folder / f"checkpoint-{step}").is_dir():
                        old.unlink()

    return ElrState()
