"""Every shipped recipe fits its command, has a manual at its head, and can be listed, found and copied."""

from __future__ import annotations

import itertools
import re

import pytest

from rewardkit import registry
from rewardkit.cli import _COMMANDS
from rewardkit.config import Config, shipped
from rewardkit.errors import ConfigError
from rewardkit.recipes import CONFIGS, Recipe, copy, find, list_recipes, load

RECIPES = list(list_recipes())


def documented(recipe: Recipe) -> list[tuple[Recipe, list[str]]]:
    """Each command in a recipe's head that runs a shipped recipe, its own or the next one: which, and the overrides."""
    head = itertools.takewhile(lambda line: line.startswith("#"), recipe.path.read_text(encoding="utf-8").splitlines())
    commands = [re.search(rf"rewardkit ({'|'.join(CONFIGS)}) ([a-z][\w-]*)(?![\w=])(.*)", line) for line in head]
    return [(find(f"{c[1]}/{c[2]}"), re.findall(r"[\w.]+=\S+", c[3])) for c in commands if c]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda r: r.name)
def test_each_command_in_a_recipes_head_fits(recipe):
    commands = documented(recipe)
    assert recipe in [named for named, _ in commands], "the head holds the exact command"
    for named, overrides in commands:
        assert load(named, overrides).model_dump()


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda r: r.name)
def test_recipe_starts_with_what_it_makes(recipe):
    assert recipe.summary.endswith(".")


def test_every_yaml_file_is_listed():
    files = {p for p in shipped("recipes").rglob("*") if p.suffix in (".yaml", ".yml")}
    assert {r.path for r in RECIPES} == {p for p in files if p.parent.name != "accelerate"}
    assert {r.command for r in RECIPES} <= set(CONFIGS) <= set(_COMMANDS)


@pytest.mark.parametrize("command", CONFIGS)
def test_configuration_of_each_command_is_there(command):
    assert issubclass(registry.load(command, CONFIGS, "command"), Config)


def test_recipe_that_does_not_fit_is_an_error(tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_text("# Bad.\nouput: x\n")
    with pytest.raises(ConfigError, match="unknown key 'ouput': did you mean 'output'"):
        load(Recipe("synth/bad", path, "Bad."))


def test_recipe_in_a_folder_of_no_command_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match="no command 'fry' takes recipes"):
        load(Recipe("fry/egg", tmp_path / "egg.yaml", ""))


def test_recipe_is_found_by_its_last_part_alone():
    assert find("gsm8k-replay") == find("synth/gsm8k-replay")


def test_unknown_recipe_names_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'synth/gsm8k-replay'"):
        find("gsm8k-repaly")


def test_copy_into_a_folder_keeps_the_name_and_the_text(tmp_path):
    path = copy("synth/gsm8k-replay", tmp_path)
    assert path == tmp_path / "gsm8k-replay.yaml"
    assert path.read_text(encoding="utf-8") == find("gsm8k-replay").path.read_text(encoding="utf-8")


def test_copy_makes_folders_and_never_overwrites(tmp_path):
    target = tmp_path / "mine" / "first.yaml"
    assert copy("gsm8k-replay", target) == target
    target.write_text("# edited\n")
    with pytest.raises(ConfigError, match="is there already"):
        copy("gsm8k-replay", target)
    assert target.read_text() == "# edited\n"
