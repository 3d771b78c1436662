"""Names in a recipe become classes: a dict from a name to ``"module:Class"``; the user's own is ``"file.py:Class"``."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rewardkit.errors import ConfigError


def load(name: str, known: Mapping[str, str], what: str) -> Any:
    """Load the object that `name` stands for.

    Args:
        name: a key of `known`, or ``path/to/file.py:Name`` for one of the user's own.
        known: from name to ``"module:Name"``.
        what: how to call it in an error, such as "labeler".

    Raises:
        ConfigError: the name is unknown (the nearest known one is named) or the file has no such object.

    >>> load("decoder", {"decoder": "json:JSONDecoder"}, "decoder").__name__
    'JSONDecoder'
    >>> load("decodr", {"decoder": "json:JSONDecoder"}, "decoder")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    rewardkit.errors.ConfigError: unknown decoder 'decodr': did you mean 'decoder'? Known: decoder; or path...
    """
    if name in known:
        module, _, attribute = known[name].partition(":")
        return getattr(importlib.import_module(module), attribute)
    path, colon, attribute = name.rpartition(":")
    if colon and path.endswith(".py"):
        return _from_file(Path(path), attribute, what)
    near = difflib.get_close_matches(name, known, n=1)
    hint = f": did you mean '{near[0]}'?" if near else "."
    raise ConfigError(f"unknown {what} '{name}'{hint} Known: {', '.join(sorted(known))}; or path/to/file.py:Name")


def _from_file(path: Path, attribute: str, what: str) -> Any:
    if not path.is_file():
        raise ConfigError(f"{what} '{path}:{attribute}': there is no file {path}")
    spec = importlib.util.spec_from_file_location(f"rewardkit_user_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{what} '{path}:{attribute}': {path} cannot be loaded as Python")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    try:
        return getattr(module, attribute)
    except AttributeError:
        raise ConfigError(f"{path} defines no '{attribute}' (wanted as {what})") from None
