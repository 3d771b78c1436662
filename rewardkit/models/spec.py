"""``reward_model.json``: what a trained model folder is, for everyone who loads, serves or converts it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, ValidationError, model_validator

from rewardkit.config import Config
from rewardkit.errors import ConfigError
from rewardkit.models.reduce import check_reducer
from rewardkit.text.judged import Layout

FILE = "reward_model.json"

NO_REFERENCE = "none"
"""The reference of a model that is used without one: rewards are then beta times its log-probabilities alone."""

Kind = Literal["token", "generative", "implicit", "outcome"]
Format = Literal["chat", "plain", "turn"]


def _known(name: str) -> str:
    try:
        return check_reducer(name)
    except ConfigError as error:
        raise ValueError(str(error)) from None


Reducer = Annotated[str, AfterValidator(_known)]
"""A name that `rewardkit.models.reduce.reduce_scores` takes; ``learned:FILE.json`` becomes what the file holds."""


class Noise(Config):
    """What rounding to bfloat16 does to the summed log-ratios of an implicit model.

    Attributes:
        spread: root mean square of the difference to float32, in nats.
        signal: standard deviation of the log-ratios themselves in float32, in nats.
        responses: how many were compared.
    """

    spread: float
    signal: float
    responses: int


class RewardModelSpec(Config):
    """The content of ``reward_model.json``.

    Attributes:
        kind: ``token`` has a classification head over each step's separator position.
        separator: the token appended after each step (of an outcome model, the response), as text (for people) ...
        separator_id: ... and as an id (what counts).
        label_token_ids: of a generative model, the ids of (correct, incorrect); its logits are those of
            (incorrect, correct), so that ``positive_label`` is 1.
        reads: of a token model, what makes a step's logits: ``separator`` those at the separator behind it, ``mean``
            the mean over its tokens and the separator (of a linear head, the head over the mean of the hidden states).
        layout, template, history: of a generative model, see `rewardkit.text.judged`.
        format: how prompt and response are put together: ``chat`` through the chat template with the response open;
            ``plain`` without one, as ``template`` says; ``turn`` (outcome) with the response as a whole, closed turn.
        between: text between two steps, in ``plain`` behind the separator; of an implicit model what joins the steps,
            None leaves them as they are given.
        pad_id: of an outcome model in ``turn``, the id that transformers passes over when it looks for the last token.
        positive_label: of a ``token`` model with two or more labels, the index of "correct"; with one label, 0.
        beta, reference: of an implicit model.
        step_score: of an implicit model, what makes a step's score: ``accumulative`` the log-ratio of all tokens up
            to its end (how well the response stands there), ``single`` that of its own tokens (what the step adds).
        reducer: how step scores become one score of the response.
        temperature, bias: calibration: score = sigmoid((logit + bias) / temperature).
        meaning: of the labels that it was trained on: what its score claims.
        noise: of an implicit model, how far bfloat16 moves its scores, see `rewardkit.models.noise`.
        max_length: longest input in tokens; a longer one is refused, never cut.
        base_model, data_hash: where it comes from.
    """

    format_version: Literal[1] = 1
    kind: Kind
    separator: str | None = None
    separator_id: int | None = None
    reads: Literal["separator", "mean"] = "separator"
    label_token_ids: tuple[int, int] | None = None
    layout: Layout | None = None
    template: str | None = None
    history: str | None = None
    format: Format = "chat"
    between: str | None = None
    pad_id: int | None = None
    positive_label: int = 0
    beta: float | None = None
    reference: str | None = None
    step_score: Literal["single", "accumulative"] = "accumulative"
    reducer: Reducer = "min"
    temperature: float = 1.0
    bias: float = 0.0
    meaning: Literal["local", "prefix", "value"] = "prefix"
    max_length: int = 2048
    base_model: str = "unknown"
    data_hash: str | None = None
    noise: Noise | None = None

    @model_validator(mode="after")
    def _fits(self) -> RewardModelSpec:
        kinds = {"plain": ("token", "generative"), "turn": ("outcome",)}.get(self.format)
        if kinds and (self.kind not in kinds or (self.kind == "generative" and self.layout != "sequence")):
            raise ValueError(f"format {self.format} is for {' and '.join(kinds)} models (generative: in a sequence)")
        if self.reads == "mean" and (self.kind, self.format) != ("token", "chat"):
            raise ValueError("reads mean is for token models with format chat")
        return self

    @property
    def scores_steps(self) -> bool:
        """Whether there is a score for each step; an outcome model has one for the whole response."""
        return self.kind != "outcome"

    @classmethod
    def load(cls, folder: str | Path) -> RewardModelSpec:
        """Read the spec of a model folder; that of a public model without one is known, see `rewardkit.models.presets`.

        Raises:
            ConfigError: the folder or the file is missing, or the file does not say what it must.
        """
        from rewardkit.models.presets import recognise

        path = Path(folder) / FILE
        if not Path(folder).is_dir():
            raise ConfigError(f"there is no model folder {folder}")
        if not path.is_file():
            known = recognise(folder)
            if known is None:
                raise ConfigError(
                    f"{folder} holds no {FILE} and is no public model known here, so its step separator and labels are "
                    "unknown; train with `rewardkit train`, or write one (docs/models.md)"
                )
            return known
        try:
            return cls.model_validate_json(path.read_text(encoding="utf-8"))
        except ValidationError as error:
            fault = error.errors(include_url=False)[0]
            where = ".".join(str(p) for p in fault["loc"]) or "the file"
            raise ConfigError(f"{path}: {where}: {fault['msg']}") from None

    def save(self, folder: str | Path) -> None:
        """Write the spec into a model folder."""
        text = json.dumps(self.model_dump(mode="json"), indent=2)
        (Path(folder) / FILE).write_text(text + "\n", encoding="utf-8")
