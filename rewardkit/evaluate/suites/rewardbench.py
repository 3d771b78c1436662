"""RewardBench: does the better of two responses get the higher score?

Lambert et al., arXiv 2403.13787; the metric is in `rewardkit.evaluate.pairs`. The same suite measures any preference
pairs, and pairs made of solutions that are marked right or wrong.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import Field

from rewardkit.errors import DataError
from rewardkit.evaluate.bootstrap import measure
from rewardkit.evaluate.figure import Figure
from rewardkit.evaluate.pairs import SECTIONS, pair_accuracy, section_accuracy
from rewardkit.evaluate.suites.base import Measured, Part, Setting, SuiteConfig, draw, solved, tagged
from rewardkit.store import BadRow, LabelledTrace, Loaded, load_traces
from rewardkit.store.formats.trl import explicit_prompt
from rewardkit.store.rows import Source, read_rows
from rewardkit.text.split import SplitRule, split_steps
from rewardkit.types import Problem, Trace

Pair = tuple[LabelledTrace, LabelledTrace]


class RewardBenchConfig(SuiteConfig):
    """Configuration of `rewardkit eval rewardbench`.

    Attributes:
        data: pairs (``prompt``, ``chosen``, ``rejected``, ``subset``) in a file or on the Hub, or solutions that are
            marked right or wrong, of which pairs are made: ``sample:gsm8k-solutions``, a file, or a dataset folder.
        split: of a data set on the Hub.
        subsets: which subsets; None means all.
        max_rows: at most so many pairs of each subset, drawn at random.
        split_by: how a response is cut into steps.
    """

    output: str = "runs/eval-rewardbench"
    data: str = "allenai/reward-bench"
    split: str = "filtered"
    subsets: tuple[str, ...] | None = None
    max_rows: int | None = Field(None, ge=1)
    split_by: SplitRule = "auto"

    def parts(self) -> Sequence[Part]:
        return [RewardBench(self)]


@dataclass(frozen=True, slots=True)
class RewardBench:
    """The part that is scored and measured."""

    config: RewardBenchConfig
    name: str = "rewardbench"
    steps: bool = False

    def load(self) -> Loaded[LabelledTrace]:
        config = self.config
        source = Source(config.data, split=config.split)
        pairs, bad, digest = self._solutions() if self._holds_solutions(source) else self._pairs(source)
        by_subset: dict[str, list[Pair]] = defaultdict(list)
        for pair in pairs:
            by_subset[str(pair[0].trace.meta["subset"])].append(pair)
        missing = sorted(set(config.subsets or ()) - set(by_subset))
        if by_subset and missing:
            raise DataError(f"{config.data} has no subset {missing[0]}; it holds: {', '.join(sorted(by_subset))}")
        wanted = [name for name in by_subset if config.subsets is None or name in config.subsets]
        kept = [pair for name in wanted for pair in draw(by_subset[name], config.max_rows, config.seed)]
        if not kept:
            why = f"; the first fault is at {bad[0].where}: {bad[0].reason}" if bad else ""
            raise DataError(f"{config.data} gives no pair{why}")
        rows = [
            tagged(row, pair=number, chosen=chosen)
            for number, pair in enumerate(kept)
            for row, chosen in zip(pair, (True, False), strict=True)
        ]
        return Loaded(tuple(rows), bad, digest)

    def measure(self, rows: Sequence[LabelledTrace], setting: Setting) -> Measured:
        pairs = _whole_pairs(rows)
        if not pairs:
            raise DataError("no pair has both of its responses scored")
        arrays = [np.array([setting.response_score(pair[k].scores) for pair in pairs]) for k in (0, 1)]
        subsets = np.array([str(pair[0].trace.meta["subset"]) for pair in pairs])
        problems = [pair[0].trace.problem.id for pair in pairs]
        ties = int((arrays[0] == arrays[1]).sum())
        figures = _summary(arrays, subsets, problems, f"{ties} ties count half", setting)
        for name in np.unique(subsets) if len(np.unique(subsets)) > 1 else ():
            mask = subsets == name
            members = [array[mask] for array in arrays]
            owners = np.array(problems)[mask]
            figures.append(measure(f"RewardBench {name}: accuracy", pair_accuracy, members, owners, **setting.draws))
        return Measured(figures)

    def _holds_solutions(self, source: Source) -> bool:
        path = source.path
        if path is not None and path.is_dir():
            return True
        first = next((row for _, row in read_rows(source) if not isinstance(row, BadRow)), {})
        return "chosen" not in first

    def _pairs(self, source: Source) -> tuple[list[Pair], tuple[BadRow, ...], str]:
        pairs: list[Pair] = []
        bad: list[BadRow] = []
        for where, row in read_rows(source):
            if isinstance(row, BadRow):
                bad.append(row)
                continue
            try:
                pairs.append(_pair(row, self.config.split_by))
            except DataError as error:
                bad.append(BadRow(where, str(error)))
        return pairs, tuple(bad), source.digest()

    def _solutions(self) -> tuple[list[Pair], tuple[BadRow, ...], str]:
        loaded = load_traces(self.config.data, split=self.config.split)
        return list(solution_pairs(loaded.rows, self.config.seed)), loaded.bad, loaded.digest


def solution_pairs(rows: Sequence[LabelledTrace], seed: int = 0) -> Iterator[Pair]:
    """Pairs of a right and a wrong solution of one problem, each solution used once; ``meta["subset"]`` is "solutions".

    Solutions of which it is not known whether they are right are passed over.
    """
    random_ = random.Random(seed)
    problems: dict[str, tuple[list[LabelledTrace], list[LabelledTrace]]] = defaultdict(lambda: ([], []))
    for row in rows:
        right = solved(row.trace)
        if right is not None:
            problems[row.trace.problem.id][0 if right else 1].append(tagged(row, subset="solutions"))
    for right_ones, wrong_ones in problems.values():
        random_.shuffle(right_ones)
        random_.shuffle(wrong_ones)
        yield from zip(right_ones, wrong_ones, strict=False)


def _pair(row: Mapping[str, Any], rule: SplitRule) -> Pair:
    row = explicit_prompt(row)
    prompt = row.get("prompt")
    if not isinstance(prompt, (str, list)) or not prompt:
        raise DataError("prompt must be text or chat messages")
    subset = str(row.get("subset", "pairs"))
    problem = Problem.create(prompt)
    chosen, rejected = (_response(row.get(key), key) for key in ("chosen", "rejected"))
    traces = [
        Trace.create(problem, [span.text for span in split_steps(text, by=rule)], model=model, meta={"subset": subset})
        for text, model in (
            (chosen, str(row.get("chosen_model", "chosen"))),
            (rejected, str(row.get("rejected_model", "rejected"))),
        )
    ]
    return LabelledTrace(traces[0]), LabelledTrace(traces[1])


def _response(value: Any, key: str) -> str:
    """The text of a response; of chat messages (TRL's conversational pairs), that of the last one."""
    if isinstance(value, list) and value and isinstance(value[-1], Mapping):
        value = value[-1].get("content")
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"{key} must be a response as text, or chat messages that end with one")
    return value


