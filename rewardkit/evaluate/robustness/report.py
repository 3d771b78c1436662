"""What a robustness test found: JSON, and tables that read well in a terminal and on a page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from rewardkit.evaluate.figure import Figure
from rewardkit.evaluate.report import Curves, EvalReport
from rewardkit.store.files import write_text

FILE_NAME = "robustness.json"

Estimate = tuple[float, float, float]
"""A value with the ends of its 95% interval over problems."""


class Cell(BaseModel):
    """One method under one attack, averaged over seeds.

    Attributes:
        way, rate: of the attack; ``none`` for clean labels.
        flipped: the share of labels that was really flipped.
        method: what was trained.
        auroc: of telling right steps from wrong ones, on clean labels of held-out problems.
        accuracy: at a score of 0.5.
        gain: AUROC less that of ``bce`` under the same attack, on the same resamples; real where the interval leaves
            out 0.
        fooled: the share of wrong held-out steps that are called right once they carry the trigger; for clean labels
            and the way ``trigger``.
        seeds: the AUROC of each seed.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    way: str
    rate: float
    flipped: float
    method: str
    auroc: Estimate
    accuracy: Estimate
    gain: Estimate
    fooled: Estimate | None
    seeds: tuple[float, ...]

    @property
    def against_bce(self) -> str:
        """``+`` better than cross-entropy beyond luck, ``-`` worse, else nothing."""
        return "+" if self.gain[1] > 0 else "-" if self.gain[2] < 0 else ""


class RobustnessReport(BaseModel):
    """Every cell, and what they were measured on.

    Attributes:
        cells: by attack, then by method.
        traces, train_steps, test_steps, test_problems: how many there were.
        right: the share of right steps among those judged.
        left_out: from a reason to the number of traces.
        config, versions: of the run.
        seconds, cpu_seconds: that it took.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    cells: tuple[Cell, ...]
    traces: int
    train_steps: int
    test_steps: int
    test_problems: int
    right: float
    left_out: dict[str, int]
    config: dict[str, Any]
    versions: dict[str, str]
    seconds: float
    cpu_seconds: float

    def save(self, folder: Path) -> None:
        """Write ``robustness.json``, and the tables as ``README.md``."""
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / FILE_NAME, self.model_dump_json(indent=1) + "\n")
        write_text(folder / "README.md", f"# Robustness to wrong labels\n\n{tables(self)}")


def page_report(report: RobustnessReport) -> EvalReport:
    """The figures of clean labels and a plot for each way, as the page shows them."""
    ways = list(dict.fromkeys(cell.way for cell in report.cells if cell.way != "none"))
    clean = [cell for cell in report.cells if cell.way == "none"]
    return EvalReport(
        figures=tuple(Figure(f"step AUROC, {c.method}, clean labels", *c.auroc, report.test_steps) for c in clean),
        curves=tuple(_curves(report, way) for way in ways),
        left_out=report.left_out,
        model={"name": report.config["model"]},
    )


def _curves(report: RobustnessReport, way: str) -> Curves:
    cells = [cell for cell in report.cells if cell.way in (way, "none")]
    rates = sorted({cell.rate for cell in cells})
    by_method = {cell.method: sorted((c for c in cells if c.method == cell.method), key=_rate) for cell in cells}
    return Curves(
        title=f"Labels flipped: {way}",
        caption="AUROC on clean labels of held-out problems, over the share of flipped labels. Bars: 95% intervals.",
        x="share of flipped labels",
        y="step AUROC",
        at=tuple(rates),
        lines={name: tuple(cell.auroc[0] for cell in found) for name, found in by_method.items()},
        bands={name: tuple(cell.auroc[1:] for cell in found) for name, found in by_method.items()},
    )


def _rate(cell: Cell) -> float:
    return cell.rate


def tables(report: RobustnessReport) -> str:
    """One table a way: methods down, rates across, AUROC with its interval; and one of how many the trigger fools."""
    ways = list(dict.fromkeys(cell.way for cell in report.cells if cell.way != "none")) or ["none"]
    parts = [_about(report)]
    for way in ways:
        cells = [cell for cell in report.cells if cell.way in (way, "none")]
        parts.append(f"## {way}\n\n{_table(cells, _auroc)}")
    marked = [cell for cell in report.cells if cell.fooled is not None]
    if any(cell.way == "trigger" for cell in marked):
        parts.append(f"## trigger: wrong steps called right once they carry it\n\n{_table(marked, _fooled)}")
    return "\n\n".join(parts) + "\n"


def _about(report: RobustnessReport) -> str:
    return (
        f"Step AUROC on clean labels of {report.test_problems:,} held-out problems ({report.test_steps:,} steps, "
        f"{report.right:.0%} of them right), mean of {report.config['seeds']} seeds with 95% intervals over problems. "
        f"Heads on frozen features of {report.config['model']}, trained on {report.train_steps:,} steps of which a "
        "share has a flipped label. `+` better, `-` worse than bce under the same attack, beyond luck."
    )


def _table(cells: list[Cell], show: Any) -> str:
    rates = sorted({cell.rate for cell in cells})
    methods = list(dict.fromkeys(cell.method for cell in cells))
    text = {(cell.method, cell.rate): show(cell) for cell in cells}
    lines = ["| method | " + " | ".join(f"{rate:.0%}" for rate in rates) + " |", "|---|" + "---|" * len(rates)]
    lines += [f"| {name} | " + " | ".join(text.get((name, rate), "") for rate in rates) + " |" for name in methods]
    return "\n".join(lines)


def _auroc(cell: Cell) -> str:
    value, low, high = cell.auroc
    return f"{value:.3f} [{low:.3f}, {high:.3f}]{cell.against_bce}"


def _fooled(cell: Cell) -> str:
    value, low, high = cell.fooled or (float("nan"),) * 3
    return f"{value:.2f} [{low:.2f}, {high:.2f}]"
