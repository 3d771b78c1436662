"""The state of a resumable run: an SQLite file that survives kill -9 at any moment.

A run is a fixed list of items, worked off in order in batches. What a batch made is stored in one transaction: its
generated texts as soon as they exist, its finished rows later. Going on therefore means: find what is missing.
"""

from __future__ import annotations

import base64
import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from filelock import FileLock, Timeout

from rewardkit.errors import ConfigError

FOLDER = ".run"

_TABLES = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS items (
    position INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    generation TEXT,
    row TEXT,
    bad TEXT
);
CREATE TABLE IF NOT EXISTS group_labels (
    labeler TEXT NOT NULL,
    position INTEGER NOT NULL,
    labels TEXT NOT NULL,
    PRIMARY KEY (labeler, position)
) WITHOUT ROWID;
"""


class RunState:
    """One run's folder, locked while it is open. Use it in a ``with`` statement.

    Args:
        folder: of the run; its state lies in ``.run`` inside.
        config: what the run does, as plain values; a folder is bound to one as soon as something was made. None takes
            the folder as it is.

    Raises:
        ConfigError: another process works on the run, the folder belongs to something else, or the run was begun with
            another config (the message names the keys).
    """

    def __init__(self, folder: str | Path, config: Mapping[str, Any] | None) -> None:
        self.folder = Path(folder)
        _refuse_foreign(self.folder)
        place = self.folder / FOLDER
        try:
            place.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"the folder {folder} cannot be made: {error.strerror}; choose another output") from None
        self._lock = FileLock(place / "lock")
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise ConfigError(
                f"another process is working on the run {folder}; wait for it, or choose another output"
            ) from None
        try:
            self._db = _open(place / "state.sqlite")
            if config is not None:
                self._bind(config)
        except BaseException:
            self._lock.release()
            raise

    @classmethod
    def reopen(cls, folder: str | Path) -> RunState:
        """Open the run that lies in a folder, whatever its config.

        Raises:
            ConfigError: there is none, or another process works on it.
        """
        if not (Path(folder) / FOLDER / "state.sqlite").is_file():
            raise ConfigError(f"{folder} holds no run of RewardKit")
        return cls(folder, None)

    def __enter__(self) -> RunState:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._db.close()
        self._lock.release()

    def begin(self, ids: Sequence[str], inputs: Mapping[str, str]) -> None:
        """Lay down the items of the run, or see that they are the ones laid down before.

        Args:
            ids: of the items, in order, each once.
            inputs: from the name of an input to the hash of its content.

        Raises:
            ConfigError: an input has changed since the run began.
        """
        before = self.fact("inputs")
        if before is not None:
            changed = [name for name, digest in inputs.items() if before.get(name) != digest]
            if changed or self._ids() != list(ids):
                name = changed[0] if changed else next(iter(inputs), "the input")
                raise ConfigError(
                    f"{name} has changed since the run {self.folder} began; choose another output, or delete the folder"
                )
            return
        with self._db:
            self._db.executemany("INSERT INTO items (position, id) VALUES (?, ?)", enumerate(ids))
            self._set("inputs", dict(inputs))

    def generations(self, start: int, stop: int) -> list[dict[str, Any] | None]:
        """What was generated for the items from `start` up to `stop`; None where there is nothing yet."""
        found = self._db.execute(
            "SELECT generation FROM items WHERE position >= ? AND position < ? ORDER BY position", (start, stop)
        )
        return [None if text is None else json.loads(text) for (text,) in found]

    def put_generations(self, start: int, values: Sequence[Mapping[str, Any]]) -> None:
        """Store what was generated for the items from `start` on, at once."""
        texts = [(_dump(value), start + i) for i, value in enumerate(values)]
        with self._db:
            self._db.executemany("UPDATE items SET generation = ? WHERE position = ?", texts)

    def put_rows(self, start: int, rows: Sequence[Mapping[str, Any] | str], seconds: float = 0.0) -> None:
        """Store the finished rows of the items from `start` on, at once.

        Args:
            start: position of the first.
            rows: a record for each item; a text instead is the reason why there is none.
            seconds: of work since the last call, added to the run's time.
        """
        values = [
            (None, row, start + i) if isinstance(row, str) else (_dump(row), None, start + i)
            for i, row in enumerate(rows)
        ]
        with self._db:
            self._db.executemany("UPDATE items SET row = ?, bad = ? WHERE position = ?", values)
            self._set("seconds", self.seconds + seconds)

    def open_batches(self, size: int) -> dict[int, int]:
        """Where the batches of `size` items begin that hold unfinished ones, in order, with the number of those."""
        found = self._db.execute(
            "SELECT position / ? * ? AS start, COUNT(*) FROM items WHERE row IS NULL AND bad IS NULL "
            "GROUP BY start ORDER BY start",
            (size, size),
        )
        return dict(found)

    def rows(self) -> Iterator[dict[str, Any]]:
        """The finished rows in order, with the labels of `put_group_labels` for older ones of that source.

        A labeler's parts (``hybrid:judge``) are replaced with it.
        """
        more: dict[int, list[tuple[str, str]]] = {}
        for labeler, position, labels in self._db.execute("SELECT labeler, position, labels FROM group_labels"):
            more.setdefault(position, []).append((labeler, labels))
        for position, record in self.items():
            for labeler, labels in more.get(position, ()):
                kept = [label for label in record["labels"] if not _is_of(label["source"], labeler)]
                record["labels"] = kept + json.loads(labels)
            yield record

    def items(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """The finished rows in order, as they were put, each with its position."""
        for position, text in self._db.execute(
            "SELECT position, row FROM items WHERE row IS NOT NULL ORDER BY position"
        ):
            yield position, json.loads(text, object_hook=_bytes_again)

    def item(self, position: int) -> dict[str, Any]:
        """The finished row at a position."""
        (text,) = self._db.execute("SELECT row FROM items WHERE position = ?", (position,)).fetchone()
        return dict(json.loads(text, object_hook=_bytes_again))

    def labelled_by(self, labeler: str) -> set[int]:
        """The positions that a labeler of groups has labelled."""
        found = self._db.execute("SELECT position FROM group_labels WHERE labeler = ?", (labeler,))
        return {position for (position,) in found}

    def put_group_labels(
        self,
        labeler: str,
        labels: Mapping[int, Sequence[Mapping[str, Any]]],
        usage: Mapping[str, int],
        seconds: float = 0.0,
    ) -> None:
        """Store the labels that a labeler of groups gave, at once.

        Args:
            labeler: its name.
            labels: from an item's position to its labels.
            usage: what the labeler has used so far, over all sittings.
            seconds: of work since the last call, added to the run's time.
        """
        values = [(labeler, position, _dump(list(given))) for position, given in labels.items()]
        with self._db:
            self._db.executemany("INSERT OR REPLACE INTO group_labels VALUES (?, ?, ?)", values)
            self._set("labelers", self.labelers_usage() | ({labeler: dict(usage)} if usage else {}))
            self._set("seconds", self.seconds + seconds)

    def labelers_usage(self) -> dict[str, dict[str, int]]:
        """From a labeler to what it has used: requests and tokens."""
        return dict(self.fact("labelers") or {})

    def bad(self) -> list[tuple[str, str]]:
        """``(item id, reason)`` of every item that gave no row."""
        return list(self._db.execute("SELECT id, bad FROM items WHERE bad IS NOT NULL ORDER BY position"))

    def all_generations(self) -> Iterator[dict[str, Any]]:
        """What was generated, in order."""
        for (text,) in self._db.execute("SELECT generation FROM items WHERE generation IS NOT NULL ORDER BY position"):
            yield json.loads(text)

    @property
    def seconds(self) -> float:
        """The time that the run has taken so far, over all its sittings."""
        return float(self.fact("seconds") or 0.0)

    @property
    def finished(self) -> bool:
        """Whether the whole output has been written."""
        return bool(self.fact("finished"))

    def finish(self) -> None:
        """Mark the output as written."""
        with self._db:
            self._set("finished", True)

    def fact(self, name: str) -> Any:
        """A stored fact of the run, or None."""
        found = self._db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return None if found is None else json.loads(found[0])

    def _set(self, name: str, value: Any) -> None:
        self._db.execute("INSERT OR REPLACE INTO facts (name, value) VALUES (?, ?)", (name, _dump(value)))

    def _ids(self) -> list[str]:
        return [id for (id,) in self._db.execute("SELECT id FROM items ORDER BY position")]

    def _bind(self, config: Mapping[str, Any]) -> None:
        flat = dict(_flatten(json.loads(_dump(config))))
        before = self.fact("config")
        if before is None:
            with self._db:
                self._set("config", flat)
        elif _given(before) != _given(flat) and not self._made_nothing():
            raise ConfigError(_changed(self.folder, before, flat))
        elif _given(before) != _given(flat):
            with self._db:
                self._db.execute("DELETE FROM items")
                self._db.execute("DELETE FROM facts")
                self._db.execute("DELETE FROM group_labels")
                self._set("config", flat)

    def _made_nothing(self) -> bool:
        """Whether the run holds no text and no row yet: then another config costs nothing."""
        found = self._db.execute("SELECT 1 FROM items WHERE COALESCE(generation, row, bad) IS NOT NULL LIMIT 1")
        return found.fetchone() is None


def _refuse_foreign(folder: Path) -> None:
    """A run writes README.md and data/: never into a folder that holds somebody's files."""
    if folder.is_dir() and not (folder / FOLDER).is_dir() and any(folder.iterdir()):
        raise ConfigError(f"the folder {folder} holds files that are no run of RewardKit; choose another output")
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder} is a file; choose a folder as output")


