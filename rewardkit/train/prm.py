"""Train a process reward model: a token-classification head on the separator after each step, with LoRA or in full.

    rewardkit train prm data=runs/gsm8k output=runs/prm
    rewardkit train prm model=Qwen/Qwen2.5-Math-PRM-7B data=runs/gsm8k output=runs/prm      # goes on with its head

The trainer is `transformers.Trainer` with our own loss function, through its public arguments only. TRL's
RewardTrainer is not used here: since 1.14 TRL has no stepwise trainer, and its base classes are private.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

from pydantic import Field

from rewardkit.errors import ConfigError
from rewardkit.models.heads import QWEN_PRM, VALUE_HEAD, load_token_head
from rewardkit.models.spec import FILE, RewardModelSpec
from rewardkit.train.config import TrainResult
from rewardkit.train.data import Encode
from rewardkit.train.head_rate import with_head_rate
from rewardkit.train.head_start import start_head
from rewardkit.train.kind import load_pretrained
from rewardkit.train.losses import LossFunction, step_logits
from rewardkit.train.spans import read_means
from rewardkit.train.steps import StepConfig, StepTraining


class PRMConfig(StepConfig):
    """Configuration of `rewardkit train prm`; see `StepConfig` and `TrainConfig` for the keys that kinds share.

    Attributes:
        model: where this is a process reward model itself, its head, label order and separator are kept.
        reads: what makes a step's logits, see `RewardModelSpec`; None takes the model's own, else ``separator``.
        num_labels: logits of a new head: 1 (sigmoid) or 2 (softmax over wrong, right); None takes 1, or as there are.
        positive_label: which label is right, where the model comes with two of them but without ``reward_model.json``.
        head_start: fit a new head on the untrained model's states of so many traces first, see
            `rewardkit.train.head_start`; None begins with noise.
        head_learning_rate: of the head; None takes what suits its width, see `rewardkit.train.head_rate`.
    """

    kind: Literal["prm"] = "prm"
    reads: Literal["separator", "mean"] | None = None
    num_labels: Literal[1, 2] | None = None
    positive_label: Literal[0, 1] | None = None
    head_start: int | None = Field(None, ge=10)
    head_learning_rate: float | None = Field(None, gt=0)


@dataclass(frozen=True, slots=True)
class Head:
    """The head that training starts from.

    Attributes:
        labels: its logits, 1 or 2.
        positive: the index of "correct".
        separator: the token at which it is read; None takes one that text never needs.
        separator_id: where it is known.
        reads: what makes a step's logits.
        layout: how its input is made, keys of `RewardModelSpec`; empty for the model's chat template.
        own: whether the model comes with it.
    """

    labels: int
    positive: int
    separator: str | None
    separator_id: int | None = None
    reads: Literal["separator", "mean"] = "separator"
    layout: Mapping[str, Any] = field(default_factory=dict)
    own: bool = False


class TokenPRM(StepTraining[PRMConfig]):
    """A head of one or two logits over the position of the separator after each step."""

    config_class = PRMConfig
    task_type = "TOKEN_CLS"
    pipeline_tag = "token-classification"

    def load_base(self, base: str, dtype: Any) -> Any:
        return load_token_classifier(base, dtype, find_head(base, self.config))

    def describe(self, tokenizer: Any) -> RewardModelSpec:
        from rewardkit.models.embedded import resolve_model
        from rewardkit.text.encode import find_separator

        config = self.config
        self._head = head = find_head(resolve_model(config.model), config)
        if head.own and config.head_start:
            raise ConfigError(f"'{config.model}' comes with a trained head; leave out head_start")
        separator, separator_id = find_separator(tokenizer, head.separator)
        if head.separator_id not in (None, separator_id):
            raise ConfigError(
                f"'{separator}' is id {separator_id} of the tokenizer and {head.separator_id} in {FILE} of "
                f"'{config.model}': the tokenizer is another model's"
            )
        self._reversed = head.labels == 2 and head.positive == 0
        if self._reversed and config.loss.name == "elr":
            raise ConfigError("loss elr needs a head whose second label is 'correct'")
        return RewardModelSpec(
            kind="token",
            separator=separator,
            separator_id=separator_id,
            reads=head.reads,
            **head.layout,
            positive_label=head.positive,
            reducer=config.reducer,
            max_length=config.max_length,
            base_model=config.model,
        )

    def encoder(self, tokenizer: Any, spec: RewardModelSpec) -> Encode:
        from rewardkit.models.encoders import step_encoder

        return step_encoder(tokenizer, spec)

    def loss(self) -> LossFunction:
        if not self._reversed:
            return self._loss
        return lambda outputs, *rest, **more: self._loss(SimpleNamespace(logits=outputs.logits.flip(-1)), *rest, **more)

    def trainer(self, **arguments: Any) -> Any:
        if self.spec.reads == "mean":
            read_means(arguments["model"])
        trainer = with_head_rate(super().trainer(**arguments), self.config.head_learning_rate)
        if self.config.head_start:
            start_head(trainer, self.config.head_start, positive=self._head.positive)
        return trainer

    def one_logit(self, logits: Any) -> Any:
        return step_logits(logits.flip(-1) if self._reversed else logits)


def train_prm(config: PRMConfig) -> TrainResult:
    """Train a process reward model and write its folder; goes on where an interrupted run of the same config stopped.

    Raises:
        ConfigError: the data or the model is missing, or ``output`` holds another run.
        DataError: no trace with a usable label, or labels of different meanings.
    """
    from rewardkit.train.run import run_training

    return run_training(TokenPRM(config))


def find_head(base: str, config: PRMConfig) -> Head:
    """The head that training starts from: the model's own where it is a process reward model, else a new one.

    Args:
        base: a folder or Hub id.
        config: what the recipe says of it.

    Raises:
        ConfigError: the recipe contradicts the model, or says too little of a head whose reading is not known.
    """
    from transformers import AutoConfig

    settings = load_pretrained(AutoConfig, base)
    architecture = (settings.architectures or [""])[0]
    if architecture == VALUE_HEAD:
        raise ConfigError(f"'{config.model}' has a value head: `rewardkit export` it, then train from what that writes")
    if architecture == QWEN_PRM or architecture.endswith("ForTokenClassification"):
        if settings.num_labels > 2 or config.num_labels not in (None, settings.num_labels):
            wanted = "1 or 2 can be trained" if settings.num_labels > 2 else "leave out num_labels"
            raise ConfigError(f"the head of '{config.model}' has {settings.num_labels} labels; {wanted}")
        head = _own_head(base, architecture, settings.num_labels, config)
    else:
        labels = config.num_labels or 1
        head = Head(labels, labels - 1, config.separator, reads=config.reads or "separator")
    asked = (config.separator, config.positive_label, config.reads)
    if any(a not in (None, own) for a, own in zip(asked, (head.separator, head.positive, head.reads), strict=True)):
        raise ConfigError(
            f"'{config.model}' has 'correct' as label {head.positive}, reads {head.reads}, with the separator "
            f"'{head.separator or 'a new token'}'; leave out separator, positive_label and reads"
        )
    return head


def _own_head(base: str, architecture: str, labels: int, config: PRMConfig) -> Head:
    if (Path(base) / FILE).is_file():
        spec = RewardModelSpec.load(base)
        if spec.kind != "token":
            raise ConfigError(f"'{config.model}' is a {spec.kind} reward model, not one of kind token")
        layout = spec.model_dump(include={"format", "template", "between"})
        return Head(labels, spec.positive_label, spec.separator, spec.separator_id, spec.reads, layout, own=True)
    if architecture == QWEN_PRM:
        return Head(labels, 1, "<extra_0>", own=True)
    positive = 0 if labels == 1 else config.positive_label
    if config.separator is None or positive is None:
        raise ConfigError(
            f"'{config.model}' has a head but no {FILE}: say where it is read and which label is right, "
            "by separator=TOKEN and positive_label=0 or 1 (TRL's PRMTrainer: 1)"
        )
    return Head(labels, positive, config.separator, own=True)


def load_token_classifier(base: str, dtype: Any, head: Head) -> Any:
    """A causal language model's body under a head, without the dropout that transformers adds.

    Args:
        base: a folder or Hub id.
        dtype: a torch dtype.
        head: the model's own, or a new one.

    Raises:
        ConfigError: the model cannot be loaded as a token classifier.
    """
    from transformers import AutoConfig

    names = {0: "incorrect", 1: "correct"} if head.labels == 2 else {0: "correct"}
    new = {"num_labels": head.labels, "id2label": names, "label2id": {name: i for i, name in names.items()}}
    settings = load_pretrained(AutoConfig, base, **({} if head.own else new))
    # Not an argument above: from_pretrained drops what the config class does not know.
    settings.classifier_dropout = 0.0
    return load_pretrained(SimpleNamespace(from_pretrained=load_token_head), base, config=settings, dtype=dtype)
