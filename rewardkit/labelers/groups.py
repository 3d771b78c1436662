"""Labelling by problem, once every trace is there: votes, rollouts, judges. Resumable, some problems at a time."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rewardkit.errors import ConfigError, DataError, RewardKitError
from rewardkit.labelers import LABELERS, GroupLabeler, load_labeler
from rewardkit.registry import load
from rewardkit.store.counts import counted
from rewardkit.store.dataset import check_labels, from_record, label_record
from rewardkit.store.state import RunState
from rewardkit.types import StepLabel, Trace

if TYPE_CHECKING:
    from rewardkit.executors import Executor

Labels = dict[int, list[dict[str, Any]]]
"""From an item's position to its labels as plain values."""

Made = tuple[Labels, dict[str, int]]
"""The labels of a unit, and what their labeler has used so far, over all sittings."""


def load_labelers(
    names: Sequence[str], options: Mapping[str, Mapping[str, Any]]
) -> tuple[tuple[str, ...], dict[str, GroupLabeler]]:
    """Tell labelers of one trace (their names, for `LabelPool`) from those of groups (made, with their options).

    Raises:
        ConfigError: a name is unknown or twice there, options are given for a labeler that is not in `names` or takes
            none.

    >>> names, groups = load_labelers(["arithmetic", "vote"], {"vote": {"tie": "first"}})
    >>> names, list(groups)
    (('arithmetic',), ['vote'])
    """
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"labelers holds '{name}' twice, and each of its labels would count twice")
    for name in options:
        if name not in names:
            raise ConfigError(f"labeler_options.{name} is given, but labelers holds no '{name}'")
    single, groups = [], {}
    for name in names:
        if hasattr(load(name, LABELERS, "labeler"), "label_group"):
            groups[name] = load_labeler(name, options=options.get(name))
        elif name in options:
            raise ConfigError(f"labeler '{name}' has no options; remove labeler_options.{name}")
        else:
            single.append(name)
    return tuple(single), groups


def group_of(trace: Trace) -> str:
    """What traces are labelled together by: the problem, or ``meta["group"]`` of rephrasings of one."""
    return str(trace.meta.get("group") or trace.problem.id)


def label_groups(
    labelers: Mapping[str, GroupLabeler],
    state: RunState,
    executor: Executor,
    progress: Callable[[int, int, Mapping[str, int]], None] | None = None,
    tally: Counter[str] | None = None,
) -> None:
    """Label the finished rows of a run with each labeler, or go on with it.

    Args:
        labelers: each in turn, by its name in the config.
        state: of the run.
        executor: does the units of those labelers that it spreads.
        progress: called with traces labelled, traces in all, and the tally, after some problems.
        tally: counts on: ``labels``, ``abstained``.

    Raises:
        RewardKitError: a labeler cannot work at all; what it had labelled is kept.
    """
    if not labelers:
        return
    tally = Counter() if tally is None else tally
    groups: dict[str, list[int]] = {}
    for position, record in state.items():
        groups.setdefault(group_of(from_record(record).trace), []).append(position)
    total = sum(map(len, groups.values()))
    for name, labeler in labelers.items():
        done = state.labelled_by(labeler.name)
        waiting = [positions for positions in groups.values() if not done.issuperset(positions)]
        units = _units(waiting, labeler.unit)
        seen, began = total - sum(map(len, waiting)), time.monotonic()
        spread = executor.spreads(labeler)
        made = _spread(name, labeler, units, state, executor) if spread else _here(labeler, units, state)
        for labels, usage in made:
            state.put_group_labels(labeler.name, labels, usage, time.monotonic() - began)
            seen, began = seen + len(labels), time.monotonic()
            tally.update(counted({"labels": given} for given in labels.values()))
            if progress:
                progress(seen, total, dict(tally))


def _here(labeler: GroupLabeler, units: Iterator[list[int]], state: RunState) -> Iterator[Made]:
    """Each unit, made in this process."""
    asker = getattr(labeler, "asker", None)
    if asker is not None:
        asker.resume(state.labelers_usage().get(labeler.name, {}))
    for unit in units:
        yield labels_of(labeler, _traces(state, unit)), asker.usage if asker is not None else {}


def _spread(
    name: str, labeler: GroupLabeler, units: Iterator[list[int]], state: RunState, executor: Executor
) -> Iterator[Made]:
    """Each unit once, in any order, made by the workers of an executor."""
    from rewardkit.executors import Grouped, Unit

    used = Counter(state.labelers_usage().get(labeler.name, {}))
    waiting = deque(units)
    while waiting or executor.busy():
        while waiting and executor.has_room():
            unit = waiting.popleft()
            executor.submit(Unit(unit[0], group=_traces(state, unit), labeler=name))
        result = executor.take()
        assert isinstance(result, Grouped)  # nothing else is under way
        used.update(result.usage)
        yield result.labels, dict(used)


def _traces(state: RunState, unit: Sequence[int]) -> dict[int, Trace]:
    return {position: from_record(state.item(position)).trace for position in unit}


def _units(groups: Sequence[Sequence[int]], size: int) -> Iterator[list[int]]:
    unit: list[int] = []
    for positions in groups:
        unit += positions
        if len(unit) >= size:
            yield unit
            unit = []
    if unit:
        yield unit


def labels_of(labeler: GroupLabeler, traces: Mapping[int, Trace]) -> Labels:
    """The labels of each item. Whatever is wrong with one problem costs the labels of that one."""
    made: dict[str, list[StepLabel]] = {trace.id: [] for trace in traces.values()}
    for label in _guarded(labeler, list(traces.values())):
        made[label.trace_id].append(label)
    return {position: [_plain(label) for label in made[trace.id]] for position, trace in traces.items()}


def _guarded(labeler: GroupLabeler, traces: list[Trace]) -> list[StepLabel]:
    try:
        return _checked(labeler.label_group(traces), traces)
    except RewardKitError:
        raise
    except Exception as error:  # a bad row is data, whatever is wrong with it
        groups: dict[str, list[Trace]] = {}
        for trace in traces:
            groups.setdefault(group_of(trace), []).append(trace)
        if len(groups) > 1:
            return [label for group in groups.values() for label in _guarded(labeler, group)]
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        return [
            StepLabel(trace.id, len(trace.steps) - 1, None, labeler.name, labeler.meaning, reason)
            for trace in traces
            if trace.steps
        ]


def _checked(labels: list[StepLabel], traces: Sequence[Trace]) -> list[StepLabel]:
    """The labels, if each is of a step of one of the traces; what the run could not store must not get into it."""
    known = {trace.id: trace for trace in traces}
    for label in labels:
        try:
            check_labels([label], known[label.trace_id])
        except DataError as error:
            raise ValueError(str(error)) from None
        _plain(label)
    return labels


def _plain(label: StepLabel) -> dict[str, Any]:
    # Parquet takes no lone surrogates.
    return label_record(label) | {"evidence": label.evidence.encode("utf-8", "replace").decode()}
