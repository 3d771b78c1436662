"""The Trainer of implicit process reward models: rewards against kept reference log-probabilities, and four losses."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rewardkit.errors import ConfigError
from rewardkit.models.logprobs import ResponseBatch, require_plain_head, response_logprobs
from rewardkit.models.prefixes import require_any_mask
from rewardkit.train.batches import grouped_trainer_class
from rewardkit.train.implicit_losses import ce_loss, dpo_loss, kto_loss, nca_loss
from rewardkit.train.launch import shards_weights
from rewardkit.train.reference import reference_logprobs

if TYPE_CHECKING:
    import torch

    from rewardkit.train.implicit import ImplicitConfig


def implicit_trainer(config: ImplicitConfig, **arguments: Any) -> Any:
    """A Trainer over rows of responses or pairs; fills in their reference log-probabilities first.

    Args:
        config: of the run.
        arguments: of `transformers.Trainer`; ``model`` is as training starts, adapters included.

    Raises:
        ConfigError: the model's head is no plain linear layer, the weights are sharded, or the model cannot share
            prompts.
    """
    if shards_weights():  # log-probabilities are computed from the head's weights outside its forward
        raise ConfigError("implicit models train on whole weights: one process, or several with --accelerate gpu-ddp")
    model = arguments["model"].to(arguments["args"].device)
    require_plain_head(model)
    share = config.batching == "problem"
    if share:
        require_any_mask(model, config.max_length)
    fill_references(model, arguments["train_dataset"], arguments["eval_dataset"], share=share)
    trainer = _trainer_class()(**arguments)
    trainer.shares_prompts = share
    trainer.objective, trainer.beta = config.loss, config.beta
    return trainer


@functools.cache
def _trainer_class() -> Any:
    """The loss is a sum over items (responses or pairs) over their number in the accumulated batch, on all processes.

    So gradient accumulation and more processes change nothing but rounding; of KTO's estimate of the KL the same holds.
    """

    class ImplicitTrainer(grouped_trainer_class()):  # type: ignore[misc]  # untyped here
        objective: str
        beta: float
        # What compute_loss returns is divided by the items of the whole accumulated batch already.
        loss_is_scaled_for_ga = True

        def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: Any) -> tuple[list[Any], Any]:
            # The Trainer's own count takes labels for token ids and leaves out the first of each row.
            batches, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
            sums = [sum(len(batch["labels"]) for batch in batches), 0.0]
            if self.objective == "kto":
                sums[1] = sum(self.mismatched_ratio(batch) for batch in batches)
            items, ratio = self.over_processes(sums, device)
            for batch in batches:
                batch["kl"] = (self.beta * ratio / items).clamp(min=0)
            return batches, items

        def over_processes(self, values: Sequence[float], device: Any) -> Any:
            """Sums over all processes."""
            import torch

            return self.accelerator.reduce(torch.tensor(values, device=device, dtype=torch.float32), "sum")

        def mismatched_ratio(self, batch: Any) -> float:
            """The sum of log-ratios of responses to other problems, whose mean stands for the KL."""
            import torch

            part = {k.removeprefix("mismatched_"): v for k, v in batch.items() if k.startswith("mismatched_")}
            with torch.no_grad():
                return float(self.log_ratios(self.model_wrapped, part).sum())

        def log_ratios(self, model: Any, batch: Any) -> torch.Tensor:
            """``log pi(y) - log pi_ref(y)`` of each response."""
            ids = ResponseBatch(batch["input_ids"], batch["starts"], batch["lengths"], batch.get("shared"))
            sums = response_logprobs(model, ids, plain=self.accelerator.unwrap_model(model)).sum(1)
            ratios: torch.Tensor = sums - batch["reference"]
            return ratios

        def compute_loss(
            self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
        ) -> Any:
            rewards = self.beta * self.log_ratios(model, inputs)
            if model.training:
                # Gradients are averaged over processes, while the sum is over the items of all of them.
                loss = item_losses(self.objective, rewards, inputs).sum() / num_items_in_batch
                loss = loss * self.accelerator.num_processes
            else:
                loss = ce_loss(rewards, inputs["labels"]).mean()
            return (loss, {"loss": loss, "rewards": rewards}) if return_outputs else loss

    return ImplicitTrainer


def item_losses(name: str, rewards: torch.Tensor, batch: Any) -> torch.Tensor:
    """The loss of each response, or of each pair, from rewards in the order of `ResponseCollator`."""
    if name in ("dpo", "nca"):
        chosen, rejected = rewards.chunk(2)
        return (dpo_loss if name == "dpo" else nca_loss)(chosen, rejected)
    if name == "kto":
        return kto_loss(rewards, batch["labels"], batch["kl"])
    return ce_loss(rewards, batch["labels"])


def fill_references(model: Any, *datasets: Sequence[dict[str, Any]], share: bool = False) -> None:
    """Give every response of every row its ``reference``, see `reference_logprobs`."""
    rows = [row for data in datasets for row in data]
    parts = [(row, p) for row in rows for p in ("", "rejected_", "mismatched_") if f"{p}input_ids" in row]
    responses = [(row[f"{p}input_ids"], row[f"{p}start"]) for row, p in parts]
    values = reference_logprobs(model.eval(), responses, share_prefixes=share)
    for (row, p), value in zip(parts, values, strict=True):
        row[f"{p}reference"] = value
