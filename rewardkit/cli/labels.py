"""``rewardkit labels``: what is done with the labels of a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rewardkit.verifiers.recheck import RecheckReport


def labels(
    action: Annotated[str, typer.Argument(help="recheck: prove a sample of the labels again, with another solver.")],
    directory: Annotated[Path, typer.Argument(help="A dataset folder, as `rewardkit synth` writes it.")],
    options: Annotated[
        list[str] | None, typer.Argument(help="sample=200 (how many labels), solver=coq, z3 or cvc5, seed=0")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Look into the formal labels of a dataset: prove a sample of them again, with another solver."""
    from rewardkit.cli._output import print_json
    from rewardkit.errors import ConfigError
    from rewardkit.verifiers.recheck import recheck

    if action != "recheck":
        raise ConfigError(f"there is no action '{action}' for labels; there is: recheck")
    given = _options(options or [])
    report = recheck(directory, int(given["sample"]), given["solver"], int(given["seed"]))
    if json:
        print_json({"solver": report.solver, "counts": report.counts, "disagreements": _rows(report)})
    else:
        _show(report, directory)


def _options(given: list[str]) -> dict[str, str]:
    from rewardkit.errors import ConfigError

    values = {"sample": "200", "solver": "coq", "seed": "0"}
    for option in given:
        key, equals, value = option.partition("=")
        if not equals or key not in values:
            raise ConfigError(f"unknown option '{option}': there are sample=200, solver=coq and seed=0")
        if key != "solver" and not (value.isascii() and value.isdigit() and len(value) < 10):
            raise ConfigError(f"{key} must be a whole number, not '{value}'")
        values[key] = value
    if values["sample"].strip("0") == "":
        raise ConfigError("sample must be at least 1")
    return values


def _rows(report: RecheckReport) -> list[dict[str, object]]:
    return [
        {
            "trace_id": one.label.trace_id,
            "step": one.label.step,
            "source": one.label.source,
            "p_correct": one.label.p_correct,
            "stored": one.label.evidence,
            "found": one.evidence,
        }
        for one in report.disagreements
    ]


def _show(report: RecheckReport, directory: Path) -> None:
    from rewardkit.cli._output import panel

    rows = [
        (source, f"{c['agree']:,} agree, {c['disagree']:,} disagree, {c['undecided']:,} undecided")
        for source, c in report.counts.items()
    ]
    for row in _rows(report)[:10]:
        rows.append((f"trace {row['trace_id']}", f"step {row['step']}: {row['stored']}"))
        rows.append(("", f"{report.solver}: {row['found']}"))
    panel(f"labels checked again by {report.solver}", rows, [("look at them", f"rewardkit show {directory}")])
