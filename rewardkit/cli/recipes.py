"""`rewardkit recipes`: list, show and copy the shipped recipes."""

from __future__ import annotations

from typing import Annotated

import typer


def recipes(
    action: Annotated[str, typer.Argument(help="list, show or copy.")] = "list",
    name: Annotated[str | None, typer.Argument(help="Which one, such as synth/gsm8k-smollm2.")] = None,
    path: Annotated[str | None, typer.Argument(help="For copy: the new file, or a folder.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """List, show and copy the shipped recipes: rewardkit recipes, recipes show NAME, recipes copy NAME [PATH]."""
    from rewardkit.errors import ConfigError

    if action not in ("list", "show", "copy"):
        raise ConfigError(f"recipes cannot '{action}'; it can list, show NAME and copy NAME [PATH]")
    if action == "list":
        _list(json)
    elif name is None:
        raise ConfigError(f"which recipe? Write `rewardkit recipes {action} NAME`; `rewardkit recipes` lists them")
    elif action == "show":
        _show(name, json)
    else:
        _copy(name, path, json)


def _list(json: bool) -> None:
    from rewardkit.cli._output import print_json
    from rewardkit.recipes import list_recipes

    known = list(list_recipes())
    if json:
        print_json({"recipes": [{"name": r.name, "summary": r.summary, "path": r.path} for r in known]})
        return
    width = max((len(r.name) for r in known), default=0)
    for recipe in known:
        print(f"{recipe.name:<{width}}  {recipe.summary}".rstrip())


def _show(name: str, json: bool) -> None:
    from rewardkit.cli._output import print_json
    from rewardkit.recipes import find

    recipe = find(name)
    text = recipe.path.read_text(encoding="utf-8")
    if json:
        print_json({"name": recipe.name, "path": recipe.path, "text": text})
        return
    print(text, end="")


def _copy(name: str, path: str | None, json: bool) -> None:
    from rewardkit.cli._output import print_json
    from rewardkit.recipes import copy

    written = copy(name, path)
    if json:
        print_json({"path": written})
        return
    print(f"{written} (its first lines say how to run it)")
