"""Train a policy by GRPO with the rewards of `rewardkit.rewards`, through TRL's GRPOTrainer.

    rewardkit train grpo-gsm8k reward=ttrl

Shao et al. (GRPO, arXiv 2402.03300). Whole groups always; the health of self-reward is logged at every step, with a
warning where it collapses; pass@1 and pass@k on held-out problems are measured before and after, with intervals over
problems; an interrupted run goes on at its last checkpoint. All that touches TRL is in `rewardkit.train.grpo_trainer`.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from rewardkit.errors import DataError
from rewardkit.generate.prompt import PromptConfig, build_messages
from rewardkit.store import load_problems
from rewardkit.store.config import ProblemsConfig
from rewardkit.store.files import write_text
from rewardkit.train.config import RunConfig, TrainResult
from rewardkit.train.data import held_out, limited
from rewardkit.train.grpo_prime import PrimeCredit, PrimeOptions, save_with
from rewardkit.types import Message, Problem, content_id, message_text

FINISHED = "training.json"
"""Written last: a folder that holds it is complete."""


class GRPOConfig(RunConfig):
    """Configuration of `rewardkit train grpo`; see `RunConfig` for the keys that every training shares.

    Attributes:
        problems: to be solved; those that are held out are never trained on.
        rephrased: of ``reward=co_reward``: a file with the same problems in other words, row by row.
        prompt: how a problem is put to the policy.
        reward: a key of `rewardkit.rewards.REWARDS`, or ``path/to/file.py:function``.
        reward_options: of its function, such as ``{tie: first}``.
        reward_model: a folder or address that scores steps, for ``reward=process`` and ``credit=step``.
        credit: ``response`` gives each token of a response its advantage; ``step`` adds the return of its step under
            the reward model; ``prime`` the token rewards of an implicit model that is trained in the loop.
        prime: of ``credit=prime``; see `rewardkit.train.grpo_prime.PrimeOptions`.
        outcome_weight: of the advantage of the response with ``credit=step``, of the outcome with ``credit=prime``.
        differences: step rewards are differences of successive scores, for reward models of meaning ``value``.
        embed: of ``reward=evol_rl``: ``ngrams``, or the address of an embedding service.
        embed_model: as that service names it.
        num_generations: completions of a prompt, the group.
        steps: of the optimizer; a step trains on ``batch_size * accumulation`` completions a process.
        max_completion_length: in tokens.
        temperature, top_p: of sampling.
        beta: of the KL term; 0 leaves it and the reference out.
        epsilon, epsilon_high: lower and upper clip of the ratio; None takes the lower for both (EVOL-RL: 0.2, 0.28).
        entropy_coef: of the entropy bonus (EVOL-RL: 0.003).
        eval_samples: completions of a held-out problem, k of pass@k.
        max_eval: held-out problems at most, drawn at random.
        trl: further arguments of TRL's GRPOConfig, such as ``{use_vllm: true, vllm_mode: colocate}``.
    """

    kind: Literal["grpo"] = "grpo"
    problems: ProblemsConfig
    rephrased: str | None = None
    prompt: PromptConfig = PromptConfig()
    reward: str = "outcome"
    reward_options: dict[str, Any] = Field(default_factory=dict)
    reward_model: str | None = None
    credit: Literal["response", "step", "prime"] = "response"
    prime: PrimeOptions = PrimeOptions()
    outcome_weight: float = Field(1.0, ge=0)
    differences: bool = False
    embed: str = "ngrams"
    embed_model: str | None = None
    num_generations: int = Field(8, ge=2)
    steps: int = Field(100, ge=1)
    max_completion_length: int = Field(256, ge=1)
    temperature: float = Field(1.0, gt=0)
    top_p: float = Field(1.0, gt=0, le=1)
    beta: float = Field(0.0, ge=0)
    epsilon: float = Field(0.2, gt=0)
    epsilon_high: float | None = Field(None, gt=0)
    entropy_coef: float = Field(0.0, ge=0)
    eval_samples: int = Field(8, ge=1)
    max_eval: int = Field(50, ge=1)
    learning_rate: float = Field(1e-5, gt=0)
    trl: dict[str, Any] = Field(default_factory=dict)


class GRPO:
    """The kind `grpo`: a causal language model as policy."""

    config_class = GRPOConfig
    task_type: ClassVar[str] = "CAUSAL_LM"
    shown = ("eval_pass_at_1_before", "eval_pass_at_1_after", "eval_pass_at_k_before", "eval_pass_at_k_after", "reward")

    def __init__(self, config: GRPOConfig) -> None:
        self.config: Any = config

    def load_base(self, base: str, dtype: Any) -> Any:
        """The policy before adapters; see `rewardkit.train.run.Kind`."""
        from transformers import AutoModelForCausalLM

        from rewardkit.train.kind import load_pretrained

        return load_pretrained(AutoModelForCausalLM, base, dtype=dtype)


def train_policy(config: GRPOConfig) -> TrainResult:
    """Train a policy and write its folder; goes on where an interrupted run of the same config stopped.

    Raises:
        ConfigError: TRL or the model is missing, keys do not fit each other, or ``output`` holds another run.
        DataError: the problems cannot be read, or there are none to train or to measure on.
    """
    from rewardkit.models.embedded import resolve_model
    from rewardkit.train.grpo_card import write_policy_card
    from rewardkit.train.grpo_trainer import grpo_arguments
    from rewardkit.train.run import load_tokenizer, open_folder, save_weights

    started = time.monotonic()
    arguments = grpo_arguments(config)
    train, held, digest = split_problems(config)
    with arguments.main_process_first(desc="opening the run"):
        run = open_folder(config, digest, finished_policy)
        checkpoint = None if run.finished else run.last_checkpoint()
    if run.finished is not None:
        return run.finished
    tokenizer = load_tokenizer(resolve_model(config.model))
    kind = GRPO(config)
    trainer = _trainer(kind, arguments, tokenizer, (train, held), checkpoint)
    before = _measured_once(run.folder / "before.json", trainer)
    trainer.after_generation.base_pass(before)
    trainer.train(resume_from_checkpoint=checkpoint)
    after = measure_policy(trainer)
    metrics = _metrics(before, after, trainer.state.log_history)
    result = TrainResult(
        output=Path(config.output),
        metrics=metrics,
        examples=len(train),
        steps=trainer.state.global_step,
        seconds=time.monotonic() - started,
        resumed=checkpoint is not None,
    )
    if save_weights(kind, run.folder, trainer, tokenizer):
        write_policy_card(run.folder, config, digest, {"before": before, "after": after}, result)
        log = {"log": trainer.state.log_history, "metrics": metrics}
        write_text(run.folder / FINISHED, json.dumps(log, indent=1) + "\n")
        shutil.rmtree(run.folder / "adapter" / "ref", ignore_errors=True)  # TRL's copy of what training began from
        shutil.rmtree(run.folder / "checkpoints", ignore_errors=True)
    return result


def split_problems(config: GRPOConfig) -> tuple[list[dict[str, Any]], list[dict[str, Any]], str]:
    """Rows to train on, rows to measure on, and what identifies the data.

    A row has ``prompt`` (a chat), ``answer`` (None where it is not known), ``group_id`` and ``problem``; with
    `rephrased`, two rows a problem lie side by side, and ``view`` tells them apart.

    Raises:
        DataError: they cannot be read, one part is empty, or views do not match.
    """
    source = config.problems
    loaded = source.load()
    problems, digest = loaded.rows, loaded.digest
    if any(p.images for p in problems):
        raise DataError(f"{source.source}: a problem has images, but the policy reads text alone; take other problems")
    train = [p for p in problems if not held_out(p.id, config.held_out)]
    held = limited([p for p in problems if held_out(p.id, config.held_out)], config.max_eval, config.seed)
    if not train or not held:
        raise DataError(
            f"{source.source}: {len(train)} problems to train on and {len(held)} held out; read more of them"
        )
    if config.reward == "outcome" and any(p.answer is None for p in train):
        raise DataError(
            f"{source.source}: a problem has no answer, which reward=outcome needs; a label-free one: reward=ttrl"
        )
    rows = [_row(p, config.prompt) for p in train]
    if config.rephrased is not None:
        others = load_problems(config.rephrased, source.limit, offset=source.offset, split=source.split)
        rows = _with_views(rows, _paired(problems, others.rows, config.rephrased), config.prompt)
        digest = content_id(digest, others.digest)
    return rows, [_row(p, config.prompt) for p in held], digest


def _row(problem: Problem, prompt: PromptConfig) -> dict[str, Any]:
    return {
        "prompt": list(build_messages(problem, prompt)),
        "answer": problem.answer,
        "group_id": problem.id,
        "problem": problem,
    }


def _paired(problems: Sequence[Problem], others: Sequence[Problem], name: str) -> dict[str, Problem]:
    if len(problems) != len(others) or any(p.answer != o.answer for p, o in zip(problems, others, strict=True)):
        raise DataError(
            f"{name} must hold the same problems in other words: as many rows, with the same answers in order"
        )
    return {p.id: other for p, other in zip(problems, others, strict=True)}


def _with_views(
    rows: Sequence[dict[str, Any]], others: Mapping[str, Problem], prompt: PromptConfig
) -> list[dict[str, Any]]:
    made = []
    for row in rows:
        other = _row(others[row["group_id"]], prompt)
        made += [{**row, "view": "original"}, {**row, "prompt": other["prompt"], "view": "rephrased"}]
    return made


def as_prompt(messages: Sequence[Message], tokenizer: Any) -> Any:
    """The chat as it is, or as plain text for a model without a chat template.

    >>> class Plain:
    ...     chat_template = None
    >>> as_prompt([{"role": "user", "content": "1 + 1?"}], Plain())
    '1 + 1?\\n'
    """
    if tokenizer.chat_template:
        return list(messages)
    return "\n".join(message_text(m) for m in messages) + "\n"


def _trainer(
    kind: GRPO,
    arguments: Any,
    tokenizer: Any,
    rows: tuple[list[dict[str, Any]], list[dict[str, Any]]],
    checkpoint: str | None,
) -> Any:
    """TRL's trainer over the rows, with the reward, the health log and the credit of the recipe."""
    from datasets import Dataset

    from rewardkit.models.embedded import resolve_model
    from rewardkit.rewards.health import CollapseWatch
    from rewardkit.rewards.trl import TRLReward
    from rewardkit.train.grpo_reward import build_reward
    from rewardkit.train.grpo_trainer import AfterGeneration, forget_after, trainer_class
    from rewardkit.train.progress import stop_after, use_progress
    from rewardkit.train.run import build_model

    config: GRPOConfig = kind.config
    problems = {row["group_id"]: row["problem"] for part in rows for row in part}
    reward = build_reward(config, problems)
    adapter = TRLReward(
        reward, num_generations=config.num_generations, name=Path(config.reward.rpartition(":")[2]).name
    )
    shown = [[{**row, "prompt": as_prompt(row["prompt"], tokenizer)} for row in part] for part in rows]
    train, held = (Dataset.from_list([{k: v for k, v in row.items() if k != "problem"} for row in p]) for p in shown)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    model = build_model(kind, resolve_model(config.model))
    trainer = trainer_class()(
        model, reward_funcs=[adapter], args=arguments, train_dataset=train, eval_dataset=held,
        processing_class=tokenizer,
    )  # fmt: skip
    adapter.attach(trainer)
    reward.training = lambda: bool(trainer.model.training)
    log = Path(config.output) / "health.jsonl" if trainer.is_world_process_zero() else None
    if log is not None:
        forget_after(log, _step_of(checkpoint))
    watch = CollapseWatch(k=config.num_generations)
    trainer.after_generation = AfterGeneration(
        reward, config, tokenizer, watch=watch, step=lambda: int(trainer.state.global_step), log=log
    )
    if config.credit == "prime":
        credit = PrimeCredit(kind, resolve_model(config.model), trainer.accelerator.device)
        if checkpoint is not None:
            credit.load(Path(checkpoint))
        save_with(trainer, credit)
        trainer.after_generation.prime = credit
    use_progress(trainer)
    if config.max_minutes is not None:
        stop_after(trainer, 60 * config.max_minutes)
    return trainer


