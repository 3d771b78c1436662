"""What a model reads of the token ids that a policy wrote: those very ids, and behind each step what this model needs.

A reinforcement learning loop has ids. Decoding them and tokenizing the text again costs time and gives other ids now
and then, so that rewards of tokens would stand at the wrong tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from rewardkit.errors import DataError
from rewardkit.models.spec import RewardModelSpec
from rewardkit.text.encode import EncodedResponse, EncodedSpans, EncodedSteps


def encode_ids(spec: RewardModelSpec, prompt: Sequence[int], steps: Sequence[Sequence[int]]) -> EncodedSteps:
    """The input of a model, with nothing added but its separator behind each step (of an outcome model, the response).

    Args:
        spec: of the model.
        prompt: all that stands before the response, the marks of a chat included.
        steps: the ids of each step, at least one.

    Raises:
        DataError: the model reads what cannot be made of ids, or there is nothing to read.

    >>> encode_ids(RewardModelSpec(kind="token", separator_id=9), [7], [[1, 2], [3]])
    EncodedSteps(input_ids=(7, 1, 2, 9, 3, 9), positions=(3, 5))
    >>> encode_ids(RewardModelSpec(kind="implicit"), [7], [[1, 2], [3]])
    EncodedResponse(input_ids=(7, 1, 2, 3), positions=(2, 3), start=1)
    """
    if spec.layout == "turns":
        raise DataError("this model is asked about each step in a turn of its own, which is made of text: send steps")
    closed = spec.kind == "implicit" or spec.format == "turn"
    behind = [] if closed or spec.separator_id is None else [spec.separator_id]
    ids, positions = list(prompt), []
    for step in steps if spec.scores_steps else [list(chain.from_iterable(steps))]:
        ids += [*step, *behind]
        positions.append(len(ids) - 1)
    if spec.kind == "implicit":
        if len(ids) == len(prompt):
            raise DataError("a response without tokens has no probability")
        return EncodedResponse(tuple(ids), tuple(positions), len(prompt))
    if spec.format == "turn":
        return _without_padding(ids, spec.pad_id)
    if spec.reads == "mean":
        return EncodedSpans(tuple(ids), tuple(positions), len(prompt))
    return EncodedSteps(tuple(ids), tuple(positions))


def check_vocabulary(prompt: Sequence[int], steps: Sequence[Sequence[int]], size: int) -> None:
    """Raise where an id is none of a vocabulary: some engines die of it.

    Raises:
        DataError: the first such id, and where it stands.
    """
    for where, ids in [("prompt_token_ids", prompt), *((f"step_token_ids[{i}]", s) for i, s in enumerate(steps))]:
        if max(ids, default=0) >= size:
            raise DataError(f"{where} holds {max(ids)}, and this model has the tokens 0 to {size - 1}")


def _without_padding(ids: list[int], pad_id: int | None) -> EncodedSteps:
    """Read at the last token that transformers would not pass over as padding."""
    while ids and ids[-1] == pad_id:
        ids.pop()
    if not ids:
        raise DataError("there is nothing but padding")
    return EncodedSteps(tuple(ids), (len(ids) - 1,))
