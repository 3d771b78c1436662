"""From labelled responses to the examples of an outcome reward model: pairs of right and wrong, or single responses."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import TYPE_CHECKING, Any

from rewardkit.errors import DataError
from rewardkit.store.rows import BadRow, Row, Source, read_rows
from rewardkit.train.data import choose_labels

if TYPE_CHECKING:
    from rewardkit.store.dataset import LabelledTrace
    from rewardkit.types import Meaning, StepLabel

PAIR = "preference_row"
"""The key of `Trace.meta` that keeps the two responses of a row of preference data together."""


@dataclass(frozen=True, slots=True)
class Response:
    """One encoded response of a problem with its outcome.

    Attributes:
        group: responses of one group may be paired: those of one problem, or of one row of preference data.
        input_ids: shape (tokens,).
        target: from 0.0 (wrong) to 1.0 (right).
    """

    group: str
    input_ids: tuple[int, ...]
    target: float

    def row(self) -> dict[str, Any]:
        """The example as `OutcomeCollator` takes it."""
        return {"input_ids": list(self.input_ids), "labels": self.target, "problem": self.group}


@dataclass(frozen=True, slots=True)
class Pair:
    """A better and a worse response to one problem."""

    chosen: Response
    rejected: Response

    def row(self) -> dict[str, Any]:
        """Both rows in one, the worse response behind ``rejected_``; the label says that the first is the better."""
        worse = {f"rejected_{name}": value for name, value in self.rejected.row().items()}
        return {**self.chosen.row(), **worse, "labels": 1.0}


@dataclass(slots=True)
class OutcomeExamples:
    """Examples of one split, and what was left out of it.

    Attributes:
        examples: pairs or single responses.
        dropped: from a reason to the number of responses left out for it.
        problems: how many problems the examples are of.
    """

    examples: list[Any] = field(default_factory=list)
    dropped: dict[str, int] = field(default_factory=dict)

    @property
    def labels(self) -> int:
        """How many labels the loss will see in one epoch."""
        return len(self.examples)

    def summary(self) -> str:
        """What it holds, for the model card."""
        if self.examples and isinstance(self.examples[0], Pair):
            groups = len({pair.chosen.group for pair in self.examples})
            return f"{len(self.examples)} pairs of a right and a wrong response, of {groups} problems"
        share = sum(e.target for e in self.examples) / len(self.examples)
        return f"{len(self.examples)} responses, {share:.1%} of them right"

    def counts(self) -> dict[str, Any]:
        """The same as figures, for the manifest."""
        name = "pairs" if self.examples and isinstance(self.examples[0], Pair) else "responses"
        return {name: len(self.examples), "labels": self.labels, "left_out": self.dropped}


def read_outcomes(name: str, source: str, bad: Counter[str]) -> list[LabelledTrace]:
    """The responses of a file of preference data (``prompt, chosen, rejected``) or of labelled completions.

    Args:
        name: a JSON, JSON Lines or Parquet file; rows of TRL's preference or unpaired preference types, texts or
            messages. The ``label`` of a completion may be a bool or, soft, a number from 0 to 1.
        source: the label source that the labels get.
        bad: counts the reasons of rows that cannot be used.

    Raises:
        DataError: the file cannot be read.
    """
    rows: list[LabelledTrace] = []
    for number, (_, row) in enumerate(read_rows(Source(name))):
        try:
            found = _outcomes(row, source)
        except (DataError, ValueError, TypeError) as error:
            bad[f"bad row: {error}"] += 1
            continue
        for item in found:
            trace = item.trace
            if len(found) == 2:
                trace = replace(trace, meta={**trace.meta, PAIR: f"{name}:{number}"})
            rows.append(replace(item, trace=trace))
    return rows


def _outcomes(row: Row | BadRow, source: str) -> list[LabelledTrace]:
    from rewardkit.store.formats import from_trl_preference, from_trl_unpaired
    from rewardkit.store.formats.trl import is_preference

    if isinstance(row, BadRow):
        raise DataError(row.reason.partition(":")[0])
    if is_preference(row):
        return from_trl_preference(row, source)
    if isinstance(row.get("label"), bool | int | float) and row.get("completion"):
        return [from_trl_unpaired(row, source)]
    raise DataError("neither prompt, chosen, rejected nor prompt, completion, label")


def outcome_of(row: LabelledTrace, sources: Sequence[str]) -> StepLabel | None:
    """The label of the whole response: what the first source with an opinion says of its last step.

    Raises:
        DataError: that label judges the last step alone.
    """
    label = choose_labels(row.labels, sources).get(len(row.trace.steps) - 1)
    if label is not None and label.meaning == "local":
        raise DataError(
            f"labels of '{label.source}' judge one step alone (local), which is no outcome; use sources=[answer]"
        )
    return label


def one_meaning(labels: Iterable[StepLabel]) -> Meaning:
    """The meaning that all labels have; ``value`` where there are none.

    Raises:
        DataError: they have several.
    """
    meanings: set[Meaning] = {label.meaning for label in labels}
    if len(meanings) > 1:
        raise DataError(f"labels of different meaning ({', '.join(sorted(meanings))}) cannot train one model")
    return next(iter(meanings), "value")


def make_pairs(responses: Sequence[Response], most: int | None, seed: int) -> OutcomeExamples:
    """Pairs of a right and a wrong response of each group.

    Args:
        responses: with their outcomes; one of exactly 0.5 says nothing and is left out.
        most: pairs of one group at most, drawn at random; None means all.
        seed: of the draw.

    >>> made = make_pairs([Response("p", (1,), 1.0), Response("p", (2,), 0.0), Response("q", (3,), 1.0)], None, 0)
    >>> made.summary(), made.dropped
    ('1 pairs of a right and a wrong response, of 1 problems', {'no wrong response to pair with': 1})
    """
    made, dropped = OutcomeExamples(), Counter[str]()
    groups: dict[str, list[Response]] = defaultdict(list)
    for response in responses:
        groups[response.group].append(response)
    for name, group in groups.items():
        right = [r for r in group if r.target > 0.5]
        wrong = [r for r in group if r.target < 0.5]
        pairs = [Pair(a, b) for a, b in product(right, wrong)]
        if not pairs:
            other = "wrong" if right else "right" if wrong else "decided"
            dropped[f"no {other} response to pair with"] += len(group)
        elif most is not None and len(pairs) > most:
            pairs = random.Random(f"{seed}:{name}").sample(pairs, most)
        made.examples += pairs
    made.dropped = dict(dropped)
    return made


class OutcomeCollator:
    """Pads responses on the right; the two of a pair are neighbours, the better one first.

    Args:
        pad_id: must not be the id at which responses are read.

    >>> pair = Pair(Response("p", (1, 2), 1.0), Response("p", (3,), 0.0))
    >>> batch = OutcomeCollator(9)([pair.row()])
    >>> batch["input_ids"].tolist(), batch["labels"].tolist()
    ([[1, 2], [3, 9]], [1.0])
    """

    def __init__(self, pad_id: int) -> None:
        self.pad_id = pad_id

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        import torch

        sequences = [row[key] for row in rows for key in ("input_ids", "rejected_input_ids") if key in row]
        shape = (len(sequences), max(len(ids) for ids in sequences))
        ids = torch.full(shape, self.pad_id, dtype=torch.long)
        mask = torch.zeros(shape, dtype=torch.long)
        for i, sequence in enumerate(sequences):
            ids[i, : len(sequence)] = torch.tensor(sequence)
            mask[i, : len(sequence)] = 1
        labels = torch.tensor([row["labels"] for row in rows], dtype=torch.float32)
        return {"input_ids": ids, "attention_mask": mask, "labels": labels}
