"""Everything that touches TRL's GRPOTrainer (1.15 to 1.16) stands here; a contract test pins what it relies on.

Step-level credit: a loss of TRL takes advantages of shape (B,) or (B, T). `_generate_and_score_completions` gives (B,),
in the order of the prompts; here it is followed by one advantage a token.
"""

from __future__ import annotations

import difflib
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rewardkit.errors import ConfigError
from rewardkit.rewards.health import CollapseWatch, step_health
from rewardkit.train.step_credit import step_advantages, step_ends

if TYPE_CHECKING:
    from rewardkit.rewards.base import Group, GroupResult
    from rewardkit.train.grpo import GRPOConfig
    from rewardkit.train.grpo_prime import PrimeCredit
    from rewardkit.train.grpo_reward import RecordingReward

logger = logging.getLogger(__name__)


def require_trl() -> Any:
    """The module ``trl``.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        return import_module("trl")
    except ImportError as error:
        raise ConfigError(f"rewardkit train grpo needs TRL ({error}): pip install 'rewardkit[rl]'") from None


def grpo_arguments(config: GRPOConfig) -> Any:
    """TRL's GRPOConfig of a recipe.

    Raises:
        ConfigError: ``trl`` holds a key that TRL does not have, or one that the recipe itself has, or the sizes do not
            make whole groups.
    """
    import sys

    import torch

    from rewardkit.train.launch import deepspeed_computes_bfloat16, launched_processes

    trl = require_trl()
    known = {field.name for field in fields(trl.GRPOConfig)}
    own: dict[str, Any] = {
        "output_dir": str(Path(config.output) / "checkpoints"),
        "per_device_train_batch_size": config.batch_size,
        "per_device_eval_batch_size": config.eval_samples * max(1, config.batch_size // config.eval_samples),
        "gradient_accumulation_steps": config.accumulation,
        "num_generations": config.num_generations,
        "num_generations_eval": config.eval_samples,
        "max_completion_length": config.max_completion_length,
        "temperature": config.temperature,
        "top_p": config.top_p,
        "beta": config.beta,
        "epsilon": config.epsilon,
        "epsilon_high": config.epsilon_high,
        "entropy_coef": config.entropy_coef,
        "learning_rate": config.learning_rate,
        "warmup_steps": config.warmup,
        "weight_decay": config.weight_decay,
        "max_steps": config.steps,
        "logging_steps": config.log_every,
        "save_steps": config.save_every,
        "save_total_limit": 2,
        "seed": config.seed,
        "shuffle_dataset": config.rephrased is None,  # the two views of a problem lie side by side
        "use_cpu": config.device == "cpu",
        "dataloader_pin_memory": config.device != "cpu" and torch.cuda.is_available(),
        "ddp_backend": "gloo" if launched_processes() > 1 and not torch.cuda.is_available() else None,
        "report_to": [],
        "disable_tqdm": not sys.stderr.isatty(),
    }
    defaults = {"bf16": deepspeed_computes_bfloat16(), "gradient_checkpointing": False}
    for key in config.trl:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            raise ConfigError(
                f"trl.{key} is no argument of TRL's GRPOConfig" + (f": did you mean '{near[0]}'?" if near else "")
            )
        if key in own:
            raise ConfigError(
                f"trl.{key} is set by a key of the recipe itself; `rewardkit train` names them in docs/grpo.md"
            )
    try:
        return trl.GRPOConfig(**{**own, **defaults, **config.trl})
    except ValueError as error:
        raise ConfigError(" ".join(str(error).split())) from None


@cache
def trainer_class() -> Any:
    """A GRPOTrainer that hands each generated batch to ``after_generation``, and takes the advantages that it gives."""
    base: Any = require_trl().GRPOTrainer
    logging.getLogger("trl.trainer.grpo_trainer").addFilter(_no_abstention)

    class Trainer(base):  # type: ignore[misc]  # trl is untyped here
        """See `trainer_class`.

        Attributes:
            after_generation: called with the batch (``completion_ids``, ``completion_mask`` (B, T), ``advantages``
                (B,), ...) in the order of its prompts; gives (B, T) advantages, or None to leave TRL's.
        """

        after_generation: Callable[[dict[str, Any], bool], Any]

        def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
            output: dict[str, Any] = super()._generate_and_score_completions(inputs)
            made = self.after_generation(output, self.model.training)
            if made is not None:
                import torch

                output["advantages"] = torch.as_tensor(made, dtype=torch.float32, device=output["advantages"].device)
            return output

    return Trainer


def _no_abstention(record: logging.LogRecord) -> bool:
    """TRL warns of each reward that is None, with the whole row; a tie is no fault, and `health.jsonl` counts them."""
    return "All reward functions returned None" not in record.getMessage()


class AfterGeneration:
    """What is done with each generated batch: the health log, and the advantages of tokens.

    Args:
        reward: that has just scored it.
        config: of the run.
        tokenizer: of the policy.
        watch: for signs of collapse.
        step: tells the optimizer step.
        log: the health file; None writes none (not the first process).
    """

    def __init__(
        self,
        reward: RecordingReward,
        config: GRPOConfig,
        tokenizer: Any,
        *,
        watch: CollapseWatch,
        step: Callable[[], int],
        log: Path | None,
    ) -> None:
        self._reward, self._config, self._tokenizer = reward, config, tokenizer
        self._watch, self._step, self._log = watch, step, log
        self.prime: PrimeCredit | None = None
        self.evaluated: list[tuple[Group, GroupResult]] = []

    def __call__(self, output: dict[str, Any], training: bool) -> Any:
        """Advantages (B, T), or None to leave those of TRL."""
        seen = self._reward.take()
        if not training:
            self.evaluated += seen
            return None
        made = None if self._config.credit == "response" else self._credit(output, seen)
        self._write_health([result for _, result in seen], self.prime.figures if self.prime else {})
        return made

    def base_pass(self, measured: Mapping[str, Any]) -> None:
        """Warn from now on where pass@k falls below that of the policy before training, if both have the same k."""
        if measured["k"] == self._watch.k and measured["pass_at_k"]:
            self._watch.base_pass = measured["pass_at_k"][0]

    def _credit(self, output: dict[str, Any], seen: list[tuple[Group, GroupResult]]) -> np.ndarray:
        if self.prime is None:
            return self._step_credit(output, seen)
        prompts, completions = self._ids(output, "prompt"), self._ids(output, "completion")
        trained = output["completion_mask"].any(dim=1).tolist()
        return self.prime.advantages(prompts, completions, seen, output["completion_ids"].shape[1], trained)

    def _step_credit(self, output: dict[str, Any], seen: list[tuple[Group, GroupResult]]) -> np.ndarray:
        mask = output["completion_mask"].cpu().numpy().astype(bool)
        own = self._ids(output, "completion")
        parts, at = [], 0
        for group, result in seen:
            rows = own[at : at + group.size]
            ends = [step_ends(self._tokenizer, row, text) for row, text in zip(rows, group.completions, strict=True)]
            parts.append(step_advantages(result.step_rewards, ends, mask.shape[1]))
            at += group.size
        whole = output["advantages"].cpu().numpy()[:, None] * self._config.outcome_weight
        return np.where(mask, np.concatenate(parts) + whole, 0.0)

    def _ids(self, output: dict[str, Any], name: str) -> list[list[int]]:
        return unpadded(output[f"{name}_ids"], output[f"{name}_mask"], self._tokenizer.pad_token_id)

    def _write_health(self, results: list[GroupResult], more: Mapping[str, float]) -> None:
        step = self._step()
        warnings = self._watch.update(step, results)
        for warning in warnings:
            logger.warning(warning)
        if self._log is None:
            return
        row = {
            "step": step,
            **step_health(results, k=self._config.num_generations).metrics(),
            **more,
            "warnings": warnings,
        }
        with self._log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


def unpadded(ids: Any, mask: Any, pad_id: int) -> list[list[int]]:
    """The token ids of each row (B, T) where the mask is 1.

    Where it is 0 all along, as TRL's ``mask_truncated_completions`` makes it, those before the padding at the end.

    >>> import numpy as np
    >>> unpadded(np.array([[5, 6, 0], [7, 8, 0]]), np.array([[1, 1, 0], [0, 0, 0]]), pad_id=0)
    [[5, 6], [7, 8]]
    """
    made = []
    for row, where in zip(ids.tolist(), mask.tolist(), strict=True):
        end = max((i + 1 for i, token in enumerate(row) if token != pad_id), default=0)
        made.append([token for token, kept in zip(row, where, strict=True) if kept] or row[:end])
    return made


def forget_after(log: Path, step: int) -> None:
    """Drop the rows of a health log from a step on: a resumed run writes them again."""
    if log.is_file():
        rows = [line for line in log.read_text(encoding="utf-8").splitlines() if line.endswith("}")]
        kept = [line for line in rows if json.loads(line)["step"] < step]
        log.write_text("".join(line + "\n" for line in kept), encoding="utf-8")
