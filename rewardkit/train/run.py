"""The training loop that all kinds share, and its folder: what it remembers, how it resumes, what it leaves."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from rewardkit.errors import ConfigError
from rewardkit.models.cpu import multiplies_bfloat16
from rewardkit.models.heads import classification_head
from rewardkit.store.files import write_text
from rewardkit.store.rows import file_digest
from rewardkit.train.checks import check_ids, check_positions, watch_labels
from rewardkit.train.config import RunConfig, TrainConfig, TrainResult
from rewardkit.types import content_id

if TYPE_CHECKING:
    from rewardkit.models.spec import RewardModelSpec
    from rewardkit.train.kind import Split, TrainingKind


def run_training(kind: TrainingKind[Any]) -> TrainResult:
    """Train a kind and write its folder; goes on where an interrupted run of the same config stopped.

    Raises:
        ConfigError: the data or the model is missing, or ``output`` holds another run.
        DataError: nothing in the data can train this kind.
    """
    from rewardkit.models.embedded import resolve_model

    config: TrainConfig = kind.config
    started = time.monotonic()
    arguments = training_arguments(config)
    with arguments.main_process_first(desc="opening the run"):  # the first process makes the folder, the others find it
        run = open_run(config)
        checkpoint = None if run.finished else run.last_checkpoint()
    if run.finished is not None:
        return run.finished
    base = resolve_model(config.model)
    tokenizer = load_tokenizer(base)
    spec, splits = kind.prepare([row for name in config.data for row in kind.read(name)], tokenizer)
    trainer = _trainer(kind, arguments, build_model(kind, base), tokenizer, splits)
    trainer.train(resume_from_checkpoint=checkpoint)
    metrics = _last_evaluation(trainer)
    metrics |= _mean_loss(trainer.state.log_history)
    result = TrainResult(
        output=Path(config.output),
        metrics=metrics,
        examples=len(splits["train"].examples),
        steps=trainer.state.global_step,
        seconds=time.monotonic() - started,
        resumed=checkpoint is not None,
    )
    run.finish(kind, trainer, tokenizer, spec, splits, result)
    return result


def load_tokenizer(base: str) -> Any:
    """The tokenizer of a folder or Hub id.

    Raises:
        ConfigError: there is none.
    """
    from transformers import AutoTokenizer

    from rewardkit.train.kind import load_pretrained

    return load_pretrained(AutoTokenizer, base)


class Kind(Protocol):
    """What is trained: its configuration, the task that PEFT's adapters are for, and the model before adapters."""

    config: Any
    task_type: ClassVar[str]

    def load_base(self, base: str, dtype: Any) -> Any:
        """The model of a folder or Hub id; `dtype` is torch's, or "auto"."""
        ...


