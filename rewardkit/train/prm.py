"""Train a process reward model: a token-classification head on the separator after each step, with LoRA or in full.

    rewardkit train prm data=runs/gsm8k output=runs/prm

The trainer is `transformers.Trainer` with our own loss function, through its public arguments only. TRL's
RewardTrainer is not used here: since 1.14 TRL has no stepwise trainer, and its base classes are private.

Not here: other kinds of reward model, packing, noise-robust losses, profiles for many GPUs.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from rewardkit.config import Config
from rewardkit.errors import ConfigError, DataError
from rewardkit.models.cpu import multiplies_bfloat16
from rewardkit.models.spec import Reducer, RewardModelSpec
from rewardkit.train.data import Collator, Examples, build_examples, held_out
from rewardkit.train.losses import step_bce_loss


class LoraOptions(Config):
    """Low-rank adapters (Hu et al., arXiv 2106.09685) through PEFT; the head is always trained in full.

    Attributes:
        r, alpha, dropout: as PEFT names them.
        target_modules: names of the linear layers to adapt (``all-linear`` would catch the head and is refused).
        top_layers: adapt only the last so many layers; gradients then stop there, which is faster. None means all.
    """

    r: int = Field(16, ge=1)
    alpha: int = Field(32, ge=1)
    dropout: float = Field(0.0, ge=0, lt=1)
    target_modules: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    top_layers: int | None = Field(None, ge=1)


class PRMConfig(Config):
    """Configuration of `rewardkit train prm`.

    Attributes:
        data: dataset folders that `rewardkit synth` wrote.
        output: the folder for the model.
        model: a causal language model: a Hub id, a folder, or ``smollm2-135m-instruct``.
        sources: label sources to learn from; where several label one step, the first that has an opinion wins.
        separator: the token after each step; None takes one that text never needs.
        reducer: how step scores become one score of the response, written into the model folder.
        held_out: the share of problems (by hash of the id) kept for evaluation, during training and after.
        max_traces: train on so many traces at most, drawn at random; None means all.
        lora: None trains all weights.
        dtype: of the frozen weights in training; adapters and head are always float32. ``auto`` is bfloat16 on a GPU
            and on a CPU that has instructions for it.
        learning_rate, epochs, batch_size, accumulation, warmup, weight_decay, max_length, seed: as usual; the
            schedule is cosine, ``batch_size`` is per device, ``warmup`` is a share of the steps.
        max_minutes: training ends after so long at the step that it has reached; None means at the end of the data.
        max_eval: evaluate during training on so many traces at most, drawn at random.
        eval_every, save_every, log_every: in optimizer steps.
        device: None takes the GPU where there is one.
    """

    data: tuple[str, ...]
    output: str
    model: str = "smollm2-135m-instruct"
    sources: tuple[str, ...] = ("arithmetic",)
    separator: str | None = None
    reducer: Reducer = "min"
    held_out: float = Field(0.2, gt=0, lt=1)
    max_traces: int | None = Field(None, ge=1)
    lora: LoraOptions | None = LoraOptions()
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    learning_rate: float = Field(3e-4, gt=0)
    epochs: float = Field(1.0, gt=0)
    batch_size: int = Field(8, ge=1)
    accumulation: int = Field(1, ge=1)
    warmup: float = Field(0.05, ge=0, lt=1)
    weight_decay: float = Field(0.0, ge=0)
    max_length: int = Field(1024, ge=8)
    max_minutes: float | None = Field(None, gt=0)
    max_eval: int = Field(200, ge=1)
    seed: int = 0
    eval_every: int = Field(100, ge=1)
    save_every: int = Field(100, ge=1)
    log_every: int = Field(10, ge=1)
    device: Literal["cpu", "cuda"] | None = None


@dataclass(frozen=True, slots=True)
class TrainResult:
    """What a training run made.

    Attributes:
        output: the model folder.
        metrics: the last evaluation on held-out problems and the training loss.
        examples: how many examples trained the model.
        steps: optimizer steps.
        seconds: of wall-clock time in this call.
        resumed: whether it went on from a checkpoint.
        reused: whether a finished model was found and nothing was trained.
    """

    output: Path
    metrics: dict[str, float]
    examples: int
    steps: int
    seconds: float
    resumed: bool = False
    reused: bool = False


def train_prm(config: PRMConfig) -> TrainResult:
    """Train a process reward model and write its folder; goes on where an interrupted run of the same config stopped.

    Raises:
        ConfigError: the data or the model is missing, or ``output`` holds another run.
        DataError: no trace with a usable label, or labels of different meanings.
    """
    from rewardkit.train.run import open_run

    run = open_run(config)
    if run.finished is not None:
        return run.finished
    started = time.monotonic()
    model, tokenizer, spec, splits = _prepare(config)
    trainer = _trainer(config, model, tokenizer, splits)
    checkpoint = run.last_checkpoint()
    trainer.train(resume_from_checkpoint=checkpoint)
    metrics = _last_evaluation(trainer)
    metrics["train_loss"] = _mean_loss(trainer.state.log_history)
    result = TrainResult(
        output=Path(config.output),
        metrics=metrics,
        examples=len(splits["train"].examples),
        steps=trainer.state.global_step,
        seconds=time.monotonic() - started,
        resumed=checkpoint is not None,
    )
    if trainer.is_world_process_zero():
        run.finish(trainer, tokenizer, spec, splits, result)
    return result


def _prepare(config: PRMConfig) -> tuple[Any, Any, RewardModelSpec, dict[str, Examples]]:
    """The model with its head and adapters, its tokenizer, its spec, and the two splits."""
    from transformers import AutoTokenizer

    from rewardkit.models.embedded import resolve_model
    from rewardkit.store.dataset import read_dataset
    from rewardkit.text.encode import find_separator

    base = resolve_model(config.model)
    try:
        tokenizer = AutoTokenizer.from_pretrained(base)
    except (OSError, ValueError) as error:
        raise ConfigError(f"model '{config.model}' cannot be loaded: {' '.join(str(error).split())[:300]}") from None
    separator, separator_id = find_separator(tokenizer, config.separator)
    rows = [row for folder in config.data for row in read_dataset(folder)]
    splits = {}
    for name, wanted in (("train", False), ("eval", True)):
        part = [r for r in rows if held_out(r.trace.problem.id, config.held_out) is wanted]
        splits[name] = build_examples(
            part, tokenizer, separator_id, sources=config.sources, max_length=config.max_length
        )
        if not splits[name].examples:
            raise DataError(
                f"{', '.join(config.data)}: no trace with a label of {', '.join(config.sources)} in the {name} part "
                f"({len(part)} traces; left out: {splits[name].dropped or 'none'})"
            )
    _limit(splits, config)
    meaning = next(x.meaning for r in rows for x in r.labels if x.source in config.sources)
    spec = RewardModelSpec(
        kind="token",
        separator=separator,
        separator_id=separator_id,
        reducer=config.reducer,
        meaning=meaning,
        max_length=config.max_length,
        base_model=config.model,
    )
    return _build_model(config, base), tokenizer, spec, splits


def _limit(splits: dict[str, Examples], config: PRMConfig) -> None:
    """Draw at most ``max_traces`` for training and ``max_eval`` for evaluation during training."""
    import random

    for name, most in (("train", config.max_traces), ("eval", config.max_eval)):
        examples = splits[name].examples
        if most is not None and len(examples) > most:
            splits[name].examples = random.Random(config.seed).sample(examples, most)


def _build_model(config: PRMConfig, base: str) -> Any:
    import torch
    from peft import LoraConfig, TaskType, get_peft_model
    from transformers import set_seed

    set_seed(config.seed)
    on_gpu = config.device != "cpu" and torch.cuda.is_available()
    fast = "bfloat16" if on_gpu or multiplies_bfloat16() else "float32"
    dtype = getattr(torch, fast if config.dtype == "auto" else config.dtype) if config.lora else torch.float32
    model = load_token_classifier(base, dtype)
    if config.lora is None:
        return model
    lora = config.lora
    layers = model.config.num_hidden_layers
    top = None if lora.top_layers is None else list(range(max(0, layers - lora.top_layers), layers))
    peft_config = LoraConfig(
        task_type=TaskType.TOKEN_CLS,
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=list(lora.target_modules),
        layers_to_transform=top,
    )
    try:
        model = get_peft_model(model, peft_config)
    except ValueError as error:
        raise ConfigError(f"lora.target_modules does not fit '{config.model}': {error}") from None
    _train_in_float32(model)
    return model


def _train_in_float32(model: Any) -> None:
    """Hold what is trained in float32 over frozen weights of less precision; the head then casts what it is given.

    PEFT's adapters cast by themselves, the head does not.
    """
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    model.base_model.model.score.register_forward_pre_hook(lambda module, inputs: (inputs[0].float(),))


def load_token_classifier(base: str, dtype: Any) -> Any:
    """A causal language model's body under a new head of one label, without the dropout that transformers adds.

    Args:
        base: a folder or Hub id.
        dtype: a torch dtype.

    Raises:
        ConfigError: the model cannot be loaded as a token classifier.
    """
    from transformers import AutoConfig, AutoModelForTokenClassification

    from rewardkit.models.embedded import quiet_transformers

    try:
        settings = AutoConfig.from_pretrained(base, num_labels=1, id2label={0: "correct"}, label2id={"correct": 0})
        # Not an argument above: from_pretrained drops what the config class does not know.
        settings.classifier_dropout = 0.0
        with quiet_transformers():
            return AutoModelForTokenClassification.from_pretrained(base, config=settings, dtype=dtype)
    except (OSError, ValueError) as error:
        raise ConfigError(f"model '{base}' cannot be loaded: {' '.join(str(error).split())[:300]}") from None


def _trainer(config: PRMConfig, model: Any, tokenizer: Any, splits: dict[str, Examples]) -> Any:
    from transformers import Trainer

    from rewardkit.train.progress import stop_after, use_progress
    from rewardkit.train.run import training_arguments

    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0
    trainer = Trainer(
        model=model,
        args=training_arguments(config),
        data_collator=Collator(pad),
        train_dataset=[e.row() for e in splits["train"].examples],
        eval_dataset=[e.row() for e in splits["eval"].examples],
        compute_loss_func=step_bce_loss,
        compute_metrics=step_metrics,
        processing_class=tokenizer,
    )
    use_progress(trainer)
    if config.max_minutes is not None:
        stop_after(trainer, 60 * config.max_minutes)
    return trainer


def step_metrics(prediction: Any) -> dict[str, float]:
    """Accuracy and AUROC over labelled steps, for the Trainer's evaluation.

    Args:
        prediction: ``predictions`` of shape (rows, tokens, 1) and ``label_ids`` of shape (rows, tokens).
    """
    from sklearn.metrics import roc_auc_score

    labels, logits = prediction.label_ids, prediction.predictions.squeeze(-1)
    kept = labels >= 0
    truth, values = labels[kept] >= 0.5, logits[kept]
    metrics = {
        "step_accuracy": float(((values > 0) == truth).mean()),
        "prior_accuracy": float(max(truth.mean(), 1 - truth.mean())),
    }
    if truth.any() and not truth.all():
        metrics["step_auroc"] = float(roc_auc_score(truth, values))
    return metrics


def _last_evaluation(trainer: Any) -> dict[str, float]:
    """The evaluation at the last step; made now where none fell on it."""
    last = trainer.state.log_history[-2:]
    found = next((e for e in last if "eval_loss" in e and e["step"] == trainer.state.global_step), None)
    found = found or trainer.evaluate()
    return {k: float(v) for k, v in found.items() if k.startswith("eval_") and isinstance(v, int | float)}


def _mean_loss(history: list[dict[str, float]]) -> float:
    losses = [entry["loss"] for entry in history if "loss" in entry]
    return sum(losses) / len(losses) if losses else float("nan")
