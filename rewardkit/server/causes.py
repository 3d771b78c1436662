"""Why an engine ended, in one line, from its log and its exit code."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

_ERROR = re.compile(r"\b(?:\w+\.)*(\w*(?:Error|Exception)): (.+)|\berror: (argument .+|unrecognized .+)")
_FOLLOWS = re.compile(r"root cause above|EngineDeadError|CancelledError|died unexpectedly|LocalEntryNotFound")
"""Errors that only say that there was another before them."""

_KNOWN = (
    (
        re.compile(
            r"out of memory|OutOfMemory|MemoryError|allocate memory|memory utilization|memory for the cache|"
            r"[Aa]vailable (?:KV cache )?memory|KV cache is needed"
        ),
        "out of memory; lower max_length=, engine.gpu-memory-utilization= or engine.max-num-seqs=, "
        "or take a larger machine ({})",
    ),
    (re.compile(r"[Aa]ddress already in use|Errno 98"), "the port is in use; give another port= ({})"),
    (
        re.compile(r"does not recognize this architecture|are not supported for now|[Uu]nsupported architecture"),
        "this vLLM does not know the model's architecture; try backend=transformers, or a newer vLLM ({})",
    ),
    (
        re.compile(
            r"size mismatch|shape mismatch|loaded_weight|must match the (?:existing )?size|no module or parameter"
        ),
        "the weights do not fit config.json; copy both from one place ({})",
    ),
)
_KILLED = (
    "it was killed (signal 9), most likely by the kernel for want of memory: take a smaller model or a larger machine"
)
_LONGEST = 300


def cause_of(log: str, code: int | None = None) -> str | None:
    """One line; None where the log has no error.

    Args:
        log: what the engine has written.
        code: its exit code; 137 and a core process that ended with -9 were killed.

    >>> cause_of("ValueError: bad head\\nRuntimeError: failed. See root cause above.", 1)
    'bad head (ValueError)'
    """
    errors = [error for error in _errors(log) if not _FOLLOWS.search(error)]
    for pattern, line in _KNOWN:
        found = next((error for error in errors if pattern.search(error)), None)
        if found:
            return line.format(found)
    if code == 137 or re.search(r"Failed core proc\(s\): \{[^}]*-9\b", log):
        return _KILLED
    return errors[0] if errors else None


def _errors(log: str) -> Iterator[str]:
    """The errors of a log as ``message (type)``, the first one first."""
    for line in log.splitlines():
        if line.startswith("{"):
            yield from _of_record(line)
        elif found := _ERROR.search(line):
            yield _short(found[2] or found[3], found[1])


def _of_record(line: str) -> Iterator[str]:
    try:
        record = json.loads(line)
    except ValueError:
        return
    entry: Any = record
    chain = []
    while isinstance(entry, dict) and "error" in entry:
        chain.append(_short(str(entry.get("detail", "")), str(entry["error"])))
        entry = entry.get("cause")
    yield from reversed(chain)


def _short(message: str, kind: str | None) -> str:
    message = " ".join(message.split())[:_LONGEST]
    return f"{message} ({kind})" if kind else message
