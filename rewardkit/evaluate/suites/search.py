"""Search curves: how accurate is each way to choose, against the tokens that it spends?

Over stored candidates: several responses of each problem, scored by the model. What n of them would have given is the
mean over subsets of n, so that one run tells the whole curve. Finished runs of `rewardkit search` (beam, dvts, ...)
stand beside it with the tokens that they really spent.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from rewardkit.errors import DataError
from rewardkit.evaluate.best_of_n import curve_rows
from rewardkit.evaluate.bootstrap import measure
from rewardkit.evaluate.figure import Figure
from rewardkit.evaluate.report import BestOfN
from rewardkit.evaluate.suites.base import Measured, Part, Setting, SuiteConfig, solved
from rewardkit.evaluate.suites.best_of_n import BestOf, classes_of, inner_figures, samples_of
from rewardkit.store import LabelledTrace, Loaded

Floats = NDArray[np.float64]


class SearchCurvesConfig(SuiteConfig):
    """Configuration of `rewardkit eval search`.

    Attributes:
        data: several solutions of each problem: a dataset folder, a file, ``sample:NAME`` or a Hub id; right or wrong
            as in `rewardkit.evaluate.suites.best_of_n.BestOfNConfig`.
        split: of a data set on the Hub.
        n: samples a problem; None takes the most frequent number.
        max_problems: at most so many, drawn at random.
        runs: folders of `rewardkit search`, on the same problems where they are to be compared.
    """

    output: str = "runs/eval-search"
    data: str = "sample:gsm8k-solutions"
    split: str = "train"
    n: int | None = Field(None, ge=2)
    max_problems: int | None = Field(None, ge=2)
    runs: tuple[str, ...] = ()

    def parts(self) -> Sequence[Part]:
        return [Curves(BestOf(self.data, self.n, self.max_problems, self.seed, self.split), self.runs)]


@dataclass(frozen=True, slots=True)
class Curves:
    """The part that is scored and measured; see `SearchCurvesConfig`."""

    best_of: BestOf
    runs: tuple[str, ...] = ()
    name: str = "search"
    steps: bool = False

    def load(self) -> Loaded[LabelledTrace]:
        return self.best_of.load()

    def measure(self, rows: Sequence[LabelledTrace], setting: Setting) -> Measured:
        groups, note = samples_of(rows, self.best_of.n)
        correct = np.array([[float(bool(solved(row.trace))) for row in group] for group in groups])
        answers = np.array([classes_of(group) for group in groups])
        scores = np.array([[setting.response_score(row.scores) for row in group] for group in groups])
        sizes, made = curve_rows(scores, answers, correct, seed=setting.seed)
        per_sample = mean_tokens(groups)
        figures, curves, bands = [], {}, {}
        for name, values in made.items():
            own = [
                measure(_title(name, n, per_sample), _mean, [row], note=note, **setting.draws)
                for n, row in zip(sizes, values, strict=True)
            ]
            figures += own
            curves[name] = tuple(float(f.value or 0.0) for f in own)
            if all(f.low is not None and f.high is not None for f in own):
                bands[name] = tuple((float(f.low or 0.0), float(f.high or 0.0)) for f in own)
        tokens = () if per_sample is None else tuple(n * per_sample for n in sizes)
        plot = BestOfN(n=tuple(sizes), curves=curves, bands=bands, tokens=tokens)
        figures += inner_figures("search", scores, groups, correct, setting)
        return Measured([*figures, *(run_figure(run, setting) for run in self.runs)], {"best_of_n": plot})


def mean_tokens(groups: Sequence[Sequence[LabelledTrace]]) -> float | None:
    """Mean tokens of a stored response (``meta["tokens"]``); None where one of them was not counted."""
    counts = [row.trace.meta.get("tokens") for group in groups for row in group]
    known = [float(c) for c in counts if isinstance(c, int | float) and c > 0]
    return sum(known) / len(known) if known and len(known) == len(counts) else None


def run_figure(folder: str, setting: Setting) -> Figure:
    """The accuracy of a finished run of `rewardkit search`, its tokens a problem in the name.

    Raises:
        DataError: there is no such run, it cannot be read, or none of its problems has a reference.
    """
    path = Path(folder) / "results.jsonl"
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        judged = [float(row["correct"]) for row in rows if row["correct"] is not None]
        tokens = [float(row["tokens"]) for row in rows]
        method = json.loads((path.parent / "manifest.json").read_text(encoding="utf-8"))["config"]["method"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{folder} holds no finished run of `rewardkit search` ({type(error).__name__})") from None
    if not judged:
        raise DataError(f"{folder}: no problem of this search has a reference answer")
    name = f"search run {path.parent.name} ({method}, {np.mean(tokens):.0f} tokens)"
    return measure(name, _mean, [judged], note="its own problems", **setting.draws)


def _title(name: str, n: int, per_sample: float | None) -> str:
    shown = f"pass@{n} (oracle)" if name == "oracle" else f"{name} of {n}"
    return f"search: {shown}" + ("" if per_sample is None else f", {n * per_sample:.0f} tokens")


def _mean(values: Floats) -> float:
    return float(values.mean())
