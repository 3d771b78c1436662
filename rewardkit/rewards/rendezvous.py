"""Where the samples of a group meet, for trainers that ask for the reward of one sample at a time.

    meeting = Rendezvous(load_reward("ttrl"), size=8, seconds=120)
    verdict = await meeting.submit("prompt 17", completion)       # waits until eight have come

verl (from 0.7.1) and OpenRLHF (from 0.9.1) do that. A waiting sample blocks no thread. A group that does not become
whole in time gives each of its samples the fallback and says so; its late samples get it at once, and no half group is
ever voted on.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rewardkit.errors import ConfigError, DataError, RewardKitError
from rewardkit.rewards import load_reward
from rewardkit.rewards.base import Group, GroupResult, Reward

logger = logging.getLogger(__name__)

_NEEDS = {
    "process": "the scores of a reward model",
    "co_reward": "completions of the rephrased prompt",
    "co_rewarding_ii": "completions of a teacher",
    "reasonrank": "lists of documents",
}


def of_texts(name: str, *, given: Sequence[str] = (), **options: Any) -> Reward:
    """`load_reward`, for samples that come with their text and reference alone.

    Args:
        name: of the reward.
        given: rewards whose further inputs the trainer passes on.
        options: of the reward.

    Raises:
        ConfigError: as `load_reward`; or the reward needs more, so that every group would get the fallback.

    >>> of_texts("process")
    Traceback (most recent call last):
    ...
    rewardkit.errors.ConfigError: reward 'process' needs the scores of a reward model, which do not come with samples...
    """
    needs = "embed=FUNCTION (rewardkit.rewards.embed)" if name == "evol_rl" else _NEEDS.get(name)
    if needs and name not in given and "embed" not in options:
        raise ConfigError(
            f"reward '{name}' needs {needs}, which do not come with samples here; give a function of yours"
        )
    return load_reward(name, **options)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one sample gets.

    Attributes:
        reward: a number always; the fallback where the reward abstains or the group did not become whole.
        known: whether the reward is one of the group's result.
        stats: of the group, and ``whole`` and ``abstained`` as 0 or 1; the same keys for every sample of a reward.
        note: why the fallback was given; "" otherwise.
    """

    reward: float
    known: bool
    stats: Mapping[str, float] = field(default_factory=dict)
    note: str = ""


@dataclass(slots=True)
class _Slot:
    completion: str
    future: asyncio.Future[Verdict]
    left: bool = False  # its caller went away before the answer


@dataclass(slots=True)
class _Open:
    fields: dict[str, Any]
    slots: list[_Slot]
    timer: asyncio.TimerHandle


