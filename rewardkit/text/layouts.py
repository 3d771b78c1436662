"""Token ids in layouts that public models were trained on, beside those of `rewardkit.text.encode`.

``plain``  no chat template: the question, then the steps in a row (Math-Shepherd, Skywork-o1-PRM)
``turn``   the response as a whole turn of the assistant, closed as the chat template closes it (Skywork-Reward, ArmoRM)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rewardkit.errors import DataError
from rewardkit.text.encode import EncodedSteps, plain_ids, template_pieces
from rewardkit.text.judged import split_template
from rewardkit.types import join_steps, message_text

Prompt = str | Sequence[Mapping[str, Any]]


def encode_plain(
    tokenizer: Any,
    prompt: Prompt,
    steps: Sequence[str],
    separator_id: int,
    *,
    template: str = "{problem}\n",
    between: str | None = None,
    max_length: int | None = None,
) -> EncodedSteps:
    """Encode a question and its steps without a chat template, with the separator id after each step.

    The ids are those of the whole text with the separator written out, as such models' cards tokenize it: the token
    that begins a text (BOS) where the tokenizer has one, and a step behind a separator without the blank that some
    tokenizers put before any text. What ends with a line break is tokenized by itself.

    Args:
        tokenizer: a Hugging Face tokenizer.
        prompt: the question as text, or chat messages, whose texts are joined by line breaks.
        steps: the steps' texts, at least one.
        separator_id: appended after each step.
        template: the text before the first step, with ``{problem}`` once.
        between: text behind the separator of a step that another follows.
        max_length: the most tokens allowed.

    Raises:
        ConfigError: the template has not ``{problem}`` once.
        DataError: no steps, or longer than `max_length` (nothing is ever cut off).
    """
    if not steps:
        raise DataError("a response needs at least one step")
    before, after = split_template(template, "sequence")
    question = prompt if isinstance(prompt, str) else "\n".join(message_text(m) for m in prompt)
    head, first = f"{before}{question.strip()}{after}", steps[0].strip()
    ids = [tokenizer.bos_token_id] if tokenizer.bos_token_id is not None else []
    apart = head.endswith("\n")
    ids += [*plain_ids(tokenizer, head), *_behind(tokenizer, first)] if apart else plain_ids(tokenizer, head + first)
    positions = [len(ids)]
    ids.append(separator_id)
    for step in steps[1:]:
        ids += _behind(tokenizer, (between or "") + step.strip())
        positions.append(len(ids))
        ids.append(separator_id)
    _check_length(len(ids), len(steps), max_length)
    return EncodedSteps(tuple(ids), tuple(positions))


def encode_turn(
    tokenizer: Any,
    prompt: Prompt,
    steps: Sequence[str],
    *,
    pad_id: int | None = None,
    max_length: int | None = None,
) -> EncodedSteps:
    """Encode a chat whose last, closed turn is the response; its one position is the last token.

    Args:
        tokenizer: a Hugging Face tokenizer with a chat template.
        prompt: the question as text, or chat messages.
        steps: the steps' texts, at least one; they are joined as `Trace.response` joins them.
        pad_id: left out at the end: transformers reads the last token that is not this one, and what stands behind it
            is never looked at.
        max_length: the most tokens allowed.

    Raises:
        ConfigError: the chat template drops or reorders messages.
        DataError: no steps, or longer than `max_length` (nothing is ever cut off).
    """
    if not steps:
        raise DataError("a response needs at least one step")
    messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else [dict(m) for m in prompt]
    messages.append({"role": "assistant", "content": join_steps(steps)})
    pieces, rest = template_pieces(tokenizer, messages, open_turn=False)
    ids: list[int] = []
    for before, content in pieces:
        ids += tokenizer.encode(before, add_special_tokens=False)
        ids += plain_ids(tokenizer, content.strip())
    ids += tokenizer.encode(rest, add_special_tokens=False)
    while pad_id is not None and ids and ids[-1] == pad_id:
        ids.pop()
    _check_length(len(ids), len(steps), max_length)
    return EncodedSteps(tuple(ids), (len(ids) - 1,))


def _behind(tokenizer: Any, text: str) -> list[int]:
    """The ids of a text that stands behind another, without the blank that SentencePiece puts before any text."""
    mark = plain_ids(tokenizer, "\n")
    whole = plain_ids(tokenizer, "\n" + text)
    return whole[len(mark) :] if whole[: len(mark)] == mark else plain_ids(tokenizer, text)


def _check_length(tokens: int, steps: int, max_length: int | None) -> None:
    if max_length is not None and tokens > max_length:
        raise DataError(f"the prompt and its {steps} steps are {tokens} tokens, more than {max_length}")
