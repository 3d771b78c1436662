"""`rewardkit search`: answer problems with more than one try, and a reward model's choice."""

from __future__ import annotations

from typing import Annotated

import typer


def search(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(help="A recipe (path or shipped name), then key=value: method, model, n, output, ..."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Search for answers at test time: rewardkit search RECIPE method=best_of_n model=DIR key=value ..."""
    from dataclasses import asdict

    from rewardkit.cli._output import panel, print_json, split_arguments
    from rewardkit.config import load_config
    from rewardkit.search.run import SearchConfig, run_search

    recipe, overrides = split_arguments(list(arguments or []))
    config = load_config(SearchConfig, "search", recipe, overrides)
    result = run_search(config)
    if json:
        print_json(asdict(result))
        return
    accuracy = "no references" if result.accuracy is None else f"{result.accuracy:.4f}"
    panel(
        f"searched: {config.method}",
        [
            ("problems", f"{result.problems} ({result.answered} answered)"),
            ("accuracy", accuracy),
            ("tokens", f"{result.tokens:,}"),
            ("results", str(result.output / "results.jsonl")),
        ],
    )
