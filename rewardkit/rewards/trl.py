"""TRL: any reward as an entry of ``GRPOTrainer(reward_funcs=[...])`` (TRL 1.16), for whole groups only.

    reward = TRLReward("ttrl", num_generations=8)
    trainer = GRPOTrainer(model, reward_funcs=[reward], args=GRPOConfig(num_generations=8, ...), train_dataset=problems)
    reward.attach(trainer)      # refuses a batch layout that would cut groups in two, before the first step

TRL calls reward functions once per process, with that process's slice of the batch: two processes with four samples
each and eight generations give each half a group, and a majority of half a group, without any error of TRL's. Here a
slice that is not whole groups raises. Or use ``gather=True``: the samples of all processes are brought together first.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from typing import Any

from rewardkit.errors import ConfigError, DataError
from rewardkit.models import RewardModel
from rewardkit.rewards import load_reward
from rewardkit.rewards.base import Group, GroupResult, Reward
from rewardkit.rewards.health import CollapseWatch, step_health
from rewardkit.types import Message, Problem, Trace, message_text

logger = logging.getLogger(__name__)

Row = dict[str, Any]
"""One sample: its prompt, its completion and the columns of its dataset row."""


class TRLReward:
    """A group reward that TRL can call.

    Args:
        reward: its name (`rewardkit.rewards.REWARDS`) or the function.
        num_generations: as in GRPOConfig; TRL does not pass it on.
        reference: the dataset column with the reference answer; rows without it have none.
        others: the column with the teacher's completions, a list a row (co_rewarding_ii).
        meta: columns that go into `Group.meta`, such as ReasonRank's ``initial_list``.
        model: a reward model that scores the steps first (process).
        gather: bring the samples of all processes together; each computes all groups and returns its own part.
        watch: warns, through `logging`, when self-reward collapses.
        name: in TRL's log; the reward's own where it is given by name.

    Rows with the columns ``group_id`` and ``view`` ("original", "rephrased") pair up as Co-Reward's two views; they
    must meet in one call, so keep the pairs adjacent, with ``shuffle_dataset=False`` and a batch that holds both.

    Raises:
        ConfigError: there is no such reward, or `num_generations` is below 1.

    >>> reward = TRLReward("ttrl", num_generations=2)
    >>> reward(prompts=["p", "p"], completions=["#### 4", "#### 4"])
    [1.0, 1.0]
    >>> reward(prompts=["p", "q"], completions=["#### 4", "#### 5"])  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    rewardkit.errors.DataError: this process holds parts of groups: samples 0 to 1 have different prompts. ...
    """

    def __init__(
        self,
        reward: Reward | str,
        *,
        num_generations: int,
        reference: str = "answer",
        others: str = "teacher_completions",
        meta: Sequence[str] = (),
        model: RewardModel | None = None,
        gather: bool = False,
        watch: CollapseWatch | None = None,
        name: str | None = None,
    ) -> None:
        if num_generations < 1:
            raise ConfigError(f"num_generations is {num_generations}; it is the size of a group")
        self.reward = load_reward(reward) if isinstance(reward, str) else reward
        default = reward if isinstance(reward, str) else getattr(reward, "__name__", "reward")
        self.__name__ = name or default
        self.num_generations, self.gather, self.watch, self.model = num_generations, gather, watch, model
        self.reference, self.others, self.meta = reference, others, tuple(meta)
        self._in_training: Callable[[], bool] = lambda: True
        self._eval_generations = num_generations

    def attach(self, trainer: Any) -> None:
        """Check a GRPOTrainer's batch layout, and take over its ``num_generations_eval``.

        Raises:
            ConfigError: the sizes of a group differ, or a process's slice is not whole groups.
        """
        args = trainer.args
        if args.num_generations != self.num_generations:
            raise ConfigError(
                f"the trainer has num_generations={args.num_generations}, the reward {self.num_generations}"
            )
        per_process = args.per_device_train_batch_size * args.steps_per_generation
        if per_process % self.num_generations and args.world_size > 1 and not self.gather:
            raise ConfigError(
                f"per_device_train_batch_size * steps_per_generation = {per_process} cuts groups of "
                f"{self.num_generations} between processes; make it a multiple, or use gather=True"
            )
        self._in_training = lambda: bool(trainer.model.training)
        self._eval_generations = args.num_generations_eval or self.num_generations

    def __call__(
        self, prompts: Sequence[Any], completions: Sequence[Any], completion_ids: Any = None, **columns: Any
    ) -> list[float | None]:
        """TRL's call: one reward a completion, None where the reward abstains (TRL leaves that sample out).

        Raises:
            DataError: the samples are not whole groups.
        """
        rows = _rows(prompts, completions, columns)
        every, start = _gathered(rows) if self.gather else (rows, 0)
        size = self.num_generations if self._in_training() else self._eval_generations
        blocks = whole_groups(every, size)
        rewards, results = self._rewards(blocks, size)
        if results:
            self._report(results, columns)
        return rewards[start : start + len(rows)]

    def _rewards(self, blocks: list[list[Row]], size: int) -> tuple[list[float | None], list[GroupResult]]:
        rewards: list[float | None] = [None] * (len(blocks) * size)
        results = []
        for first, second in _pairs(blocks):
            block = blocks[first]
            result = self.reward(self._group(block, blocks[second] if second is not None else None))
            results.append(result)
            rewards[first * size : (first + 1) * size] = result.rewards
            if second is not None and result.other is not None:
                rewards[second * size : (second + 1) * size] = result.other.rewards
        return rewards, results

    def _group(self, block: list[Row], other: list[Row] | None) -> Group:
        row = block[0]
        reference = row.get(self.reference)
        texts = [_text(r["completion"]) for r in block]
        return Group.create(
            str(row.get("group_id", _key(row["prompt"]))),
            texts,
            prompt=_text(row["prompt"]),
            reference=None if reference is None else str(reference),
            others=[_text(r["completion"]) for r in other] if other else row.get(self.others) or (),
            step_scores=score_steps(self.model, row["prompt"], texts) if self.model else (),
            meta={name: row[name] for name in self.meta if name in row},
        )

    def _report(self, results: list[GroupResult], columns: dict[str, Any]) -> None:
        log = columns.get("log_metric")
        if log is not None:
            for name, value in step_health(results, k=self.num_generations).metrics().items():
                log(f"{self.__name__}/{name}", value)
        if self.watch is not None:
            step = int(getattr(columns.get("trainer_state"), "global_step", len(self.watch.history)))
            for warning in self.watch.update(step, results):
                logger.warning(warning)


def whole_groups(rows: Sequence[Row], size: int) -> list[list[Row]]:
    """Consecutive blocks of `size` samples of one prompt each.

    Raises:
        DataError: there is a part of a group.

    >>> len(whole_groups([{"prompt": "p"}, {"prompt": "p"}], 2))
    1
    """
    advice = (
        "Make per_device_train_batch_size * steps_per_generation a multiple of num_generations, "
        "or use TRLReward(..., gather=True)"
    )
    if len(rows) % size:
        raise DataError(f"this process holds {len(rows)} samples, which are not whole groups of {size}. {advice}")
    blocks = [list(rows[i : i + size]) for i in range(0, len(rows), size)]
    for at, block in enumerate(blocks):
        if len({_key(row["prompt"]) for row in block}) > 1:
            last = (at + 1) * size - 1
            raise DataError(
                f"this process holds parts of groups: samples {at * size} to {last} have different prompts. {advice}"
            )
    return blocks


def score_steps(model: RewardModel, prompt: Any, completions: Sequence[str]) -> list[tuple[float, ...]]:
    """A reward model's step scores of completions; empty for one without steps, or that is too long to score."""
    from rewardkit.models.each import score_each
    from rewardkit.text.split import split_steps

    problem = Problem.create(prompt)
    traces = [
        Trace.create(problem, [span.text for span in split_steps(text)], sample=i) for i, text in enumerate(completions)
    ]
    return [scores for scores, _ in score_each(model, traces)]


