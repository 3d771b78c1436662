"""`rewardkit train`: train a reward model from labelled traces, or a policy by a reward."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def train(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            help="A recipe (path or shipped name) or a kind such as prm, or both; then key=value overrides."
        ),
    ] = None,
    accelerate: Annotated[
        str | None, typer.Option(help="Train on several processes: a profile (cpu, gpu-ddp, fsdp2, ...) or a path.")
    ] = None,
    processes: Annotated[int | None, typer.Option(help="How many processes; the profile's number by default.")] = None,
    push: Annotated[
        str | None, typer.Option(help="Then upload the model to this repository of the Hub, such as NAME/MODEL.")
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="A repository that --push makes is private.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Train a reward model, or a policy by GRPO: rewardkit train RECIPE data=DIR output=DIR key=value ..."""
    from rewardkit.cli._output import panel, print_json, set_resume, split_arguments
    from rewardkit.config import load_config
    from rewardkit.train import KINDS, POLICIES, RunConfig, TrainConfig, load_kind
    from rewardkit.train import train as run
    from rewardkit.train.hub import push_model
    from rewardkit.train.launch import is_first_process, launch, leave_group

    given = list(arguments or [])
    flags = [*([f"--push={push}"] if push else []), *(["--private"] if private else [])]
    if accelerate is not None:
        raise typer.Exit(launch(accelerate, ["train", *given, *flags, *(["--json"] if json else [])], processes))
    set_resume("rewardkit", "train", *given, *flags)
    kind = [f"kind={given.pop(0)}"] if given and given[0] in {**KINDS, **POLICIES} else []
    recipe, overrides = split_arguments(given)
    config: RunConfig = load_config(TrainConfig, "train", recipe, [*kind, *overrides])
    result = run(config)
    leave_group()
    if not is_first_process():
        return
    pushed = push_model(result.output, push, private=private) if push else None
    if json:
        print_json(
            {
                "output": str(result.output),
                "pushed": pushed,
                "metrics": result.metrics,
                "steps": result.steps,
                "examples": result.examples,
                "seconds": round(result.seconds, 1),
                "resumed": result.resumed,
                "reused": result.reused,
            }
        )
        return
    names = (*load_kind(config.kind).shown, "train_loss")
    shown = [(k.removeprefix("eval_"), f"{result.metrics[k]:.4f}") for k in names if k in result.metrics]
    how = "found finished; nothing was trained" if result.reused else f"{result.steps} steps in {result.seconds:.0f} s"
    panel(
        "policy trained" if config.kind in POLICIES else "reward model trained",
        [("run", how), *shown, ("model", str(result.output)), *([("pushed", pushed)] if pushed else [])],
        _use_policy(result.output) if config.kind in POLICIES else _next(result.output),
    )


def _use_policy(output: Path) -> list[tuple[str, str]]:
    return [("how it went, step by step", f"less {output}/health.jsonl"), ("serve it", f"vllm serve {output}")]


def _next(output: Path) -> list[tuple[str, str]]:
    """What one does with the model: an outcome model has no step scores to evaluate or to serve."""
    from rewardkit.models.spec import RewardModelSpec

    if not RewardModelSpec.load(output).scores_steps:
        return [("score whole responses", f"rewardkit score {output} responses.jsonl")]
    return [
        ("evaluate it on people's labels", f"rewardkit eval processbench {output}"),
        ("serve it", f"rewardkit serve {output}"),
    ]
