"""The Trainer of implicit process reward models: rewards against kept reference log-probabilities, and four losses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rewardkit.models.logprobs import ResponseBatch, require_plain_head, response_logprobs
from rewardkit.train.implicit_losses import ce_loss, dpo_loss, kto_loss, nca_loss
from rewardkit.train.reference import reference_logprobs

if TYPE_CHECKING:
    import torch

    from rewardkit.train.implicit import ImplicitConfig


def implicit_trainer(config: ImplicitConfig, **arguments: Any) -> Any:
    """A Trainer over rows of `Response` or `Pair`; fills in their reference log-probabilities first.

    The loss is a sum over items (responses or pairs) divided by their number in the whole accumulated batch, on all
    processes: so gradient accumulation and more processes change nothing but rounding. For KTO the same holds of the
    estimate of the KL.

    Args:
        config: of the run.
        arguments: of `transformers.Trainer`; ``model`` is as training starts, adapters included.

    Raises:
        ConfigError: the model's head is no plain linear layer.
    """
    from transformers import Trainer

    class ImplicitTrainer(Trainer):  # type: ignore[misc]  # transformers is lazily imported and untyped here
        # What compute_loss returns is divided by the items of the whole accumulated batch already.
        loss_is_scaled_for_ga = True

        def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: Any) -> tuple[list[Any], Any]:
            # The Trainer's own count takes labels for token ids and leaves out the first of each row.
            batches, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
            sums = [sum(len(batch["labels"]) for batch in batches), 0.0]
            if config.loss == "kto":
                sums[1] = sum(self.mismatched_ratio(batch) for batch in batches)
            items, ratio = self.over_processes(sums, device)
            for batch in batches:
                batch["kl"] = (config.beta * ratio / items).clamp(min=0)
            return batches, items

        def over_processes(self, values: Sequence[float], device: Any) -> Any:
            """Sums over all processes."""
            import torch

            return self.accelerator.reduce(torch.tensor(values, device=device, dtype=torch.float32), "sum")

        def mismatched_ratio(self, batch: Any) -> float:
            """The sum of log-ratios of responses to other problems: their mean estimates the KL from below."""
            import torch

            part = {k.removeprefix("mismatched_"): v for k, v in batch.items() if k.startswith("mismatched_")}
            with torch.no_grad():
                return float(self.log_ratios(self.model_wrapped, part).sum())

        def log_ratios(self, model: Any, batch: Any) -> torch.Tensor:
            """``log pi(y) - log pi_ref(y)`` of each response."""
            ids = ResponseBatch(batch["input_ids"], batch["starts"], batch["lengths"])
            sums = response_logprobs(model, ids, plain=self.accelerator.unwrap_model(model)).sum(1)
            ratios: torch.Tensor = sums - batch["reference"]
            return ratios

        def compute_loss(
            self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
        ) -> Any:
            rewards = config.beta * self.log_ratios(model, inputs)
            if model.training:
                # Gradients are averaged over processes, while the sum is over the items of all of them.
                loss = item_losses(config.loss, rewards, inputs).sum() / num_items_in_batch
                loss = loss * self.accelerator.num_processes
            else:
                loss = ce_loss(rewards, inputs["labels"]).mean()
            return (loss, {"loss": loss, "rewards": rewards}) if return_outputs else loss

    require_plain_head(arguments["model"])
    fill_references(
        arguments["model"].to(arguments["args"].device), arguments["train_dataset"], arguments["eval_dataset"]
    )
    return ImplicitTrainer(**arguments)


def item_losses(name: str, rewards: torch.Tensor, batch: Any) -> torch.Tensor:
    """The loss of each response, or of each pair, from rewards in the order of `ResponseCollator`."""
    if name in ("dpo", "nca"):
        chosen, rejected = rewards.chunk(2)
        return (dpo_loss if name == "dpo" else nca_loss)(chosen, rejected)
    if name == "kto":
        return kto_loss(rewards, batch["labels"], batch["kl"])
    return ce_loss(rewards, batch["labels"])


def fill_references(model: Any, *datasets: Sequence[dict[str, Any]]) -> None:
    """Give every response of every row its ``reference``, see `reference_logprobs`."""
    parts = ("rejected", "mismatched")
    rows = [part for data in datasets for row in data for part in (row, *(row[p] for p in parts if p in row))]
    values = reference_logprobs(model.eval(), [(row["input_ids"], row["start"]) for row in rows])
    for row, value in zip(rows, values, strict=True):
        row["reference"] = value