def _whole_pairs(rows: Sequence[LabelledTrace]) -> list[Pair]:
    """Both responses of each pair; a pair that lacks one, because it could not be scored, is left out."""
    found: dict[int, dict[bool, LabelledTrace]] = defaultdict(dict)
    for row in rows:
        found[row.trace.meta["pair"]][row.trace.meta["chosen"]] = row
    return [(pair[True], pair[False]) for pair in found.values() if len(pair) == 2]


def _summary(arrays: Sequence[Any], subsets: Any, problems: Sequence[str], note: str, setting: Setting) -> list[Figure]:
    """All pairs together; for RewardBench's own subsets its sections, and their mean as its final score."""
    draws = setting.draws
    figures = [measure("RewardBench accuracy, all pairs", pair_accuracy, arrays, problems, note=note, **draws)]
    known = {name for section in SECTIONS.values() for name in section}
    if not set(subsets) <= known:
        return figures
    present = [section for section, names in SECTIONS.items() if set(names) & set(subsets)]

    def score(wanted: Sequence[str], chosen: Any, rejected: Any, names: Any) -> float | None:
        found = {n: pair_accuracy(chosen[names == n], rejected[names == n]) for n in np.unique(names)}
        values = [section_accuracy(found, section) for section in wanted]
        return None if None in values else float(np.mean([v for v in values if v is not None]))

    for title, wanted in [("RewardBench score", present), *((f"RewardBench {s}: accuracy", [s]) for s in present)]:
        left = [s for s in SECTIONS if s not in present]
        why = f"mean of the sections; no pairs of {', '.join(left)}" if left else "mean of the four sections"
        figures.append(
            measure(
                title,
                lambda a, b, c, wanted=wanted: score(wanted, a, b, c),
                [*arrays, subsets],
                problems,
                note=why if title == "RewardBench score" else "",
                **draws,
            )
        )
    return figures
