"""Token ids with step boundaries: the one function that training, offline scoring and serving share.

A separator *id* is appended after each step, and its position is remembered. Text is never searched for separators:
tokenizing joined text merges them with their neighbours ("\\n\\n" is one token alone and two behind "x."), and a
question may contain the separator's text. Each step is tokenized by itself, so that the ids of a longer prefix start
with the ids of a shorter one and a server's prefix cache can be read.
"""

from __future__ import annotations

import copy
import re
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any

import numpy as np

from rewardkit.errors import ConfigError, DataError
from rewardkit.types import message_text

SEPARATORS = ("<extra_0>", "<|reserved_special_token_0|>", "<file_sep>", "<|fim_pad|>", "<unused0>", "[unused1]", "ки")
"""Tokens that a text never needs, in order of preference: the first that the tokenizer knows as one id is taken."""


@dataclass(frozen=True, slots=True)
class EncodedSteps:
    """One prompt with its steps, as ids.

    Attributes:
        input_ids: shape (tokens,).
        positions: shape (steps,): the index in `input_ids` of the separator after each step.
    """

    input_ids: tuple[int, ...]
    positions: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.input_ids)

    @property
    def first(self) -> int:
        """The first token whose output is read."""
        return self.positions[0]

    def read(self, rows: np.ndarray) -> np.ndarray:
        """What a model says of each step.

        Args:
            rows: shape (tokens, labels): its output at every token; before `first` they are not looked at.

        Returns:
            Shape (steps, labels).
        """
        values: np.ndarray = rows[list(self.positions)]
        return values


@dataclass(frozen=True, slots=True)
class EncodedSpans(EncodedSteps):
    """Steps that are read as the mean over their own tokens, the separator behind them included.

    Attributes:
        start: the index of the first token of the first step.

    >>> import numpy as np
    >>> EncodedSpans((7, 1, 2, 9, 3, 9), (3, 5), start=1).read(np.array([[0.0], [1], [2], [3], [4], [6]])).tolist()
    [[2.0], [5.0]]
    """

    start: int

    @property
    def spans(self) -> tuple[tuple[int, int], ...]:
        """The first token of each step, and the one behind its separator."""
        return tuple(pairwise((self.start, *(position + 1 for position in self.positions))))

    @property
    def first(self) -> int:
        """The first token whose output is read."""
        return self.start

    def read(self, rows: np.ndarray) -> np.ndarray:
        """See `EncodedSteps.read`."""
        return np.stack([rows[begin:end].mean(axis=0) for begin, end in self.spans])

    def ends(self) -> list[int]:
        """For every token the position at which it is read: that of its step's separator; of a prompt's, its own.

        >>> EncodedSpans((7, 1, 2, 9, 3, 9), (3, 5), start=1).ends()
        [0, 3, 3, 3, 5, 5]
        """
        return [*range(self.start), *(end - 1 for begin, end in self.spans for _ in range(begin, end))]


def encode_spans(
    tokenizer: Any,
    prompt: str | Sequence[Mapping[str, Any]],
    steps: Sequence[str],
    separator_id: int,
    *,
    max_length: int | None = None,
) -> EncodedSpans:
    """The ids of `encode_steps`, each step of which is read over all its tokens.

    Raises:
        DataError: no steps, or longer than `max_length` (nothing is ever cut off).
    """
    before = encode_prompt(tokenizer, prompt)
    made = _with_steps(before, tokenizer, steps, separator_id, max_length)
    return EncodedSpans(made.input_ids, made.positions, len(before))


def encode_steps(
    tokenizer: Any,
    prompt: str | Sequence[Mapping[str, Any]],
    steps: Sequence[str],
    separator_id: int,
    *,
    max_length: int | None = None,
) -> EncodedSteps:
    """Encode a prompt and its steps, with the separator id after each step.

    The prompt goes through the model's own chat template (plain text plus a line break where it has none), each step
    is stripped of outer white space, and no text, however it looks, becomes a special token.

    Args:
        tokenizer: a Hugging Face tokenizer.
        prompt: the question as text, or chat messages.
        steps: the steps' texts, at least one.
        separator_id: appended after each step.
        max_length: the most tokens allowed.

    Raises:
        DataError: no steps, or longer than `max_length` (nothing is ever cut off).
    """
    return _with_steps(encode_prompt(tokenizer, prompt), tokenizer, steps, separator_id, max_length)


