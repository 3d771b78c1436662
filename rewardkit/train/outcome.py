"""Train an outcome reward model: one score for a whole response, from pairs or from right and wrong responses.

    rewardkit train outcome-gsm8k
    rewardkit train outcome data=preferences.jsonl output=runs/orm

Pairs follow Bradley-Terry, as TRL's RewardTrainer does (the losses are equal, which a test holds); single responses a
binary cross-entropy, hard or soft (Cobbe et al. 2021, arXiv 2110.14168).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from rewardkit.errors import ConfigError, DataError
from rewardkit.models.encoders import encode_outcome
from rewardkit.models.spec import Reducer, RewardModelSpec
from rewardkit.train.config import TrainConfig
from rewardkit.train.data import limited, split_by_problem
from rewardkit.train.head_rate import with_head_rate
from rewardkit.train.kind import TrainingKind, load_pretrained
from rewardkit.train.pairs import (
    PAIR,
    OutcomeCollator,
    OutcomeExamples,
    Response,
    make_pairs,
    one_meaning,
    outcome_of,
    read_outcomes,
)

if TYPE_CHECKING:
    import torch

    from rewardkit.store.dataset import LabelledTrace


class OutcomeConfig(TrainConfig):
    """Configuration of `rewardkit train outcome`; see `TrainConfig` for the keys that all kinds share.

    Attributes:
        data: dataset folders with labels of the last step (such as those of ``answer``), or JSON Lines or Parquet files
            of TRL's preference (``prompt, chosen, rejected``) or unpaired (``prompt, completion, label``) types.
        loss: ``bradley_terry`` over pairs, ``bce`` over single responses.
        pairs_per_problem: at most so many pairs of one problem, drawn at random; None means all.
        center_rewards_coefficient: of the mean of (r_chosen + r_rejected)², which keeps rewards near zero (Eisenstein
            et al., arXiv 2312.09244), as in TRL; None leaves it out.
        separator: the token that ends a response and is read; None takes one that text never needs.
        head_learning_rate: of the head; None takes what suits its width, see `rewardkit.train.head_rate`.
    """

    kind: Literal["outcome"] = "outcome"
    sources: tuple[str, ...] = ("answer",)
    reducer: Reducer = "last"
    loss: Literal["bradley_terry", "bce"] = "bradley_terry"
    pairs_per_problem: int | None = Field(8, ge=1)
    center_rewards_coefficient: float | None = Field(None, gt=0)
    separator: str | None = None
    head_learning_rate: float | None = Field(None, gt=0)


class OutcomeReward(TrainingKind[OutcomeConfig]):
    """A head of one logit over the last token."""

    config_class = OutcomeConfig
    task_type = "SEQ_CLS"
    pipeline_tag = "text-classification"
    shown = ("eval_loss", "eval_pair_accuracy", "eval_auroc", "eval_accuracy", "eval_prior_accuracy")

    def __init__(self, config: OutcomeConfig) -> None:
        super().__init__(config)
        self._bad: Counter[str] = Counter()
        self._pad_id = 0

    def load_base(self, base: str, dtype: Any) -> Any:
        from transformers import AutoModelForSequenceClassification

        options = {"num_labels": 1, "pad_token_id": self._pad_id, "dtype": dtype}
        return load_pretrained(AutoModelForSequenceClassification, base, **options)

    def read(self, name: str) -> list[LabelledTrace]:
        if Path(name).is_dir():
            return super().read(name)
        return read_outcomes(name, self.config.sources[0], self._bad)

    def prepare(
        self, rows: Sequence[LabelledTrace], tokenizer: Any
    ) -> tuple[RewardModelSpec, Mapping[str, OutcomeExamples]]:
        from rewardkit.text.encode import find_separator

        config = self.config
        separator, separator_id = find_separator(tokenizer, config.separator)
        self._pad_id = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0
        if separator_id == self._pad_id:
            raise ConfigError(f"separator '{separator}' is the padding token, which is never read; name another")
        splits = {}
        for name, part in split_by_problem(rows, config.held_out).items():
            splits[name] = self._split(part, tokenizer, separator_id, config.max_traces if name == "train" else None)
            if not splits[name].examples:
                counts = f"{len(part)} responses; left out: {splits[name].dropped or 'none'}"
                raise DataError(f"{', '.join(config.data)}: nothing to train on in the {name} part ({counts})")
        splits["eval"].examples = limited(splits["eval"].examples, config.max_eval, config.seed)
        splits["train"].dropped.update(self._bad)
        labels = [label for row in rows if (label := outcome_of(row, config.sources))]
        spec = RewardModelSpec(
            kind="outcome",
            separator=separator,
            separator_id=separator_id,
            reducer=config.reducer,
            meaning=one_meaning(labels),
            max_length=config.max_length,
            base_model=config.model,
        )
        return spec, splits

    def _split(
        self, rows: Sequence[LabelledTrace], tokenizer: Any, separator_id: int, most: int | None
    ) -> OutcomeExamples:
        config = self.config
        responses, dropped = [], Counter[str]()
        for row in rows:
            label = outcome_of(row, config.sources)
            if label is None or label.p_correct is None:
                dropped["no label of the whole response"] += 1
                continue
            texts = [step.text for step in row.trace.steps]
            try:
                ids = encode_outcome(tokenizer, row.trace.problem.prompt, texts, separator_id).input_ids
            except DataError as error:
                dropped[str(error)] += 1
                continue
            if len(ids) > config.max_length:
                dropped[f"longer than {config.max_length} tokens"] += 1
                continue
            group = str(row.trace.meta.get(PAIR, row.trace.problem.id))
            responses.append(Response(group, ids, float(label.p_correct)))
        if config.loss == "bce":
            made = OutcomeExamples(list(responses))
        else:
            made = make_pairs(responses, config.pairs_per_problem, config.seed)
        made.examples = limited(made.examples, most, config.seed)
        made.dropped = {**dropped, **made.dropped}
        return made

    def collator(self, tokenizer: Any) -> OutcomeCollator:
        return OutcomeCollator(self._pad_id)

    def loss(self) -> Callable[..., Any]:
        if self.config.loss == "bce":
            return response_bce_loss
        return partial(pair_loss, center=self.config.center_rewards_coefficient or 0.0)

    def metrics(self) -> Callable[[Any], dict[str, float]]:
        return response_metrics if self.config.loss == "bce" else pair_metrics

    def trainer(self, **arguments: Any) -> Any:
        if self.config.loss == "bradley_terry":
            # One row a pair: the Trainer counts rows to know where the last batch ends.
            arguments["preprocess_logits_for_metrics"] = lambda logits, labels: logits.reshape(-1, 2)
        return with_head_rate(super().trainer(**arguments), self.config.head_learning_rate)

    def share_prompts(self, trainer: Any) -> None:
        from rewardkit.train.sharing import share_prompts

        share_prompts(trainer, last=True)


def pair_loss(
    outputs: Any, labels: torch.Tensor, num_items_in_batch: torch.Tensor | int | None = None, *, center: float = 0.0
) -> torch.Tensor:
    """Bradley-Terry: ``-log σ(r_chosen - r_rejected)``, plus ``center`` times ``(r_chosen + r_rejected)²``.

    Summed over pairs and divided by their number in the whole accumulated batch.

    Args:
        outputs: of the model; ``outputs.logits`` of shape (2 pairs, 1): chosen and rejected in turn.
        labels: shape (pairs,): the chance that the first is the better one, 1.0 where that is sure.
        num_items_in_batch: the number of pairs to divide by; None means those of this call.
        center: weight of the term that keeps rewards near zero.

    >>> import torch
    >>> from types import SimpleNamespace
    >>> out = SimpleNamespace(logits=torch.tensor([[2.0], [1.0]]))
    >>> round(pair_loss(out, torch.ones(1)).item(), 4)  # -log sigmoid(1)
    0.3133
    """
    import torch.nn.functional as F

    rewards = outputs.logits.float().reshape(-1, 2)
    margin = rewards[:, 0] - rewards[:, 1]
    total = F.binary_cross_entropy_with_logits(margin, labels.float(), reduction="sum")
    total += center * rewards.sum(dim=1).square().sum()
    return total / (len(labels) if num_items_in_batch is None else num_items_in_batch)


def response_bce_loss(
    outputs: Any, labels: torch.Tensor, num_items_in_batch: torch.Tensor | int | None = None
) -> torch.Tensor:
    """Binary cross-entropy of one logit a response, for hard and soft targets.

    Args:
        outputs: of the model; ``outputs.logits`` of shape (responses, 1).
        labels: shape (responses,), floats in [0, 1].
        num_items_in_batch: the number of responses to divide by; None means those of this call.
    """
    import torch.nn.functional as F

    total = F.binary_cross_entropy_with_logits(outputs.logits.float().squeeze(-1), labels.float(), reduction="sum")
    return total / (len(labels) if num_items_in_batch is None else num_items_in_batch)


def pair_metrics(prediction: Any) -> dict[str, float]:
    """The share of pairs whose better response scores higher, a tie counting half.

    Args:
        prediction: ``predictions`` of shape (pairs, 2).
    """
    margin = prediction.predictions[:, 0] - prediction.predictions[:, 1]
    return {"pair_accuracy": float(((margin > 0) + 0.5 * (margin == 0)).mean())}


def response_metrics(prediction: Any) -> dict[str, float]:
    """Accuracy and AUROC over responses.

    Args:
        prediction: ``predictions`` of shape (responses, 1) and ``label_ids`` of shape (responses,).
    """
    from rewardkit.train.steps import binary_metrics

    return binary_metrics(prediction.predictions.squeeze(-1), prediction.label_ids)
