"""What every reward takes and gives: a group of completions of one prompt, and a reward for each."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from rewardkit.errors import ConfigError, DataError

_EMPTY: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Group:
    """All completions of one prompt, sampled from one policy.

    Attributes:
        id: of the prompt; two groups of one batch have different ids.
        completions: G texts, at least one.
        prompt: its text, for rewards and logs that want it.
        reference: the true answer where it is known. Label-free rewards use it for statistics alone.
        others: completions of the other view (Co-Reward) or of the teacher (Co-rewarding-II).
        embeddings: (G, d), one row a completion (EVOL-RL).
        step_scores: for each completion the scores of its steps, each in [0, 1] (process).
        meta: what a single reward wants besides, such as ReasonRank's ``initial_list``.
    """

    id: str
    completions: tuple[str, ...]
    prompt: str = ""
    reference: str | None = None
    others: tuple[str, ...] = ()
    embeddings: Sequence[Sequence[float]] | None = None
    step_scores: tuple[tuple[float, ...], ...] = ()
    meta: Mapping[str, Any] = field(default_factory=lambda: _EMPTY)

    @classmethod
    def create(
        cls,
        id: str,
        completions: Iterable[str],
        *,
        prompt: str = "",
        reference: str | None = None,
        others: Iterable[str] = (),
        embeddings: Sequence[Sequence[float]] | None = None,
        step_scores: Iterable[Iterable[float]] = (),
        meta: Mapping[str, Any] | None = None,
    ) -> Group:
        """Make a group from any sequences, checked.

        Raises:
            DataError: it is empty, a completion is no text, or embeddings or step scores are not one a completion.

        >>> Group.create("p", ["a", "b"]).size
        2
        >>> Group.create("p", [])
        Traceback (most recent call last):
        ...
        rewardkit.errors.DataError: group 'p' holds no completion
        """
        texts, scores = tuple(completions), tuple(tuple(s) for s in step_scores)
        if not texts:
            raise DataError(f"group '{id}' holds no completion")
        others = tuple(others)
        for text in (*texts, *others):
            if not isinstance(text, str):
                raise DataError(f"group '{id}': a completion is {type(text).__name__}, not text")
        for what, found in (("step_scores", len(scores)), ("embeddings", 0 if embeddings is None else len(embeddings))):
            if found and found != len(texts):
                raise DataError(f"group '{id}': {len(texts)} completions but {found} {what}")
        return cls(id, texts, prompt, reference, others, embeddings, scores, meta or _EMPTY)

    @property
    def size(self) -> int:
        """G, the number of completions."""
        return len(self.completions)


@dataclass(frozen=True, slots=True)
class GroupResult:
    """What a reward says of a group.

    Attributes:
        rewards: one a completion, in order; None where the reward abstains (never a number that stands for "unknown").
        answers: what each completion answers, None where nothing was found; the authors' own string under `compat`.
        label: the pseudo-label or reference that was compared with, None where there is none.
        other: the same for the other view's completions (Co-Reward).
        step_rewards: for each completion one reward a step, or none (process).
        stats: figures of the group by name, such as ``majority_share``; see the reward's docstring.
        notes: one line for a person on each thing out of the ordinary, such as a tie.
    """

    rewards: tuple[float | None, ...]
    answers: tuple[str | None, ...] = ()
    label: str | None = None
    other: GroupResult | None = None
    step_rewards: tuple[tuple[float, ...], ...] = ()
    stats: Mapping[str, float] = field(default_factory=lambda: _EMPTY)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        bad = [r for r in self.rewards if r is not None and not math.isfinite(r)]
        if bad:
            raise DataError(f"a reward is {bad[0]}; a reward must be finite, or None to abstain")


Reward = Callable[[Group], GroupResult]
"""A pure function: the same group gives the same result."""


def check_options(name: str, function: Callable[..., object], options: Mapping[str, object]) -> None:
    """Refuse options that a reward's function does not take.

    >>> check_options("ttrl", lambda group, *, tie="abstain": None, {"tei": "first"})
    Traceback (most recent call last):
    ...
    rewardkit.errors.ConfigError: reward 'ttrl' has no option 'tei'; it has tie
    """
    known = list(inspect.signature(function).parameters)[1:]
    for option in options:
        if option not in known:
            raise ConfigError(f"reward '{name}' has no option '{option}'; it has {', '.join(known)}")


def choose(value: str | None, option: str, allowed: Sequence[str | None]) -> None:
    """Check an option that is one of a few words.

    >>> choose("frist", "tie", ["abstain", "first"])
    Traceback (most recent call last):
    ...
    rewardkit.errors.ConfigError: tie is 'frist'; use one of abstain, first
    """
    if value not in allowed:
        raise ConfigError(f"{option} is '{value}'; use one of {', '.join(str(a) for a in allowed if a)}")


def authors_error(kind: type[Exception], message: str) -> DataError:
    """The error of the authors' own code, as a `DataError` of the same name that is also of their kind.

    >>> error = authors_error(ZeroDivisionError, "no teacher answered")
    >>> type(error).__name__, isinstance(error, ZeroDivisionError), isinstance(error, DataError)
    ('ZeroDivisionError', True, True)
    """
    made: type[DataError] = type(kind.__name__, (DataError, kind), {})
    return made(message)
