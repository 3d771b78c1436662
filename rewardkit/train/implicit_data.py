"""Responses with outcomes, and pairs of them: what an implicit process reward model learns from. No step labels."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from rewardkit.errors import DataError
from rewardkit.models.logprobs import pad_responses
from rewardkit.text.encode import EncodedResponse, encode_response

if TYPE_CHECKING:
    from rewardkit.store.dataset import LabelledTrace

Outcome = Literal["answer", "mean", "last"]
"""Where the label of a response comes from: ``answer`` the ``value`` label of its last step (the `answer` labeler's);
``mean`` of all its step labels; ``last`` the one of the last step that has any."""


@dataclass(frozen=True, slots=True)
class Response:
    """One response, ready for training.

    Attributes:
        problem_id: of its problem.
        encoded: its ids.
        target: how right it is, from 0.0 to 1.0.
        mismatched: its prompt before the response of another example; for KTO alone.
    """

    problem_id: str
    encoded: EncodedResponse
    target: float
    mismatched: EncodedResponse | None = None

    def row(self) -> dict[str, Any]:
        """The response as `ResponseCollator` takes it, without its reference log-probabilities."""
        row = {"input_ids": list(self.encoded.input_ids), "start": self.encoded.start, "labels": self.target}
        if self.mismatched is not None:
            row["mismatched"] = {"input_ids": list(self.mismatched.input_ids), "start": self.mismatched.start}
        return row


@dataclass(frozen=True, slots=True)
class Pair:
    """A right and a wrong response to one problem."""

    chosen: Response
    rejected: Response

    def row(self) -> dict[str, Any]:
        """The pair as `ResponseCollator` takes it; ``input_ids`` are those of the chosen response."""
        return {**self.chosen.row(), "labels": 1.0, "rejected": self.rejected.row()}


@dataclass(slots=True)
class Responses:
    """Responses or pairs of one split, and what was left out of it.

    Attributes:
        examples: all responses, or all pairs.
        dropped: from a reason to the number of traces left out for it.
    """

    examples: list[Any] = field(default_factory=list)
    dropped: dict[str, int] = field(default_factory=dict)

    def drop(self, reason: str) -> None:
        self.dropped[reason] = self.dropped.get(reason, 0) + 1

    @property
    def labels(self) -> int:
        """How many labels the loss will see in one epoch: one a response, or one a pair."""
        return len(self.examples)

    def summary(self) -> str:
        """What it holds, for the model card."""
        counts = self.counts()
        if "pairs" in counts:
            return f"{counts['pairs']} pairs of responses to {counts['problems']} problems"
        share = counts["right"] / counts["responses"]
        return f"{counts['responses']} responses to {counts['problems']} problems, {share:.1%} of them right"

    def counts(self) -> dict[str, Any]:
        """The same as figures, for the manifest."""
        pairs = [e for e in self.examples if isinstance(e, Pair)]
        if pairs:
            problems = {p.chosen.problem_id for p in pairs}
            return {"pairs": len(pairs), "problems": len(problems), "left_out": self.dropped}
        right = sum(e.target >= 0.5 for e in self.examples)
        problems = {e.problem_id for e in self.examples}
        counts = {"responses": len(self.examples), "right": right, "problems": len(problems)}
        return {**counts, "left_out": self.dropped}


def build_responses(
    rows: Iterable[LabelledTrace],
    tokenizer: Any,
    *,
    sources: Sequence[str],
    outcome: Outcome = "answer",
    max_length: int,
) -> Responses:
    """Encode the traces that have an outcome; one without, or too long, is left out and counted, never cut.

    Args:
        rows: traces with their labels.
        tokenizer: of the model to be trained.
        sources: the label sources to use; the first that has an opinion wins.
        outcome: where the label of a response comes from.
        max_length: longest example in tokens.
    """
    result = Responses()
    for row in rows:
        target = outcome_target(row, sources, outcome)
        if target is None:
            result.drop("no outcome label")
            continue
        texts = [step.text for step in row.trace.steps]
        try:
            encoded = encode_response(tokenizer, row.trace.problem.prompt, texts, max_length=max_length)
        except DataError as error:
            long = "more than" in str(error)
            result.drop(f"longer than {max_length} tokens" if long else "no text")
            continue
        result.examples.append(Response(row.trace.problem.id, encoded, target))
    return result


def outcome_target(row: LabelledTrace, sources: Sequence[str], outcome: Outcome) -> float | None:
    """How right a response is, from 0.0 to 1.0, by the first source that says so; None where none does.

    Labels of steps say nothing of the outcome by themselves: ``mean`` and ``last`` are for those who know why.
    """
    last = len(row.trace.steps) - 1
    for source in sources:
        said = [(x.step, x.p_correct) for x in row.labels if x.source == source and x.p_correct is not None]
        if outcome == "answer":
            said = [
                (x.step, x.p_correct) for x in row.labels if (x.source, x.step, x.meaning) == (source, last, "value")
            ]
        values = [p for _, p in sorted(said, key=lambda found: found[0]) if p is not None]
        if values:
            return sum(values) / len(values) if outcome == "mean" else values[-1]
    return None


def make_pairs(responses: Sequence[Response], most: int, seed: int) -> list[Pair]:
    """Every right response (from 0.5 on) with every wrong one of the same problem, at most so many a problem.

    Args:
        responses: of any problems, in any order.
        most: pairs of one problem; more are drawn from at random.
        seed: of that draw.
    """
    groups: dict[str, tuple[list[Response], list[Response]]] = {}
    for response in responses:
        groups.setdefault(response.problem_id, ([], []))[0 if response.target >= 0.5 else 1].append(response)
    made = []
    for problem_id, (right, wrong) in groups.items():
        pairs = [Pair(chosen, rejected) for chosen in right for rejected in wrong]
        made += pairs if len(pairs) <= most else random.Random(f"{seed}:{problem_id}").sample(pairs, most)
    return made


def balanced(responses: Sequence[Response], seed: int) -> list[Response]:
    """As many right as wrong responses: of the more frequent kind a random part, in the order given."""
    right = [i for i, r in enumerate(responses) if r.target >= 0.5]
    wrong = [i for i, r in enumerate(responses) if r.target < 0.5]
    size = min(len(right), len(wrong))
    draw = random.Random(seed)
    return [responses[i] for i in sorted(draw.sample(right, size) + draw.sample(wrong, size))]


def with_mismatches(responses: Sequence[Response], max_length: int) -> list[Response]:
    """Give each response a partner half the data away: its own prompt with the partner's response, for KTO's KL.

    Fixed beforehand, so that the reference log-probabilities of these can be kept too. TRL takes the neighbour in the
    batch. What is longer than `max_length` loses its end; of an estimate of the KL that does no harm.
    """
    made = []
    for i, mine in enumerate(responses):
        other = responses[(i + max(1, len(responses) // 2)) % len(responses)].encoded
        start = mine.encoded.start
        ids = (mine.encoded.input_ids[:start] + other.input_ids[other.start :])[:max_length]
        made.append(Response(mine.problem_id, mine.encoded, mine.target, EncodedResponse(ids, (), start)))
    return made


class ResponseCollator:
    """From rows to tensors: of pairs first all chosen responses, then all rejected ones.

    Every row has been given ``reference``, its summed log-probability under the reference model.
    """

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """``input_ids``, ``starts``, ``lengths``, ``reference`` a response; ``labels`` a response or a pair."""
        import torch

        responses = [*rows, *(row["rejected"] for row in rows if "rejected" in row)]
        batch = {**_tensors(responses), "labels": torch.tensor([row["labels"] for row in rows])}
        if "mismatched" in rows[0]:
            batch |= {f"mismatched_{k}": v for k, v in _tensors([row["mismatched"] for row in rows]).items()}
        return batch


def _tensors(responses: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    import torch

    batch = pad_responses([(r["input_ids"], r["start"]) for r in responses])._asdict()
    return {**batch, "reference": torch.tensor([r["reference"] for r in responses])}
