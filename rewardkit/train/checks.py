"""What is checked of the data before training starts, and of the labels while it runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rewardkit.errors import DataError
from rewardkit.train.losses import IGNORE


def check_ids(rows: Sequence[Mapping[str, Any]], vocabulary: int) -> None:
    """Refuse token ids that the model has no embedding for: those of another tokenizer.

    Args:
        rows: examples; every key that ends in ``_ids`` holds token ids.
        vocabulary: the rows of the model's embedding.

    Raises:
        DataError: an id lies outside.

    >>> check_ids([{"input_ids": [1, 9]}], 8)
    Traceback (most recent call last):
    ...
    rewardkit.errors.DataError: token id 9 is outside the model's 8 embeddings: it is another tokenizer's
    """
    for row in rows:
        for key, ids in row.items():
            if key.endswith("_ids") and ids and not 0 <= min(ids) <= max(ids) < vocabulary:
                bad = max(ids) if max(ids) >= vocabulary else min(ids)
                raise DataError(
                    f"token id {bad} is outside the model's {vocabulary} embeddings: it is another tokenizer's"
                )


def check_positions(rows: Sequence[Mapping[str, Any]], positions: int | None) -> None:
    """Refuse examples that are longer than the model's positions: learned ones end there, and vLLM serves no further.

    Args:
        rows: examples; every key that ends in ``_ids`` holds token ids.
        positions: how far they reach; None where the model does not say.

    Raises:
        DataError: an example is longer.

    >>> check_positions([{"input_ids": [1, 2, 3]}], 2)
    Traceback (most recent call last):
    ...
    rewardkit.errors.DataError: an example has 3 tokens, and the model reads 2; max_length=2 leaves longer ones out
    """
    longest = max((len(ids) for row in rows for key, ids in row.items() if key.endswith("_ids")), default=0)
    if positions is not None and 0 < positions < longest:
        raise DataError(
            f"an example has {longest} tokens, and the model reads {positions}; max_length={positions} leaves longer "
            "ones out"
        )


def watch_labels(trainer: Any, expected: int) -> None:
    """Assert that in the first epoch the loss sees as many labels as the data has: none lost on the way, none made up.

    Padding, truncation and type casts have each made trainers learn from other labels than those in the data, without
    an error. Runs of one process that begin at step 0 are watched; others share or skip examples.

    Args:
        trainer: with a ``compute_loss_func``; nothing is watched without one.
        expected: labels of all training examples.
    """
    from transformers import TrainerCallback

    inner = trainer.compute_loss_func
    if inner is None or trainer.args.world_size > 1:
        return
    seen: list[Any] = []

    def loss(outputs: Any, labels: Any, num_items_in_batch: Any = None, **more: Any) -> Any:
        if trainer.model.training:
            seen.append((labels != IGNORE).sum())
        return inner(outputs, labels, num_items_in_batch, **more)

    class Watch(TrainerCallback):  # type: ignore[misc]  # transformers is lazily imported and untyped here
        """Counts from the beginning of the training to the end of its first epoch."""

        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step:
                trainer.compute_loss_func = inner

        def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if trainer.compute_loss_func is inner:
                return
            trainer.compute_loss_func = inner
            found = int(sum(seen))
            if state.epoch == 1 and found != expected:
                raise AssertionError(f"the loss saw {found} labels in an epoch, and the data has {expected}")

    trainer.compute_loss_func = loss
    trainer.add_callback(Watch())
