"""Recipes: YAML that names what differs, dotted overrides, and pydantic models that forbid unknown keys.

config = load_config(SynthConfig, "synth", "gsm8k-smollm2", ["generator.samples=2", "output=runs/try"])
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from rewardkit.errors import ConfigError


class Config(BaseModel):
    """Base of every command's configuration: frozen, an unknown key is an error, one text stands for a list of one.

    >>> class Tiny(Config):
    ...     data: tuple[str, ...]
    >>> load_config(Tiny, "tiny", None, ["data=runs/first"]).data
    ('runs/first',)
    """

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=False)

    @model_validator(mode="before")
    @classmethod
    def _one_is_a_list(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        return {k: [v] if isinstance(v, str) and _wants_list(cls, k) else v for k, v in values.items()}

    @classmethod
    def pick(cls, values: Mapping[str, Any]) -> type[Config]:
        """The class that fits the values: this one, unless a command's configuration has several kinds."""
        return cls


C = TypeVar("C", bound=Config)


def load_config(kind: type[C], command: str, recipe: str | None, overrides: Sequence[str] = ()) -> C:
    """Read a recipe, lay the overrides over it and validate the whole.

    Args:
        kind: the pydantic model of the command.
        command: the command's name; shipped recipes lie in a folder of that name.
        recipe: a path, or the name of a shipped recipe; None starts from the defaults alone.
        overrides: ``dotted.key=value``; the value is read as YAML, so ``3`` is a number and ``[a, b]`` a list.

    Raises:
        ConfigError: the recipe is missing or no YAML mapping, an override is malformed, a key is unknown (the nearest
            known key is named), or a value does not fit.

    >>> class Tiny(Config):
    ...     steps: int = 1
    >>> load_config(Tiny, "tiny", None, ["steps=3"]).steps
    3
    >>> load_config(Tiny, "tiny", None, ["stesp=3"])
    Traceback (most recent call last):
    ...
    rewardkit.errors.ConfigError: tiny: unknown key 'stesp': did you mean 'steps'?
    """
    values = {} if recipe is None else read_yaml(find_recipe(command, recipe))
    for override in overrides:
        _apply(values, override)
    return validate(kind, values, recipe or command)


def validate(kind: type[C], values: dict[str, Any], where: str) -> C:
    """Build a config from plain values; a fault becomes a `ConfigError` of one line that starts with `where`."""
    kind = cast(type[C], kind.pick(values))
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"{where}: {_first_fault(kind, error)}") from None


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping from a file.

    Raises:
        ConfigError: no such file, not UTF-8, not YAML, or not a mapping.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"there is no recipe file {path}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"{path} must be a mapping of keys to values, not a {type(values).__name__}")
    return values


def shipped(folder: str) -> Path:
    """The folder ``recipes`` or ``serving``: beside the package in a checkout, inside it (``_recipes``) in a wheel."""
    package = Path(__file__).parent
    inside = package / f"_{folder}"
    return inside if inside.is_dir() else package.parent / folder


def shipped_recipes(command: str | None = None) -> Iterator[tuple[str, Path]]:
    """Every shipped recipe as ``(command/name, path)``, sorted; only those of one command where it is given."""
    root = shipped("recipes")
    for path in sorted(root.rglob("*.yaml")):
        name = path.relative_to(root).with_suffix("").as_posix()
        if not name.startswith("accelerate/") and (command is None or name.startswith(f"{command}/")):
            yield name, path


def override_values(overrides: Sequence[str]) -> dict[str, Any]:
    """Overrides as nested values: ``["a.b=1"]`` gives ``{"a": {"b": 1}}``.

    Raises:
        ConfigError: one is malformed.
    """
    values: dict[str, Any] = {}
    for override in overrides:
        _apply(values, override)
    return values


def find_recipe(command: str, recipe: str) -> Path:
    """The path of a recipe given as a path, as a shipped name (``gsm8k-smollm2``) or as ``synth/gsm8k-smollm2``.

    Raises:
        ConfigError: neither a file nor a shipped recipe; the nearest name is given.
    """
    path = Path(recipe)
    if path.is_file():
        return path
    known = dict(shipped_recipes(command))
    for name in (recipe, f"{command}/{recipe}"):
        if name in known:
            return known[name]
    short = [name.removeprefix(f"{command}/") for name in known]
    near = difflib.get_close_matches(recipe, short, n=1)
    hint = f"did you mean '{near[0]}'?" if near else f"shipped for {command}: {', '.join(short) or 'none'}"
    raise ConfigError(f"no recipe '{recipe}': it is no file and no shipped recipe; {hint}")


def _apply(values: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"'{override}' is no override; write key=value, such as output=runs/first")
    try:
        value = yaml.safe_load(text) if text else ""
    except yaml.YAMLError:
        value = text
    if isinstance(value, str) and " #" in text and text[0] not in "'\"":
        value = text  # a name such as "runs/try #2": an override holds no comment
    *folders, last = key.split(".")
    for name in folders:
        inner = values.setdefault(name, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"'{override}': '{name}' holds a value, not keys of its own")
        values = inner
    values[last] = value


def _first_fault(kind: type[BaseModel], error: ValidationError) -> str:
    faults = error.errors(include_url=False, include_input=True)
    # A misspelt key is reported before the required one that it was meant for.
    fault = next((f for f in faults if f["type"] == "extra_forbidden"), faults[0])
    path = [str(p) for p in fault["loc"]]
    key = ".".join(path)
    if fault["type"] == "extra_forbidden":
        known = list(_model_at(kind, path[:-1]).model_fields)
        near = difflib.get_close_matches(path[-1], known, n=1)
        hint = f"did you mean '{'.'.join([*path[:-1], near[0]])}'?" if near else f"known here: {', '.join(known)}"
        return f"unknown key '{key}': {hint}"
    if fault["type"] == "missing":
        return f"'{key}' is required; add it to the recipe or give {key}=VALUE"
    if fault["type"] == "value_error":
        return f"'{key}': {fault['ctx']['error']}" if key else str(fault["ctx"]["error"])
    return f"'{key}': {fault['msg']} (got {fault['input']!r})"


def _model_at(kind: type[BaseModel], path: Sequence[str]) -> type[BaseModel]:
    """The nested model that a dotted path leads to; the outer one where the path is not one of models."""
    for name in path:
        field = kind.model_fields.get(name)
        if field is None:
            continue
        for candidate in (field.annotation, *get_args(field.annotation)):
            if isinstance(candidate, type) and issubclass(candidate, BaseModel):
                kind = candidate
                break
    return kind


def _wants_list(kind: type[BaseModel], key: str) -> bool:
    """Whether a field takes a list or tuple, and no plain text."""
    field = kind.model_fields.get(key)
    if field is None:
        return False
    kind_of = field.annotation
    members = (kind_of,) if get_origin(kind_of) in (list, tuple) else get_args(kind_of)
    return str not in members and any(get_origin(member) in (list, tuple) for member in members)
