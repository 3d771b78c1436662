"""From a problem to the chat that a model sees: a system message, few-shot examples, the question in a template."""

from __future__ import annotations

import re
from typing import Any

from pydantic import field_validator

from rewardkit.config import Config
from rewardkit.images import check_chat, image_parts, with_text
from rewardkit.types import Message, Problem

_PLACE = re.compile(r"\{\{ ?problem ?\}\}")


class Example(Config):
    """One worked example, shown as a turn of the chat."""

    problem: str
    response: str


class PromptConfig(Config):
    """How a question is put.

    Attributes:
        system: the system message, if any.
        template: the user's message; ``{{ problem }}`` in it becomes the question.
        examples: shown before the question as turns of the same shape.
    """

    system: str | None = None
    template: str = "{{ problem }}"
    examples: tuple[Example, ...] = ()

    @field_validator("template")
    @classmethod
    def _has_place(cls, template: str) -> str:
        if not _PLACE.search(template):
            raise ValueError("the template must hold {{ problem }}")
        return template


def build_messages(problem: Problem, prompt: PromptConfig) -> tuple[Message, ...]:
    """The chat for one problem.

    The template is not a program: the question is put in as it is, whatever it contains. A problem that is a chat
    already follows the examples as it is, without the template. Images stand before the question.

    Raises:
        DataError: an image is a path or no image, or a chat holds a URL; see `rewardkit.images`.

    >>> config = PromptConfig(template="Solve: {{ problem }}")
    >>> build_messages(Problem.create("1+1? {{ problem }}"), config)
    ({'role': 'user', 'content': 'Solve: 1+1? {{ problem }}'},)
    """
    messages: list[Message] = []
    if prompt.system is not None:
        messages.append({"role": "system", "content": prompt.system})
    for example in prompt.examples:
        messages.append({"role": "user", "content": _fill(prompt.template, example.problem)})
        messages.append({"role": "assistant", "content": example.response.strip()})
    if isinstance(problem.prompt, str):
        messages.append({"role": "user", "content": with_text(problem, _fill(prompt.template, problem.prompt))})
        return tuple(messages)
    check_chat(problem.prompt)
    shown = image_parts(problem)
    for message in problem.prompt:
        if shown and message.get("role") == "user":  # the images of a chat stand in its first question
            message, shown = {**message, "content": [*shown, *_parts(message)]}, []
        messages.append(message)
    return tuple(messages)


def _parts(message: Message) -> list[Any]:
    content = message.get("content") or ""
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content)


def _fill(template: str, text: str) -> str:
    return _PLACE.sub(lambda _: text, template)