def _with_steps(
    prompt: Sequence[int], tokenizer: Any, steps: Sequence[str], separator_id: int, max_length: int | None
) -> EncodedSteps:
    """Steps behind the ids of a prompt."""
    if not steps:
        raise DataError("a response needs at least one step")
    ids = list(prompt)
    positions = []
    for step in steps:
        ids += plain_ids(tokenizer, step.strip())
        positions.append(len(ids))
        ids.append(separator_id)
    if max_length is not None and len(ids) > max_length:
        raise DataError(f"the prompt and its {len(steps)} steps are {len(ids)} tokens, more than {max_length}")
    return EncodedSteps(tuple(ids), tuple(positions))


@dataclass(frozen=True, slots=True)
class EncodedResponse(EncodedSteps):
    """One prompt with its response as the model would write it, as ids.

    Attributes:
        input_ids: shape (tokens,).
        positions: shape (steps,): the index of the last token of each step; of a step without text, that of the step
            before it.
        start: the index of the first token of the response.
    """

    start: int


def encode_response(
    tokenizer: Any,
    prompt: str | Sequence[Mapping[str, Any]],
    steps: Sequence[str],
    *,
    max_length: int | None = None,
) -> EncodedResponse:
    """Encode a prompt and the steps of a response with nothing added between them: what an implicit model reads.

    The text is that of `Trace.response`. Each step is tokenized by itself, so that the ids of a longer response start
    with those of a shorter one; white space between two steps goes to the side on which this tokenizer has it when it
    reads the whole, so that the ids are almost always those of the whole. No end of the turn is added, since a trace
    may have been cut off.

    Args:
        tokenizer: a Hugging Face tokenizer.
        prompt: the question as text, or chat messages.
        steps: the steps' texts, at least one.
        max_length: the most tokens allowed.

    Raises:
        DataError: no steps, a response without text, or longer than `max_length` (nothing is ever cut off).
    """
    if not steps:
        raise DataError("a response needs at least one step")
    ids = encode_prompt(tokenizer, prompt)
    start = len(ids)
    positions = []
    for piece in _pieces(steps, _breaks_end_steps(tokenizer)):
        ids += plain_ids(tokenizer, piece)
        positions.append(len(ids) - 1)
    if len(ids) == start:
        raise DataError("a response without text has no probability")
    if max_length is not None and len(ids) > max_length:
        raise DataError(f"the prompt and its {len(steps)} steps are {len(ids)} tokens, more than {max_length}")
    return EncodedResponse(tuple(ids), tuple(positions), start)


def _pieces(steps: Sequence[str], breaks_end_steps: bool) -> Iterator[str]:
    """The steps' texts, with the white space between two of them on one side.

    >>> list(_pieces(["a.\\n\\n", "b. ", "c", "d"], True)), list(_pieces(["a.\\n\\n", "b. ", "c", "d"], False))
    (['a.\\n\\n', 'b.', ' c', '\\nd'], ['a.', '\\n\\nb.', ' c', '\\nd'])
    """
    before, gap = "", ""
    for step in steps:
        if before and not before[-1].isspace() and not step[:1].isspace():
            gap = "\n"
        body = step.rstrip()
        after = step[len(body) :]
        kept = after.rfind("\n") + 1 if breaks_end_steps and body else 0
        yield gap + body + after[:kept] if body else ""
        gap = after[kept:] if body else gap + after
        before = step or before


def _breaks_end_steps(tokenizer: Any) -> bool:
    """Whether line breaks belong to the tokens before them (Llama 3, Qwen) or to what follows (GPT-2, SmolLM2)."""
    whole, before, after = (plain_ids(tokenizer, text) for text in ("x.\n\nStep", "x.\n\n", "Step"))
    return whole == before + after


def encode_prompt(tokenizer: Any, prompt: str | Sequence[Mapping[str, Any]]) -> list[int]:
    """The ids of the prompt through the chat template, with the contents kept from becoming special tokens.

    The template is rendered with placeholders in place of the contents, so that only its own marks are read as
    special; the contents are tokenized as plain text between them. Generators use it too.

    Args:
        tokenizer: a Hugging Face tokenizer.
        prompt: the question as text, or chat messages.

    Raises:
        ConfigError: the chat template drops or reorders messages.
    """
    if not getattr(tokenizer, "chat_template", None):
        text = prompt if isinstance(prompt, str) else "\n".join(message_text(m) for m in prompt)
        start = [tokenizer.bos_token_id] if tokenizer.bos_token_id is not None else []
        return start + plain_ids(tokenizer, text + "\n")
    pieces, rest = template_pieces(tokenizer, _as_messages(prompt))
    ids: list[int] = []
    for before, content in pieces:
        ids += tokenizer.encode(before, add_special_tokens=False)
        ids += plain_ids(tokenizer, content.strip())
    return ids + list(tokenizer.encode(rest, add_special_tokens=False))


