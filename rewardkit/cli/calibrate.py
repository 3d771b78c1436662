"""`rewardkit calibrate`: a trained model's scores become probabilities that mean what they say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rewardkit.evaluate.recalibrate import Calibrated


def calibrate(
    model: Annotated[str, typer.Argument(help="The model's folder.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            help="key=value: data=DIR (labelled traces; of a dataset folder the held-out problems), sources=NAME, "
            "method=auto, temperature or platt, held_out=0.2, write=true, output=runs/calibrate."
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Calibrate a trained model's scores by verified labels: rewardkit calibrate MODEL data=DIR"""
    from rewardkit.cli._output import ProgressLine, print_json
    from rewardkit.config import override_values, validate
    from rewardkit.evaluate.recalibrate import run_calibrate
    from rewardkit.evaluate.suites.recalibration import CalibrateConfig

    config = validate(CalibrateConfig, {**override_values(overrides or []), "model": model}, "calibrate")
    found = run_calibrate(config, ProgressLine("traces scored"))
    if not json:
        _show(found, model)
        return
    fitted = {"temperature": found.temperature, "bias": found.bias, "written": found.written, "reason": found.reason}
    print_json({**fitted, "page": str(found.result.page), "report": found.result.report.model_dump(mode="json")})


def _show(found: Calibrated, model: str) -> None:
    from rewardkit.cli._output import panel
    from rewardkit.evaluate.figure import figures_table

    print(figures_table(found.result.report.figures))
    rows = [
        ("map", f"sigmoid((log-odds {found.bias:+.3f}) / {found.temperature:.3f})"),
        ("written", f"{model}/reward_model.json" if found.written else f"no: {found.reason}"),
        ("page", str(found.result.page)),
    ]
    panel("calibration", rows, [("serve the calibrated score", f"rewardkit serve {model}")] if found.written else [])
