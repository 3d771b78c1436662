"""`rewardkit train`: train a reward model from labelled traces."""

from __future__ import annotations

from typing import Annotated

import typer

KINDS = ("prm",)


def train(
    kind: Annotated[str, typer.Argument(help="What to train: prm (a token head over each step).")],
    arguments: Annotated[
        list[str] | None, typer.Argument(help="A recipe (path or shipped name), then key=value overrides.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Train a reward model: rewardkit train prm [RECIPE] data=DIR output=DIR key=value ..."""
    from rewardkit.cli._output import panel, print_json, set_resume, split_arguments
    from rewardkit.config import load_config
    from rewardkit.errors import ConfigError
    from rewardkit.train.prm import PRMConfig, train_prm

    if kind not in KINDS:
        raise ConfigError(f"'{kind}' is no kind of reward model to train; known: {', '.join(KINDS)}")
    recipe, overrides = split_arguments(arguments or [])
    set_resume("rewardkit", "train", kind, *(arguments or []))
    config = load_config(PRMConfig, "train", recipe, overrides)
    result = train_prm(config)
    if json:
        print_json(
            {
                "output": str(result.output),
                "metrics": result.metrics,
                "steps": result.steps,
                "examples": result.examples,
                "seconds": round(result.seconds, 1),
                "resumed": result.resumed,
                "reused": result.reused,
            }
        )
        return
    names = ("eval_loss", "eval_step_auroc", "eval_step_accuracy", "eval_prior_accuracy", "train_loss")
    shown = [(k.removeprefix("eval_"), f"{result.metrics[k]:.4f}") for k in names if k in result.metrics]
    how = "found finished; nothing was trained" if result.reused else f"{result.steps} steps in {result.seconds:.0f} s"
    panel(
        "reward model trained",
        [("run", how), *shown, ("model", str(result.output))],
        [
            ("evaluate it", f"rewardkit eval model={result.output} data={config.data[0]}"),
            ("serve it", f"rewardkit serve {result.output}"),
        ],
    )