def _rows(prompts: Sequence[Any], completions: Sequence[Any], columns: dict[str, Any]) -> list[Row]:
    own = {name: values for name, values in columns.items() if isinstance(values, (list, tuple))}
    rows: list[Row] = []
    for i, (prompt, completion) in enumerate(zip(prompts, completions, strict=True)):
        rows.append({name: values[i] for name, values in own.items()} | {"prompt": prompt, "completion": completion})
    return rows


def _gathered(rows: list[Row]) -> tuple[list[Row], int]:
    """The rows of all processes in order, and where this one's begin."""
    from accelerate import PartialState
    from accelerate.utils import gather_object

    parts = gather_object([rows])
    process = PartialState().process_index
    return [row for part in parts for row in part], sum(len(part) for part in parts[:process])


def _pairs(blocks: list[list[Row]]) -> list[tuple[int, int | None]]:
    """Each block with the block of the other view, where the dataset has views."""
    if not blocks or "view" not in blocks[0][0]:
        return [(i, None) for i in range(len(blocks))]
    views: dict[str, dict[str, int]] = {}
    for i, block in enumerate(blocks):
        views.setdefault(str(block[0].get("group_id")), {})[str(block[0]["view"])] = i
    for id, found in views.items():
        if set(found) != {"original", "rephrased"}:
            raise DataError(
                f"group_id '{id}' came with views {', '.join(sorted(found))}, not original and rephrased: keep the two "
                "rows adjacent, set shuffle_dataset=False and let a batch hold both"
            )
    return [(found["original"], found["rephrased"]) for found in views.values()]


def _text(prompt: str | Sequence[Message]) -> str:
    """A prompt or completion as text: of chat messages the last one's."""
    if isinstance(prompt, str):
        return prompt
    return message_text(prompt[-1]) if prompt else ""


def _key(prompt: object) -> str:
    return prompt if isinstance(prompt, str) else json.dumps(prompt, sort_keys=True, default=str)
