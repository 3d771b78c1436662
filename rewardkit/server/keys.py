"""Bearer keys: several, compared by hash and in constant time, kept as hashes in a file."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable
from pathlib import Path

from rewardkit.errors import ConfigError

KEY_VARIABLE = "REWARDKIT_API_KEY"
"""Holds keys, with commas between."""
KEY_FILE_VARIABLE = "REWARDKIT_KEY_FILE"
"""Holds the path of a key file."""

_HASHED = re.compile(r"sha256:([0-9a-fA-F]{64})")
_LINE = re.compile(r"(?:sha256:)?([0-9a-fA-F]{64})(?:\s.*)?")


def digest(key: str | bytes) -> bytes:
    """What a key is kept and compared as.

    A key is random and long, so that nobody can guess it back from a plain hash.
    """
    return hashlib.sha256(key.encode() if isinstance(key, str) else key).digest()


def digests(keys: Iterable[str]) -> tuple[bytes, ...]:
    """The digests of keys; ``sha256:HEX`` is one already, and commas separate several.

    >>> digests(["a,b"]) == digests(["b", "sha256:" + digest("a").hex()])
    True
    """
    found = set()
    for key in (part.strip() for given in keys for part in given.split(",")):
        hashed = _HASHED.fullmatch(key)
        if key:
            found.add(bytes.fromhex(hashed[1]) if hashed else digest(key))
    return tuple(sorted(found))


def read_key_file(path: str | Path) -> list[str]:
    """The keys of a file as ``sha256:HEX``: a line each, the SHA-256 in hexadecimal, then whose it is.

    ``printf %s KEY | sha256sum >> keys`` adds one. A line of ``#`` is a comment.

    Raises:
        ConfigError: the file cannot be read, or a line of it is no hash; the line is not shown, since it may be a key.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"key_file {path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    keys = []
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _LINE.fullmatch(line.strip())
        if match is None:
            raise ConfigError(f"line {number} of key_file {path} is no SHA-256; write: printf %s KEY | sha256sum")
        keys.append(f"sha256:{match[1].lower()}")
    if not keys:
        raise ConfigError(f"key_file {path} holds no key, so nobody could come in")
    return keys


def is_right(presented: bytes, known: Iterable[bytes]) -> bool:
    """Whether a key is one of those known. All are compared, each in constant time, so that the time tells nothing."""
    given = digest(presented)
    right = [hmac.compare_digest(given, one) for one in known]
    return any(right)
