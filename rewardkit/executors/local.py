"""Work in this process, and labels in several where that is wanted."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rewardkit.executors import Generated, Grouped, Labelled, Result, Unit
from rewardkit.generate import Generator, GeneratorConfig, load_generator
from rewardkit.generate.base import matched
from rewardkit.labelers import GroupLabeler, load_labeler
from rewardkit.labelers.groups import labels_of
from rewardkit.labelers.pool import LabelPool, close_all


class LocalExecutor:
    """Does one unit at a time, when its result is asked for. The generator is only made when a text is wanted.

    Args:
        generator: who answers requests.
        labelers: names of labelers of one trace.
        options: of labelers of groups, by their names.
        workers: processes that label.
        allow_code: see `rewardkit.labelers.load_labeler`.
        spent: gives the tokens that the run has paid for before, for a generator with a budget.

    Raises:
        ConfigError: a labeler cannot be made.

    >>> from rewardkit.store import LabelledTrace
    >>> from rewardkit.types import Problem, Trace
    >>> row = LabelledTrace(Trace.create(Problem.create("2 + 2?"), ["2 + 2 = 5"]))
    >>> executor = LocalExecutor(GeneratorConfig(), ["arithmetic"])
    >>> executor.submit(Unit(0, rows=(row,)))
    >>> executor.take().records[0]["labels"][0]["p_correct"], executor.busy()
    (0.0, False)
    """

    def __init__(
        self,
        generator: GeneratorConfig,
        labelers: Sequence[str],
        options: Mapping[str, Mapping[str, Any]] | None = None,
        *,
        workers: int = 1,
        allow_code: bool = False,
        spent: Callable[[], int] = int,
    ) -> None:
        self.generator_config, self.labelers, self.allow_code = generator, tuple(labelers), allow_code
        self.options = {name: dict(own) for name, own in (options or {}).items()}
        self._pool = LabelPool(labelers, workers=workers, allow_code=allow_code)
        self._generator: Generator | None = None
        self._spent = spent
        self._queue: deque[Unit] = deque()
        self._groups: dict[str, GroupLabeler] = {}

    def spreads(self, labeler: GroupLabeler) -> bool:
        """See `Executor`: what this process does, it can do without a unit."""
        return False

    def has_room(self) -> bool:
        """See `Executor`."""
        return not self._queue

    def busy(self) -> bool:
        """See `Executor`."""
        return bool(self._queue)

    def submit(self, unit: Unit) -> None:
        """See `Executor`."""
        self._queue.append(unit)

    def take(self) -> Result:
        """See `Executor`."""
        return self.do(self._queue.popleft())

    def do(self, unit: Unit) -> Result:
        """Do a unit now."""
        if unit.group:
            return self._grouped(unit)
        if not unit.requests:
            return Labelled(unit.start, self._pool.label(unit.rows))
        if self._generator is None:
            self._generator = load_generator(self.generator_config)
            if hasattr(self._generator, "spent"):  # its budget is that of the run, over all sittings
                self._generator.spent = self._spent()
        answers = self._generator.generate(unit.requests)
        return Generated(unit.start, matched(unit.requests, answers, self.generator_config.kind))

    def close(self) -> None:
        """See `Executor`."""
        self._pool.close()
        close_all([self._generator, *self._groups.values()])

    def _grouped(self, unit: Unit) -> Grouped:
        labeler = self._labeler_of_groups(unit.labeler)
        asker = getattr(labeler, "asker", None)
        if asker is not None:
            asker.resume({})  # the run keeps the account, of all workers
        labels = labels_of(labeler, unit.group)
        return Grouped(unit.start, labels, dict(asker.usage) if asker is not None else {})

    def _labeler_of_groups(self, name: str) -> GroupLabeler:
        """The labeler of that name. One at a time is kept, and no generator beside it: each may hold a model."""
        if name not in self._groups:
            close_all([self._generator, *self._groups.values()])
            self._generator = None
            self._groups = {name: load_labeler(name, options=self.options.get(name))}
        return self._groups[name]
