"""Labelling in several processes: each has its own labelers, and rows come back in the order given."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from rewardkit.errors import VerifierError
from rewardkit.labelers import Labeler, load_labeler
from rewardkit.store.dataset import LabelledTrace, checked_record


class LabelPool:
    """Puts rows to labelers, in this process or in several.

    Args:
        names: of labelers, see `load_labeler`.
        workers: how many processes; 1 labels in this one. Worth it for labels that cost more than a millisecond a
            step: proofs and formulas.
        allow_code: see `load_labeler`.

    >>> from rewardkit.types import Problem, Trace
    >>> row = LabelledTrace(Trace.create(Problem.create("2 + 2?"), ["2 + 2 = 5"]))
    >>> with LabelPool(["arithmetic"]) as pool:
    ...     [record] = pool.label([row])
    >>> record["labels"][0]["p_correct"]
    0.0
    """

    def __init__(self, names: Sequence[str], *, workers: int = 1, allow_code: bool = False) -> None:
        self.labelers = [load_labeler(name, allow_code=allow_code) for name in names]
        self.workers = workers
        self._pool: ProcessPoolExecutor | None = None
        if workers > 1:
            self._pool = ProcessPoolExecutor(
                workers, multiprocessing.get_context("spawn"), initializer=_begin, initargs=(tuple(names), allow_code)
            )

    def __enter__(self) -> LabelPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def label(self, rows: Sequence[LabelledTrace]) -> list[dict[str, Any] | str]:
        """The record of each row with its labels, or the reason why there is none.

        Raises:
            VerifierError: a process died.
        """
        if self._pool is None:
            return [label_row(row, self.labelers) for row in rows]
        chunk = max(1, -(-len(rows) // (4 * self.workers)))
        try:
            return list(self._pool.map(_label, rows, chunksize=chunk))
        except BrokenProcessPool:
            self._kill()
            raise VerifierError(
                "a process that labels died (out of memory, or killed); run the same command again to go on, with "
                "label_workers=1 if it happens again"
            ) from None

    def _kill(self) -> None:
        """End what is left of a broken pool, whose own end waits for ever for a process that was just being started."""
        for process in list((getattr(self._pool, "_processes", None) or {}).values()):
            process.kill()

    def close(self) -> None:
        """End the processes, and those that the labelers started."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
        close_all(self.labelers)


def label_row(row: LabelledTrace, labelers: Sequence[Labeler]) -> dict[str, Any] | str:
    """The record of a row with its labels; for whatever is wrong with it, the reason in one line.

    Labels that the row came with stay, but for those of a source that now labels it anew.
    """
    doing = ""
    try:
        labels = [x for x in row.labels if x.source not in {labeler.name for labeler in labelers}]
        for labeler in labelers:
            doing = f"labeler {labeler.name}"
            labels += labeler.label(row.trace)
        doing = "row"
        return checked_record(LabelledTrace(row.trace, tuple(labels), row.scores))
    except Exception as error:  # a bad row is data, whatever is wrong with it
        return " ".join(f"{doing}: {type(error).__name__}: {error}".split())


def close_all(parts: Iterable[Any]) -> None:
    """End the processes of those labelers or generators that have some."""
    for part in parts:
        close = getattr(part, "close", None)
        if close is not None:
            close()


_mine: list[Labeler] = []
"""The labelers of a process of the pool."""


def _begin(names: Sequence[str], allow_code: bool) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _mine[:] = [load_labeler(name, allow_code=allow_code) for name in names]


def _end_with_parent() -> None:
    """A parent that is killed closes nothing, and its pool would wait for rows for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _label(row: LabelledTrace) -> dict[str, Any] | str:
    return label_row(row, _mine)
