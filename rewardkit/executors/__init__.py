"""Executors: where responses are generated and labelled, in this process or over the machines of a Ray cluster.

A run hands out units of work and stores what comes back; it alone writes to the run's folder. A unit says where it
belongs, so that results may come in any order and a unit that is done twice still counts once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from pydantic import Field, model_validator

from rewardkit.config import Config
from rewardkit.generate.base import Generation, GenerationRequest, GeneratorConfig
from rewardkit.store.dataset import LabelledTrace
from rewardkit.types import Trace

__all__ = ["Executor", "ExecutorConfig", "Generated", "Grouped", "Labelled", "Result", "Unit", "load_executor"]


class ExecutorConfig(Config):
    """Where the work is done. ``executor: ray`` is short for ``executor: {kind: ray}``.

    Attributes:
        kind: ``local``, this process (with ``label_workers``, several); ``ray``, the workers of a Ray cluster.
        address: of ``ray``: ``auto`` or ``host:6379`` is a cluster that runs, None one of its own on this machine.
        workers: of ``ray``: how many; None is one for each GPU (where `gpus` is given) or CPU that the cluster has.
        cpus: that one worker needs.
        gpus: that one worker needs; give 1 for a model that generates on a GPU.
        retries: how often the work of a worker that was lost is done again; an error of the work itself never is.
        start_timeout: seconds to wait for a worker while there is none.

    >>> ExecutorConfig.model_validate("ray").kind
    'ray'
    """

    kind: Literal["local", "ray"] = "local"
    address: str | None = None
    workers: int | None = Field(default=None, ge=1)
    cpus: float = Field(default=1.0, ge=0.0)
    gpus: float = Field(default=0.0, ge=0.0)
    retries: int = Field(default=3, ge=0)
    start_timeout: float = Field(default=300.0, gt=0.0)

    @model_validator(mode="before")
    @classmethod
    def _a_kind_alone(cls, values: Any) -> Any:
        return {"kind": values} if isinstance(values, str) else values


@dataclass(frozen=True, slots=True)
class Unit:
    """Work that is done at one place: responses wanted, or traces to label, one by one or by problem.

    Attributes:
        start: the position of the batch among the items of the run.
        requests: to answer; or
        rows: to label; or
        group: by their position, all traces of some problems, to be labelled
        labeler: by this labeler of groups.
    """

    start: int
    requests: tuple[GenerationRequest, ...] = ()
    rows: tuple[LabelledTrace, ...] = ()
    group: Mapping[int, Trace] = field(default_factory=dict)
    labeler: str = ""

    def named(self) -> str:
        """What the unit holds, for a person."""
        if self.requests:
            problems = list(dict.fromkeys(request.problem.id for request in self.requests))
            return f"responses to {_few('problem', problems)}"
        traces = [*(row.trace for row in self.rows), *self.group.values()]
        return f"labels of {_few('trace', [trace.id for trace in traces])}"


def _few(what: str, ids: Sequence[str]) -> str:
    """The ids, the first of them where there are many.

    >>> _few("trace", ["a"]), _few("trace", ["a", "b", "c", "d"])
    ('trace a', '4 traces (a, b, c, ...)')
    """
    if len(ids) == 1:
        return f"{what} {ids[0]}"
    return f"{len(ids)} {what}s ({', '.join(ids[:3])}{', ...' if len(ids) > 3 else ''})"


@dataclass(frozen=True, slots=True)
class Generated:
    """The answers to a unit's requests, one each, in order."""

    start: int
    answers: list[Generation]


@dataclass(frozen=True, slots=True)
class Labelled:
    """The record of each of a unit's rows, in order; a text instead is the reason why there is none."""

    start: int
    records: list[dict[str, Any] | str]


@dataclass(frozen=True, slots=True)
class Grouped:
    """The labels of a unit's group, by position, and what the labeler used for them."""

    start: int
    labels: dict[int, list[dict[str, Any]]]
    usage: dict[str, int]


Result = Generated | Labelled | Grouped


class Executor(Protocol):
    """Does units of work, a bounded number at a time."""

    def spreads(self, labeler: Any) -> bool:
        """Whether units of this labeler of groups are to be handed in; else they are done where the run is."""
        ...

    def has_room(self) -> bool:
        """Whether one more unit may be handed in now."""
        ...

    def busy(self) -> bool:
        """Whether a result is still to come."""
        ...

    def submit(self, unit: Unit) -> None:
        """Hand in a unit; never waits for its work."""
        ...

    def take(self) -> Result:
        """Wait for the next result, in any order.

        Raises:
            RewardKitError: a generator or a labeler cannot work at all, or the workers cannot.
        """
        ...

    def close(self) -> None:
        """End what was started, whatever is under way."""
        ...


def load_executor(
    config: ExecutorConfig,
    generator: GeneratorConfig,
    labelers: Sequence[str],
    options: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    label_workers: int = 1,
    allow_code: bool = False,
    spent: Callable[[], int] = int,
) -> Executor:
    """Make the executor that a config names.

    Args:
        config: which one.
        generator: who answers requests.
        labelers: names of labelers of one trace, see `rewardkit.labelers.load_labeler`.
        options: of labelers of groups, by their names in the run.
        label_workers: processes that label, of ``local``.
        allow_code: see `rewardkit.labelers.load_labeler`.
        spent: gives the tokens that the run has paid for before, for a generator with a budget.

    Raises:
        ConfigError: a labeler cannot be made, or Ray is not installed.
    """
    from rewardkit.executors.local import LocalExecutor

    local = LocalExecutor(generator, labelers, options, workers=label_workers, allow_code=allow_code, spent=spent)
    if config.kind == "local":
        return local
    from rewardkit.executors.ray import RayExecutor

    return RayExecutor(config, local)
