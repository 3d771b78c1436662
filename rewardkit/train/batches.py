"""Batches of like length: which example comes when, on any number of processes.

The order depends on the seed, the epoch and the number of examples in one optimizer step, not on how they are split
into devices and accumulated parts. So one process and four give the same loss curve at an equal global batch, and a
run that goes on from a checkpoint sees what it would have seen.
"""

from __future__ import annotations

import functools
import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from rewardkit.models.prefixes import tree_tokens
from rewardkit.train.sharing import SharingCollator

POOL = 50
"""Examples are sorted by length within pools of so many global batches, so that chance still mixes them."""

LOOK_AHEAD = 100
"""So many problems of like length are looked at for one that fits into a batch."""


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
        units = self.units(draw)
        draw.shuffle(units)
        lengths = [self.length(unit) for unit in units]
        pool = max(1, POOL * self.batch_size * len(units) // max(len(self), 1))
        ordered: list[int] = []
        for start in range(0, len(units), pool):
            ordered += sorted(range(start, min(start + pool, len(units))), key=lambda i: (-len(units[i]), -lengths[i]))
        batches = list(_filled([units[i] for i in ordered], self.batch_size))
        rest = [batches.pop()] if batches and len(batches[-1]) < self.batch_size else []
        draw.shuffle(batches)
        if batches:
            of_example = {i: length for unit, length in zip(units, lengths, strict=True) for i in unit}
            longest = max(range(len(batches)), key=lambda k: max(of_example[i] for i in batches[k]))
            batches.insert(0, batches.pop(longest))
        for batch in batches + rest:
            yield from batch

    def units(self, draw: random.Random) -> list[list[int]]:
        """What stays together in a batch: here each example is by itself."""
        return [[i] for i in range(len(self))]

    def length(self, unit: Sequence[int]) -> int:
        """By which units are sorted, in tokens."""
        return self.lengths[unit[0]]


class ProblemSampler(GroupedSampler):
    """The same with the examples of one problem together, so that they share their prompt (`SharingCollator`).

    A problem of more examples than a step holds is cut into random parts, which come in different steps.

    Args:
        rows: with ``problem``, what the examples that stay together have in common, and ``input_ids``, and for pairs
            ``rejected_input_ids``.
        batch_size: as above.
        seed: as above.

    >>> rows = [{"input_ids": [1, n], "problem": "ab"[n % 2]} for n in range(4)]
    >>> list(ProblemSampler(rows, batch_size=2))
    [1, 3, 0, 2]
    """

    def __init__(self, rows: Sequence[Mapping[str, Any]], batch_size: int, seed: int = 0) -> None:
        super().__init__([len(row["input_ids"]) for row in rows], batch_size, seed)
        self.rows = rows

    def units(self, draw: random.Random) -> list[list[int]]:
        groups: dict[Any, list[int]] = defaultdict(list)
        for i, row in enumerate(self.rows):
            groups[row.get("problem", i)].append(i)
        for group in groups.values():
            if len(group) > self.batch_size:
                draw.shuffle(group)
        size = self.batch_size
        return [group[i : i + size] for group in groups.values() for i in range(0, len(group), size)]

    def length(self, unit: Sequence[int]) -> int:
        rows = [self.rows[i] for i in unit]
        return tree_tokens([row[key] for row in rows for key in ("input_ids", "rejected_input_ids") if key in row])


def _filled(units: Sequence[Sequence[int]], size: int) -> Iterator[list[int]]:
    """Units in their order into batches of a size; the next one that fits is taken first, and where none does, cut.

    >>> list(_filled([[1, 2], [3, 4], [5], [6, 7]], 3))
    [[1, 2, 5], [3, 4, 6], [7]]
    """
    later = iter(units)
    near = list(islice(later, LOOK_AHEAD))
    batch: list[int] = []
    while near:
        room = size - len(batch)
        k = next((k for k, unit in enumerate(near) if len(unit) <= room), None)
        if k is None:
            batch += near[0][:room]
            near[0] = near[0][room:]
        else:
            batch += near.pop(k)
            near += islice(later, 1)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


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

        shares_prompts = False

        def get_train_dataloader(self) -> Any:
            args = self.args
            step = args.train_batch_size * args.gradient_accumulation_steps * args.world_size
            seed = args.seed if args.data_seed is None else args.data_seed
            rows, collate = self.train_dataset, self.data_collator
            sampler = GroupedSampler([len(row["input_ids"]) for row in rows], step, seed)
            if self.shares_prompts:
                sampler = ProblemSampler(rows, step, seed)
                collate = SharingCollator(collate, self.model.config.get_text_config().hidden_size)
            loader = torch.utils.data.DataLoader(
                rows,
                batch_size=args.train_batch_size,
                sampler=sampler,
                collate_fn=collate,
                pin_memory=args.dataloader_pin_memory,
            )
            return self.accelerator.prepare(loader)

    return GroupedTrainer
