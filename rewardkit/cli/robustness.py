"""`rewardkit eval robustness`: what wrong labels do to training, and which losses can bear them."""

from __future__ import annotations

from collections.abc import Sequence


def robustness(arguments: Sequence[str], json: bool) -> None:
    """rewardkit eval robustness [RECIPE] data=DIR output=DIR key=value ..."""
    from rewardkit.cli._output import ProgressLine, print_json, split_arguments
    from rewardkit.config import load_config
    from rewardkit.evaluate.robustness import RobustnessConfig, run_robustness, tables

    recipe, overrides = split_arguments(arguments)
    config = load_config(RobustnessConfig, "eval", recipe, overrides)
    result = run_robustness(config, ProgressLine("traces read, then heads trained"))
    if json:
        print_json(
            {"output": str(result.output), "page": str(result.page), "report": result.report.model_dump(mode="json")}
        )
        return
    print(tables(result.report))
    for reason, count in result.report.left_out.items():
        print(f"left out: {count} traces ({reason})")
    print(f"{result.report.seconds:.0f} s; tables and figures in {result.output}")
    print(f"look at the curves and the labels:\n  open {result.page} in a browser")
