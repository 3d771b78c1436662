"""The folder of a training run: what it remembers, how it resumes, what it leaves behind."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rewardkit.errors import ConfigError
from rewardkit.store.files import write_text
from rewardkit.store.rows import file_digest
from rewardkit.types import content_id

if TYPE_CHECKING:
    from rewardkit.models.spec import RewardModelSpec
    from rewardkit.train.data import Examples
    from rewardkit.train.prm import PRMConfig, TrainResult


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
    config: PRMConfig
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
        self, trainer: Any, tokenizer: Any, spec: RewardModelSpec, splits: dict[str, Examples], result: TrainResult
    ) -> None:
        """Write the model (adapters merged), its spec, the training log and the card; the spec comes last."""
        from rewardkit.models.embedded import quiet_transformers
        from rewardkit.train.card import write_card

        with quiet_transformers():
            if self.config.lora is None:
                trainer.model.float().save_pretrained(self.folder)
            else:
                trainer.model.save_pretrained(self.folder / "adapter")
                merge_adapter(self.folder / "adapter", self.config.model).save_pretrained(self.folder)
            tokenizer.save_pretrained(self.folder)
        log = {"log": trainer.state.log_history, "metrics": result.metrics}
        write_text(self.folder / "training.json", json.dumps(log, indent=1) + "\n")
        write_card(self, spec, splits, result)
        spec.model_copy(update={"data_hash": self.data_hash}).save(self.folder)
        shutil.rmtree(self.folder / "checkpoints", ignore_errors=True)


def open_run(config: PRMConfig) -> TrainingRun:
    """Open or begin the run in ``config.output``.

    Raises:
        ConfigError: the folder holds a run of another config or of other data, or something else.
    """
    folder = Path(config.output)
    run = TrainingRun(folder, config, data_hash(config.data))
    record: dict[str, Any] = {"config": config.model_dump(mode="json"), "data_hash": run.data_hash}
    path = folder / "run.json"
    if path.is_file():
        held = json.loads(path.read_text(encoding="utf-8"))
        if held != record:
            changed = sorted(k for k, v in record["config"].items() if held.get("config", {}).get(k) != v)
            raise ConfigError(
                f"{folder} holds a run with other {', '.join(changed) or 'data'}; "
                "name another output=FOLDER, or remove that folder to train anew"
            )
        run.finished = _finished(folder)
    elif folder.exists() and any(folder.iterdir()):
        raise ConfigError(f"{folder} is not empty and holds no training run; name another output=FOLDER")
    else:
        folder.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(record, indent=1) + "\n")
    return run


def data_hash(folders: tuple[str, ...]) -> str:
    """A hash of the Parquet files of dataset folders, by content.

    Raises:
        ConfigError: a folder holds no data.
    """
    digests = []
    for folder in folders:
        files = sorted((Path(folder) / "data").glob("*.parquet"))
        if not files:
            raise ConfigError(f"there is no dataset in {folder} (no data/*.parquet); make one with `rewardkit synth`")
        digests += [file_digest(f) for f in files]
    return content_id(*digests)


def merge_adapter(adapter: Path, model: str) -> Any:
    """The base model in its own precision with an adapter merged in: a plain checkpoint that every server loads."""
    from peft import PeftModel

    from rewardkit.models.embedded import resolve_model
    from rewardkit.train.prm import load_token_classifier

    base = load_token_classifier(resolve_model(model), "auto")
    return PeftModel.from_pretrained(base, str(adapter)).merge_and_unload()


def training_arguments(config: PRMConfig) -> Any:
    """The Trainer's arguments; bf16 autocast stays off, since the frozen weights already have their dtype."""
    import sys

    import torch
    from transformers import TrainingArguments

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
        train_sampling_strategy="group_by_length",
        label_names=["labels"],
        report_to=[],
        use_cpu=config.device == "cpu",
        dataloader_pin_memory=config.device != "cpu" and torch.cuda.is_available(),
        bf16=False,
        disable_tqdm=not sys.stderr.isatty(),
        remove_unused_columns=False,
    )


def _finished(folder: Path) -> TrainResult | None:
    from rewardkit.models.spec import FILE
    from rewardkit.train.prm import TrainResult

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
