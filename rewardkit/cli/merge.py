"""`rewardkit labels merge`: several sources into one calibrated label, with the report on held-out gold."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rewardkit.labels.merge import Merged


def merge(directory: Path, given: dict[str, str], json: bool) -> None:
    """rewardkit labels merge DIR output=DIR gold=SOURCE key=value ..."""
    from rewardkit.cli._output import panel, print_json
    from rewardkit.errors import ConfigError
    from rewardkit.labels.merge import merge_dataset

    if not given["output"]:
        raise ConfigError("merge needs output=DIR, where the dataset with the merged labels is written")
    if not (given["seed"].isascii() and given["seed"].isdigit() and len(given["seed"]) < 10):
        raise ConfigError(f"seed must be a whole number, not '{given['seed']}'")
    found = merge_dataset(
        directory,
        given["output"],
        sources=[name for name in given["sources"].split(",") if name],
        gold=[name for name in given["gold"].split(",") if name],
        name=given["name"],
        model=given["method"],
        abstain=given["abstain"],
        calibration=given["calibration"],
        seed=int(given["seed"]),
    )
    if json:
        print_json({"output": given["output"], "source": given["name"], **found.as_dict()})
        return
    panel(
        f"labels merged by {found.model}", _rows(found, given), [("look at them", f"rewardkit show {given['output']}")]
    )


def _rows(found: Merged, given: dict[str, str]) -> list[tuple[str, str]]:
    seen = found.as_dict()
    rows = [
        ("labelled", f"{seen['labelled']:,} of {seen['steps']:,} steps, {found.gold:,} of them by gold"),
        ("source", f"{given['name']} ({found.meaning})"),
        ("calibration", found.calibration.method if found.calibration else "none: there is no gold"),
    ]
    for name, r in ((row.name, row) for row in found.report):
        auroc = "  –  " if r.auroc is None else f"{r.auroc:.3f}"
        text = f"NLL {r.nll:.3f}  Brier {r.brier:.3f}  ECE {r.ece:.3f}  AUROC {auroc}  error F1 {r.error_f1:.3f}"
        rows.append((name, text))
    if found.report:
        rows.append(("", f"on {found.report[0].n:,} gold steps, each by models of other problems"))
    for q in found.quality:
        rows.append(
            (f"quality of {q.source}", f"covers {q.coverage:.1%}{_on_gold(q.catches, q.false_alarms, q.on_gold)}")
        )
    for row in found.bake:
        rows.append((f"100 gold: {row['name']}", f"NLL {row['nll']:.3f}  accuracy x coverage {row['yield']:.3f}"))
    rows += [("note" if i == 0 else "", text) for i, text in enumerate(found.warnings)]
    return [*rows, ("folder", given["output"])]


def _on_gold(catches: float | None, alarms: float | None, n: int) -> str:
    if not n:
        return ", never where gold is"
    parts = [f"catches {catches:.1%} of the wrong" if catches is not None else ""]
    parts.append(f"calls {alarms:.1%} of the right wrong" if alarms is not None else "")
    return "".join(f", {part}" for part in parts if part) + f" ({n:,} gold steps)"
