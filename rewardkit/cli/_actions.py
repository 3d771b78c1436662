"""What actions with ``key=value`` options share: reading the options, and saying what is missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rewardkit.errors import ConfigError


def read_options(known: Mapping[str, str], given: Sequence[str]) -> dict[str, str]:
    """The options with what was given.

    Args:
        known: from an option to its default.
        given: ``key=value`` each.

    Raises:
        ConfigError: an option is unknown.

    >>> read_options({"seed": "0"}, ["seed=3"])
    {'seed': '3'}
    """
    values = dict(known)
    for option in given:
        key, equals, value = option.partition("=")
        if not equals or key not in values:
            there = ", ".join(f"{k}={v or k.upper()}" for k, v in values.items())
            raise ConfigError(f"unknown option '{option}': there are {there}")
        values[key] = value
    return values


def need(action: str, given: Mapping[str, str], **wanted: str) -> None:
    """Raise where an option is empty that an action cannot do without.

    Args:
        action: its name.
        given: the options.
        wanted: from an option to what it holds, for the message.

    Raises:
        ConfigError: the first that is missing.
    """
    for key, what in wanted.items():
        if not given[key]:
            raise ConfigError(f"{action} needs {key}={what}")


def names(text: str) -> list[str]:
    """The names of a list with commas, each once.

    >>> names("a, b,a,")
    ['a', 'b']
    """
    return list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def whole(given: Mapping[str, str], key: str, least: int = 0) -> int:
    """An option that is a whole number.

    Raises:
        ConfigError: it is none, or too small.
    """
    text = given[key]
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise ConfigError(f"{key} must be a whole number, not '{text}'")
    if int(text) < least:
        raise ConfigError(f"{key} must be at least {least}")
    return int(text)


def wholes(given: Mapping[str, str], key: str) -> list[int]:
    """An option that is a list of whole numbers, with commas."""
    return [whole({key: text}, key) for text in names(given[key])]


def number(given: Mapping[str, str], key: str, low: float, high: float = float("inf")) -> float:
    """An option that is a number from `low` to `high`.

    Raises:
        ConfigError: it is none, or outside.
    """
    span = f"from {low:g} to {high:g}" if high < float("inf") else f"of at least {low:g}"
    try:
        value = float(given[key])
    except ValueError:
        value = float("nan")
    if not low <= value <= high or value == float("inf"):
        raise ConfigError(f"{key} must be a number {span}, not '{given[key]}'")
    return value