class Rendezvous:
    """Collects samples by key, and rewards each group when it is whole.

    A caller that goes away (its task is cancelled) leaves its sample in the group; the same completion submitted again
    takes that place instead of a new one, so that a retry counts once. Belongs to one event loop.

    Args:
        reward: of whole groups; it is called in a thread.
        size: completions a group.
        seconds: a group that is not whole so long after its first sample is given up.
        fallback: the reward where there is none.
        most: open groups at a time; more are refused.

    Raises:
        ConfigError: the size, the time or the fallback is no use.

    >>> from rewardkit.rewards import load_reward
    >>> async def two():
    ...     meeting = Rendezvous(load_reward("ttrl"), size=2)
    ...     return await asyncio.gather(*(meeting.submit("p", "#### 4") for _ in range(2)))
    >>> [(verdict.reward, verdict.known) for verdict in asyncio.run(two())]
    [(1.0, True), (1.0, True)]
    """

    def __init__(
        self, reward: Reward, *, size: int, seconds: float = 120.0, fallback: float = 0.0, most: int = 10_000
    ) -> None:
        if size < 1 or seconds <= 0 or fallback != fallback:
            raise ConfigError(
                f"a group needs size >= 1 (not {size}), seconds > 0 (not {seconds}) and a finite fallback"
            )
        self.reward, self.size, self.seconds, self.fallback, self.most = reward, size, seconds, fallback, most
        self.counts = {"groups": 0, "given_up": 0, "late": 0, "retries": 0, "failed": 0}
        self._open: dict[str, _Open] = {}
        self._answered: dict[str, tuple[float, list[_Slot]]] = {}
        self._missing: dict[str, tuple[float, int]] = {}
        self._tasks: set[asyncio.Future[None]] = set()  # the loop itself keeps no strong reference

    async def submit(self, key: str, completion: str, **fields: Any) -> Verdict:
        """The verdict on one sample, when its group is whole or given up.

        Args:
            key: of the group.
            completion: the sample's text.
            fields: further arguments of `Group.create`, the same for the whole group, such as ``reference``.

        Raises:
            DataError: too many groups are open.
        """
        self._forget()
        slot = self._place(key, completion)
        if slot is None:
            self.counts["late"] += 1
            return Verdict(self.fallback, False, {"whole": 0.0, "abstained": 0.0}, "its group was given up before")
        if not slot.future.done():
            self._join(key, slot, fields)
        try:
            return await asyncio.shield(slot.future)
        except asyncio.CancelledError:
            slot.left = True
            raise

    def _place(self, key: str, completion: str) -> _Slot | None:
        """The place of a retry, a new one, or None where the group was given up and this sample is late."""
        waiting = self._open[key].slots if key in self._open else self._answered.get(key, (0.0, []))[1]
        for slot in waiting:
            if slot.left and slot.completion == completion:
                slot.left = False
                self.counts["retries"] += 1
                return slot
        until, missing = self._missing.get(key, (0.0, 0))
        if missing:
            self._missing[key] = (until, missing - 1)
            return None
        return _Slot(completion, asyncio.get_running_loop().create_future())

    def _join(self, key: str, slot: _Slot, fields: dict[str, Any]) -> None:
        if key not in self._open:
            if len(self._open) >= self.most:
                raise DataError(f"{self.most} groups are open already; is the group size {self.size} right?")
            timer = asyncio.get_running_loop().call_later(self.seconds, self._give_up, key)
            self._open[key] = _Open(fields, [], timer)
        group = self._open[key]
        if slot not in group.slots:
            group.slots.append(slot)
        if len(group.slots) == self.size:
            group.timer.cancel()
            del self._open[key]
            self._keep(self._answered, key, group.slots)
            task = asyncio.ensure_future(self._answer(key, group))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _answer(self, key: str, group: _Open) -> None:
        completions = [slot.completion for slot in group.slots]
        try:
            result = await asyncio.to_thread(lambda: self.reward(Group.create(key, completions, **group.fields)))
            verdicts = self._verdicts(result)
            self.counts["groups"] += 1
        except Exception as error:  # each sample waits for an answer, and must get one whatever went wrong
            self.counts["failed"] += 1
            text = str(error) if isinstance(error, RewardKitError) else f"{type(error).__name__}: {error}"
            if self.counts["failed"] == 1:
                logger.warning("a group got the fallback %s, the first of perhaps many: %s", self.fallback, text)
            verdicts = [self._without(f"the reward failed: {text}")] * len(completions)
        for slot, verdict in zip(group.slots, verdicts, strict=True):
            slot.future.set_result(verdict)

    def _verdicts(self, result: GroupResult) -> list[Verdict]:
        note = "; ".join(result.notes)
        return [
            Verdict(
                self.fallback if reward is None else reward,
                reward is not None,
                {**result.stats, "whole": 1.0, "abstained": float(reward is None)},
                note,
            )
            for reward in result.rewards
        ]

    def _without(self, note: str) -> Verdict:
        return Verdict(self.fallback, False, {"whole": 0.0, "abstained": 0.0}, note)

    def _give_up(self, key: str) -> None:
        group = self._open.pop(key)
        self.counts["given_up"] += 1
        self._keep(self._missing, key, self.size - len(group.slots))
        self._keep(self._answered, key, group.slots)
        note = f"only {len(group.slots)} of {self.size} samples came within {self.seconds:g} s"
        for slot in group.slots:
            slot.future.set_result(self._without(note))

    def _keep(self, table: dict[str, Any], key: str, value: object) -> None:
        table[key] = (time.monotonic() + self.seconds, value)

    def _forget(self) -> None:
        """Drop what a retry or a late sample can no longer ask for; the tables are in order of time."""
        now = time.monotonic()
        for table in (self._answered, self._missing):
            for key in [key for key, (until, _) in list(table.items())[:16] if until < now]:
                del table[key]
