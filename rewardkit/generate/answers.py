"""The cache of answers that were paid for: found by content, shared by runs, safe from kill -9 and a full disk."""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rewardkit.errors import ConfigError

RESERVE = 8 * 1024 * 1024  # bytes kept for answers that arrive when the disk is full


class AnswerCache:
    """Answers on disk, one an asked request.

    Several processes may use one at a time. An answer is on disk when `put` returns. A reserve of a few megabytes lies
    beside the cache: on a full disk it makes room for the answers that are still under way.

    Args:
        folder: made where it is missing.

    Raises:
        ConfigError: the folder cannot be written, or holds a damaged cache.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     cache = AnswerCache(Path(folder))
    ...     cache.put(key_of({"model": "m"}), {"text": "4"})
    ...     cache.get(key_of({"model": "m"})), cache.get(key_of({"model": "n"}))
    ...     cache.close()
    ({'text': '4'}, None)
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._reserve = folder / "reserve"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(folder / "answers.sqlite", timeout=60.0, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID")
            if not self._reserve.is_file() or self._reserve.stat().st_size < RESERVE:
                self._reserve.write_bytes(bytes(RESERVE))
        except (OSError, sqlite3.Error) as error:
            raise ConfigError(f"the cache of answers {folder} cannot be used: {error}; mend or remove it") from None

    def get(self, key: str) -> dict[str, Any] | None:
        """The answer under a key, or None."""
        found = self._db.execute("SELECT value FROM answers WHERE key = ?", (key,)).fetchone()
        return None if found is None else dict(json.loads(found[0]))

    def put(self, key: str, value: Mapping[str, Any]) -> None:
        """Store an answer for good.

        Raises:
            CacheFull: the disk is full; the answer was stored all the same, in the reserve's place, if it fitted.
        """
        try:
            self._write(key, value)
        except sqlite3.OperationalError as error:
            with contextlib.suppress(OSError):
                self._reserve.unlink(missing_ok=True)
            with contextlib.suppress(sqlite3.OperationalError):
                self._write(key, value)
            raise CacheFull(
                f"the cache of answers {self.folder} cannot be written ({error}): free some space"
            ) from None

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _write(self, key: str, value: Mapping[str, Any]) -> None:
        with self._db:
            # ASCII, since SQLite refuses the lone surrogates that JSON may hold.
            self._db.execute("INSERT OR REPLACE INTO answers VALUES (?, ?)", (key, json.dumps(value)))


class CacheFull(ConfigError):
    """An answer could not be written at first; nothing more should be asked."""


def key_of(request: Mapping[str, Any]) -> str:
    """The SHA-256 of a request, whatever the order of its keys.

    >>> key_of({"a": 1, "b": 2}) == key_of({"b": 2, "a": 1})
    True
    """
    return hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()
