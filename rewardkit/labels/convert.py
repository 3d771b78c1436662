"""From one meaning to another, by functions whose names and docstrings state what they assume.

    local_to_prefix    nothing but the definition: a prefix is right while each of its steps is
    local_to_prefix_independent    soft labels; steps err independently of each other given the response
    prefix_to_local    a prefix that turns wrong turned wrong at that step; later steps are not known
    value_to_prefix    a chance above 0 to end right means that there was no error yet (Math-Shepherd's hard estimate);
                       an assumption that lucky guesses break: measure it

No function turns prefix or local labels into values: how often a policy ends right is not in them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rewardkit.errors import ConfigError, DataError
from rewardkit.labels.derive import ERROR_BELOW, prefix_labels
from rewardkit.labels.votes import meanings
from rewardkit.store.dataset import LabelledTrace, iter_dataset, origin, write_dataset
from rewardkit.types import StepLabel


def local_to_prefix(labels: Sequence[StepLabel]) -> list[StepLabel]:
    """Hard prefix labels from local ones, a label a step, in order; see `rewardkit.labels.derive.prefix_labels`.

    Assumes nothing: from the first wrong step on a prefix is wrong; before it, right while every step is known right.

    >>> local = [StepLabel("t", i, p, "z3", "local") for i, p in enumerate([1.0, 0.0, 1.0])]
    >>> [label.p_correct for label in local_to_prefix(local)]
    [1.0, 0.0, 0.0]
    """
    return prefix_labels(labels)


def local_to_prefix_independent(labels: Sequence[StepLabel]) -> list[StepLabel]:
    """Soft prefix labels from soft local ones: the product so far.

    Assumes that steps err independently given the response. Errors come in runs, so long prefixes come out too low.
    From the first abstention on nothing is known, unless a product of 0 stands already.

    >>> local = [StepLabel("t", i, p, "judge", "local") for i, p in enumerate([0.9, 0.5, None, 0.9])]
    >>> [label.p_correct for label in local_to_prefix_independent(local)]
    [0.9, 0.45, None, None]
    """
    state: float | None = 1.0
    made = []
    for label in labels:
        if label.p_correct == 0.0 or state == 0.0:
            state = 0.0
        elif label.p_correct is None or state is None:
            state = None
        else:
            state *= label.p_correct
        made.append(_as(label, "prefix", state, "product of the steps so far, taken as independent"))
    return made


def prefix_to_local(labels: Sequence[StepLabel]) -> list[StepLabel]:
    """Local labels from prefix ones: right before the first error, wrong at it, not known after it.

    Assumes that the annotator looked at every step in order, as ProcessBench's and PRM800K's do. A first error that
    comes right after an abstention may lie in the step before: it is not known then which one is wrong. Soft labels go
    on as they are, which is exact for labels of 0 and 1 alone.

    >>> prefix = [StepLabel("t", i, p, "human", "prefix") for i, p in enumerate([1.0, 0.0, 0.0])]
    >>> [label.p_correct for label in prefix_to_local(prefix)]
    [1.0, 0.0, None]
    """
    made, sound = [], True
    for label in labels:
        known = sound and label.p_correct is not None
        made.append(
            _as(label, "local", label.p_correct if known else None, "" if known else "behind a first error or gap")
        )
        sound = sound and label.p_correct is not None and label.p_correct >= ERROR_BELOW
    return made


def value_to_prefix(labels: Sequence[StepLabel], above: float = 0.0) -> list[StepLabel]:
    """Prefix labels from values: 1 where the chance to end right is above a bound, else 0 from there on.

    Assumes that no continuation ends right after an error. That fails for lucky guesses and for errors that a policy
    mends, and a hard problem's right prefix can have a chance of 0: check it where there is gold.

    Args:
        labels: one a step, in order.
        above: the bound; 0 is Math-Shepherd's hard estimate (arXiv 2312.08935).

    >>> values = [StepLabel("t", i, p, "rollout", "value") for i, p in enumerate([0.8, 0.1, 0.0])]
    >>> [label.p_correct for label in value_to_prefix(values)]
    [1.0, 1.0, 0.0]
    """
    made, fallen = [], False
    for label in labels:
        fallen = fallen or (label.p_correct is not None and label.p_correct <= above)
        p = 0.0 if fallen else None if label.p_correct is None else 1.0
        made.append(_as(label, "prefix", p, f"value {'none' if label.p_correct is None else f'{label.p_correct:.2f}'}"))
    return made


CONVERSIONS: dict[str, tuple[str, Callable[[Sequence[StepLabel]], list[StepLabel]]]] = {
    "local_to_prefix": ("local", local_to_prefix),
    "local_to_prefix_independent": ("local", local_to_prefix_independent),
    "prefix_to_local": ("prefix", prefix_to_local),
    "value_to_prefix": ("value", value_to_prefix),
}
"""From a name to the meaning that it takes and the function."""


def convert_dataset(folder: str | Path, output: str | Path, by: str, source: str) -> dict[str, Any]:
    """Write a dataset with the labels of one source converted, as a source of its own.

    Args:
        folder: the dataset.
        output: where the new one is written.
        by: of `CONVERSIONS`; the new source is named ``SOURCE/prefix`` or ``SOURCE/local``.
        source: whose labels.

    Returns:
        The manifest as written.

    Raises:
        ConfigError: no such conversion, or it was made before.
        DataError: the source has no label of the meaning that the conversion takes.
    """
    if by not in CONVERSIONS:
        raise ConfigError(f"there is no conversion '{by}'; there are {', '.join(CONVERSIONS)}")
    meaning, function = CONVERSIONS[by]
    known, made_of = meanings(folder), f"{source}/{by.split('_to_')[1].partition('_')[0]}"
    if meaning not in known.get(source, ()):
        raise DataError(f"{folder} has no label of '{source}' with meaning {meaning}, which {by} takes")
    if made_of in known:
        raise ConfigError(f"there already is a source '{made_of}' in {folder}: convert the dataset without it")

    def rows() -> Iterator[LabelledTrace]:
        for row in iter_dataset(folder):
            said = {x.step: x for x in row.labels if x.source == source and x.meaning == meaning}
            # A step without a label is one that nobody judged: an abstention, as the functions take one a step.
            silent = (StepLabel(row.trace.id, i, None, source, meaning) for i in range(len(row.trace.steps)))  # type: ignore[arg-type]
            made = function([said.get(x.step, x) for x in silent]) if said else []
            yield replace(row, labels=(*row.labels, *made))

    return write_dataset(output, rows(), {**origin(folder), "converted": {"by": by, "source": source}})


def _as(label: StepLabel, meaning: Any, p: float | None, evidence: str) -> StepLabel:
    return replace(label, p_correct=p, source=f"{label.source}/{meaning}", meaning=meaning, evidence=evidence)
