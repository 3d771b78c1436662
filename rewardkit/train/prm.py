"""Train a process reward model: a token-classification head on the separator after each step, with LoRA or in full.

    rewardkit train prm data=runs/gsm8k output=runs/prm

The trainer is `transformers.Trainer` with our own loss function, through its public arguments only. TRL's
RewardTrainer is not used here: since 1.14 TRL has no stepwise trainer, and its base classes are private.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from rewardkit.errors import DataError
from rewardkit.models.spec import RewardModelSpec
from rewardkit.train.config import TrainConfig, TrainResult
from rewardkit.train.data import Collator, Examples, build_examples, limited, split_by_problem
from rewardkit.train.kind import TrainingKind, load_pretrained
from rewardkit.train.losses import LossFunction, LossOptions

if TYPE_CHECKING:
    from rewardkit.store.dataset import LabelledTrace


class PRMConfig(TrainConfig):
    """Configuration of `rewardkit train prm`; see `TrainConfig` for the keys that all kinds share.

    Attributes:
        separator: the token after each step; None takes one that text never needs.
        loss: by name with its parameters, such as ``{name: gce, q: 0.7}``; see `rewardkit.train.losses.LOSSES`.
    """

    kind: Literal["prm"] = "prm"
    separator: str | None = None
    loss: LossOptions = LossOptions()


class TokenPRM(TrainingKind[PRMConfig]):
    """A head of one logit over the position of the separator after each step."""

    config_class = PRMConfig
    task_type = "TOKEN_CLS"
    pipeline_tag = "token-classification"
    shown = ("eval_loss", "eval_step_auroc", "eval_step_accuracy", "eval_prior_accuracy")

    def load_base(self, base: str, dtype: Any) -> Any:
        return load_token_classifier(base, dtype)

    def prepare(self, rows: Sequence[LabelledTrace], tokenizer: Any) -> tuple[RewardModelSpec, Mapping[str, Examples]]:
        from rewardkit.text.encode import find_separator

        config = self.config
        separator, separator_id = find_separator(tokenizer, config.separator)
        splits = {}
        for name, part in split_by_problem(rows, config.held_out).items():
            made = build_examples(part, tokenizer, separator_id, sources=config.sources, max_length=config.max_length)
            if not made.examples:
                wanted = f"no trace with a label of {', '.join(config.sources)} in the {name} part"
                counts = f"{len(part)} traces; left out: {made.dropped or 'none'}"
                raise DataError(f"{', '.join(config.data)}: {wanted} ({counts})")
            made.examples = limited(
                made.examples, config.max_traces if name == "train" else config.max_eval, config.seed
            )
            splits[name] = made
        self._loss = config.loss.build(splits["train"].targets())
        if (unlabelled := getattr(self._loss, "unlabelled", None)) is not None:
            splits["train"].fill(unlabelled)
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
        return spec, splits

    def collator(self, tokenizer: Any) -> Collator:
        return Collator(tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0)

    def loss(self) -> LossFunction:
        return self._loss

    def trainer(self, **arguments: Any) -> Any:
        trainer = super().trainer(**arguments)
        if attach := getattr(self._loss, "attach", None):
            attach(trainer)
        return trainer

    def metrics(self) -> Callable[[Any], dict[str, float]]:
        return step_metrics


def train_prm(config: PRMConfig) -> TrainResult:
    """Train a process reward model and write its folder; goes on where an interrupted run of the same config stopped.

    Raises:
        ConfigError: the data or the model is missing, or ``output`` holds another run.
        DataError: no trace with a usable label, or labels of different meanings.
    """
    from rewardkit.train.run import run_training

    return run_training(TokenPRM(config))


def load_token_classifier(base: str, dtype: Any) -> Any:
    """A causal language model's body under a new head of one label, without the dropout that transformers adds.

    Args:
        base: a folder or Hub id.
        dtype: a torch dtype.

    Raises:
        ConfigError: the model cannot be loaded as a token classifier.
    """
    from transformers import AutoConfig, AutoModelForTokenClassification

    options = {"num_labels": 1, "id2label": {0: "correct"}, "label2id": {"correct": 0}}
    settings = load_pretrained(AutoConfig, base, **options)
    # Not an argument above: from_pretrained drops what the config class does not know.
    settings.classifier_dropout = 0.0
    return load_pretrained(AutoModelForTokenClassification, base, config=settings, dtype=dtype)


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
