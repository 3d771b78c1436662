"""Batches of like length: which example comes when, on any number of processes.

The order depends on the seed, the epoch and the number of examples in one optimizer step, not on how they are split
into devices and accumulated parts. So one process and four give the same loss curve at an equal global batch, and a
run that goes on from a checkpoint sees what it would have seen.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Iterator, Sequence
from typing import Any

POOL = 50
"""Examples are sorted by length within pools of so many global batches, so that chance still mixes them."""


class GroupedSampler:
    """The order of the examples, for torch's DataLoader: neighbours are of like length, batches come in random order.

    The longest batch is the first, so that memory runs out at once or never; a batch that is not full is the last.

    Args:
        lengths: of the examples, in tokens.
        batch_size: the examples of one optimizer step, over all devices and accumulated parts.
        seed: of the order; each epoch has its own.

    >>> sampler = GroupedSampler([5, 1, 9, 2, 8, 1], batch_size=2, seed=0)
    >>> list(sampler)
    [2, 4, 0, 3, 1, 5]
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int = 0) -> None:
        self.lengths = lengths
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by accelerate before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        draw = random.Random(f"{self.seed}:{self.epoch}")
        order = list(range(len(self.lengths)))
        draw.shuffle(order)
        pool = POOL * self.batch_size
        batches: list[list[int]] = []
        for start in range(0, len(order), pool):
            grouped = sorted(order[start : start + pool], key=lambda i: -self.lengths[i])
            batches += [grouped[i : i + self.batch_size] for i in range(0, len(grouped), self.batch_size)]
        rest = [batches.pop()] if batches and len(batches[-1]) < self.batch_size else []
        draw.shuffle(batches)
        if batches:
            longest = max(range(len(batches)), key=lambda k: self.lengths[batches[k][0]])
            batches.insert(0, batches.pop(longest))
        for batch in batches + rest:
            yield from batch


def grouped_trainer(**arguments: Any) -> Any:
    """A `transformers.Trainer` whose training batches come from `GroupedSampler`; evaluation is as it was.

    Args:
        arguments: of the Trainer; ``train_dataset`` is a list of rows with ``input_ids``.
    """
    return grouped_trainer_class()(**arguments)


@functools.cache
def grouped_trainer_class() -> Any:
    """The class behind `grouped_trainer`, for kinds that override more of it; made at first use, as torch is late."""
    import torch
    from transformers import Trainer

    class GroupedTrainer(Trainer):  # type: ignore[misc]  # transformers is lazily imported and untyped here
        """Overrides the one method that the Trainer documents for it."""

        def get_train_dataloader(self) -> Any:
            args = self.args
            step = args.train_batch_size * args.gradient_accumulation_steps * args.world_size
            seed = args.seed if args.data_seed is None else args.data_seed
            lengths = [len(row["input_ids"]) for row in self.train_dataset]
            loader = torch.utils.data.DataLoader(
                self.train_dataset,
                batch_size=args.train_batch_size,
                sampler=GroupedSampler(lengths, step, seed),
                collate_fn=self.data_collator,
                pin_memory=args.dataloader_pin_memory,
            )
            return self.accelerator.prepare(loader)

    return GroupedTrainer