def encode_turns(tokenizer: Any, messages: Sequence[Mapping[str, Any]]) -> list[int]:
    """The ids that a generator goes on from: `encode_prompt`, and behind it a final message of the assistant.

    A begun turn is tokenized paragraph by paragraph, so that the ids of a longer one start with the ids of a shorter
    one that ends with a blank line, and a prefix cache can be read.

    Args:
        tokenizer: a Hugging Face tokenizer.
        messages: the chat; where the last is the assistant's, it is continued and not closed.

    Raises:
        ConfigError: the chat template drops or reorders messages.
    """
    if not messages or messages[-1].get("role") != "assistant":
        return encode_prompt(tokenizer, messages)
    ids = encode_prompt(tokenizer, messages[:-1])
    for paragraph in re.split(r"(?<=\n\n)", message_text(messages[-1])):
        ids += plain_ids(tokenizer, paragraph)
    return ids


def template_pieces(
    tokenizer: Any, messages: Sequence[Mapping[str, Any]], *, open_turn: bool = True
) -> tuple[list[tuple[str, str]], str]:
    """A chat through the template: each content with the template's text before it, and the text behind the last.

    Args:
        tokenizer: a Hugging Face tokenizer with a chat template.
        messages: the chat.
        open_turn: whether that text begins a turn of the assistant.

    Raises:
        ConfigError: the template drops, repeats or reorders messages.
        DataError: it refuses them, as some do a system message.
    """
    contents = [message_text(m) for m in messages]
    marks = [f"\u2402{i}\u2403" for i in range(len(messages))]
    marked = [{**m, "content": mark} for m, mark in zip(messages, marks, strict=True)]
    options = {"add_generation_prompt": open_turn, "tokenize": False, "strftime_now": _DAY.strftime}
    try:
        rest = str(tokenizer.apply_chat_template(marked, **options))
    except Exception as error:  # a template is a program, and raises what it likes
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"the chat template does not take these messages: {reason}") from error
    pieces = []
    for mark, content in zip(marks, contents, strict=True):
        before, found, rest = rest.partition(mark)
        if not found or any(other in before for other in marks):
            raise ConfigError(_BAD_TEMPLATE)
        pieces.append((before, content))
    if any(mark in rest for mark in marks):
        raise ConfigError(_BAD_TEMPLATE)
    return pieces, rest


def _as_messages(prompt: str | Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [{"role": "user", "content": prompt}] if isinstance(prompt, str) else [dict(m) for m in prompt]


def find_separator(tokenizer: Any, wanted: str | None = None) -> tuple[str, int]:
    """The separator token of a tokenizer, as text and id.

    Args:
        tokenizer: a Hugging Face tokenizer.
        wanted: a token to use; None takes the first of `SEPARATORS` that it knows.

    Raises:
        ConfigError: `wanted` is not one token of the tokenizer, or none of `SEPARATORS` is.
    """
    vocabulary: Mapping[str, int] = tokenizer.get_vocab()
    for token in [wanted] if wanted else SEPARATORS:
        if token in vocabulary:
            return token, vocabulary[token]
    if wanted:
        raise ConfigError(f"separator '{wanted}' is not one token of this tokenizer; name one that is")
    raise ConfigError("this tokenizer has no token known to be unused in text; name one with separator=TOKEN")


_DAY = datetime(2024, 7, 26)
"""What templates that write the date (Llama 3.2, SmolLM3) are told, so that a step has the same score tomorrow: the one
that Llama's takes where it can ask nobody."""

_BAD_TEMPLATE = "the chat template drops, repeats or reorders messages, so step positions cannot be trusted"

_plain: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()
_plain_lock = threading.Lock()


def plain_ids(tokenizer: Any, text: str) -> list[int]:
    """The ids of a text in which nothing, however it looks, is a special token.

    Raises:
        DataError: it holds half a surrogate pair.
    """
    if not text:
        return []
    try:
        return list(_plain_copy(tokenizer).encode(text, add_special_tokens=False, split_special_tokens=True))
    except TypeError:  # what the tokenizers library says of them
        raise DataError("the text is not valid Unicode: half a surrogate pair") from None


def _plain_copy(tokenizer: Any) -> Any:
    """A copy that only ever reads text as plain.

    A fast tokenizer keeps ``split_special_tokens`` as state that the next call of any thread overwrites: with one
    tokenizer for both uses, special tokens of a question get through now and then.
    """
    with _plain_lock:
        if tokenizer not in _plain:
            _plain[tokenizer] = copy.deepcopy(tokenizer)
        return _plain[tokenizer]
