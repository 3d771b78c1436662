"""OpenAI's graders as ``POST /v1/fine_tuning/alpha/graders/run`` and ``/validate`` take them."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from rewardkit.server.schema import MAX_STEPS, Text
from rewardkit.server.similarity import MAX_CHARACTERS

MAX_GRADERS = 32
_NAME = Annotated[Text, Field(min_length=1, max_length=200)]

Metric = Literal[
    "cosine", "fuzzy_match", "bleu", "gleu", "meteor",
    "rouge_1", "rouge_2", "rouge_3", "rouge_4", "rouge_5", "rouge_l",
]  # fmt: skip


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class InputText(_Strict):
    """One text block of a message; images and audio are not scored."""

    type: Literal["input_text", "output_text", "text"]
    text: Text


class GraderMessage(_Strict):
    """A message that a model grader is given; its content is a template."""

    role: Literal["user", "assistant", "system", "developer"]
    content: Text | InputText | list[Text | InputText]
    type: Literal["message"] | None = None

    @property
    def text(self) -> str:
        """The content as one template."""
        blocks = self.content if isinstance(self.content, list) else [self.content]
        return "\n".join(b if isinstance(b, str) else b.text for b in blocks)


class StringCheckGrader(_Strict):
    """1 or 0: equal, not equal, contains, contains in any case."""

    type: Literal["string_check"]
    name: _NAME
    input: Text
    reference: Text
    operation: Literal["eq", "ne", "neq", "like", "ilike"]


class TextSimilarityGrader(_Strict):
    """See `rewardkit.server.similarity`."""

    type: Literal["text_similarity"]
    name: _NAME
    input: Text
    reference: Text
    evaluation_metric: Metric
    pass_threshold: float | None = None  # of OpenAI's evals; unused


class ScoreModelGrader(_Strict):
    """A score by the served reward model or by a verifier.

    Attributes:
        range: the scale of the answer; our scores, 0 to 1, are stretched to it.
        sampling_params: of OpenAI's API; our models do not sample, so unused.
    """

    type: Literal["score_model"]
    name: _NAME
    model: _NAME
    input: list[GraderMessage] = Field(min_length=1, max_length=MAX_STEPS)
    range: tuple[float, float] | None = None
    sampling_params: dict[str, Any] | None = None
    pass_threshold: float | None = None  # of OpenAI's evals; unused

    @field_validator("range")
    @classmethod
    def _two_in_order(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and not (math.isfinite(value[0]) and math.isfinite(value[1]) and value[0] < value[1]):
            raise ValueError("give two finite numbers, the lower first")
        return value


class LabelModelGrader(_Strict):
    """1 or 0: whether the model's label is a passing one. A reward model has two: passing from 0.5."""

    type: Literal["label_model"]
    name: _NAME
    model: _NAME
    input: list[GraderMessage] = Field(min_length=1, max_length=MAX_STEPS)
    labels: list[Text] = Field(min_length=2, max_length=2)
    passing_labels: list[Text] = Field(min_length=1, max_length=1)

    @model_validator(mode="after")
    def _one_passes(self) -> LabelModelGrader:
        if self.labels[0] == self.labels[1] or self.passing_labels[0] not in self.labels:
            raise ValueError("give two different labels, and one of them as passing")
        return self


class PythonGrader(_Strict):
    """Taken by the schema so that the refusal can say why."""

    type: Literal["python"]
    name: _NAME
    source: Text
    image_tag: str | None = None


Single = Annotated[
    StringCheckGrader | TextSimilarityGrader | ScoreModelGrader | LabelModelGrader | PythonGrader,
    Field(discriminator="type"),
]


class MultiGrader(_Strict):
    """Several graders and the formula that joins them.

    Attributes:
        graders: by the name that the formula calls them; a list, or one alone, goes by the graders' own names.
    """

    type: Literal["multi"]
    name: _NAME
    graders: dict[str, Single] = Field(min_length=1, max_length=MAX_GRADERS)
    calculate_output: Text

    @field_validator("graders", mode="before")
    @classmethod
    def _by_name(cls, value: Any) -> Any:
        if isinstance(value, dict) and isinstance(value.get("type"), str):
            value = [value]
        if not isinstance(value, list):
            return value
        named = {str(g.get("name")): g for g in value if isinstance(g, dict)}
        if len(named) != len(value):
            raise ValueError("two graders have one name")
        return named


Grader = Annotated[Single | MultiGrader, Field(discriminator="type")]


class GraderRunRequest(_Strict):
    """The body of ``/run``.

    Attributes:
        grader: what grades.
        model_sample: the response: ``sample.output_text`` in templates, and ``sample.output_json`` where it is JSON.
        item: the row of the data set; templates call it ``item``.
        abstain: the reward where a verifier cannot tell; None leaves it null. Not OpenAI's: send it as ``extra_body``.
    """

    grader: Grader
    model_sample: Text = Field(max_length=10 * MAX_CHARACTERS)
    item: dict[str, Any] = Field(default_factory=dict)
    abstain: float | None = Field(None, allow_inf_nan=False)

    @field_validator("item", mode="before")
    @classmethod
    def _none_is_empty(cls, value: Any) -> Any:
        return {} if value is None else value


class GraderValidateRequest(_Strict):
    """The body of ``/validate``."""

    grader: Grader
