"""One reported figure with its interval, and the table that prints figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value as it is reported everywhere: terminal, card, page.

    Attributes:
        name: what it is, such as "step AUROC".
        value: the measured value; None where it is not defined, and then `note` says why.
        low: lower end of the interval, None where there is none.
        high: upper end.
        n: how many units were measured (the name or the note says of what, where it is not plain).
        note: a caveat or the reason for a missing value.

    >>> str(Figure("step AUROC", 0.8123, 0.79, 0.834, 1400))
    'step AUROC 0.812 [0.790, 0.834] (n = 1,400)'
    >>> str(Figure("step AUROC", None, None, None, 12, "all labelled steps are right"))
    'step AUROC not defined (n = 12): all labelled steps are right'
    """

    name: str
    value: float | None
    low: float | None
    high: float | None
    n: int
    note: str = ""

    def __str__(self) -> str:
        interval = f" {self.interval}" if self.interval else ""
        note = f": {self.note}" if self.note else ""
        return f"{self.name} {_number(self.value)}{interval} (n = {self.n:,}){note}"

    @property
    def interval(self) -> str:
        """The interval as text, empty where there is none."""
        if self.low is None or self.high is None:
            return ""
        return f"[{_number(self.low)}, {_number(self.high)}]"


def figures_table(figures: Sequence[Figure], baselines: Mapping[str, Sequence[Figure]] | None = None) -> str:
    """A Markdown table that also reads well in a terminal.

    Args:
        figures: one a row.
        baselines: a column for each, with its value of the figure of that name.

    >>> print(figures_table([Figure("ECE", 0.05, 0.04, 0.07, 1400), Figure("Brier score", 0.1, None, None, 1400)]))
    | figure      | value | 95% interval   |     n | note |
    |-------------|-------|----------------|-------|------|
    | ECE         | 0.050 | [0.040, 0.070] | 1,400 |      |
    | Brier score | 0.100 |                | 1,400 |      |
    >>> print(figures_table([Figure("ECE", 0.05, 0.04, 0.07, 9)], {"prior": [Figure("ECE", 0.0, 0.0, 0.1, 9)]}))
    | figure | value | 95% interval   | prior | n | note |
    |--------|-------|----------------|-------|---|------|
    | ECE    | 0.050 | [0.040, 0.070] | 0.000 | 9 |      |
    """
    beside = {name: {f.name: _number(f.value) for f in found} for name, found in (baselines or {}).items()}
    head = ["figure", "value", "95% interval", *(_cell(name) for name in beside), "n", "note"]
    rows = [
        [
            _cell(f.name),
            _number(f.value),
            f.interval,
            *(found.get(f.name, "") for found in beside.values()),
            f"{f.n:,}",
            _cell(f.note),
        ]
        for f in figures
    ]
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    lines = [_line(head, widths), "|" + "|".join("-" * (width + 2) for width in widths) + "|"]
    return "\n".join([*lines, *(_line(row, widths) for row in rows)])


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    placed = [
        c.rjust(w) if i == len(cells) - 2 else c.ljust(w) for i, (c, w) in enumerate(zip(cells, widths, strict=True))
    ]
    return "| " + " | ".join(placed) + " |"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _number(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.3f}"