def build_model(kind: Kind, base: str) -> Any:
    """The kind's model, with adapters where the config asks for them; what is trained is in float32."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import set_seed

    config: RunConfig = kind.config
    set_seed(config.seed)
    on_gpu = config.device != "cpu" and torch.cuda.is_available()
    fast = "bfloat16" if on_gpu or multiplies_bfloat16() else "float32"
    dtype = getattr(torch, fast if config.dtype == "auto" else config.dtype) if config.lora else torch.float32
    model = kind.load_base(base, dtype)
    if config.lora is None:
        return model
    lora = config.lora
    layers = model.config.num_hidden_layers
    top = None if lora.top_layers is None else list(range(max(0, layers - lora.top_layers), layers))
    adapters = LoraConfig(
        task_type=kind.task_type,
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=list(lora.target_modules),
        layers_to_transform=top,
    )
    try:
        model = get_peft_model(model, adapters)
    except ValueError as error:
        raise ConfigError(f"lora.target_modules does not fit '{config.model}': {error}") from None
    _require_targets(model, lora.target_modules, config.model)
    _train_in_float32(model)
    return model


def _require_targets(model: Any, wanted: Sequence[str], name: str) -> None:
    """PEFT is content with one name that fits: of a model with fused layers it would adapt a part, in silence."""
    import torch

    found = model.base_model.targeted_module_names
    lacking = [target for target in wanted if not any(f".{path}".endswith(f".{target}") for path in found)]
    if lacking:
        linear = [path for path, part in model.named_modules() if isinstance(part, torch.nn.Linear)]
        layers = {path.rpartition(".")[2] for path in (*found, *linear)} - {"base_layer", "default", "original_module"}
        raise ConfigError(
            f"lora.target_modules: '{name}' has no {', '.join(lacking)}; name some of its own linear layers: "
            + ", ".join(sorted(layers))
        )


def _train_in_float32(model: Any) -> None:
    """Hold what is trained in float32 over frozen weights of less precision; a head then casts what it is given.

    PEFT's adapters cast by themselves, a head does not.
    """
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    head = classification_head(model)
    if head is not None:
        head.register_forward_pre_hook(_in_dtype_of_the_trained)


def _in_dtype_of_the_trained(head: Any, inputs: tuple[Any, ...]) -> tuple[Any]:
    """PEFT keeps the untrained head beside the trained one; DeepSpeed changes the dtype later."""
    return (inputs[0].to(next(p for p in head.parameters() if p.requires_grad).dtype),)


def _trainer(kind: TrainingKind[Any], arguments: Any, model: Any, tokenizer: Any, splits: Mapping[str, Split]) -> Any:
    from rewardkit.train.progress import stop_after, use_progress

    config: TrainConfig = kind.config
    rows = {name: [e.row() for e in part.examples] for name, part in splits.items()}
    check_ids(rows["train"] + rows["eval"], model.get_input_embeddings().num_embeddings)
    positions = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    check_positions(rows["train"] + rows["eval"], positions)
    trainer = kind.trainer(
        model=model,
        args=arguments,
        data_collator=kind.collator(tokenizer),
        train_dataset=rows["train"],
        eval_dataset=rows["eval"],
        compute_loss_func=kind.loss(),
        compute_metrics=kind.metrics(),
        processing_class=tokenizer,
    )
    if config.batching == "problem":
        kind.share_prompts(trainer)
    use_progress(trainer)
    watch_labels(trainer, splits["train"].labels)
    if config.max_minutes is not None:
        stop_after(trainer, 60 * config.max_minutes)
    return trainer


def _last_evaluation(trainer: Any) -> dict[str, float]:
    """The evaluation at the last step; made now where none fell on it."""
    last = trainer.state.log_history[-2:]
    found = next((e for e in last if "eval_loss" in e and e["step"] == trainer.state.global_step), None)
    found = found or trainer.evaluate()
    return {k: float(v) for k, v in found.items() if k.startswith("eval_") and isinstance(v, int | float)}


def _mean_loss(history: list[dict[str, float]]) -> dict[str, float]:
    """The mean of what was logged; the Trainer's own where a run has fewer steps than ``log_every``."""
    losses = [entry["loss"] for entry in history if "loss" in entry]
    losses = losses or [entry["train_loss"] for entry in history if "train_loss" in entry][-1:]
    return {"train_loss": sum(losses) / len(losses)} if losses else {}


@dataclass(slots=True)
class TrainingRun:
    """One output folder: ``run.json`` (config, data hash), ``checkpoints/``, and at the end the model itself.

    Attributes:
        folder: the output.
        config: of the run.
        data_hash: of the input files.
        finished: the result of a run that is already complete, else None.
    """

    folder: Path
    config: RunConfig
    data_hash: str
    finished: TrainResult | None = None

    def last_checkpoint(self) -> str | None:
        """The newest checkpoint that was written to its end; broken ones, cut off by a kill, are removed."""
        found = sorted((self.folder / "checkpoints").glob("checkpoint-*"), key=lambda p: int(p.name.split("-")[1]))
        while found:
            path = found.pop()
            # The Trainer writes its state file last.
            if (path / "trainer_state.json").is_file() and _is_json(path / "trainer_state.json"):
                return str(path)
            shutil.rmtree(path)
        return None

    def finish(
        self,
        kind: TrainingKind[Any],
        trainer: Any,
        tokenizer: Any,
        spec: RewardModelSpec,
        splits: Mapping[str, Split],
        result: TrainResult,
    ) -> None:
        """Write the model (adapters merged), its spec, the training log and the card; the spec comes last.

        Every process calls it, since sharded weights are gathered; the first one writes.
        """
        from rewardkit.train.card import write_card

        if not save_weights(kind, self.folder, trainer, tokenizer):
            return
        log = {"log": trainer.state.log_history, "metrics": result.metrics}
        write_text(self.folder / "training.json", json.dumps(log, indent=1) + "\n")
        write_card(self, kind, spec, splits, result)
        spec.model_copy(update={"data_hash": self.data_hash}).save(self.folder)
        shutil.rmtree(self.folder / "checkpoints", ignore_errors=True)


def save_weights(kind: Kind, folder: Path, trainer: Any, tokenizer: Any) -> bool:
    """Write a trained model, its adapters merged and also by themselves in ``adapter``, and its tokenizer.

    Every process calls it, since sharded weights are gathered.

    Returns:
        Whether this is the process that writes.
    """
    from transformers.integrations.deepspeed import unset_hf_deepspeed_config

    from rewardkit.models.embedded import quiet_transformers
    from rewardkit.models.weights import share_weights

    lora = kind.config.lora is not None
    target = folder / "adapter" if lora else folder
    with quiet_transformers():
        trainer.save_model(str(target))
    if not trainer.is_world_process_zero():
        return False
    (target / "training_args.bin").unlink(missing_ok=True)  # a pickle, which nothing here may need
    with quiet_transformers():
        if lora:
            unset_hf_deepspeed_config()  # or this process alone would wait for the others to share the base out
            merge_adapter(kind, target).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    share_weights(folder)
    return True


