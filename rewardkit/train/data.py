"""From labelled traces to training examples: token ids with a float target at each labelled step's separator."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

from rewardkit.errors import DataError
from rewardkit.text.encode import EncodedSpans, EncodedSteps, encode_steps
from rewardkit.train.losses import IGNORE
from rewardkit.types import Meaning, StepLabel, Trace

if TYPE_CHECKING:
    from rewardkit.store.dataset import LabelledTrace
    from rewardkit.train.config import TrainConfig

T = TypeVar("T")

Encode = Callable[[Any, Sequence[str]], EncodedSteps]
"""From a prompt and the texts of its steps to token ids with a position for each step."""


@dataclass(frozen=True, slots=True)
class Example:
    """One trace, ready for training.

    Attributes:
        trace_id: of the trace.
        input_ids: shape (tokens,).
        positions: shape (steps,): where the separators stand.
        targets: shape (steps,): from 0.0 to 1.0, None where the step has no label.
        problem: the id of the problem: what shares a prompt.
        ends: shape (tokens,): at which position each token is read, where steps are read over all their tokens.
    """

    trace_id: str
    input_ids: tuple[int, ...]
    positions: tuple[int, ...]
    targets: tuple[float | None, ...]
    problem: str
    ends: tuple[int, ...] | None = None

    def row(self) -> dict[str, Any]:
        """The example as the collator takes it; ``labels`` and ``ends`` are as long as ``input_ids``."""
        labels = [IGNORE] * len(self.input_ids)
        for position, target in zip(self.positions, self.targets, strict=True):
            if target is not None:
                labels[position] = target
        row = {"input_ids": list(self.input_ids), "labels": labels, "problem": self.problem}
        return row if self.ends is None else {**row, "ends": list(self.ends)}


@dataclass(slots=True)
class Examples:
    """Examples of one split, and what was left out of it.

    Attributes:
        examples: in the order of the data.
        dropped: from a reason to the number of traces left out for it.
    """

    examples: list[Example] = field(default_factory=list)
    dropped: dict[str, int] = field(default_factory=dict)

    def drop(self, reason: str) -> None:
        self.dropped[reason] = self.dropped.get(reason, 0) + 1

    def fill(self, target: float) -> None:
        """Give every step without a label this target: for losses that read unlabelled steps too."""
        self.examples = [
            replace(e, targets=tuple(target if t is None else t for t in e.targets)) for e in self.examples
        ]

    def targets(self) -> list[float]:
        """Every target of every labelled step."""
        return [t for e in self.examples for t in e.targets if t is not None]

    @property
    def labels(self) -> int:
        """How many labels the loss will see in one epoch."""
        return len(self.targets())

    def summary(self) -> str:
        """What it holds, for the model card."""
        targets = self.targets()
        share = sum(targets) / len(targets)
        return f"{len(self.examples)} traces, {len(targets)} labelled steps, {share:.1%} of them correct"

    def counts(self) -> dict[str, Any]:
        """The same as figures, for the manifest."""
        return {"traces": len(self.examples), "labelled_steps": len(self.targets()), "left_out": self.dropped}


def step_splits(config: TrainConfig, rows: Iterable[LabelledTrace], encode: Encode) -> dict[str, Examples]:
    """The examples of ``train`` and ``eval``, within the limits of the config.

    Raises:
        DataError: a split is empty (what was left out, and why, is named), or labels have different meanings.
    """
    splits = {}
    for name, part in split_by_problem(rows, config.held_out).items():
        made = encode_examples(part, encode, sources=config.sources, max_length=config.max_length)
        if not made.examples:
            wanted = f"no trace with a label of {', '.join(config.sources)} in the {name} part"
            counts = f"{len(part)} traces; left out: {made.dropped or 'none'}"
            more = "" if part else "; give more problems, or a larger held_out"
            raise DataError(f"{', '.join(config.data)}: {wanted} ({counts}){more}")
        made.examples = limited(made.examples, config.max_traces if name == "train" else config.max_eval, config.seed)
        splits[name] = made
    return splits


def build_examples(
    rows: Iterable[LabelledTrace], tokenizer: Any, separator_id: int, *, sources: Sequence[str], max_length: int
) -> Examples:
    """`encode_examples` with a separator after each step: what a token head is trained on."""

    def encode(prompt: Any, steps: Sequence[str]) -> EncodedSteps:
        return encode_steps(tokenizer, prompt, steps, separator_id)

    return encode_examples(rows, encode, sources=sources, max_length=max_length)


def encode_examples(
    rows: Iterable[LabelledTrace], encode: Encode, *, sources: Sequence[str], max_length: int
) -> Examples:
    """Encode labelled traces; one without labels, too long or refused by the chat template is left out and counted.

    Args:
        rows: traces with their labels.
        encode: as the trained model will encode what it scores.
        sources: the label sources to use; where several label one step, the first that has an opinion wins.
        max_length: longest example in tokens.

    Raises:
        DataError: the sources' labels have different meanings, which may not be mixed.
    """
    result = Examples()
    meanings: set[Meaning] = set()
    for row in rows:
        labels = choose_labels(row.labels, sources)
        meanings.update(label.meaning for label in labels.values())
        if len(meanings) > 1:
            raise DataError(f"labels of different meaning ({', '.join(sorted(meanings))}) cannot train one model")
        try:
            result.examples.append(_example(row.trace, labels, encode, max_length))
        except DataError as error:
            result.drop(str(error))
    return result


def _example(trace: Trace, labels: Mapping[int, StepLabel], encode: Encode, max_length: int) -> Example:
    """The example of a trace; raises DataError, with the reason, where it is to be left out."""
    texts = [s.text for s in trace.steps]
    if not labels:
        raise DataError("no labelled step")
    if not all(0 <= step < len(texts) for step in labels):
        raise DataError("a label of a step that is not there")
    ids = encode(trace.problem.prompt, texts)
    if len(ids) > max_length:
        raise DataError(f"longer than {max_length} tokens")
    targets = tuple(_target(labels[i]) if i in labels else None for i in range(len(texts)))
    ends = tuple(ids.ends()) if isinstance(ids, EncodedSpans) else None
    return Example(trace.id, ids.input_ids, ids.positions, targets, trace.problem.id, ends)


def choose_labels(labels: Iterable[StepLabel], sources: Sequence[str]) -> Mapping[int, StepLabel]:
    """The label of each step: of the first source that has an opinion; abstentions are none.

    >>> said = [StepLabel("t", 0, None, "logic", "local"), StepLabel("t", 0, 1.0, "judge", "local")]
    >>> choose_labels(said, ["logic", "judge"])[0].source
    'judge'
    """
    chosen: dict[int, StepLabel] = {}
    rank = {source: i for i, source in enumerate(sources)}
    for label in labels:
        if label.source not in rank or label.p_correct is None:
            continue
        held = chosen.get(label.step)
        if held is None or rank[label.source] < rank[held.source]:
            chosen[label.step] = label
    return chosen


def _target(label: StepLabel) -> float | None:
    """As a float: among bools, `IGNORE` would become one too."""
    return None if label.p_correct is None else float(label.p_correct)


def held_out(problem_id: str, fraction: float, seed: int = 0) -> bool:
    """Whether a problem belongs to the held-out part: by the hash of its id, so that every run and stage agrees.

    Splitting by problem, never by step or trace, keeps a seen question out of the evaluation.

    >>> sum(held_out(str(i), 0.2) for i in range(1000))
    208
    """
    digest = hashlib.sha256(f"{seed}:{problem_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") < fraction * 2**64


def split_by_problem(rows: Iterable[LabelledTrace], fraction: float) -> dict[str, list[LabelledTrace]]:
    """Rows into ``train`` and ``eval`` by their problems; see `held_out`."""
    splits: dict[str, list[LabelledTrace]] = {"train": [], "eval": []}
    for row in rows:
        splits["eval" if held_out(row.trace.problem.id, fraction) else "train"].append(row)
    return splits


def limited(items: list[T], most: int | None, seed: int) -> list[T]:
    """At most so many of the items, drawn at random; all of them, in their order, where that is enough.

    >>> limited([1, 2, 3], None, 0), len(limited([1, 2, 3], 2, 0))
    ([1, 2, 3], 2)
    """
    return items if most is None or len(items) <= most else random.Random(seed).sample(items, most)


class Collator:
    """Pads examples on the right; labels with `IGNORE`, the attention mask from the lengths.

    >>> rows = [{"input_ids": [1, 2], "labels": [-100.0, 0.9]}, {"input_ids": [3], "labels": [1.0]}]
    >>> batch = Collator(pad_id=9)(rows)
    >>> batch["input_ids"].tolist(), batch["attention_mask"].tolist()
    ([[1, 2], [3, 9]], [[1, 1], [1, 0]])
    >>> batch["labels"].dtype
    torch.float32
    """

    def __init__(self, pad_id: int) -> None:
        self.pad_id = pad_id

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        import torch

        shape = (len(rows), max(len(r["input_ids"]) for r in rows))
        ids = torch.full(shape, self.pad_id, dtype=torch.long)
        mask = torch.zeros(shape, dtype=torch.long)
        labels = torch.full(shape, IGNORE, dtype=torch.float32)
        for i, row in enumerate(rows):
            n = len(row["input_ids"])
            ids[i, :n] = torch.tensor(row["input_ids"])
            mask[i, :n] = 1
            labels[i, :n] = torch.tensor(row["labels"])
        batch = {"input_ids": ids, "attention_mask": mask, "labels": labels}
        if "ends" in rows[0]:
            batch["ends"] = torch.arange(shape[1]).repeat(shape[0], 1)
            for i, row in enumerate(rows):
                batch["ends"][i, : len(row["ends"])] = torch.tensor(row["ends"])
        return batch
