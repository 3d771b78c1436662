"""What `rewardkit.synth` works on: items, each of which becomes one trace, to be generated or there already."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Protocol

from rewardkit.executors import Generated
from rewardkit.generate import GenerationRequest
from rewardkit.generate.prompt import build_messages
from rewardkit.store import BadRow, LabelledTrace
from rewardkit.store.dataset import checked_record
from rewardkit.store.rows import Source
from rewardkit.store.sources import carried
from rewardkit.store.state import RunState
from rewardkit.text.answers import extract_answer
from rewardkit.text.split import SplitRule, split_steps
from rewardkit.types import Problem, Trace, content_id

if TYPE_CHECKING:
    from rewardkit.synth import SynthConfig

Maker = Callable[[], LabelledTrace | dict[str, Any]]
"""Makes an item's trace, or raises for a bad row; a trace that is not to be labelled comes as its record."""


class Work(Protocol):
    """A fixed list of items, each of which becomes one trace."""

    ids: list[str]
    inputs: dict[str, str]
    bad: tuple[BadRow, ...]

    def requests(self, state: RunState, start: int, stop: int) -> list[GenerationRequest]:
        """What must be generated before the items from `start` up to `stop` have traces; nothing once it is stored."""
        ...

    def stored(self, generated: Generated) -> list[dict[str, Any]]:
        """What was generated as the run keeps it: with what `write_generations` needs."""
        ...

    def traces(self, state: RunState, start: int, stop: int) -> Iterator[Maker]:
        """For each item from `start` up to `stop`, what makes its trace."""
        ...

    def where(self, position: int) -> str:
        """How to name an item to a person."""
        ...


class GenerateWork:
    """Problems times samples, each answered by a generator."""

    def __init__(self, config: SynthConfig) -> None:
        assert config.problems is not None
        self._config = config
        source = config.problems
        loaded = source.load()
        self._items = [(p, sample) for p in loaded.rows for sample in range(config.generator.samples)]
        self.ids = [content_id("item", problem.id, sample) for problem, sample in self._items]
        self.inputs = {source.source: loaded.digest}
        if config.generator.source is not None:
            self.inputs[config.generator.source] = Source(config.generator.source).digest()
        self.bad = loaded.bad

    def requests(self, state: RunState, start: int, stop: int) -> list[GenerationRequest]:
        """See `Work`. A batch is asked for as a whole: its sampling is seeded as one."""
        missing = None in state.generations(start, stop)
        return [self._request(position) for position in range(start, stop)] if missing else []

    def stored(self, generated: Generated) -> list[dict[str, Any]]:
        """See `Work`."""
        items = self._items[generated.start : generated.start + len(generated.answers)]
        return [
            {**asdict(answer), "problem_id": problem.id, "prompt": problem.text, "sample": sample}
            for (problem, sample), answer in zip(items, generated.answers, strict=True)
        ]

    def traces(self, state: RunState, start: int, stop: int) -> Iterator[Maker]:
        """See `Work`."""
        for (problem, sample), value in zip(self._items[start:stop], state.generations(start, stop), strict=True):
            assert value is not None
            yield lambda p=problem, s=sample, v=value: _generated_trace(p, s, v, self._config.split)  # type: ignore[misc]

    def where(self, position: int) -> str:
        """See `Work`."""
        problem, sample = self._items[position]
        return f"problem {problem.id} sample {sample}"

    def _request(self, position: int) -> GenerationRequest:
        problem, sample = self._items[position]
        id = self.ids[position]
        messages = build_messages(problem, self._config.prompt)
        return GenerationRequest(id, problem, sample, messages, item_seed(self._config.seed, id))


class LabelWork:
    """Existing traces."""

    def __init__(self, config: SynthConfig) -> None:
        assert config.traces is not None
        source = config.traces
        loaded = source.load(config.split)
        self._rows = loaded.rows
        self.ids = [row.trace.id for row in loaded.rows]
        self.inputs = {source.source: loaded.digest}
        self.bad = loaded.bad
        self._chosen = frozenset(self.ids)
        if source.only is not None:
            from rewardkit.labels.pick import read_chosen

            self._chosen = read_chosen(source.only, self._chosen)
            self.inputs[source.only] = Source(source.only).digest()

    def requests(self, state: RunState, start: int, stop: int) -> list[GenerationRequest]:
        """See `Work`: nothing is generated."""
        return []

    def stored(self, generated: Generated) -> list[dict[str, Any]]:
        """See `Work`: nothing was generated."""
        raise AssertionError("existing traces are labelled alone")

    def traces(self, state: RunState, start: int, stop: int) -> Iterator[Maker]:
        """See `Work`."""
        for row in self._rows[start:stop]:
            chosen = row.trace.id in self._chosen
            yield lambda r=row, c=chosen: r if c else checked_record(r)  # type: ignore[misc]

    def where(self, position: int) -> str:
        """See `Work`."""
        return f"trace {self.ids[position]}"


def item_seed(seed: int, id: str) -> int:
    """The seed of one item: a number below 2**31, from the run's seed and the item's id.

    >>> item_seed(0, "a") == item_seed(0, "a"), item_seed(0, "a") == item_seed(1, "a")
    (True, False)
    """
    return int.from_bytes(hashlib.sha256(f"{seed}:{id}".encode()).digest()[:4], "big") >> 1


class BadItem(Exception):
    """An item that gives no trace, with a reason made for people."""


def _generated_trace(problem: Problem, sample: int, value: dict[str, Any], rule: SplitRule) -> LabelledTrace:
    if value["finish_reason"] == "error":
        raise BadItem(value["error"] or "the generator gave no text")
    steps = [span.text for span in split_steps(value["text"], by=rule)]
    if not value["text"].strip():
        raise BadItem("the response is empty")
    meta = {"finish_reason": value["finish_reason"], "tokens": value["tokens"]}
    meta |= carried(problem)
    answer = extract_answer(value["text"])
    return LabelledTrace(Trace.create(problem, steps, answer, model=value["model"], sample=sample, meta=meta))
