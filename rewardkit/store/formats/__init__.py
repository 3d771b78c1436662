"""The formats of others, both ways: a row of theirs becomes traces with labels, and traces become their rows.

| name | row | labels mean |
|---|---|---|
| ``trl-stepwise`` | TRL's stepwise supervision: ``prompt, completions, labels`` | ``prefix`` unless said otherwise |
| ``trl-preference`` | TRL's preference: ``prompt, chosen, rejected`` | outcome |
| ``trl-unpaired`` | TRL's unpaired preference: ``prompt, completion, label`` | outcome |
| ``math-shepherd`` | ``input, label, task``, with a mark after each step | ``value`` |
| ``openrlhf-prm`` | OpenRLHF's ``input, value``, with a mark after each step | ``value`` |
| ``prm800k`` | OpenAI's ``question, label.steps[].completions[].rating`` | ``prefix`` |
| ``processbench`` | ``id, problem, steps, final_answer_correct, label`` | ``prefix`` |
| ``fover`` | ``problem, solution_steps, error_labels`` | ``local`` |

Reading: `read_format`, or `rewardkit.store.load_traces`, which knows the rows by their columns. Writing:
`export_format`, or ``rewardkit labels export DIR format=NAME to=FILE``.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rewardkit.errors import ConfigError, DataError
from rewardkit.store.dataset import LabelledTrace
from rewardkit.store.files import write_text
from rewardkit.store.formats import marked, prm800k, processbench, trl
from rewardkit.store.formats.marked import from_math_shepherd, from_openrlhf, to_math_shepherd, to_openrlhf
from rewardkit.store.formats.prm800k import from_prm800k, to_prm800k
from rewardkit.store.formats.processbench import first_error_labels, from_processbench, to_processbench
from rewardkit.store.formats.trl import (
    from_trl_preference,
    from_trl_stepwise,
    from_trl_unpaired,
    to_trl_preference,
    to_trl_stepwise,
    to_trl_unpaired,
)
from rewardkit.store.fover import from_fover, is_fover, to_fover
from rewardkit.text.split import SplitRule

__all__ = [
    "FORMATS",
    "Format",
    "detect_format",
    "export_format",
    "first_error_labels",
    "from_fover",
    "from_math_shepherd",
    "from_openrlhf",
    "from_prm800k",
    "from_processbench",
    "from_trl_preference",
    "from_trl_stepwise",
    "from_trl_unpaired",
    "read_format",
    "to_fover",
    "to_math_shepherd",
    "to_openrlhf",
    "to_prm800k",
    "to_processbench",
    "to_trl_preference",
    "to_trl_stepwise",
    "to_trl_unpaired",
]

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Format:
    """One format of others.

    Attributes:
        fits: whether a row has its columns.
        read: the traces of a row, whole responses split into steps by the rule given; raises `DataError` where the row
            is not as documented.
        write: rows of the format from labelled traces, with the labels of one source.
    """

    fits: Callable[[Row], bool]
    read: Callable[[Row, SplitRule], list[LabelledTrace]]
    write: Callable[[Iterable[LabelledTrace], str], Iterator[dict[str, Any]]]


def _each(write: Callable[[LabelledTrace, str], dict[str, Any]]) -> Any:
    return lambda rows, source: (write(row, source) for row in rows)


def _labelled_fover(row: LabelledTrace, source: str) -> dict[str, Any]:
    if not any(label.source == source and label.meaning == "local" for label in row.labels):
        raise DataError(f"trace {row.trace.id}: it has no label of '{source}' that is local, as FoVer's are")
    return to_fover(row, source)


FORMATS: Mapping[str, Format] = {
    "prm800k": Format(prm800k.fits, lambda row, by: from_prm800k(row), _each(to_prm800k)),
    "math-shepherd": Format(
        marked.is_math_shepherd, lambda row, by: [from_math_shepherd(row)], _each(to_math_shepherd)
    ),
    "openrlhf-prm": Format(marked.is_openrlhf, lambda row, by: [from_openrlhf(row)], _each(to_openrlhf)),
    "fover": Format(is_fover, lambda row, by: [from_fover(row)], _each(_labelled_fover)),
    "processbench": Format(processbench.fits, lambda row, by: [from_processbench(row)], _each(to_processbench)),
    "trl-stepwise": Format(trl.is_stepwise, lambda row, by: [from_trl_stepwise(row)], _each(to_trl_stepwise)),
    "trl-preference": Format(trl.is_preference, lambda row, by: from_trl_preference(row, by=by), to_trl_preference),
    "trl-unpaired": Format(trl.is_unpaired, lambda row, by: [from_trl_unpaired(row, by=by)], _each(to_trl_unpaired)),
}
"""In the order in which a row is tried."""


def detect_format(row: Row) -> str | None:
    """The name of the format whose columns a row has; None where it has those of none.

    >>> detect_format({"prompt": "1+1?", "completions": ["1+1 = 2"], "labels": [True]})
    'trl-stepwise'
    """
    return next((name for name, known in FORMATS.items() if known.fits(row)), None)


def read_format(rows: Iterable[Row], name: str | None = None, *, steps: SplitRule = "lines") -> Iterator[LabelledTrace]:
    """The traces of rows of one format.

    Args:
        rows: such as a `datasets.Dataset` or a list of dicts.
        name: a key of `FORMATS`; None takes the one that the first row's columns fit.
        steps: the rule of `rewardkit.text.split_steps` for responses that come in one piece.

    Raises:
        ConfigError: there is no such format.
        DataError: a row does not fit; its number is named.

    >>> [row.trace.response for row in read_format([{"prompt": "1+1?", "completions": ["2"], "labels": [True]}])]
    ['2']
    """
    for number, row in enumerate(rows):
        name = name or detect_format(row)
        if name is None:
            raise DataError(f"row {number} has the columns of no known format; known: {', '.join(FORMATS)}")
        try:
            yield from _named(name).read(row, steps)
        except DataError as error:
            raise DataError(f"row {number} is no row of {name}: {error}") from None


def export_format(
    path: str | Path, rows: Iterable[LabelledTrace], name: str, source: str
) -> tuple[int, dict[str, int]]:
    """Write traces as JSON Lines in a format of others; what it cannot say is left out and counted.

    Args:
        path: of the file.
        rows: labelled traces.
        name: a key of `FORMATS`.
        source: whose labels are written.

    Returns:
        The number of rows, and from a reason to the number of traces left out for it.

    Raises:
        ConfigError: there is no such format.
        DataError: no trace can be said in it.
    """
    write = _named(name).write
    left_out: Counter[str] = Counter()

    def said() -> Iterator[LabelledTrace]:
        for row in rows:
            try:
                if all(label.p_correct is None for label in row.labels if label.source == source):
                    raise DataError(f"it has no label of '{source}'")
                list(write([row], source))
                yield row
            except DataError as error:
                left_out[str(error).removeprefix(f"trace {row.trace.id}: ")] += 1

    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in write(said(), source)]
    if not lines:
        reasons = "; ".join(f"{reason} ({n})" for reason, n in left_out.most_common(3))
        raise DataError(f"nothing to write as {name} with the labels of '{source}': {reasons or 'there are no pairs'}")
    write_text(Path(path), "".join(lines))
    return len(lines), dict(left_out)


def _named(name: str) -> Format:
    if name not in FORMATS:
        raise ConfigError(f"there is no format '{name}'; known: {', '.join(FORMATS)}")
    return FORMATS[name]
