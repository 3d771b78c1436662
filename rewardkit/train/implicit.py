"""Train an implicit process reward model: step rewards from labels of outcomes alone.

    rewardkit train implicit-gsm8k

Yuan et al., "Free Process Rewards without Process Labels" (arXiv 2412.01981). A language model is trained so that
``beta * (log pi(y) - log pi_ref(y))``, summed over the tokens of a response, tells right responses from wrong ones; the
reference is the checkpoint that training starts from. Its partial sums are then process rewards
(`rewardkit.models.implicit`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from rewardkit.errors import DataError
from rewardkit.models.spec import RewardModelSpec
from rewardkit.train.config import TrainConfig
from rewardkit.train.data import limited, split_by_problem
from rewardkit.train.implicit_data import (
    Outcome,
    ResponseCollator,
    Responses,
    balanced,
    build_responses,
    make_pairs,
    with_mismatches,
)
from rewardkit.train.kind import TrainingKind, load_pretrained

if TYPE_CHECKING:
    from rewardkit.store.dataset import LabelledTrace

PAIRED = ("dpo", "nca")


class ImplicitConfig(TrainConfig):
    """Configuration of `rewardkit train implicit`; see `TrainConfig` for the keys that all kinds share.

    Attributes:
        sources: label sources of the outcome; the first that has an opinion wins.
        outcome: where a response's label comes from: ``answer`` its final answer; or the ``mean`` or ``last`` of its
            step labels.
        loss: ``ce`` and ``kto`` take responses by themselves (``ce`` soft labels too), ``dpo`` and ``nca`` pairs of a
            right and a wrong response to one problem. Evaluation is by ``ce`` over single responses for all four.
        beta: the scale of the log-ratio.
        max_pairs: pairs of one problem, drawn at random where there are more.
        balance: train on as many right as wrong responses, leaving out a random part of the others.
        step_score: what a step's score is made of; see `RewardModelSpec`.
    """

    kind: Literal["implicit"] = "implicit"
    sources: tuple[str, ...] = ("answer",)
    outcome: Outcome = "answer"
    loss: Literal["ce", "dpo", "nca", "kto"] = "ce"
    beta: float = Field(0.05, gt=0)
    max_pairs: int = Field(8, ge=1)
    balance: bool = False
    step_score: Literal["single", "accumulative"] = "accumulative"
    learning_rate: float = Field(1e-4, gt=0)


class ImplicitPRM(TrainingKind[ImplicitConfig]):
    """A causal language model whose log-ratio to its start is the reward."""

    config_class = ImplicitConfig
    task_type = "CAUSAL_LM"
    pipeline_tag = "text-generation"
    shown = ("eval_loss", "eval_outcome_auroc", "eval_outcome_accuracy", "eval_prior_accuracy")

    def load_base(self, base: str, dtype: Any) -> Any:
        from transformers import AutoModelForCausalLM

        return load_pretrained(AutoModelForCausalLM, base, dtype=dtype)

    def prepare(self, rows: Sequence[LabelledTrace], tokenizer: Any) -> tuple[RewardModelSpec, Mapping[str, Responses]]:
        config = self.config
        splits = {}
        for name, part in split_by_problem(rows, config.held_out).items():
            made = build_responses(
                part, tokenizer, sources=config.sources, outcome=config.outcome, max_length=config.max_length
            )
            found = len(made.examples)
            made.examples = (
                self._train_examples(made) if name == "train" else limited(made.examples, config.max_eval, config.seed)
            )
            if not made.examples:
                wanted = "no problem with a right and a wrong response" if found else "no response with an outcome"
                counts = f"{len(part)} traces; left out: {made.dropped or 'none'}"
                raise DataError(
                    f"{', '.join(config.data)}: {wanted} of {', '.join(config.sources)} in the {name} part ({counts})"
                )
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

    def _train_examples(self, made: Responses) -> list[Any]:
        """Responses or pairs, as the loss wants them."""
        config = self.config
        responses = balanced(made.examples, config.seed) if config.balance else made.examples
        if config.loss in PAIRED:
            return limited(make_pairs(responses, config.max_pairs, config.seed), config.max_traces, config.seed)
        chosen = limited(responses, config.max_traces, config.seed)
        return with_mismatches(chosen, config.max_length) if config.loss == "kto" else chosen

    def collator(self, tokenizer: Any) -> Callable[[Sequence[Mapping[str, Any]]], dict[str, Any]]:
        return ResponseCollator()

    def metrics(self) -> Callable[[Any], dict[str, float]]:
        return outcome_metrics

    def trainer(self, **arguments: Any) -> Any:
        from rewardkit.train.implicit_trainer import implicit_trainer

        return implicit_trainer(self.config, **arguments)


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
