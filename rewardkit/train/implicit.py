"""Train an implicit process reward model: step rewards from labels of outcomes alone.

    rewardkit train implicit-gsm8k

Yuan et al., "Free Process Rewards without Process Labels" (arXiv 2412.01981). A language model is trained so that
``beta * (log pi(y) - log pi_ref(y))``, summed over the tokens of a response, tells right responses from wrong ones; the
reference is the checkpoint that training starts from. Its partial sums are then process rewards
(`rewardkit.models.implicit`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from rewardkit.errors import DataError
from rewardkit.models.spec import RewardModelSpec
from rewardkit.train.config import TrainConfig
from rewardkit.train.data import limited, split_by_problem
from rewardkit.train.implicit_data import (
    ImplicitResponse,
    Outcome,
    ResponseCollator,
    balanced,
    build_responses,
    with_mismatches,
)
from rewardkit.train.kind import TrainingKind, load_pretrained
from rewardkit.train.pairs import OutcomeExamples, make_pairs, read_outcomes

if TYPE_CHECKING:
    from rewardkit.store.dataset import LabelledTrace

PAIRED = ("dpo", "nca")


class ImplicitConfig(TrainConfig):
    """Configuration of `rewardkit train implicit`; see `TrainConfig` for the keys that all kinds share.

    Attributes:
        data: dataset folders, or JSON Lines or Parquet files of TRL's preference or unpaired preference types.
        sources: label sources of the outcome; the first that has an opinion wins.
        outcome: where a response's label comes from: ``answer`` its final answer; or the ``mean`` or ``last`` of its
            step labels.
        loss: ``ce`` and ``kto`` take responses by themselves (``ce`` soft labels too), ``dpo`` and ``nca`` pairs of a
            right and a wrong response to one problem. Evaluation is by ``ce`` over single responses for all four.
        beta: the scale of the log-ratio.
        pairs_per_problem: at most so many pairs of one problem, drawn at random; None means all.
        balance: train on as many right as wrong responses, leaving out a random part of the others.
        step_score: what a step's score is made of; see `RewardModelSpec`.
    """

    kind: Literal["implicit"] = "implicit"
    sources: tuple[str, ...] = ("answer",)
    outcome: Outcome = "answer"
    loss: Literal["ce", "dpo", "nca", "kto"] = "ce"
    beta: float = Field(0.05, gt=0)
    pairs_per_problem: int | None = Field(8, ge=1)
    balance: bool = False
    step_score: Literal["single", "accumulative"] = "accumulative"
    learning_rate: float = Field(1e-4, gt=0)


class ImplicitPRM(TrainingKind[ImplicitConfig]):
    """A causal language model whose log-ratio to its start is the reward."""

    config_class = ImplicitConfig
    task_type = "CAUSAL_LM"
    pipeline_tag = "text-generation"
    shown = ("eval_loss", "eval_outcome_auroc", "eval_outcome_accuracy", "eval_prior_accuracy")

    def __init__(self, config: ImplicitConfig) -> None:
        super().__init__(config)
        self._bad: Counter[str] = Counter()

    def load_base(self, base: str, dtype: Any) -> Any:
        from transformers import AutoModelForCausalLM

        return load_pretrained(AutoModelForCausalLM, base, dtype=dtype)

    def read(self, name: str) -> list[LabelledTrace]:
        if Path(name).is_dir():
            return super().read(name)
        return read_outcomes(name, self.config.sources[0], self._bad)

    def prepare(
        self, rows: Sequence[LabelledTrace], tokenizer: Any
    ) -> tuple[RewardModelSpec, Mapping[str, OutcomeExamples]]:
        config = self.config
        splits = {}
        for name, part in split_by_problem(rows, config.held_out).items():
            responses, dropped = build_responses(
                part, tokenizer, sources=config.sources, outcome=config.outcome, max_length=config.max_length
            )
            if name == "train":
                made = self._train_examples(responses)
            else:
                made = OutcomeExamples(limited(list(responses), config.max_eval, config.seed))
            made.dropped = {**dropped, **made.dropped, **(self._bad if name == "train" else {})}
            if not made.examples:
                counts = f"{len(part)} responses; left out: {made.dropped or 'none'}"
                raise DataError(f"{', '.join(config.data)}: nothing for {config.loss} in the {name} part ({counts})")
            splits[name] = made
        spec = RewardModelSpec(
            kind="implicit",
            beta=config.beta,
            reference=config.model,
            step_score=config.step_score,
            reducer=config.reducer,
            meaning="value",
            max_length=config.max_length,
            base_model=config.model,
        )
        return spec, splits

    def _train_examples(self, responses: list[ImplicitResponse]) -> OutcomeExamples:
        """Responses or pairs, as the loss wants them."""
        config = self.config
        responses = balanced(responses, config.seed) if config.balance else responses
        if config.loss in PAIRED:
            made = make_pairs(responses, config.pairs_per_problem, config.seed)
            made.examples = limited(made.examples, config.max_traces, config.seed)
            return made
        chosen = limited(responses, config.max_traces, config.seed)
        return OutcomeExamples(list(with_mismatches(chosen, config.max_length) if config.loss == "kto" else chosen))

    def collator(self, tokenizer: Any) -> Callable[[Sequence[Mapping[str, Any]]], dict[str, Any]]:
        return ResponseCollator()

    def metrics(self) -> Callable[[Any], dict[str, float]]:
        return outcome_metrics

    def trainer(self, **arguments: Any) -> Any:
        from rewardkit.train.implicit_trainer import implicit_trainer

        return implicit_trainer(self.config, **arguments)

    def share_prompts(self, trainer: Any) -> None:
        """Nothing is left to do: `implicit_trainer` has, before the reference."""


def outcome_metrics(prediction: Any) -> dict[str, float]:
    """Accuracy and AUROC of the responses' rewards against their outcomes, for the Trainer's evaluation.

    Args:
        prediction: ``predictions`` and ``label_ids`` of shape (responses,).
    """
    from sklearn.metrics import roc_auc_score

    truth, rewards = prediction.label_ids >= 0.5, prediction.predictions
    metrics = {
        "outcome_accuracy": float(((rewards > 0) == truth).mean()),
        "prior_accuracy": float(max(truth.mean(), 1 - truth.mean())),
    }
    if truth.any() and not truth.all():
        metrics["outcome_auroc"] = float(roc_auc_score(truth, rewards))
    return metrics
