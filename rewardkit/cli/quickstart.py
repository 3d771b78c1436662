"""`rewardkit quickstart`: the whole path once, and where to go from there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rewardkit.quickstart import Quickstart

SHOWN = (
    "held-out step AUROC",
    "held-out step AP (wrong steps)",
    "held-out first-error F1",
    "held-out ECE (15 bins)",
    "ProcessBench first-error F1",
    "best-of-4 accuracy, min",
    "best-of-4: random sample",
    "best-of-4: majority",
    "best-of-4: oracle",
)


def quickstart(
    overrides: Annotated[list[str] | None, typer.Argument(help="key=value, such as output=runs/first")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Run the whole path on shipped data: labels, a trained model, its figures, a served score, a page to look at."""
    from rewardkit.cli._output import print_json, set_resume
    from rewardkit.config import load_config
    from rewardkit.quickstart import QuickstartConfig, run_quickstart

    set_resume("rewardkit", "quickstart", *(overrides or []))
    config = load_config(QuickstartConfig, "quickstart", None, overrides or [])
    run = run_quickstart(config)
    if json:
        print_json({"output": config.output, "reused": run.reused, "stages": run.stages})
    else:
        _panel(run)


def _panel(run: Quickstart) -> None:
    from rewardkit.cli._output import panel
    from rewardkit.quickstart import STEPS

    stages, root = run.stages, run.root
    rows = [("labels", _labels(stages["labels"])), *_figures(stages["eval"]["figures"]), ("", "")]
    served = stages["serve"]
    for step, score in zip(STEPS, served["scores"], strict=True):
        rows.append(("served score", f"{score:.3f}  {step}"))
    rows += [
        ("", f"through {served['backend']}; largest difference from offline {served['offline_difference']:.1e}"),
        ("", ""),
        ("labels", str(root / "labels")),
        ("model", str(root / "model")),
        ("figures", str(root / "eval" / "eval.json")),
        ("page", f"{stages['show']['page']}  (open it in a browser)"),
        ("", ""),
        ("time", ", ".join(f"{name} {stage['seconds']:.0f} s" for name, stage in stages.items())),
    ]
    if run.reused:
        rows.append(("", f"reused: {', '.join(run.reused)}"))
    panel(
        "quickstart",
        rows,
        [
            ("serve the model", f"rewardkit serve {root / 'model'}"),
            ("label answers of your own", "rewardkit recipes copy synth/label-traces my-traces.yaml"),
            ("train on more of them", f"rewardkit train prm-gsm8k data={root / 'labels'} output=runs/prm"),
        ],
    )


def _labels(stage: dict[str, Any]) -> str:
    found = stage["labels"]["arithmetic"]
    return (
        f"{stage['traces']:,} traces; steps by exact arithmetic: {found['correct']:,} correct, "
        f"{found['wrong']:,} wrong, {found['abstained']:,} abstained"
    )


def _figures(figures: dict[str, list[float | None]]) -> list[tuple[str, str]]:
    rows = []
    for name in SHOWN:
        value, low, high, n = figures.get(name, [None, None, None, 0])
        if value is not None:
            interval = f"  [{low:.3f}, {high:.3f}]" if low is not None and high is not None else ""
            rows.append((name, f"{value:.3f}{interval}  n = {n:,.0f}"))
    return rows
