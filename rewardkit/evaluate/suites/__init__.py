"""The suites of `rewardkit eval`: each reads its rows, and turns their scores into figures with intervals.

    config = suite_config("processbench", {"model": "runs/prm", "data": "processbench/"})
    result = run_eval(config)                    # rewardkit.evaluate.run

A suite is a `SuiteConfig` whose ``parts()`` say what is scored and how it is measured; everything else (loading the
model, scoring, baselines, writing) is the same for all of them.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from rewardkit import registry
from rewardkit.config import validate
from rewardkit.errors import ConfigError
from rewardkit.evaluate.suites.base import Measured, Part, Setting, SuiteConfig, Threshold

__all__ = ["SUITES", "Measured", "Part", "Setting", "SuiteConfig", "Threshold", "suite_config"]

SUITES: dict[str, str] = {
    "processbench": "rewardkit.evaluate.suites.processbench:ProcessBenchConfig",
    "prmbench": "rewardkit.evaluate.suites.prmbench:PRMBenchConfig",
    "rewardbench": "rewardkit.evaluate.suites.rewardbench:RewardBenchConfig",
    "best-of-n": "rewardkit.evaluate.suites.best_of_n:BestOfNConfig",
    "search": "rewardkit.evaluate.suites.search:SearchCurvesConfig",
    "calibration": "rewardkit.evaluate.suites.calibration:CalibrationConfig",
}
"""From a suite's name to the ``module:Class`` of its configuration."""


def suite_config(name: str, values: Mapping[str, Any]) -> SuiteConfig:
    """The configuration of a suite from plain values.

    Args:
        name: a key of `SUITES`.
        values: its keys, ``model`` among them.

    Raises:
        ConfigError: no such suite (the nearest is named), or a key is unknown or does not fit.

    >>> suite_config("procesbench", {"model": "runs/prm"})  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    rewardkit.errors.ConfigError: no suite 'procesbench': did you mean 'processbench'? There are processbench, ...
    """
    if name not in SUITES:
        near = difflib.get_close_matches(name, SUITES, n=1)
        hint = f": did you mean '{near[0]}'?" if near else "."
        raise ConfigError(f"no suite '{name}'{hint} There are {', '.join(SUITES)}")
    kind: type[SuiteConfig] = registry.load(name, SUITES, "suite")
    return validate(kind, dict(values), name)
