"""What ``POST /v1/rewards`` takes. A misspelt field is an error, never ignored."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    WrapValidator,
    field_validator,
    model_validator,
)

from rewardkit.errors import ConfigError, DataError
from rewardkit.models.reduce import PATTERN, check_reducer
from rewardkit.text.split import SplitRule

MAX_RESPONSES = 1024
MAX_STEPS = 256
MAX_BODY_BYTES = 8 * 1024 * 1024

Extra = Literal["logits", "raw", "positions", "steps", "tokens"]


def _is_unicode(text: str) -> str:
    """JSON may hold half a surrogate pair, which no tokenizer takes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("not valid Unicode: it holds half a surrogate pair") from None
    return text


Text = Annotated[str, AfterValidator(_is_unicode)]


TokenIds = list[Annotated[int, Field(strict=True, ge=0)]]


def _reducer_without_file(name: str) -> str:
    """No path of a request is opened, so a learned reducer must be given in full."""
    if name.endswith(".json"):
        raise ValueError("give a learned reducer in full (learned:bias=...,min=...), not as a file")
    try:
        return check_reducer(name)
    except ConfigError as error:
        raise ValueError(str(error)) from None


ReducerName = Annotated[
    Text, AfterValidator(_reducer_without_file), WithJsonSchema({"type": "string", "pattern": PATTERN})
]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=False)


class ContentPart(_Strict):
    """One part of a message's content; only text can be scored so far."""

    type: Literal["text"]
    text: Text


class ChatMessage(BaseModel):
    """One chat message as OpenAI has it; further keys (``name``, ...) are passed to the chat template."""

    model_config = ConfigDict(extra="allow", frozen=True)

    role: Text = Field(min_length=1, max_length=64)
    content: Text | list[ContentPart]

    def flat(self) -> dict[str, Any]:
        """The message with its content as one text."""
        parts = self.content if isinstance(self.content, str) else "\n".join(p.text for p in self.content)
        return {**self.model_dump(), "content": parts}


class RewardInput(_Strict):
    """One response to one question.

    Attributes:
        prompt, messages: the question, as text or as chat messages.
        steps, response: the answer, as steps or whole (the server then splits it).
        prompt_token_ids, step_token_ids: both as the ids that a policy read and wrote: all that stands before the
            response, and each of its steps.
    """

    prompt: Text | None = None
    messages: list[ChatMessage] | None = Field(None, min_length=1, max_length=MAX_STEPS)
    steps: list[Text] | None = Field(None, min_length=1, max_length=MAX_STEPS)
    response: Text | None = None
    prompt_token_ids: TokenIds | None = Field(None, min_length=1)
    step_token_ids: list[TokenIds] | None = Field(None, min_length=1, max_length=MAX_STEPS)

    @model_validator(mode="after")
    def _exactly_one(self) -> RewardInput:
        for names in (("prompt", "messages", "prompt_token_ids"), ("steps", "response", "step_token_ids")):
            if sum(getattr(self, name) is not None for name in names) != 1:
                raise ValueError(f"give exactly one of {', '.join(names)}")
        if (self.prompt_token_ids is None) != (self.step_token_ids is None):
            raise ValueError("prompt_token_ids and step_token_ids go together")
        return self

    @property
    def question(self) -> str | list[dict[str, Any]]:
        """The prompt as text or as messages."""
        return [m.flat() for m in self.messages] if self.messages is not None else self.prompt or ""


class BadInput(RewardInput):
    """An input that is none, kept in its place so that the others can be scored.

    Attributes:
        fault: pydantic's first error.
    """

    fault: dict[str, Any] = Field(default_factory=dict, exclude=True)


def _kept(value: Any, handler: ValidatorFunctionWrapHandler) -> RewardInput:
    try:
        good: RewardInput = handler(value)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_context=False, include_input=False)[0]
        return BadInput.model_construct(fault=dict(fault))
    return good


class RewardsRequest(_Strict):
    """The body of ``POST /v1/rewards``.

    Attributes:
        model: the served name; None takes it.
        input: one response or several.
        split_by: how the server splits a whole ``response``: a rule of `rewardkit.text.split`.
        aggregate: how step scores become the response's score; None takes the model's own reducer.
        calibrated: false leaves the model's temperature and bias out of the scores.
        on_error: what an input that cannot be scored does: ``item`` gives it an ``error`` in place of its scores, and
            the others theirs; ``fail`` answers the whole request with that error.
        extras: sent as ``return``: ``logits`` (before activation, a list of labels for each step), ``raw`` (of them the
            positive label's, or an implicit model's reward), ``positions`` (token index of each step's separator),
            ``steps`` (the steps' texts; always given where the server split), ``tokens`` (of an implicit model, the
            ids and rewards of the response's tokens).
        stream: whether each step's score comes as an event of its own when it is known.
        user: for the caller's own records, as in OpenAI's API; unused.
    """

    model: Text | None = None
    input: list[Annotated[RewardInput, WrapValidator(_kept)]] = Field(min_length=1, max_length=MAX_RESPONSES)
    split_by: SplitRule = "auto"
    aggregate: ReducerName | None = None
    calibrated: bool = True
    on_error: Literal["item", "fail"] = "item"
    extras: list[Extra] = Field(default_factory=list, alias="return")
    stream: bool = False
    user: Text | None = None

    @field_validator("input", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: Any) -> Any:
        return [value] if isinstance(value, dict) else value


def rewards_request(body: dict[str, Any]) -> RewardsRequest:
    """A request that another route makes of its own body.

    Raises:
        DataError: a text of it cannot be scored.
    """
    try:
        return RewardsRequest.model_validate(body)
    except ValidationError as error:
        message = str(error.errors(include_url=False, include_input=False)[0]["msg"])
        raise DataError(message.removeprefix("Value error, ")) from None
