"""`rewardkit eval`: measure a reward model."""

from __future__ import annotations

from typing import Annotated

import typer


def evaluate(
    arguments: Annotated[
        list[str] | None, typer.Argument(help="A recipe (path or shipped name), then key=value overrides.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure a reward model: rewardkit eval [RECIPE] model=DIR data=DIR output=DIR key=value ..."""
    from rewardkit.cli._output import ProgressLine, print_json, split_arguments
    from rewardkit.config import load_config
    from rewardkit.evaluate.figure import figures_table
    from rewardkit.evaluate.run import EvalConfig, run_eval

    recipe, overrides = split_arguments(arguments or [])
    config = load_config(EvalConfig, "eval", recipe, overrides)
    result = run_eval(config, ProgressLine("traces scored"))
    if json:
        print_json(
            {
                "output": str(result.output),
                "traces": result.traces,
                "left_out": result.left_out,
                "seconds": round(result.seconds, 1),
                "report": result.report.model_dump(mode="json"),
            }
        )
        return
    print(figures_table(result.report.figures))
    left = "".join(f"; {count} left out: {reason}" for reason, count in result.left_out.items())
    print(f"\n{result.traces} traces scored in {result.seconds:.0f} s{left}; figures and scores in {result.output}")
    print(f"\nlook at every step:\n  rewardkit show {result.output}")
