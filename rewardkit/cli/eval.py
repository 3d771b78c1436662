"""`rewardkit eval`: measure a reward model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rewardkit.evaluate.run import EvalResult
    from rewardkit.evaluate.suites import SuiteConfig


def evaluate(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            help="A suite (processbench, prmbench, rewardbench, best-of-n, search, calibration) and a model (folder "
            "or address), or robustness and no model, or a recipe (path or shipped name); then key=value."
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure a reward model: rewardkit eval SUITE MODEL key=value ..., or rewardkit eval RECIPE model=DIR data=DIR"""
    if arguments and arguments[0] == "robustness":
        from rewardkit.cli.robustness import robustness

        return robustness(arguments[1:], json)

    from rewardkit.cli._output import ProgressLine, print_json
    from rewardkit.evaluate.run import run_eval

    result = run_eval(_config(arguments or []), ProgressLine("traces scored"))
    if json:
        print_json(
            {
                "output": str(result.output),
                "page": str(result.page),
                "traces": result.traces,
                "seconds": round(result.seconds, 1),
                "report": result.report.model_dump(mode="json"),
            }
        )
    else:
        _show(result)
    return None


def _config(arguments: Sequence[str]) -> SuiteConfig:
    """``SUITE MODEL key=value`` or ``[RECIPE] key=value``."""
    from rewardkit.cli._output import split_arguments
    from rewardkit.config import load_config, override_values
    from rewardkit.errors import ConfigError
    from rewardkit.evaluate.run import EvalConfig
    from rewardkit.evaluate.suites import SUITES, suite_config

    first, rest = split_arguments(arguments)
    names = [argument for argument in rest if "=" not in argument or argument.startswith(("http://", "https://"))]
    if first not in SUITES and not names:
        try:
            return load_config(EvalConfig, "eval", first, rest)
        except ConfigError as error:
            hint = f"; suites: {', '.join(SUITES)}" if str(error).startswith("no recipe") else ""
            raise ConfigError(f"{error}{hint}") from None
    if len(names) > 1:
        raise ConfigError(f"one model at a time, not {' and '.join(names)}; measure others beside it by baselines=")
    values = override_values([argument for argument in rest if argument not in names])
    return suite_config(first or "", {**values, **({"model": names[0]} if names else {})})


def _show(result: EvalResult) -> None:
    from rewardkit.evaluate.figure import figures_table

    print(figures_table(result.report.figures, result.report.baselines))
    print(f"\n{result.traces} traces scored in {result.seconds:.0f} s; figures and scores in {result.output}")
    for reason, count in result.report.left_out.items():
        print(f"left out, and in no figure: {count} ({reason})")
    print(f"\nlook at every step:\n  open {result.page} in a browser")
