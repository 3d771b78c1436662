"""`rewardkit calibrate`: fit a temperature and a bias to a trained model's scores and write them into its folder.

The served score is the calibrated one from then on; ``calibrated: false`` in a request gives the raw one.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rewardkit.errors import ConfigError
from rewardkit.evaluate.figure import Figure
from rewardkit.evaluate.run import EvalResult, run_eval
from rewardkit.evaluate.scoring import Progress
from rewardkit.evaluate.suites.recalibration import CalibrateConfig
from rewardkit.models.spec import RewardModelSpec
from rewardkit.store.files import write_text

FILE = "calibration.json"
"""Beside the model: the map, what it was fitted on, and its figures on held-out problems."""


@dataclass(frozen=True, slots=True)
class Calibrated:
    """What a calibration found and did.

    Attributes:
        temperature, bias: of the map that was fitted on all labels.
        written: whether it stands in the model's folder now.
        reason: why it does not; empty where it does.
        result: the evaluation: figures before and after, and the page with both reliability plots.
    """

    temperature: float
    bias: float
    written: bool
    reason: str
    result: EvalResult


def run_calibrate(config: CalibrateConfig, progress: Progress | None = None) -> Calibrated:
    """Fit a temperature and a bias, measure them on held-out problems, and write them into the model's folder.

    They are left out where the NLL on held-out problems would rise.

    Args:
        config: which model, and whose labels.
        progress: called with (traces scored, traces in all).

    Raises:
        ConfigError: the model is no folder, or cannot be loaded.
        DataError: see `rewardkit.labels.calibrate.temperature_and_bias`; no label means what the scores claim.
    """
    if config.model.startswith(("http://", "https://")):
        raise ConfigError("a served model is calibrated where its folder is: give the folder, then serve it again")
    spec = RewardModelSpec.load(config.model)
    result = run_eval(config, progress)
    found = {figure.name: figure for figure in result.report.figures}
    temperature, bias = (float(found[name].value or 0.0) for name in ("temperature", "bias"))
    saved = found["NLL saved by calibrating"].value or 0.0
    reason = "" if saved > 0 else "it would make the NLL on held-out problems no better"
    reason = reason or ("" if config.write else "write=false")
    if not reason:
        _write(config, spec, temperature, bias, found)
    return Calibrated(temperature, bias, not reason, reason, result)


def _write(
    config: CalibrateConfig, spec: RewardModelSpec, temperature: float, bias: float, found: dict[str, Figure]
) -> None:
    folder = Path(config.model)
    reported = (f"ECE ({config.bins} bins)", "Brier score", "NLL")
    held_out = {when: {name: _plain(found[f"{when} {name}"]) for name in reported} for when in ("before", "after")}
    about = {
        "temperature": temperature,
        "bias": bias,
        "method": "temperature" if bias == 0.0 else "platt",
        "steps": found["temperature"].n,
        "data": list(config.data),
        "sources": None if config.sources is None else list(config.sources),
        "meaning": spec.meaning,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "held_out": held_out,
    }
    write_text(folder / FILE, json.dumps(about, indent=2) + "\n")
    spec.model_copy(update={"temperature": temperature, "bias": bias}).save(folder)


def _plain(figure: Figure) -> dict[str, Any]:
    return {"value": figure.value, "low": figure.low, "high": figure.high}