def _step_of(checkpoint: str | None) -> int:
    return 0 if checkpoint is None else int(Path(checkpoint).name.split("-")[1])


def _measured_once(path: Path, trainer: Any) -> dict[str, Any]:
    """The policy before training; read back where an interrupted run has measured it."""
    if path.is_file():
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found
    made = measure_policy(trainer)
    if trainer.is_world_process_zero():
        write_text(path, json.dumps(made) + "\n")
    return made


def measure_policy(trainer: Any) -> dict[str, Any]:
    """pass@1 and pass@k of the policy on the held-out problems, with 95% intervals over problems.

    Returns:
        ``problems``, ``k``, ``right`` (of the k samples of each problem that has a reference), and for ``pass_at_1``
        and ``pass_at_k`` a list of value, low and high; empty lists where no problem has a reference.
    """
    from accelerate.utils import gather_object

    from rewardkit.evaluate.bootstrap import bootstrap

    trainer.after_generation.evaluated.clear()
    trainer.evaluate()
    own = [(group.id, result.stats.get("right"), group.size) for group, result in trainer.after_generation.evaluated]
    # Where processes do not divide the problems, the last batch is filled up with some that were there already.
    right = {id: (c, n) for id, c, n in gather_object(own) if c is not None}
    counts, k = [int(c) for c, _ in right.values()], max((n for _, n in right.values()), default=0)
    figures: dict[str, list[float | None]] = {"pass_at_1": [], "pass_at_k": []}
    if counts:
        ones, many = [c / k for c in counts], [float(c > 0) for c in counts]
        for name, values in (("pass_at_1", ones), ("pass_at_k", many)):
            made = bootstrap(lambda x: float(x.mean()), [values])
            figures[name] = [made.value, made.low, made.high]
    return {"problems": len(counts), "k": k, "right": counts, **figures}


def _metrics(
    before: Mapping[str, Any], after: Mapping[str, Any], history: Sequence[Mapping[str, Any]]
) -> dict[str, float]:
    named = {
        f"eval_{name}_{when}": found[name][0]
        for name in ("pass_at_1", "pass_at_k")
        for when, found in (("before", before), ("after", after))
        if found[name]
    }
    rewards = [entry["reward"] for entry in history if entry.get("reward") is not None]
    losses = [entry["loss"] for entry in history if "loss" in entry]
    known = {"reward": rewards[-1:], "train_loss": [sum(losses) / len(losses)] if losses else []}
    return named | {name: float(values[0]) for name, values in known.items() if values}


def finished_policy(folder: Path) -> TrainResult | None:
    """The result of a policy's folder that is complete."""
    path = folder / FINISHED
    if not path.is_file():
        return None
    metrics = json.loads(path.read_text(encoding="utf-8"))["metrics"]
    return TrainResult(folder, metrics, examples=0, steps=0, seconds=0.0, reused=True)
