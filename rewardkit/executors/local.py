"""Work in this process, and labels in several where that is wanted."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from rewardkit.executors import Generated, Labelled, Result, Unit
from rewardkit.generate import Generator, GeneratorConfig, load_generator
from rewardkit.generate.base import matched
from rewardkit.labelers.pool import LabelPool, close_all


class LocalExecutor:
    """Does one unit at a time, when its result is asked for. The generator is only made when a text is wanted.

    Args:
        generator: who answers requests.
        labelers: names of labelers of one trace.
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
        *,
        workers: int = 1,
        allow_code: bool = False,
        spent: Callable[[], int] = int,
    ) -> None:
        self.generator_config, self.labelers, self.allow_code = generator, tuple(labelers), allow_code
        self._pool = LabelPool(labelers, workers=workers, allow_code=allow_code)
        self._generator: Generator | None = None
        self._spent = spent
        self._queue: deque[Unit] = deque()

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
        close_all([self._generator])