def open_run(config: TrainConfig) -> TrainingRun:
    """Open or begin the run of a reward model; see `open_folder`."""
    return open_folder(config, data_hash(config.data), _finished)


def open_folder(config: RunConfig, digest: str, finished: Callable[[Path], TrainResult | None]) -> TrainingRun:
    """Open or begin the run in ``config.output``.

    Args:
        config: of the run.
        digest: what identifies its data.
        finished: from the folder to the result of a run that is complete.

    A run that ended before it left anything but its config, as at a mistake in that, gives way to another.

    Raises:
        ConfigError: the folder holds a run of another config or of other data, or something else.
    """
    folder = Path(config.output)
    run = TrainingRun(folder, config, digest)
    record: dict[str, Any] = {"config": config.model_dump(mode="json"), "data_hash": run.data_hash}
    path = folder / "run.json"
    if path.is_file() and any(other.is_file() for other in folder.rglob("*") if other != path):
        held = json.loads(path.read_text(encoding="utf-8"))
        fields = type(config).model_fields
        # A run of an older version has no keys that are newer than it: it was made as their defaults say.
        held["config"] = {k: fields[k].default for k in record["config"] if k in fields} | held.get("config", {})
        if held != record:
            changed = sorted(k for k, v in record["config"].items() if held.get("config", {}).get(k) != v)
            raise ConfigError(
                f"{folder} holds a run with other {', '.join(changed) or 'data'}; "
                "name another output=FOLDER, or remove that folder to train anew"
            )
        run.finished = finished(folder)
    elif not path.is_file() and folder.exists() and any(folder.iterdir()):
        raise ConfigError(f"{folder} is not empty and holds no training run; name another output=FOLDER")
    else:
        folder.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(record, indent=1) + "\n")
    return run


def data_hash(folders: tuple[str, ...]) -> str:
    """A hash of the Parquet files of dataset folders, and of other files, by content.

    Raises:
        ConfigError: a folder holds no data.
    """
    digests = []
    for folder in folders:
        if Path(folder).is_file():
            digests.append(file_digest(Path(folder)))
            continue
        files = sorted((Path(folder) / "data").glob("*.parquet"))
        if not files:
            raise ConfigError(f"there is no dataset in {folder} (no data/*.parquet); make one with `rewardkit synth`")
        digests += [file_digest(f) for f in files]
    return content_id(*digests)


def merge_adapter(kind: Kind, adapter: Path) -> Any:
    """The kind's base model in its own precision with an adapter merged in: a checkpoint that every server loads."""
    from peft import PeftModel

    from rewardkit.models.embedded import resolve_model

    base = kind.load_base(resolve_model(kind.config.model), "auto")
    return PeftModel.from_pretrained(base, str(adapter)).merge_and_unload()


def training_arguments(config: TrainConfig) -> Any:
    """The Trainer's arguments; bf16 autocast stays off, since the frozen weights already have their dtype."""
    import sys

    import torch
    from transformers import TrainingArguments

    from rewardkit.train.launch import deepspeed_computes_bfloat16, launched_processes

    return TrainingArguments(
        output_dir=str(Path(config.output) / "checkpoints"),
        per_device_train_batch_size=config.batch_size,
        per_device_eval_batch_size=config.batch_size * 2,
        gradient_accumulation_steps=config.accumulation,
        learning_rate=config.learning_rate,
        num_train_epochs=config.epochs,
        warmup_steps=config.warmup,
        weight_decay=config.weight_decay,
        lr_scheduler_type="cosine",
        logging_steps=config.log_every,
        eval_strategy="steps",
        eval_steps=config.eval_every,
        save_strategy="steps",
        save_steps=config.save_every,
        save_total_limit=2,
        seed=config.seed,
        data_seed=config.seed,
        label_names=["labels"],
        report_to=[],
        use_cpu=config.device == "cpu",
        ddp_backend="gloo" if launched_processes() > 1 and not torch.cuda.is_available() else None,
        dataloader_pin_memory=config.device != "cpu" and torch.cuda.is_available(),
        gradient_checkpointing=config.gradient_checkpointing,
        bf16=deepspeed_computes_bfloat16(),
        disable_tqdm=not sys.stderr.isatty(),
        remove_unused_columns=False,
    )


def _finished(folder: Path) -> TrainResult | None:
    from rewardkit.models.spec import FILE

    log = folder / "training.json"
    if not (folder / FILE).is_file() or not log.is_file():
        return None
    metrics = json.loads(log.read_text(encoding="utf-8"))["metrics"]
    return TrainResult(folder, metrics, examples=0, steps=0, seconds=0.0, reused=True)


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return False
    return True
