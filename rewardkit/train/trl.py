"""`PRMTrainer` and `PRMConfig` for scripts that were written for TRL 1.13, the last with a stepwise trainer.

    from rewardkit.train.trl import PRMConfig, PRMTrainer        # was: from trl.experimental.prm import ...

The arguments are the same, and so is a row: ``prompt, completions, labels``. What is better is in docs/migrate-trl.md:
boundaries are token ids, the prompt goes through the chat template, nothing is cut, soft labels stay soft,
accumulation does not change the loss, and `rewardkit score`, `eval` and `serve` load what is saved.

This module imports transformers at its head, since its classes derive from the Trainer's; nothing else imports it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from transformers import TrainingArguments

from rewardkit.errors import ConfigError, DataError
from rewardkit.models.spec import RewardModelSpec
from rewardkit.text.encode import encode_prompt, encode_steps
from rewardkit.train.batches import grouped_trainer_class
from rewardkit.train.data import Collator, Example, Examples
from rewardkit.train.losses import step_bce_loss, step_logits
from rewardkit.train.sharing import share_prompts
from rewardkit.train.steps import binary_metrics, mean_loss
from rewardkit.types import content_id

__all__ = ["PRMConfig", "PRMTrainer"]


@dataclass
class PRMConfig(TrainingArguments):  # type: ignore[misc]  # transformers is untyped here
    """The arguments of TRL 1.13's ``PRMConfig``, with its defaults.

    Attributes:
        max_length: longest example in tokens; a longer one is left out and counted. None means no limit.
        max_completion_length: longest response in tokens, likewise.
        disable_dropout: train without dropout.
        step_separator: one token, appended by its id after each step.
        train_on_last_step_only: in training, learn from the last label alone.
        batching: ``length`` or ``problem``, as in `rewardkit.train.TrainConfig`; a problem is a prompt.
        dataset_num_proc: taken and ignored: rows are encoded in this process.
    """

    learning_rate: float = 1e-5
    logging_steps: float = 10
    gradient_checkpointing: bool = True
    bf16: bool | None = field(default=None, metadata={"help": "None: where a GPU computes it and fp16 is not set"})
    remove_unused_columns: bool | None = False
    max_length: int | None = 1024
    max_completion_length: int | None = None
    disable_dropout: bool = True
    step_separator: str = "\n"
    train_on_last_step_only: bool = False
    batching: str = "length"
    dataset_num_proc: int | None = None

    def __post_init__(self) -> None:
        if self.bf16 is None:
            self.bf16 = not self.fp16 and torch.cuda.is_available() and torch.cuda.is_bf16_supported()
        if self.batching not in ("length", "problem"):
            raise ConfigError(f"batching is 'length' or 'problem', not '{self.batching}'")
        super().__post_init__()


class PRMTrainer(grouped_trainer_class()):  # type: ignore[misc]  # see above
    """TRL 1.13's ``PRMTrainer``: the same arguments in the same order.

    Args:
        model: a ``...ForTokenClassification`` with one label, or two of which the second is "correct".
        args: None takes the defaults.
        data_collator: None pads on the right.
        train_dataset: rows with ``prompt``, ``completions`` and ``labels`` (bools, or floats from 0 to 1), or with
            ``input_ids`` and ``labels`` of the same length.
        eval_dataset: likewise, or a mapping of several.
        processing_class: the tokenizer.
        model_init: as in the Trainer.
        compute_metrics: of the whole logits; None gives accuracy, the prior's accuracy and AUROC over labelled steps.
        callbacks: as in the Trainer.
        optimizers: as in the Trainer.
        preprocess_logits_for_metrics: as in the Trainer.
        peft_config: a PEFT config with ``task_type="TOKEN_CLS"``, so that the head is trained and saved.

    Raises:
        ConfigError: no tokenizer, a separator that is not one token, or a PEFT config of another task.
        DataError: a row does not fit, or no row can be used.
    """

    def __init__(
        self,
        model: Any = None,
        args: PRMConfig | None = None,
        data_collator: Callable[..., Any] | None = None,
        train_dataset: Iterable[Mapping[str, Any]] | None = None,
        eval_dataset: Any = None,
        processing_class: Any = None,
        model_init: Callable[[], Any] | None = None,
        compute_metrics: Callable[[Any], dict[str, float]] | None = None,
        callbacks: list[Any] | None = None,
        optimizers: tuple[Any, Any] = (None, None),
        preprocess_logits_for_metrics: Callable[[Any, Any], Any] | None = None,
        peft_config: Any = None,
    ) -> None:
        if train_dataset is None:
            raise ConfigError("PRMTrainer needs a train_dataset")
        if processing_class is None:
            raise ConfigError("PRMTrainer needs the tokenizer as processing_class")
        args = args or PRMConfig(output_dir="prm")
        if model_init is not None and args.batching == "problem":
            raise ConfigError("batching='problem' needs the model itself, not model_init")
        self._tokenizer, self._separator_id = processing_class, _one_token(processing_class, args.step_separator)
        evaluation: Any = None
        if eval_dataset is not None and not isinstance(eval_dataset, Mapping):
            evaluation = self._encode(eval_dataset, args, "eval")
        elif eval_dataset is not None:
            evaluation = {name: self._encode(part, args, name) for name, part in eval_dataset.items()}
        pad = processing_class.pad_token_id
        own_metrics = compute_metrics is None
        super().__init__(
            model=None if model is None else _prepared(model, peft_config, args),
            args=args,
            data_collator=data_collator or Collator(0 if pad is None else pad),
            train_dataset=self._encode(train_dataset, args, "train"),
            eval_dataset=evaluation,
            processing_class=processing_class,
            model_init=model_init,
            compute_loss_func=step_bce_loss,
            compute_metrics=_accuracy if own_metrics else compute_metrics,
            callbacks=callbacks,
            optimizers=optimizers,
            preprocess_logits_for_metrics=_log_odds if own_metrics else preprocess_logits_for_metrics,
        )
        if args.batching == "problem":
            share_prompts(self)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Save the model, and ``reward_model.json`` beside it, so that it can be scored with and served."""
        super().save_model(output_dir, _internal_call)
        args = cast(PRMConfig, self.args)
        if args.should_save:
            config = self.model.config
            spec = RewardModelSpec(
                kind="token",
                separator=args.step_separator,
                separator_id=self._separator_id,
                positive_label=config.num_labels - 1,
                max_length=args.max_length or config.max_position_embeddings,
                base_model=config.name_or_path or "unknown",
            )
            spec.save(output_dir or args.output_dir)

    def _encode(self, rows: Iterable[Mapping[str, Any]], args: PRMConfig, split: str) -> list[dict[str, Any]]:
        examples = Examples()
        made: list[dict[str, Any]] = []
        for number, row in enumerate(rows):
            if "input_ids" in row:
                made.append({"input_ids": list(row["input_ids"]), "labels": [float(v) for v in row["labels"]]})
                continue
            try:
                example = self._example(row, args, split == "train")
            except DataError as error:
                raise DataError(f"row {number} of the {split} data: {error}") from None
            if isinstance(example, Example):
                made.append(example.row())
            else:
                examples.drop(example)
        if examples.dropped:
            left_out = ", ".join(f"{n} {reason}" for reason, n in examples.dropped.items())
            warnings.warn(f"left out of the {split} data: {left_out}", stacklevel=3)
        if not made:
            raise DataError(f"no row of the {split} data can be used")
        return made

    def _example(self, row: Mapping[str, Any], args: PRMConfig, training: bool) -> Example | str:
        """The example of a row, or the reason why it is left out."""
        from rewardkit.store.formats import from_trl_stepwise

        read = from_trl_stepwise(row)
        targets: list[float | None] = [label.p_correct for label in read.labels]
        if training and args.train_on_last_step_only:
            targets[:-1] = [None] * (len(targets) - 1)
        texts = [step.text for step in read.trace.steps]
        ids = encode_steps(self._tokenizer, read.trace.problem.prompt, texts, self._separator_id)
        response = len(ids) - len(encode_prompt(self._tokenizer, read.trace.problem.prompt))
        if args.max_length is not None and len(ids) > args.max_length:
            return f"longer than {args.max_length} tokens"
        if args.max_completion_length is not None and response > args.max_completion_length:
            return f"with a completion longer than {args.max_completion_length} tokens"
        problem = read.trace.problem.id
        return Example(content_id("trl", row["prompt"], texts), ids.input_ids, ids.positions, tuple(targets), problem)


def _one_token(tokenizer: Any, separator: str) -> int:
    ids = tokenizer.encode(separator, add_special_tokens=False)
    if len(ids) != 1:
        raise ConfigError(
            f"step_separator {separator!r} is {len(ids)} tokens of this tokenizer; choose one that is a single token, "
            "such as a special token that texts never hold"
        )
    return int(ids[0])


def _prepared(model: Any, peft_config: Any, args: PRMConfig) -> Any:
    """The model without dropout and with its adapters."""
    if peft_config is not None:
        from peft import TaskType, get_peft_model

        if peft_config.task_type != TaskType.TOKEN_CLS:
            raise ConfigError("peft_config needs task_type='TOKEN_CLS': else the head is neither trained nor saved")
        if args.gradient_checkpointing:
            model.enable_input_require_grads()
        model = get_peft_model(model, peft_config)
    if args.disable_dropout:
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
    return model


def _log_odds(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return step_logits(logits)


def _accuracy(prediction: Any) -> dict[str, float]:
    kept = prediction.label_ids >= 0
    logits, targets = prediction.predictions[kept], prediction.label_ids[kept]
    return {**binary_metrics(logits, targets), **mean_loss(step_bce_loss, logits, targets)}
