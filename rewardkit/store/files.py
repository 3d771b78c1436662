"""Files that are either whole or not there."""

from __future__ import annotations

from pathlib import Path


def write_text(path: Path, text: str) -> None:
    """Write a text file at once: under a temporary name first, then renamed over the old one; its folder is made.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "a.txt"
    >>> write_text(file, "hello")
    >>> file.read_text()
    'hello'

    Half of a surrogate pair, as models write them, becomes its escape: in JSON that is the same text.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
    temporary.replace(path)
