"""What writes the next step of a response: a protocol, and any `Generator` that goes on with an assistant's turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from rewardkit.errors import ConfigError
from rewardkit.generate import Generation, GenerationRequest, Generator, GeneratorConfig, load_generator
from rewardkit.generate.begun import GOING_ON, has_ended, with_body
from rewardkit.generate.prompt import PromptConfig, build_messages
from rewardkit.types import Problem, content_id


@dataclass(frozen=True, slots=True)
class Prefix:
    """A response as far as it is written.

    Attributes:
        problem: that it answers.
        steps: their texts, white space included; a longer prefix begins with exactly the text of a shorter one, so that
            a server's prefix cache can be read.
        sample: tells prefixes apart that are to be continued differently.
    """

    problem: Problem
    steps: tuple[str, ...] = ()
    sample: int = 0

    @property
    def text(self) -> str:
        """The response so far.

        >>> Prefix(Problem.create("?"), ("a\\n\\n", "b")).text
        'a\\n\\nb'
        """
        return "".join(self.steps)


@dataclass(frozen=True, slots=True)
class Continuation:
    """The next step of a prefix.

    Attributes:
        text: of the step, white space included; "" where the response had ended.
        done: the response ends with it.
        tokens: that it cost.
        error: why there is none.
    """

    text: str
    done: bool
    tokens: int = 0
    error: str = ""


class StepGenerator(Protocol):
    """Continues prefixes by one step each, in one batch."""

    def continue_steps(self, prefixes: Sequence[Prefix]) -> list[Continuation]:
        """One continuation a prefix, in the order given. The same batch again gives the same steps."""
        ...


class GeneratorSteps:
    """Steps from a `Generator` that goes on with a final assistant message.

    A step ends behind the separator. What a generator wrote behind it is dropped (an endpoint that stops there writes
    nothing in vain); a response ends where the model stopped by itself.

    Args:
        first: generates from the prompt alone.
        more: goes on with the assistant's turn; None takes `first`.
        prompt: how a question is put.
        separator: between steps.
        seed: of the search.

    Raises:
        ConfigError: the separator is empty.
    """

    def __init__(
        self,
        first: Generator,
        more: Generator | None = None,
        *,
        prompt: PromptConfig | None = None,
        separator: str = "\n\n",
        seed: int = 0,
    ) -> None:
        if not separator:
            raise ConfigError("the separator between steps must not be empty")
        self._first, self._more = first, more or first
        self._prompt, self._separator, self._seed = prompt or PromptConfig(), separator, seed

    def continue_steps(self, prefixes: Sequence[Prefix]) -> list[Continuation]:
        """One step a prefix: new responses and begun ones in a batch each."""
        made: dict[int, Continuation] = {}
        for generator, begun in ((self._first, False), (self._more, True)):
            places = [i for i, prefix in enumerate(prefixes) if bool(prefix.steps) is begun]
            if places:
                answers = generator.generate([self._request(prefixes[i]) for i in places])
                made |= {i: self._step(answer, begun) for i, answer in zip(places, answers, strict=True)}
        return [made[i] for i in range(len(prefixes))]

    def _request(self, prefix: Prefix) -> GenerationRequest:
        messages = build_messages(prefix.problem, self._prompt)
        if prefix.steps:
            messages = (*messages, {"role": "assistant", "content": prefix.text})
        id = content_id("step", prefix.problem.id, prefix.text, prefix.sample, self._seed)
        return GenerationRequest(id, prefix.problem, prefix.sample, messages, int(id[:8], 16))

    def _step(self, answer: Generation, begun: bool) -> Continuation:
        if begun and has_ended(answer):
            return Continuation("", True, answer.tokens)
        if answer.finish_reason == "error":
            return Continuation("", True, answer.tokens, answer.error or "no answer")
        lead = len(answer.text) - len(answer.text.lstrip())
        end = answer.text.find(self._separator, lead)
        if end < 0:
            return Continuation(answer.text, answer.finish_reason == "stop", answer.tokens)
        return Continuation(answer.text[: end + len(self._separator)], False, answer.tokens)


def load_steps(
    config: GeneratorConfig,
    *,
    prompt: PromptConfig | None = None,
    separator: str = "\n\n",
    seed: int = 0,
    load: Callable[[GeneratorConfig], Generator] = load_generator,
) -> GeneratorSteps:
    """Steps from the generator that a config names: an OpenAI-compatible endpoint of vLLM's kind, or transformers.

    An endpoint is asked to stop at the separator and to go on with the assistant's turn (``continue_final_message``,
    which vLLM and SGLang know; OpenAI's own endpoint does not). `load` makes the generator of a config.

    Raises:
        ConfigError: the generator cannot continue a response.
    """
    if config.kind == "openai":
        stop = {"stop": [separator], "include_stop_str_in_output": True}
        first, more = (with_body(config, body) for body in (stop, {**stop, **GOING_ON}))
        return GeneratorSteps(load(first), load(more), prompt=prompt, separator=separator, seed=seed)
    if config.kind == "replay":
        raise ConfigError("recorded responses cannot be continued step by step; use generator.kind=openai, or a method "
                          "over whole responses: majority, best_of_n, weighted_vote")  # fmt: skip
    return GeneratorSteps(load(config), prompt=prompt, separator=separator, seed=seed)


def next_sample(prefix: Prefix, sample: int) -> Prefix:
    """The same prefix, to be continued as another sample.

    >>> next_sample(Prefix(Problem.create("?")), 3).sample
    3
    """
    return replace(prefix, sample=sample)