def _open(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=NORMAL")
    db.executescript(_TABLES)
    return db


def _flatten(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and plain values.

    >>> dict(_flatten({"a": {"b": 1}, "c": [2]}))
    {'a.b': 1, 'c': [2]}
    """
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _flatten(inner, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, value


def _given(flat: Mapping[str, Any]) -> dict[str, Any]:
    """The keys that have a value: an older version may not have known one that is not used."""
    return {key: value for key, value in flat.items() if value is not None}


def _changed(folder: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    keys = [key for key in sorted({*before, *now}) if before.get(key) != now.get(key)]
    shown = ", ".join(f"{key} was {_short(before.get(key))} and is {_short(now.get(key))}" for key in keys[:3])
    return f"the run {folder} was begun with another config: {shown}; choose another output, or delete the folder"


def _short(value: Any) -> str:
    text = _dump(value)
    return text if len(text) <= 40 else text[:37] + "..."


def _dump(value: Any) -> str:
    # ASCII, since SQLite refuses the lone surrogates that a JSON file may hold.
    return json.dumps(value, default=_plain)


_BYTES = "$bytes"  # the key of bytes in JSON: the images of a row


def _is_of(source: str, labeler: str) -> bool:
    return source == labeler or source.startswith(f"{labeler}:")


def _plain(value: Any) -> Any:
    return {_BYTES: base64.b64encode(value).decode()} if isinstance(value, bytes) else str(value)


def _bytes_again(value: dict[str, Any]) -> Any:
    return base64.b64decode(value[_BYTES]) if value.keys() == {_BYTES} else value
