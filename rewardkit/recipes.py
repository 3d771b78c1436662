"""The shipped recipes: list them, read their headers, copy one, and check that one fits its command."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from rewardkit.config import Config, load_config, shipped_recipes
from rewardkit.errors import ConfigError

CONFIGS = {
    "synth": "rewardkit.synth:SynthConfig",
    "train": "rewardkit.train.config:TrainConfig",
    "eval": "rewardkit.evaluate.run:EvalConfig",
    "search": "rewardkit.search.run:SearchConfig",
}
"""From a command to the ``module:Class`` of its configuration."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """A shipped recipe.

    Attributes:
        name: ``command/name``, as ``rewardkit recipes`` lists it.
        path: of its file.
        summary: the first line of the comment at its head, which is its manual.
    """

    name: str
    path: Path
    summary: str

    @property
    def command(self) -> str:
        """The command that the recipe is for: the folder that it lies in."""
        return self.name.split("/")[0]


def list_recipes() -> Iterator[Recipe]:
    """Every shipped recipe, sorted by name."""
    for name, path in shipped_recipes():
        yield Recipe(name, path, summary(path.read_text(encoding="utf-8")))


def summary(text: str) -> str:
    """The first line of the comment at a recipe's head, or nothing where there is none.

    >>> summary("# Label GSM8K answers.\\n#\\n# Needs: nothing.\\noutput: runs/gsm8k\\n")
    'Label GSM8K answers.'
    >>> summary("output: runs/gsm8k\\n")
    ''
    """
    first = text.partition("\n")[0]
    return first.removeprefix("#").strip() if first.startswith("#") else ""


def find(name: str) -> Recipe:
    """The shipped recipe of that name, ``command/name`` or the last part alone where only one recipe has it.

    Raises:
        ConfigError: there is none (the nearest name is given), or several commands have one of that name.
    """
    recipes = list(list_recipes())
    found = [r for r in recipes if name in (r.name, r.name.split("/", 1)[1])]
    if len(found) == 1:
        return found[0]
    if found:
        raise ConfigError(f"'{name}' is the name of several recipes: {', '.join(r.name for r in found)}")
    words = {word: r.name for r in recipes for word in (r.name, r.name.split("/", 1)[1])}
    near = difflib.get_close_matches(name, words, n=1)
    hint = f"did you mean '{words[near[0]]}'?" if near else "`rewardkit recipes` lists them"
    raise ConfigError(f"there is no shipped recipe '{name}': {hint}")


def copy(name: str, target: str | Path | None = None) -> Path:
    """Copy a shipped recipe to a file or into a folder of yours, and give the new file's path.

    Args:
        name: see `find`.
        target: a file to write or a folder that exists; the working directory where None.

    Raises:
        ConfigError: no such recipe, or the file is there already: nothing is ever overwritten.
    """
    recipe = find(name)
    path = Path(target or ".")
    if path.is_dir():
        path /= recipe.path.name
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(recipe.path.read_text(encoding="utf-8"))
    except FileExistsError:
        raise ConfigError(f"{path} is there already; give another path or remove it first") from None
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}") from None
    return path


def load(recipe: Recipe, overrides: Sequence[str] = ()) -> Config:
    """Read a recipe with its command's configuration and the given overrides, as the command itself would.

    Raises:
        ConfigError: the recipe does not fit, or lies in a folder that names no command with recipes.
    """
    if recipe.command not in CONFIGS:
        raise ConfigError(f"{recipe.name}: no command '{recipe.command}' takes recipes")
    module, _, name = CONFIGS[recipe.command].partition(":")
    kind: type[Config] = getattr(import_module(module), name)
    return load_config(kind, recipe.command, str(recipe.path), overrides)
