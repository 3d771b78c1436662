"""Token ids for a generative judge of steps: where the next token is the verdict on a step.

Two layouts, each with one sequence and one forward pass for all steps of a response:

``turns``     a user turn for each step, and the verdict as the assistant's turn (FoVer, arXiv 2505.15960)
``sequence``  the steps in a row, with a separator id after each, whose next token is the verdict (Math-Shepherd)

What stands in the place of earlier verdicts is the same for every step and every response (``history``, or the
separator alone): a model that saw true labels there in training would learn from them and miss them when it scores. So
training and scoring call this one function with the same arguments, and neither ever sees a label.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from rewardkit.errors import ConfigError, DataError
from rewardkit.text.encode import EncodedSteps, encode_steps, plain_ids, template_pieces
from rewardkit.types import message_text

Layout = Literal["turns", "sequence"]


def encode_judged(
    tokenizer: Any,
    prompt: str | Sequence[Mapping[str, Any]],
    steps: Sequence[str],
    *,
    layout: Layout,
    template: str,
    history: str | None = None,
    separator_id: int | None = None,
    max_length: int | None = None,
) -> EncodedSteps:
    """Encode a prompt and its steps; the logits at each position are those of the verdict on a step.

    Args:
        tokenizer: a Hugging Face tokenizer.
        prompt: the question as text, or chat messages.
        steps: the steps' texts, at least one.
        layout: ``turns`` or ``sequence``.
        template: the text of the first turn, with ``{problem}`` once and, in ``turns``, ``{step}`` once behind it.
        history: in ``turns``, what stands for each earlier verdict.
        separator_id: in ``sequence``, appended after each step.
        max_length: the most tokens allowed.

    Raises:
        ConfigError: the template lacks a mark, or the chat template writes earlier turns in another way than the last.
        DataError: no steps, or longer than `max_length` (nothing is ever cut off).
    """
    if not steps:
        raise DataError("a response needs at least one step")
    if layout == "sequence":
        if separator_id is None:
            raise ConfigError("the layout 'sequence' needs a separator id")
        asked = _ask(prompt, *split_template(template, layout))
        return encode_steps(tokenizer, asked, steps, separator_id, max_length=max_length)
    if history is None:
        raise ConfigError("the layout 'turns' needs a history: what stands for each earlier verdict")
    before, between, after = split_template(template, layout)
    first = _ask(prompt, before, f"{between}{steps[0].strip()}{after}")
    encoded = _encode_turns(tokenizer, first, steps[1:], history)
    if max_length is not None and len(encoded) > max_length:
        raise DataError(f"the prompt and its {len(steps)} steps are {len(encoded)} tokens, more than {max_length}")
    return encoded


def split_template(template: str, layout: Layout) -> tuple[str, ...]:
    """The texts around ``{problem}`` and, in ``turns``, ``{step}``.

    Raises:
        ConfigError: a mark is missing, or stands there twice or in another order.

    >>> split_template("Q: {problem} A: {step}", "turns")
    ('Q: ', ' A: ', '')
    """
    marks = ("{problem}", "{step}") if layout == "turns" else ("{problem}",)
    parts = [template]
    for mark in marks:
        parts[-1:] = parts[-1].split(mark)
    if len(parts) != len(marks) + 1:
        raise ConfigError(f"template: {' and '.join(marks)} must stand in it once each, in this order")
    return tuple(parts)


def _ask(prompt: str | Sequence[Mapping[str, Any]], before: str, after: str) -> str | list[Mapping[str, Any]]:
    """The prompt with texts around the question, which is its last message."""
    if isinstance(prompt, str):
        return f"{before}{prompt.strip()}{after}"
    *earlier, last = prompt
    return [*earlier, {**last, "content": f"{before}{message_text(last).strip()}{after}"}]


def _encode_turns(
    tokenizer: Any, first: str | list[Mapping[str, Any]], steps: Sequence[str], history: str
) -> EncodedSteps:
    if not getattr(tokenizer, "chat_template", None):
        raise ConfigError("this tokenizer has no chat template for the layout 'turns'; use layout=sequence")
    messages = [{"role": "user", "content": first}] if isinstance(first, str) else list(first)
    verdict = {"role": "assistant", "content": history}
    asked = len(messages)
    for step in steps:
        messages += [verdict, {"role": "user", "content": step}]
    pieces, rest = template_pieces(tokenizer, messages)
    ids: list[int] = []
    positions = []
    for number, (before, content) in enumerate(pieces):
        ids += tokenizer.encode(before, add_special_tokens=False)
        if number >= asked and (number - asked) % 2 == 0:
            if before != rest:
                raise ConfigError(_OTHER_HISTORY)
            positions.append(len(ids) - 1)
        ids += plain_ids(tokenizer, content.strip())
    ids += tokenizer.encode(rest, add_special_tokens=False)
    return EncodedSteps(tuple(ids), (*positions, len(ids) - 1))


def find_labels(tokenizer: Any, labels: Sequence[str | int]) -> tuple[int, int]:
    """The ids of the two tokens that tell (correct, incorrect) apart: the first token of each word, or ids as given.

    Args:
        tokenizer: a Hugging Face tokenizer.
        labels: two words, tokens or ids, in the order (correct, incorrect).

    Raises:
        ConfigError: not two, an id that the tokenizer has not, or the two begin with the same token.
    """
    if len(labels) != 2:
        raise ConfigError(f"labels must be two words or token ids, (correct, incorrect), not {len(labels)}")
    right, wrong = (_first_id(tokenizer, label) for label in labels)
    if right == wrong:
        token = tokenizer.convert_ids_to_tokens(right)
        raise ConfigError(
            f"labels '{labels[0]}' and '{labels[1]}' both begin with the token '{token}', so the next token "
            "cannot tell them apart; take words that begin differently"
        )
    return right, wrong


def _first_id(tokenizer: Any, label: str | int) -> int:
    if isinstance(label, int):
        if not 0 <= label < len(tokenizer):
            raise ConfigError(f"label id {label} is not one of the tokenizer's {len(tokenizer)} tokens")
        return label
    vocabulary: Mapping[str, int] = tokenizer.get_vocab()
    if label in vocabulary:
        return vocabulary[label]
    ids = plain_ids(tokenizer, label)
    if not ids:
        raise ConfigError("a label is empty; give a word such as 'correct', or a token id")
    return ids[0]


_OTHER_HISTORY = (
    "this chat template writes an earlier assistant turn in another way than it begins a new one, so that not every "
    "verdict would be asked for alike; use layout=sequence"
)
