"""Train a generative process reward model: after each step, its next token is the verdict on the step.

    rewardkit train generative-gsm8k
    rewardkit train generative data=runs/gsm8k output=runs/judge labels=[right,wrong] layout=sequence

No head is added: the model stays a causal language model. The loss and the score use the logits of two tokens alone, so
that the vocabulary head is two rows wide in training (FoVer, arXiv 2505.15960, and Math-Shepherd, arXiv 2312.08935,
train on the whole vocabulary: ``objective: next_token``). What stands for earlier verdicts is in training what it is in
scoring, see `rewardkit.text.judged`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from pydantic import field_validator, model_validator

from rewardkit.errors import ConfigError
from rewardkit.models import presets
from rewardkit.models.encoders import step_encoder
from rewardkit.models.generative import only_labels
from rewardkit.models.spec import RewardModelSpec
from rewardkit.text.judged import Layout, find_labels, split_template
from rewardkit.train.data import Collator, Encode
from rewardkit.train.kind import load_pretrained
from rewardkit.train.losses import IGNORE, LossFunction, LossOptions, step_bce_loss
from rewardkit.train.steps import StepConfig, StepTraining

if TYPE_CHECKING:
    import torch


def _of_public(name: str) -> dict[str, Any]:
    public = presets.PRESETS[name]
    layout, template = public.spec["layout"], public.spec["template"].strip()
    return {"layout": layout, "labels": public.labels, "separator": public.separator, "template": template}


PRESETS: Mapping[str, Mapping[str, Any]] = {name: _of_public(name) for name in ("math-shepherd",)}
"""Label tokens and step tags of public models (white space around the tags is ours). Keys of the recipe itself win."""

_QUESTION = "Problem:\n{problem}\n\n"
_TASK = "Judge every step of a solution. After a step, answer '{right}' if it is right and '{wrong}' if it is not."


class GenerativeConfig(StepConfig):
    """Configuration of `rewardkit train generative`; see `StepConfig` and `TrainConfig` for the keys that kinds share.

    Attributes:
        preset: the layout of a public model, a key of `PRESETS`.
        layout: ``turns`` (a user turn for each step, its verdict as the assistant's) or ``sequence`` (a separator after
            each step, whose next token is the verdict).
        labels: (correct, incorrect) as words, tokens or ids; their first tokens must differ.
        template: the first turn, with ``{problem}`` and, in ``turns``, ``{step}``; None takes a plain one.
        history: in ``turns``, what stands for every earlier verdict, in training and in scoring; None takes the word
            for "correct", as FoVer does when it scores.
        objective: ``two_way`` compares the two labels with each other, ``next_token`` the label with the whole
            vocabulary.
    """

    kind: Literal["generative"] = "generative"
    preset: Literal["math-shepherd"] | None = None
    layout: Layout = "turns"
    labels: tuple[str | int, str | int] = ("correct", "incorrect")
    template: str | None = None
    history: str | None = None
    objective: Literal["two_way", "next_token"] = "two_way"

    @model_validator(mode="before")
    @classmethod
    def _fill_preset(cls, values: Any) -> Any:
        return {**PRESETS.get(str(values.get("preset")), {}), **values} if isinstance(values, dict) else values

    @field_validator("labels", mode="before")
    @classmethod
    def _no_bools(cls, labels: Any) -> Any:
        if isinstance(labels, list | tuple) and any(isinstance(label, bool) for label in labels):
            raise ValueError("YAML reads yes, no, on, off, true and false as bools: write such words in quotes")
        return labels

    @model_validator(mode="after")
    def _fits(self) -> GenerativeConfig:
        if self.objective == "next_token" and self.loss != LossOptions():
            raise ConfigError("objective next_token has its own loss; leave out loss, or take two_way")
        if self.lora and "lm_head" in self.lora.target_modules:
            raise ConfigError("lora.target_modules must leave out lm_head: two of its rows are read, as they are")
        if self.objective == "next_token" and self.batching == "problem":
            raise ConfigError("objective next_token trains with batching=length alone")
        if self.preset and self.layout != PRESETS[self.preset]["layout"]:
            raise ConfigError(
                f"preset {self.preset} has the layout {PRESETS[self.preset]['layout']}; give it as layout"
            )
        if self.template is not None:
            split_template(self.template, self.layout)
        return self


class GenerativePRM(StepTraining[GenerativeConfig]):
    """The next token after each step as its verdict."""

    config_class = GenerativeConfig
    task_type = "CAUSAL_LM"
    pipeline_tag = "text-generation"

    def load_base(self, base: str, dtype: Any) -> Any:
        from transformers import AutoModelForCausalLM

        return load_pretrained(AutoModelForCausalLM, base, dtype=dtype)

    def describe(self, tokenizer: Any) -> RewardModelSpec:
        from rewardkit.text.encode import find_separator

        config = self.config
        separator, separator_id = None, None
        if config.layout == "sequence":
            separator, separator_id = find_separator(tokenizer, config.separator)
        ids = find_labels(tokenizer, config.labels)
        right, wrong = (
            label if isinstance(label, str) else tokenizer.decode([label]).strip() for label in config.labels
        )
        return RewardModelSpec(
            kind="generative",
            separator=separator,
            separator_id=separator_id,
            label_token_ids=ids,
            positive_label=1,
            layout=config.layout,
            template=config.template or default_template(config.layout, right, wrong),
            history=(config.history or right) if config.layout == "turns" else None,
            reducer=config.reducer,
            max_length=config.max_length,
            base_model=config.model,
        )

    def encoder(self, tokenizer: Any, spec: RewardModelSpec) -> Encode:
        return step_encoder(tokenizer, spec)

    def collator(self, tokenizer: Any) -> Any:
        collator = super().collator(tokenizer)
        return collator if self.config.objective == "two_way" else partial(_with_positions, collator)

    def loss(self) -> LossFunction:
        if self.config.objective == "two_way":
            return self._loss
        assert self.spec.label_token_ids is not None
        return partial(next_token_loss, label_token_ids=self.spec.label_token_ids)

    def trainer(self, **arguments: Any) -> Any:
        assert self.spec.label_token_ids is not None
        only_labels(arguments["model"], self.spec.label_token_ids)
        if self.config.objective == "next_token":
            whole_head_in_training(arguments["model"])
        return super().trainer(**arguments)


def default_template(layout: Layout, right: str, wrong: str) -> str:
    """The plain template of a layout.

    >>> default_template("sequence", "correct", "incorrect").splitlines()[0]
    'Problem:'
    """
    task = _TASK.replace("{right}", right).replace("{wrong}", wrong)
    return _QUESTION + task + ("\n\nStep:\n{step}" if layout == "turns" else "")


def next_token_loss(
    outputs: Any,
    labels: torch.Tensor,
    num_items_in_batch: torch.Tensor | int | None = None,
    *,
    label_token_ids: tuple[int, int],
) -> torch.Tensor:
    """Cross-entropy of the label token against the whole vocabulary: ``-y log P(correct) - (1 - y) log P(incorrect)``.

    In evaluation, where the model gives two logits a position, it is that of the two labels alone.

    Args:
        outputs: of the model; ``outputs.logits`` of shape (1, labelled steps, vocabulary), or (batch, tokens, 2).
        labels: shape (batch, tokens), floats in [0, 1], `IGNORE` where there is no label.
        num_items_in_batch: the number of labelled steps to divide by; None means those of this call.
        label_token_ids: of (correct, incorrect).
    """
    if outputs.logits.shape[-1] == 2:
        return step_bce_loss(outputs, labels, num_items_in_batch)
    targets = labels[labels != IGNORE].float()
    chances = outputs.logits[0].float().log_softmax(dim=-1)
    right, wrong = label_token_ids
    total: torch.Tensor = -(targets * chances[:, right] + (1 - targets) * chances[:, wrong]).sum()
    return total / (max(len(targets), 1) if num_items_in_batch is None else num_items_in_batch)


def _with_positions(collator: Collator, rows: Sequence[Mapping[str, Sequence[Any]]]) -> dict[str, Any]:
    """A batch with ``read``, shape (batch, tokens): where a label is."""
    batch = collator(rows)
    return {**batch, "read": batch["labels"] != IGNORE}


def whole_head_in_training(model: Any) -> None:
    """After `only_labels`: in training, the whole vocabulary head over the positions in ``read`` and no others.

    Its logits are then of shape (1, labelled steps, vocabulary); in evaluation they stay (batch, tokens, 2).
    """
    import torch.nn.functional as F

    head = model.get_output_embeddings()
    two_rows = head.forward
    read: list[Any] = []

    def before(module: Any, args: Any, options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        read[:] = [options.pop("read")] if "read" in options else []
        return args, options

    def forward(hidden: Any) -> Any:
        if not (read and head.training):
            return two_rows(hidden)
        picked = hidden[read[0]].unsqueeze(0)
        return F.linear(picked, head.weight, getattr(head, "bias", None)).float()

    model.register_forward_pre_hook(before, with_kwargs=True)
    head.forward = forward
