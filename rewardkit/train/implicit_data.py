"""Responses with outcomes, and pairs of them: what an implicit process reward model learns from. No step labels."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from rewardkit.errors import DataError
from rewardkit.models.logprobs import pad_responses
from rewardkit.text.encode import encode_response
from rewardkit.train.pairs import PAIR, Response, outcome_of

if TYPE_CHECKING:
    from rewardkit.store.dataset import LabelledTrace

R = TypeVar("R", bound=Response)

Outcome = Literal["answer", "mean", "last"]
"""Where the label of a response comes from: ``answer`` the one of its last step, if that is of the whole response, as
the `answer` labeler's is; ``mean`` of all its step labels; ``last`` the one of the last step that has any."""


@dataclass(frozen=True, slots=True)
class ImplicitResponse(Response):
    """One response, ready for training.

    Attributes:
        start: the index in ``input_ids`` where the response starts.
        mismatched: the ids of its prompt before the response of another example; for KTO alone.
    """

    start: int
    mismatched: tuple[int, ...] = ()

    def row(self) -> dict[str, Any]:
        """The response as `ResponseCollator` takes it, but for the reference log-probabilities."""
        row = {**Response.row(self), "start": self.start}
        if self.mismatched:
            row |= {"mismatched_input_ids": list(self.mismatched), "mismatched_start": self.start}
        return row


def build_responses(
    rows: Iterable[LabelledTrace],
    tokenizer: Any,
    *,
    sources: Sequence[str],
    outcome: Outcome = "answer",
    max_length: int,
) -> tuple[list[ImplicitResponse], Counter[str]]:
    """Encode the traces that have an outcome; one without, or too long, is left out and counted, never cut.

    Args:
        rows: traces with their labels.
        tokenizer: of the model to be trained.
        sources: the label sources to use; the first that has an opinion wins.
        outcome: where the label of a response comes from.
        max_length: longest example in tokens.

    Returns:
        The responses, and from a reason to the number of traces left out for it.

    Raises:
        DataError: with ``answer``, labels of single steps (meaning ``local``).
    """
    made, dropped = [], Counter[str]()
    for row in rows:
        target = outcome_target(row, sources, outcome)
        texts = [step.text for step in row.trace.steps]
        if target is None or not "".join(texts).strip():
            dropped["no label of the whole response" if target is None else "no text"] += 1
            continue
        try:
            encoded = encode_response(tokenizer, row.trace.problem.prompt, texts)
        except DataError as error:
            dropped[str(error)] += 1
            continue
        if len(encoded) > max_length:
            dropped[f"longer than {max_length} tokens"] += 1
            continue
        group = str(row.trace.meta.get(PAIR, row.trace.problem.id))
        made.append(ImplicitResponse(group, encoded.input_ids, target, encoded.start))
    return made, dropped


def outcome_target(row: LabelledTrace, sources: Sequence[str], outcome: Outcome) -> float | None:
    """How right a response is, from 0.0 to 1.0, by the first source that says so; None where none does.

    Labels of steps say nothing of the outcome by themselves: ``mean`` and ``last`` are for those who know why.

    Raises:
        DataError: with ``answer``, the label of the last step judges that step alone.
    """
    if outcome == "answer":
        label = outcome_of(row, sources)
        return None if label is None else label.p_correct
    for source in sources:
        found = {x.step: x.p_correct for x in row.labels if x.source == source and x.p_correct is not None}
        if found:
            return sum(found.values()) / len(found) if outcome == "mean" else found[max(found)]
    return None


def balanced(responses: Sequence[R], seed: int) -> list[R]:
    """As many right (from 0.5 on) as wrong responses: of the more frequent a random part, in the order given."""
    right = [i for i, r in enumerate(responses) if r.target >= 0.5]
    wrong = [i for i, r in enumerate(responses) if r.target < 0.5]
    size = min(len(right), len(wrong))
    draw = random.Random(seed)
    return [responses[i] for i in sorted(draw.sample(right, size) + draw.sample(wrong, size))]


def with_mismatches(responses: Sequence[ImplicitResponse], max_length: int) -> list[ImplicitResponse]:
    """Give each response a partner half the data away: its own prompt with the partner's response, for KTO's KL.

    Fixed beforehand, so that the reference log-probabilities of these can be kept too. TRL takes the neighbour in the
    batch. What is longer than `max_length` loses its end; of an estimate of the KL that does no harm.
    """
    made = []
    for i, mine in enumerate(responses):
        other = responses[(i + max(1, len(responses) // 2)) % len(responses)]
        ids = mine.input_ids[: mine.start] + other.input_ids[other.start :]
        made.append(replace(mine, mismatched=ids[:max_length]))
    return made


class ResponseCollator:
    """From rows to tensors: of pairs first all better responses, then all worse ones.

    Every row has been given ``reference``, its summed log-probability under the reference model.
    """

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """``input_ids``, ``starts``, ``lengths``, ``reference`` a response; ``labels`` a response or a pair."""
        import torch

        pairs = "rejected_input_ids" in rows[0]
        batch = {**_tensors([*_parts(rows), *(_parts(rows, "rejected_") if pairs else [])])}
        if "mismatched_input_ids" in rows[0]:
            batch |= {f"mismatched_{name}": value for name, value in _tensors(_parts(rows, "mismatched_")).items()}
        return {**batch, "labels": torch.tensor([row["labels"] for row in rows], dtype=torch.float32)}


def _parts(rows: Sequence[Mapping[str, Any]], prefix: str = "") -> list[tuple[list[int], int, float]]:
    return [(row[f"{prefix}input_ids"], row[f"{prefix}start"], row[f"{prefix}reference"]) for row in rows]


def _tensors(parts: Sequence[tuple[list[int], int, float]]) -> dict[str, Any]:
    import torch

    batch = pad_responses([(ids, start) for ids, start, _ in parts])
    tensors = {"input_ids": batch.input_ids, "starts": batch.starts, "lengths": batch.lengths}
    return {**tensors, "reference": torch.tensor([reference for *_, reference in parts])}
