"""From a prompt and its steps to token ids, for each kind of model: shared by training, offline scoring and serving."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from rewardkit.models.spec import RewardModelSpec
from rewardkit.text.encode import EncodedSteps, encode_response, encode_spans, encode_steps
from rewardkit.text.judged import encode_judged
from rewardkit.text.layouts import encode_plain, encode_turn
from rewardkit.types import join_steps

Prompt = str | Sequence[Mapping[str, Any]]

Encode = Callable[[Prompt, Sequence[str]], EncodedSteps]
"""From a prompt (text or chat messages) and the texts of its steps to token ids. Raises DataError."""


def step_encoder(tokenizer: Any, spec: RewardModelSpec, *, max_length: int | None = None) -> Encode:
    """How the input of a model of this spec is made, and at which positions it is read.

    Args:
        tokenizer: a Hugging Face tokenizer.
        spec: of the model; it must have what its kind needs, see ``LocalRewardModel.check_spec``.
        max_length: the most tokens allowed.
    """
    if spec.kind == "implicit":
        encode_open = partial(encode_response, tokenizer, max_length=max_length)
        return encode_open if spec.between is None else _joined(encode_open, spec.between)
    if spec.format == "turn":
        return partial(encode_turn, tokenizer, pad_id=spec.pad_id, max_length=max_length)
    if spec.format == "plain":
        return _plain_encoder(tokenizer, spec, max_length)
    if spec.kind == "generative":
        return _judged_encoder(tokenizer, spec, max_length)
    assert spec.separator_id is not None
    if spec.kind == "token":
        encode: Callable[..., EncodedSteps] = encode_spans if spec.reads == "mean" else encode_steps
    else:
        encode = encode_outcome
    return partial(encode, tokenizer, separator_id=spec.separator_id, max_length=max_length)


def encode_outcome(
    tokenizer: Any, prompt: Prompt, steps: Sequence[str], separator_id: int, *, max_length: int | None = None
) -> EncodedSteps:
    """A prompt and its whole response with one separator id at the end, where the score is read.

    The separator is no padding token: transformers looks for the last token that is none, and of many models the
    token that ends a turn is also the one that pads.

    Raises:
        DataError: longer than `max_length`.
    """
    return encode_steps(tokenizer, prompt, [join_steps(steps)], separator_id, max_length=max_length)


def _joined(encode: Encode, between: str) -> Encode:
    """Steps without their outer white space, and `between` after each but the last."""

    def joined(prompt: Prompt, steps: Sequence[str]) -> EncodedSteps:
        last = len(steps) - 1
        return encode(prompt, [step.strip() + (between if i < last else "") for i, step in enumerate(steps)])

    return joined


def _plain_encoder(tokenizer: Any, spec: RewardModelSpec, max_length: int | None) -> Encode:
    assert spec.separator_id is not None
    given = {"template": spec.template, "between": spec.between}
    options: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    return partial(encode_plain, tokenizer, separator_id=spec.separator_id, max_length=max_length, **options)


def _judged_encoder(tokenizer: Any, spec: RewardModelSpec, max_length: int | None) -> Encode:
    assert spec.layout is not None
    assert spec.template is not None
    return partial(
        encode_judged,
        tokenizer,
        layout=spec.layout,
        template=spec.template,
        history=spec.history,
        separator_id=spec.separator_id,
        max_length=max_length,
    )
