"""`rewardkit labels merge`: several sources into one calibrated label, with the report on held-out gold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rewardkit.cli._actions import names, need, whole

if TYPE_CHECKING:
    from rewardkit.labels.merge import Merged
    from rewardkit.labels.quality import Quality


def merge(directory: Path, given: dict[str, str], json: bool) -> None:
    """rewardkit labels merge DIR output=DIR gold=SOURCE key=value ..."""
    from rewardkit.cli._output import panel, print_json
    from rewardkit.labels.merge import merge_dataset

    need("merge", given, output="DIR, where the dataset with the merged labels is written")
    found = merge_dataset(
        directory,
        given["output"],
        sources=names(given["sources"]),
        gold=names(given["gold"]),
        name=given["name"],
        model=given["method"],
        abstain=given["abstain"],
        calibration=given["calibration"],
        seed=whole(given, "seed"),
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
    rows += quality_rows(found.quality, found.bake)
    rows += [("note" if i == 0 else "", text) for i, text in enumerate(found.warnings)]
    return [*rows, ("folder", given["output"])]


def quality_rows(
    quality: Sequence[Quality], bake: Sequence[Mapping[str, Any]], budget: int = 100
) -> list[tuple[str, str]]:
    """Lines of a panel: each source where gold is, then what each is worth with a few gold labels."""
    rows = [
        (f"quality of {q.source}", f"covers {q.coverage:.1%}{_on_gold(q.catches, q.false_alarms, q.on_gold)}")
        for q in quality
    ]
    for row in bake:
        text = f"NLL {row['nll']:.3f}  accuracy {row['accuracy']:.3f} x coverage {row['coverage']:.3f}"
        rows.append((f"{budget} gold: {row['name']}", f"{text} = {row['yield']:.3f}"))
    return rows


def _on_gold(catches: float | None, alarms: float | None, n: int) -> str:
    if not n:
        return ", never where gold is"
    parts = [f"catches {catches:.1%} of the wrong" if catches is not None else ""]
    parts.append(f"calls {alarms:.1%} of the right wrong" if alarms is not None else "")
    return "".join(f", {part}" for part in parts if part) + f" ({n:,} gold steps)"
